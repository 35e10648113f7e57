"""The stand-in for the Hugging Face Hub, taking uploads: repositories are made, files committed.

It answers what huggingface_hub asks when it writes: creating a repository, checking a card, which
files go to LFS, uploading those, and one commit.
"""

from __future__ import annotations

import base64
import json
import re

from tests.support.hub_server import LARGE_SUFFIXES, TOKEN, Reply, Request, Route, StandInHub


class WritableHub(StandInHub):
    """Records uploads in its repositories.

    Attributes:
        uploads: Large files that were sent, by digest, before a commit names them.
        commits: Messages of commits, in order.
        writable: Whether the token may write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uploads: dict[str, bytes] = {}
        self.commits: list[str] = []
        self.writable = True

    @property
    def routes(self) -> list[Route]:
        api = r"/api/models/(?P<name>[^/]+/[^/]+)"
        lfs = r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch"
        return [
            ("POST", re.compile(r"/api/repos/create"), self._create),
            ("POST", re.compile(r"/api/validate-yaml"), self._valid),
            ("POST", re.compile(rf"{api}/preupload/(?P<revision>.+)"), self._preupload),
            (
                "POST",
                re.compile(lfs),
                self._batch,
            ),
            ("PUT", re.compile(r"/upload/(?P<oid>[0-9a-f]{64})"), self._take),
            ("POST", re.compile(rf"{api}/commit/(?P<revision>.+)"), self._take_commit),
            *super().routes,
        ]

    def _refused(self, request: Request) -> Reply | None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply.error(401, "", "Invalid username or password.")
        if not self.writable:
            return Reply.error(403, "", "You don't have the rights to write here.")
        return None

    def _create(self, request: Request) -> Reply:
        refused = self._refused(request)
        if refused is not None:
            return refused
        asked = json.loads(request.body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repositories:
            return Reply.of_json({"url": f"{self.url}/{name}", "error": "it exists"}, 409)
        self.repository(name).commit({".gitattributes": b""})
        return Reply.of_json({"url": f"{self.url}/{name}", "name": name, "id": name})

    def _valid(self, request: Request) -> Reply:
        return Reply.of_json({"errors": [], "warnings": []})

    def _preupload(self, request: Request, name: str, revision: str) -> Reply:
        refused = self._refused(request)
        if refused is not None:
            return refused
        files = json.loads(request.body)["files"]
        modes = [
            {
                "path": file["path"], "shouldIgnore": False,
                "uploadMode": "lfs" if file["path"].endswith(LARGE_SUFFIXES) else "regular",
            }
            for file in files
        ]  # fmt: skip
        return Reply.of_json({"files": modes})

    def _batch(self, request: Request, name: str) -> Reply:
        objects = [
            {
                "oid": each["oid"], "size": each["size"],
                "actions": {"upload": {"href": f"{self.url}/upload/{each['oid']}"}},
            }
            for each in json.loads(request.body)["objects"]
        ]  # fmt: skip
        return Reply.of_json({"transfer": "basic", "objects": objects})

    def _take(self, request: Request, oid: str) -> Reply:
        self.uploads[oid] = request.body
        return Reply(200)

    def _take_commit(self, request: Request, name: str, revision: str) -> Reply:
        refused = self._refused(request)
        if refused is not None:
            return refused
        files: dict[str, bytes] = {}
        for line in request.body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.commits.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.uploads[value["oid"]]
        made = self.repositories[name].commit(files, revision)
        return Reply.of_json(
            {"commitUrl": f"{self.url}/{name}/commit/{made}", "commitOid": made, "success": True}
        )
