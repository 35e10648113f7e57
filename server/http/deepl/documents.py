"""/v2/document: upload, ask how far it is, download once."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from hub.errors import HubError, InputError, UnavailableError
from server.access.identity import current_identity
from server.http.deepl.translation import choose, glossary_of, languages_of, refuse
from server.http.documents import Upload, count_characters, read_upload, translate_upload
from server.http.endpoint import Call
from server.http.jobs import Jobs
from server.http.replies import attachment
from server.http.shelf import Progress, Shelf, ShelvedDocument
from server.messages import TranslateCommand
from server.translation.waiting import WaitingTranslator


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
        tenant = current_identity().tenant
        document = self.shelf.put(tenant, tenant, upload.name, len(upload.data))
        try:
            document.characters = await call.with_file(count_characters, upload, source, target)
            call.entrance.guard.charge(document.characters)
        except BaseException:
            self.shelf.remove(document)
            raise
        self._begin(call, document, upload, command)
        return JSONResponse({"document_id": document.id, "document_key": document.key})

    def _begin(
        self, call: Call, document: ShelvedDocument, upload: Upload, command: TranslateCommand
    ) -> None:
        translator = WaitingTranslator(call.core.translator)

        async def work() -> None:
            document.progress = Progress.TRANSLATING
            made = await translate_upload(call, translator, command, upload)
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
        if call.request.method != "HEAD":  # which asks about it and gets no content
            self.shelf.remove(found)
        return attachment(found)

    def _find(self, call: Call) -> ShelvedDocument:
        identifier = str(call.request.path_params["document_id"])
        key = call.fields.text("document_key")
        return self.shelf.get(identifier, key, current_identity().tenant)
