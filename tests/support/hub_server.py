"""A stand-in for the Hugging Face Hub on loopback: repositories in memory, served over HTTP.

It answers what huggingface_hub asks when it reads: model info, the tree of a commit, HEAD and GET
of files, with ETags, commits, ranges and redirects of large files to a second address, and the
Hub's error codes. Every request is recorded. Further routes, such as those of uploads, are added
by a subclass that extends `routes`.

    with StandInHub() as hub:
        hub.repository("org/name").commit({"config.json": b"{}"})
        …                                   # HF_ENDPOINT=hub.url
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_SUFFIXES = (".bin", ".safetensors", ".h5", ".msgpack", ".ot", ".onnx", ".model", ".spm")
"""Of files that the Hub keeps in LFS; others are kept in git."""
TOKEN = "hf_stand_in"
"""The token that opens gated and private repositories."""


@dataclass
class Repository:
    """One model repository.

    Attributes:
        commits: Files by path, by commit.
        refs: Branches and tags with their commits.
        access: "open"; "gated" for a licence that is not accepted; "private" for no access.
    """

    name: str
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    access: str = "open"

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit with these files over those of the branch; return its id."""
        parent = self.refs.get(branch, "")
        content = {**self.commits.get(parent, {}), **files}
        listing = json.dumps({path: _sha256(data) for path, data in sorted(content.items())})
        made = hashlib.sha1(f"{parent}{listing}".encode()).hexdigest()
        self.commits[made] = content
        self.refs[branch] = made
        return made

    def find(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag or a commit id."""
        found = self.refs.get(revision, revision)
        return found if found in self.commits else None


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """What is answered.

    Attributes:
        cut: Bytes of the body after which the connection is dropped; None for none.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None

    @classmethod
    def of_json(cls, content: object, status: int = 200) -> Reply:
        """A JSON body."""
        body = json.dumps(content).encode()
        return cls(status, {"Content-Type": "application/json"}, body)

    @classmethod
    def error(cls, status: int, code: str, message: str) -> Reply:
        """An error as the Hub codes it."""
        return cls(status, {"X-Error-Code": code, "X-Error-Message": message})


Route = tuple[str, re.Pattern[str], Callable[..., Reply]]


class StandInHub:
    """The server; a context manager that stops it.

    Attributes:
        requests: All that came, in order.
        cuts: File names with the lengths at which their next transfers are cut, in order.
        down: Answer everything with this status, 0 for none.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.cuts: dict[str, list[int]] = {}
        self.down = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> StandInHub:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def storage_url(self) -> str:
        """Where large files lie: another host, as the Hub's storage is."""
        return f"http://localhost:{self._server.server_address[1]}"

    def repository(self, name: str) -> Repository:
        """Return a repository, made if it is not there."""
        return self.repositories.setdefault(name, Repository(name))

    def fetched(self) -> list[str]:
        """Return the names of the files whose content was sent, in order."""
        sent = [r.path for r in self.requests if r.method == "GET" and "/api/" not in r.path]
        return [path.rpartition("/")[2] for path in sent]

    @property
    def routes(self) -> list[Route]:
        """Method, pattern of the path, and who answers; the pattern's groups are arguments."""
        api, repo = r"/api/models/(?P<name>[^/]+/[^/]+)", r"/(?P<name>[^/]+/[^/]+)"
        return [
            ("GET", re.compile(rf"{api}"), self._info),
            ("GET", re.compile(rf"{api}/revision/(?P<revision>.+)"), self._info),
            ("GET", re.compile(rf"{api}/tree/(?P<revision>[^/]+)"), self._tree),
            ("HEAD", re.compile(rf"{repo}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"), self._file),
            ("GET", re.compile(rf"{repo}/resolve/(?P<revision>[^/]+)/(?P<path>.+)"), self._file),
            ("GET", re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})/(?P<path>.+)"), self._large),
        ]

    def answer(self, request: Request) -> Reply:
        """Record a request and answer it."""
        self.requests.append(request)
        if self.down:
            return Reply(self.down)
        for method, pattern, respond in self.routes:
            match = pattern.fullmatch(request.path)
            if method == request.method and match:
                values = {key: unquote(value) for key, value in match.groupdict().items()}
                return respond(request, **values)
        return Reply.error(404, "NotFound", f"no route for {request.method} {request.path}")

    def _info(self, request: Request, name: str, revision: str = "main") -> Reply:
        found = self._commit(request, name, revision)
        if isinstance(found, Reply):
            return found
        files = self.repositories[name].commits[found]
        return Reply.of_json(
            {
                "id": name, "modelId": name, "sha": found, "private": False, "gated": False,
                "tags": [], "downloads": 0, "likes": 0,
                "siblings": [{"rfilename": path} for path in sorted(files)],
            }
        )  # fmt: skip

    def _tree(self, request: Request, name: str, revision: str) -> Reply:
        found = self._commit(request, name, revision)
        if isinstance(found, Reply):
            return found
        files = self.repositories[name].commits[found]
        recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        shown = {path: data for path, data in files.items() if recursive or "/" not in path}
        return Reply.of_json([_tree_entry(path, data) for path, data in sorted(shown.items())])

    def _file(self, request: Request, name: str, revision: str, path: str) -> Reply:
        commit = self._commit(request, name, revision)
        if isinstance(commit, Reply):
            return commit
        content = self.repositories[name].commits[commit].get(path)
        if content is None:
            found = Reply.error(404, "EntryNotFound", f"{path} is not in {name}")
            found.headers["X-Repo-Commit"] = commit
            return found
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if path.endswith(LARGE_SUFFIXES):
            oid = _sha256(content)
            headers |= {
                "X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{oid}"',
                "Location": f"{self.storage_url}/lfs/{oid}/{path}",
            }  # fmt: skip
            return Reply(302, headers)
        return self._sent(request, path, content, headers | {"ETag": f'"{_git_oid(content)}"'})

    def _large(self, request: Request, oid: str, path: str) -> Reply:
        for repository in self.repositories.values():
            for files in repository.commits.values():
                if path in files and _sha256(files[path]) == oid:
                    return self._sent(request, path, files[path], {"ETag": f'"{oid}"'})
        return Reply(404)

    def _sent(self, request: Request, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        """Send a file or the rest of it, cut where a test asks for that."""
        if request.method == "HEAD":
            return Reply(200, headers, body)
        cuts = self.cuts.get(path.rpartition("/")[2], [])
        cut = cuts.pop(0) if cuts else None
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if not match:
            return Reply(200, headers, body, cut)
        first = int(match[1])
        headers |= {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"}
        return Reply(206, headers, body[first:], cut)

    def _commit(self, request: Request, name: str, revision: str) -> str | Reply:
        """Return the commit that is asked for, or the Hub's refusal."""
        repository = self.repositories.get(name)
        known = request.headers.get("authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.access == "private" and not known):
            if known or repository is None:
                return Reply.error(404, "RepoNotFound", "Repository not found")
            return Reply.error(401, "RepoNotFound", "Invalid username or password.")
        if repository.access == "gated" and "/api/" not in request.path and not known:
            return Reply.error(
                401, "GatedRepo", f"Access to model {name} is restricted; accept its licence"
            )
        if repository.access == "forbidden" and "/api/" not in request.path:
            return Reply.error(403, "GatedRepo", f"Access to model {name} awaits a review")
        found = repository.find(revision)
        if found is None:
            return Reply.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found


def _tree_entry(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file", "path": path, "size": len(data), "oid": _git_oid(data),
    }  # fmt: skip
    if path.endswith(LARGE_SUFFIXES):
        entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 134}
    return entry


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _handler(hub: StandInHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            request = Request(
                self.command,
                parts.path,
                parse_qs(parts.query),
                {key.lower(): value for key, value in self.headers.items()},
                self.rfile.read(length),
            )
            self._send(hub.answer(request))

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for key, value in reply.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(reply.body[: reply.cut])
            if reply.cut is not None and reply.cut < len(reply.body):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: `requests` tells all."""

    return Handler
