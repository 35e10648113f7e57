"""/translate_file and /download_file: documents, translated while the caller waits."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from server.access.identity import ANYONE, current_identity
from server.http.documents import count_characters, read_upload, translate_upload
from server.http.endpoint import Call
from server.http.libretranslate.translation import command_of
from server.http.replies import attachment
from server.http.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Files:
    """The translated files of one server."""

    shelf: Shelf

    async def translate(self, call: Call) -> Response:
        """Translate a file, and tell where it is."""
        core = call.core
        command = command_of(core, call.fields)
        upload = read_upload(call.fields, int(call.entrance.settings.max_upload_bytes))
        # For anyone who has the address: a browser downloads without a key.
        payer = current_identity().tenant
        document = self.shelf.put(ANYONE.tenant, payer, upload.name, len(upload.data))
        try:
            characters = await call.with_file(
                count_characters, upload, command.source, command.target
            )
            call.entrance.guard.charge(characters)
            made = await translate_upload(call, core.translator, command, upload)
        except BaseException:
            self.shelf.remove(document)
            raise
        document.finish(made.data, made.left)
        name = f"{document.id}-{document.key}{upload.format.suffixes[0]}"
        url = call.request.url.replace(path=f"/download_file/{name}", query="")
        return JSONResponse({"translatedFileUrl": str(url)})

    async def download(self, call: Call) -> Response:
        """Return a file."""
        stem = str(call.request.path_params["filename"]).partition(".")[0]
        identifier, _, key = stem.partition("-")
        return attachment(self.shelf.get(identifier, key, ANYONE.tenant))
