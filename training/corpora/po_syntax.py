"""The syntax of gettext PO files: entries with their strings, or an error that names the line.

As in GNU gettext, a string ends on its line or the file is refused: what a cut download or a
forgotten quotation mark leaves is never taken for a translation. Babel's reader accepts such
strings, parses dates that no tool writes alike, and refuses the comments `#~|`; so this is our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from hub.errors import CorpusError
from training.corpora.encodings import text_decoder

MAX_FORMS: Final = 32
"""Plural forms of one message; no language has more than six."""

_KEYWORD: Final = re.compile(r"(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d{1,9})\])?[ \t]*(?=\"|$)")
_OBSOLETE: Final = re.compile(r"#~\s*msgid(?!_)")
_DOMAIN: Final = re.compile(r"domain[ \t]+\"[^\"]*\"")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*')
_ESCAPE: Final = re.compile(r"((?:\\(?:[0-7]{1,3}|x[0-9A-Fa-f]{1,2}))+)|\\(.)")
_NUMBER: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3}))")
_LETTERS: Final[Mapping[str, str]] = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "?": "?",
}  # fmt: skip


@dataclass
class Entry:
    """One message of a catalogue.

    Attributes:
        line: Where its `msgid` stands, from 1.
        id: The message; "" is the catalogue's header.
        plural: `msgid_plural`, None where the message has none.
        forms: Translations by number; a message without a plural has number 0 alone.
        fuzzy: Marked as not yet checked.
    """

    line: int
    context: str | None = None
    id: str = ""
    plural: str | None = None
    forms: dict[int, str] = field(default_factory=dict)
    fuzzy: bool = False

    @property
    def is_header(self) -> bool:
        """Tell whether this is the header; some tools give it an empty context."""
        return self.id == "" and not self.context


@dataclass
class PoReader:
    """Reads the lines of one catalogue.

    Attributes:
        path: Of the file, for messages.
        codec: What numeric escapes above 127 are bytes of.
        line: The line that was read last; begin with those before where a part of a file is read.
        obsolete: Entries passed over that are commented out with `#~`.
    """

    path: object
    codec: str = "utf-8"
    line: int = 0
    obsolete: int = 0
    _entry: Entry | None = None
    _part: tuple[str, int] = ("", 0)
    _fuzzy: bool = False

    def entries(self, lines: Iterator[str]) -> Iterator[Entry]:
        """Yield every entry that is not obsolete, the header included.

        Raises:
            CorpusError: A line is none of a PO file; the message has file and line.
        """
        for line in lines:
            self.line += 1
            text = line.strip().strip("\ufeff")  # no-break spaces are blanks, too
            if text.startswith("#"):
                finished = self._comment(text)
            elif text.startswith('"'):
                self._continue(text)
                finished = None
            else:
                finished = self._keyword(text) if text else None
            if finished is not None:
                yield finished
        last = self._finish()
        if last is not None:
            yield last

    def _comment(self, text: str) -> Entry | None:
        finished = self._finish() if self._part[0] == "msgstr" else None
        if text.startswith("#~"):
            self.obsolete += bool(_OBSOLETE.match(text))
            self._fuzzy = False
        elif text.startswith("#,") and "fuzzy" in re.split(r"[,\s]+", text[2:]):
            if self._entry is None:
                self._fuzzy = True
            else:  # between the parts of an entry
                self._entry.fuzzy = True
        return finished

    def _keyword(self, text: str) -> Entry | None:
        if _DOMAIN.fullmatch(text):
            return self._finish()
        found = _KEYWORD.match(text)
        if found is None:
            raise self._fault(f"not a line of a PO file: {_short(text)}")
        name, number = found[1], int(found[2] or 0)
        if found[2] is not None and name != "msgstr":
            raise self._fault(f"{name} has no number")
        if number >= MAX_FORMS:
            raise self._fault(f"msgstr[{number}]: a message has at most {MAX_FORMS} plural forms")
        begins = name == "msgctxt" or (name == "msgid" and self._part[0] != "msgctxt")
        finished = self._finish() if begins else None
        self._begin(name, number)
        self._append(text[found.end() :])
        return finished

    def _begin(self, name: str, number: int) -> None:
        """Start a part of the entry, in the order that the syntax has."""
        before = self._part[0]
        allowed = {
            "msgctxt": ("",),
            "msgid": ("", "msgctxt"),
            "msgid_plural": ("msgid",),
            "msgstr": ("msgid", "msgid_plural", "msgstr"),
        }[name]
        entry = self._entry
        if before not in allowed or (
            entry is not None and name == "msgstr" and number in entry.forms
        ):
            raise self._fault(f"{name} does not belong here; is a line missing?")
        if entry is None:
            entry = self._entry = Entry(self.line, fuzzy=self._fuzzy)
            self._fuzzy = False
        if name == "msgid":
            entry.line = self.line
        elif name == "msgctxt":
            entry.context = ""
        elif name == "msgid_plural":
            entry.plural = ""
        else:
            entry.forms[number] = ""
        self._part = (name, number)

    def _continue(self, text: str) -> None:
        if not self._part[0]:
            raise self._fault("a string that belongs to no msgid or msgstr")
        self._append(text)

    def _append(self, text: str) -> None:
        """Read the strings of a line into the part that is open."""
        place = 0
        while place < len(text):
            found = _STRING.match(text, place)
            if found is None:
                rest = text[place:]
                why = "an unclosed string" if rest.startswith('"') else "text after a string"
                raise self._fault(f"{why}: {_short(rest)}")
            self._add(self._unescaped(found[1]))
            place = found.end()

    def _add(self, text: str) -> None:
        entry, (name, number) = self._entry, self._part
        assert entry is not None
        if name == "msgid":
            entry.id += text
        elif name == "msgctxt":
            entry.context = (entry.context or "") + text
        elif name == "msgid_plural":
            entry.plural = (entry.plural or "") + text
        else:
            entry.forms[number] += text

    def _unescaped(self, text: str) -> str:
        return _ESCAPE.sub(self._escape, text) if "\\" in text else text

    def _escape(self, found: re.Match[str]) -> str:
        if found[2] is not None:
            if found[2] not in _LETTERS:
                raise self._fault(f"\\{found[2]} is no escape of C")
            return _LETTERS[found[2]]
        numbers = _NUMBER.finditer(found[1])
        data = bytes((int(one[1], 16) if one[1] else int(one[2], 8)) & 255 for one in numbers)
        try:
            return text_decoder(self.codec).decode(data, True)
        except UnicodeDecodeError:
            raise self._fault(f"{found[1]} is no character in {self.codec}") from None

    def _finish(self) -> Entry | None:
        """Return the entry that ends here, None where none is open."""
        entry = self._entry
        if entry is not None and not entry.forms:
            raise self._fault("an entry without msgstr; does the file end there?", entry.line)
        self._entry, self._part = None, ("", 0)
        return entry

    def _fault(self, what: str, line: int | None = None) -> CorpusError:
        place = f"{self.path}:{line or self.line}"
        return CorpusError(f"{place}: not a PO catalogue: {what}", field="data")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
