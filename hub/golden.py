"""Golden lines: some lines of an adapter's dev set and how it translated them when new.

They lie in the adapter's folder, in golden.json, and are covered by its digest. Whoever serves the
adapter translates them again from time to time: the same files on the same base give the same
translations, so that a chrF++ which has fallen says that something else has changed, such as the
base, the machine or the engine. Adapters of older releases, and those from elsewhere, have none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError

from hub.chrf import chrf
from hub.errors import CorruptBlobError
from hub.provenance import Record

GOLDEN_FILE: Final = "golden.json"
GOLDEN_LINES: Final = 128
"""As many as it takes to tell a loss of five points of chrF++ from chance; docs/canary.md."""
MAX_GOLDEN_LINES: Final = 256
MAX_GOLDEN_TOKENS: Final = 128
"""Of a source, those of the base's layout included; servers take 256 by default."""
MAX_GOLDEN_CHARACTERS: Final = 1000
"""Of a source or a reference, so that the file stays small."""

Text = Annotated[str, Field(min_length=1, max_length=10_000)]
Positive = Annotated[int, Field(ge=1, le=10_000)]


class GoldenLine(Record):
    """One line.

    Attributes:
        translation: The adapter's own, when it was published.
    """

    source: Text
    reference: Text
    translation: str


class GoldenSearch(Record):
    """How the lines were decoded, so that it can be done again."""

    beam_size: Positive
    max_new_tokens: Positive
    length_penalty: Annotated[float, Field(ge=-10, le=10)]
    early_stopping: bool | Literal["never"]


class GoldenLines(Record):
    """The file.

    Attributes:
        score: chrF++ of the translations against the references, rounded to four places.
        signature: sacreBLEU's.
        numbers: The engine's, such as "int8"; others may give slightly different translations.
    """

    schema_version: Literal[1] = 1
    pair: str
    score: Annotated[float, Field(ge=0, le=100)]
    signature: str
    numbers: str
    search: GoldenSearch
    lines: Annotated[tuple[GoldenLine, ...], Field(min_length=1, max_length=MAX_GOLDEN_LINES)]

    def score_of(self, translations: Sequence[str]) -> float:
        """Return chrF++ of other translations of the same lines, rounded alike."""
        return round(chrf(translations, [line.reference for line in self.lines]), 4)

    def changed(self, translations: Sequence[str]) -> float:
        """Return the share of lines whose translation is another than when it was published."""
        pairs = zip(self.lines, translations, strict=True)
        return sum(line.translation != text for line, text in pairs) / len(self.lines)

    def to_json(self) -> str:
        """Return the canonical text: sorted keys, two spaces, one final newline."""
        plain = self.model_dump(mode="json")
        return json.dumps(plain, ensure_ascii=False, sort_keys=True, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read golden lines.

        Raises:
            CorruptBlobError: The text is none; the message names the first field at fault.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise CorruptBlobError(
                f"{GOLDEN_FILE} does not hold golden lines: {where}: {first['msg']}; publish the "
                "adapter again from its run folder, or without the file",
                field=GOLDEN_FILE,
            ) from None
