"""Text to piece ids and back, from the files that checkpoints ship.

Whatever the file, text is only ever text: a control token typed by a user is cut into pieces
like any other word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from hub.bases.tokenizers.spans import Span, piece_spans
from hub.errors import CorruptBaseError

_SPACE = "▁"
_BYTES: Final = 256
_CONTROL = re.compile(r"<(?!0x[0-9A-F]{2}>)[^<> ]+>")
"""What control tokens look like in a vocabulary; <0x0A> and the like are bytes."""


_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")


def byte_named(ids: Mapping[str, int]) -> dict[int, int]:
    """Return the byte of each token that is named as byte pieces are (`<0x0A>`), by id."""
    found = ((index, _BYTE.fullmatch(piece)) for piece, index in ids.items())
    return {index: int(match[1], 16) for index, match in found if match}


def byte_pieces_of(model: Any, ids: Mapping[str, int]) -> dict[int, int]:
    """Return the byte of each byte piece of a SentencePiece model, by the family's id.

    A vocabulary that was cut down may have some of them only, and one without byte fallback may
    have a word that looks like one: the model says of what type a piece is.
    """
    named = byte_named(ids)
    return {
        ids[piece]: named[ids[piece]]
        for index in range(model.get_piece_size())
        if model.is_byte(index) and (piece := model.id_to_piece(index)) in ids
    }


class Pieces(Protocol):
    """A vocabulary and how text is cut into it; implementations are thread-safe."""

    @property
    def ids(self) -> Mapping[str, int]:
        """Every token of the vocabulary with its id, control tokens included."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without special tokens."""

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Bytes of the byte pieces by id; none without byte fallback."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; the caller leaves out special ones."""

    def spans(self, text: str) -> list[Span]:
        """Return the characters of a text that each id of `encode` stands for."""

    def piece(self, index: int) -> str:
        """Return the piece of an id, "" for one that `decode` leaves out."""


def read_object(path: Path) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one where there is no such file.

    Raises:
        CorruptBaseError: The file cannot be read, or holds something else.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptBaseError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise CorruptBaseError(f"{path} holds {type(found).__name__}, expected a JSON object")
    return found


class JsonPieces:
    """tokenizer.json, as transformers 5 writes and most checkpoints ship it."""

    def __init__(self, path: Path) -> None:
        """Load a file.

        Raises:
            CorruptBaseError: It cannot be parsed.
        """
        from tokenizers import AddedToken, Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more special
            raise CorruptBaseError(f"{path} cannot be loaded: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # Only tokens that are marked as special can be left unparsed in text, so all are.
        added = self._tokenizer.get_added_tokens_decoder()
        self._tokenizer.add_special_tokens(
            [AddedToken(one.content, special=True, normalized=False) for one in added.values()]
        )
        self._tokenizer.encode_special_tokens = True
        self._ids: Mapping[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self._controls = {
            index: token
            for token, index in self._ids.items()
            if index in added or _CONTROL.fullmatch(token)
        }

    @property
    def ids(self) -> Mapping[str, int]:
        """Every token with its id."""
        return self._ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return [index for index, _ in self._cut(text)]

    def spans(self, text: str) -> list[Span]:
        """Return the characters of each id of `encode`."""
        return [span for _, span in self._cut(text)]

    def piece(self, index: int) -> str:
        """Return the piece of an id."""
        return str(self._tokenizer.id_to_token(index) or "")

    def _cut(self, text: str) -> list[tuple[int, Span]]:
        found = self._tokenizer.encode(text, add_special_tokens=False)
        if self._controls.keys().isdisjoint(found.ids):
            return list(zip(found.ids, found.offsets, strict=True))
        return [
            (part, (start, end))
            for index, (start, end) in zip(found.ids, found.offsets, strict=True)
            for part in self._plain(index, text[start:end].strip())
        ]

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Bytes of the byte pieces by id."""
        falls_back = bool(getattr(self._tokenizer.model, "byte_fallback", False))
        return byte_named(self._ids) if falls_back else {}

    def _plain(self, index: int, written: str) -> list[int]:
        """Cut a control token once more if it was written so, not only unknown.

        A vocabulary that has it as a piece finds it in text like a word.
        """
        if self._controls.get(index) != written or len(written) < 2:
            return [index]
        found: list[int] = []
        for part in (written[:-1], written[-1]):
            cut_part = self._tokenizer.encode(part, add_special_tokens=False)
            for place, (one, token) in enumerate(zip(cut_part.ids, cut_part.tokens, strict=True)):
                inside = token.removeprefix(_SPACE) if place == 0 else token
                found += [self._ids.get(inside, one)] if inside else []
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False)).strip()


class SentencePieces:
    """A SentencePiece model, with the ids that a family gives to its pieces."""

    def __init__(
        self,
        path: Path,
        id_of: Callable[[str, int], int] | None = None,
        extra: Sequence[str] = (),
        specials: Sequence[str] = (),
    ) -> None:
        """Load a model.

        Args:
            path: The model's file.
            id_of: From a piece and its SentencePiece id to the family's; None for no change.
            extra: Tokens with the ids behind all pieces, in order.
            specials: Tokens with the first ids, where the family counts them its own way.

        Raises:
            CorruptBaseError: It cannot be loaded.
        """
        self._model = load_sentencepiece(path)
        pieces = [self._model.id_to_piece(i) for i in range(self._model.get_piece_size())]
        found = {
            piece: id_of(piece, index) if id_of else index
            for index, piece in enumerate(pieces)
            if piece not in specials
        }
        found |= {token: index for index, token in enumerate(specials)}
        behind = max(found.values()) + 1
        self._ids = found | {token: behind + index for index, token in enumerate(extra)}
        self._pieces: Mapping[int, str] = {index: piece for piece, index in self._ids.items()}
        self._unk_id = self._ids["<unk>"]

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Bytes of the byte pieces by id."""
        return byte_pieces_of(self._model, self._ids)

    @property
    def ids(self) -> Mapping[str, int]:
        """Every token with its id."""
        return self._ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return [self._ids.get(piece, self._unk_id) for piece in cut(self._model, text)]

    def spans(self, text: str) -> list[Span]:
        """Return the characters of each id of `encode`."""
        return cut_spans(self._model, text)

    def piece(self, index: int) -> str:
        """Return the piece of an id."""
        return self._pieces.get(index, "")

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        pieces = [self._pieces[index] for index in ids if index in self._pieces]
        return str(self._model.decode_pieces(pieces)).strip()


def load_sentencepiece(path: Path) -> Any:
    """Return a SentencePiece processor.

    Raises:
        CorruptBaseError: The file is missing or is not a model.
    """
    from sentencepiece import SentencePieceProcessor

    try:
        return SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise CorruptBaseError(f"{path} cannot be loaded: {error}") from error


def cut(model: Any, text: str) -> list[str]:
    """Return the pieces of a text, where user-defined symbols are cut like other words.

    SentencePiece finds such symbols (MADLAD's language tokens are some) wherever they stand in
    a text. What was found in it is cut once more, without its last character first.
    """
    pieces: list[str] = model.encode(text, out_type=str)
    return [part for piece in pieces for part in _plain(model, piece)]


def cut_spans(model: Any, text: str) -> list[Span]:
    """Return the characters of each piece of `cut`; parts of one symbol have all of its own."""
    return [span for piece, span in piece_spans(model, text) for _ in _plain(model, piece)]


def _plain(model: Any, piece: str) -> list[str]:
    if len(piece) < 2 or not (piece.startswith("<") and piece.endswith(">")):
        return [piece]
    index = model.piece_to_id(piece)
    if model.is_byte(index) or model.is_unknown(index):
        return [piece]
    found: list[str] = []
    for part in (piece[:-1], piece[-1]):
        first, *others = model.encode(part, out_type=str)
        found += [first.removeprefix(_SPACE)] if first != _SPACE else []
        found += others
    return found


class WithLanguages:
    """A vocabulary that lists no languages, with their tokens behind its last piece."""

    def __init__(self, pieces: Pieces, codes: Sequence[str]) -> None:
        """Take the codes in the order of their ids.

        `<mask>`, which transformers puts in the first of these places, is left out: it stands
        behind the languages in the checkpoints.
        """
        self._pieces = pieces
        own = {token: index for token, index in pieces.ids.items() if token != "<mask>"}
        behind = max(own.values()) + 1
        self._ids = own | {code: behind + index for index, code in enumerate(codes)}
        self._own = frozenset(own.values())

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Bytes of the byte pieces by id."""
        return self._pieces.byte_ids

    @property
    def ids(self) -> Mapping[str, int]:
        """Every token with its id."""
        return self._ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return self._pieces.encode(text)

    def spans(self, text: str) -> list[Span]:
        """Return the characters of each id of `encode`."""
        return self._pieces.spans(text)

    def piece(self, index: int) -> str:
        """Return the piece of an id, "" for a language's."""
        return self._pieces.piece(index) if index in self._own else ""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return self._pieces.decode([index for index in ids if index in self._own])


class BytePieces:
    """ByT5 (arXiv 2105.13626): three special tokens, then one piece for each byte."""

    _FIRST: Final = 3

    def __init__(self) -> None:
        """Number the bytes."""
        specials = {"<pad>": 0, "</s>": 1, "<unk>": 2}
        found = {f"<0x{byte:02X}>": self._FIRST + byte for byte in range(_BYTES)}
        self._ids = specials | found

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Every byte by its id."""
        return {self._FIRST + byte: byte for byte in range(_BYTES)}

    @property
    def ids(self) -> Mapping[str, int]:
        """Every token with its id."""
        return self._ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's UTF-8 bytes."""
        return [self._FIRST + byte for byte in text.encode()]

    def spans(self, text: str) -> list[Span]:
        """Return the character of each byte."""
        return [(place, place + 1) for place, one in enumerate(text) for _ in one.encode()]

    def piece(self, index: int) -> str:
        """Return the piece of a byte."""
        byte = index - self._FIRST
        return f"<0x{byte:02X}>" if 0 <= byte < _BYTES else ""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; what is no byte is left out."""
        found = [index - self._FIRST for index in ids]
        return bytes(byte for byte in found if 0 <= byte < _BYTES).decode(errors="replace")
