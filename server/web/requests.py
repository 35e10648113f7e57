"""What the page asks, as commands of the application."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.errors import InputError
from hub.glossaries import Term
from server.access.admission import Limits
from server.http.bodies import Fields
from server.messages import GlossaryChoice, SearchChoice, Split, TranslateCommand

MAX_COLUMNS: Final = 4
MAX_KEPT: Final = 100
MAX_TERMS: Final = 200
MAX_ALTERNATIVES: Final = 4

Model = TypeVar("Model", bound=BaseModel)
Ref = Annotated[str, Field(max_length=200)]
Span = Annotated[str, Field(min_length=1, max_length=200)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AskedTerm(_Asked):
    """A term and the forms of its translation."""

    source: Span
    targets: Annotated[list[Span], Field(min_length=1, max_length=20)]


class AskedGlossary(_Asked):
    """Prescribed translations."""

    stored: Ref = ""
    terms: Annotated[list[AskedTerm], Field(max_length=MAX_TERMS)] = []
    ignore_case: bool = False

    @property
    def choice(self) -> GlossaryChoice:
        """Return it as the application has it."""
        terms = tuple(Term(one.source, tuple(one.targets)) for one in self.terms)
        return GlossaryChoice(self.stored, terms, self.ignore_case)


class AskedText(_Asked):
    """A text with all that its translations have in common."""

    text: str
    source: Ref = ""
    target: Ref
    keep: Annotated[list[Span], Field(max_length=MAX_KEPT)] = []
    glossary: AskedGlossary = AskedGlossary()

    def command(self, adapter: str) -> TranslateCommand:
        """Return the command of one translation."""
        return TranslateCommand(
            contents=(self.text,),
            source=self.source,
            target=self.target,
            adapter=adapter,
            keep=tuple(self.keep),
            glossary=self.glossary.choice,
        )


class AskedColumns(AskedText):
    """One text for several columns."""

    adapters: Annotated[list[Ref], Field(min_length=1, max_length=MAX_COLUMNS)]

    @property
    def commands(self) -> list[TranslateCommand]:
        """Return the command of each column."""
        return [self.command(adapter) for adapter in self.adapters]


class AskedAlternatives(AskedText):
    """One sentence, and what else could be said of it."""

    adapter: Ref = ""

    def search(self, limits: Limits) -> TranslateCommand:
        """Return the command that looks for alternatives, as many as the widest beam finds."""
        count = min(MAX_ALTERNATIVES, limits.max_beam - 1)
        beam = max(count + 1, limits.search.beam_size)
        choice = SearchChoice(beam_size=beam, num_alternatives=count)
        return replace(self.command(self.adapter), search=choice, split=Split.OFF)


class AskedCorrection(_Asked):
    """A translation as somebody corrected it."""

    source_text: str
    translated_text: str
    post_edited_text: str
    source: Ref
    target: Ref
    adapter_version: Ref = ""
    adapter_digest: Ref = ""


def read(model: type[Model], fields: Fields) -> Model:
    """Return what a request says.

    Raises:
        InputError: It is no JSON object, or one of its fields is not what it should be.
    """
    if not fields.from_json:
        raise InputError("send a JSON object as application/json")
    try:
        return model.model_validate(_plain(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {first['msg']}", field=where) from None


def _plain(fields: Fields) -> dict[str, Any]:
    return dict(fields.values)
