"""/v2/document: upload, ask how far it is, download once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.responses import JSONResponse, Response

from hub.errors import HubError, InputError, UnavailableError
from server.access.identity import current_identity
from server.http.deepl.translation import choose, glossary_of, languages_of, refuse
from server.http.documents import (
    OpenedDocument,
    open_upload,
    read_upload,
    source_of,
    translate_document,
)
from server.http.endpoint import Call
from server.http.jobs import Jobs
from server.http.replies import attachment
from server.http.shelf import Progress, Shelf, ShelvedDocument
from server.messages import TranslateCommand


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of one server."""

    shelf: Shelf
    jobs: Jobs

    async def upload(self, call: Call) -> Response:
        """Take a document, and begin to translate it."""
        fields, core = call.fields, call.core
        refuse(fields)
        source, target = languages_of(core, fields)
        upload = read_upload(fields, int(call.entrance.settings.max_upload_bytes))
        suffixes = {one.lstrip("."): "" for one in upload.format.suffixes}
        choose(fields, "output_format", {"": "", upload.format.name: "", **suffixes}, "")
        command = TranslateCommand(
            (),
            source,
            target,
            adapter=fields.text("adapter"),
            domain=fields.text("domain"),
            glossary=await glossary_of(call, source, target),
        )
        opened = await call.off_loop(open_upload, upload, source, target)
        call.entrance.guard.charge(opened.characters)
        tenant = current_identity().tenant
        document = self.shelf.put(tenant, upload.name, len(upload.data))
        document.characters = opened.characters
        self._begin(call, document, opened, command)
        return JSONResponse({"document_id": document.id, "document_key": document.key})

    def _begin(
        self,
        call: Call,
        document: ShelvedDocument,
        opened: OpenedDocument,
        command: TranslateCommand,
    ) -> None:
        core = call.core

        async def work() -> None:
            document.progress = Progress.TRANSLATING
            source = await call.off_loop(source_of, core, opened, command.source, command.target)
            made = await translate_document(core, opened, replace(command, source=source))
            document.finish(made.data, made.left)

        def failed(error: HubError) -> None:
            document.fail(error.message)

        self.jobs.start(work, failed)

    async def status(self, call: Call) -> Response:
        """Tell how far a document is."""
        found = self._find(call)
        told: dict[str, object] = {"document_id": found.id, "status": found.progress.value}
        match found.progress:
            case Progress.TRANSLATING:
                told["seconds_remaining"] = 1
            case Progress.DONE:
                told["billed_characters"] = found.characters
            case Progress.ERROR:
                told["error_message"] = found.error
        return JSONResponse(told)

    async def download(self, call: Call) -> Response:
        """Return the translation, and forget it."""
        found = self._find(call)
        if found.progress is Progress.ERROR:
            raise InputError(f"the document was not translated: {found.error}")
        if found.progress is not Progress.DONE:
            raise UnavailableError("the document is being translated; ask for its status")
        self.shelf.remove(found)
        return attachment(found)

    def _find(self, call: Call) -> ShelvedDocument:
        identifier = str(call.request.path_params["document_id"])
        key = call.fields.text("document_key")
        return self.shelf.get(identifier, key, current_identity().tenant)
