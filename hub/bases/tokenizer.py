"""Text to token ids and back, in the layout that each family was trained on.

Special tokens are added by id and never parsed out of text: `</s>` or `__ko__` typed by a user
is text like any other, where transformers' own tokenizers would take it for a control token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hub.bases.base import Base
from hub.bases.tokenizers.pieces import byte_pieces_of
from hub.bases.tokenizers.spans import Span, piece_spans, source_spans, target_spans
from hub.errors import CorruptBaseError
from hub.languages import canonical, choose, m2m_code
from hub.text import normal, normal_target


class BaseTokenizer(Protocol):
    """What training and serving need of a base's tokenizer; implementations are thread-safe."""

    @property
    def pad_id(self) -> int:
        """Id that fills short rows."""

    @property
    def eos_id(self) -> int:
        """Id that ends a sentence."""

    @property
    def decoder_start_id(self) -> int:
        """Id that the decoder is started with."""

    @property
    def unk_id(self) -> int:
        """Id of what the vocabulary cannot spell."""

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Bytes of the byte pieces by id, of the vocabulary that outputs are spelled in."""

    @property
    def tokens(self) -> Mapping[int, str]:
        """The token of every id that has one, languages included."""

    @property
    def languages(self) -> frozenset[str]:
        """BCP-47 codes of the languages it has."""

    def encode_source(self, text: str, language: str, target: str = "") -> list[int]:
        """Return encoder input ids, language and end tokens included.

        Args:
            text: One segment, in any form; `hub.text.normal` is applied to it.
            language: What it is written in.
            target: What it shall become; families that say so in the source must be told.
        """

    def target_prefix(self, language: str) -> list[int]:
        """Return the ids that every translation into the language begins with."""

    def encode_target(self, text: str, language: str) -> list[int]:
        """Return labels: the prefix, the text as `hub.text.normal_target` has it, the end token."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out, the unknown one as well."""

    def source_spans(self, text: str, language: str, target: str = "") -> list[Span | None]:
        """Return the characters of `text` that each id of `encode_source` stands for.

        None for languages, ends and whatever else is not of the text.
        """

    def target_spans(self, ids: Sequence[int]) -> list[Span]:
        """Return the characters of `decode(ids)` that each id stands for, empty for special ones.

        The ids of a character's bytes have the whole character each. A blank belongs to the token
        behind it.
        """


class M2M100Tokenizer:
    """M2M-100: `[__source__] pieces </s>` → `[__target__] pieces </s>`.

    Ids are those of vocab.json followed by one per language in the fixed order of the M2M-100
    code list, as in transformers' M2M100Tokenizer; pieces come from SentencePiece.
    """

    def __init__(self, folder: Path, codes: Sequence[str], languages: Mapping[str, str]) -> None:
        """Load from a folder.

        Args:
            folder: Holds vocab.json and sentencepiece.bpe.model.
            codes: Every language code of the family, in the order of their ids.
            languages: BCP-47 code to family code, for the languages to accept.

        Raises:
            CorruptBaseError: A file is missing or cannot be parsed.
        """
        from sentencepiece import SentencePieceProcessor

        try:
            vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
            self._pieces = SentencePieceProcessor(
                model_file=str(folder / "sentencepiece.bpe.model")
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise CorruptBaseError(f"tokenizer in {folder} cannot be loaded: {error}") from error
        self._id_of_piece: Mapping[str, int] = vocabulary
        self._piece_of_id = {index: piece for piece, index in vocabulary.items()}
        self._language_ids = {
            language: len(vocabulary) + codes.index(code) for language, code in languages.items()
        }
        self._language_tokens = {
            len(vocabulary) + index: f"__{code}__" for index, code in enumerate(codes)
        }
        self._unk_id = int(vocabulary["<unk>"])
        hidden = ("<s>", "<pad>", "</s>", "<unk>")
        self._specials = frozenset(int(vocabulary[token]) for token in hidden)

    @property
    def pad_id(self) -> int:
        """Id that fills short rows."""
        return int(self._id_of_piece["<pad>"])

    @property
    def eos_id(self) -> int:
        """Id that ends a sentence."""
        return int(self._id_of_piece["</s>"])

    @property
    def decoder_start_id(self) -> int:
        """M2M-100 starts its decoder with `</s>`."""
        return self.eos_id

    @property
    def unk_id(self) -> int:
        """Id of what the vocabulary cannot spell; with byte fallback it is rare."""
        return self._unk_id

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Bytes of the byte pieces, by id."""
        return byte_pieces_of(self._pieces, self._id_of_piece)

    @property
    def tokens(self) -> Mapping[int, str]:
        """The token of every id that has one, languages included."""
        return self._piece_of_id | self._language_tokens

    @property
    def languages(self) -> frozenset[str]:
        """BCP-47 codes of the languages it has."""
        return frozenset(self._language_ids)

    def encode_source(self, text: str, language: str, target: str = "") -> list[int]:
        """Return `[language] pieces </s>`; the target is said by the decoder's prefix."""
        return [self._language_id(language), *self._encode(normal(text)), self.eos_id]

    def target_prefix(self, language: str) -> list[int]:
        """Return `[language]`."""
        return [self._language_id(language)]

    def encode_target(self, text: str, language: str) -> list[int]:
        """Return `[language] pieces </s>`."""
        return [self._language_id(language), *self._encode(normal_target(text)), self.eos_id]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; special and language tokens are left out."""
        pieces = [
            self._piece_of_id[index]
            for index in ids
            if index in self._piece_of_id and index not in self._specials
        ]
        return str(self._pieces.decode_pieces(pieces)).strip()

    def source_spans(self, text: str, language: str, target: str = "") -> list[Span | None]:
        """Return the characters of each id of `encode_source`; None for language and end."""
        self._language_id(language)
        return source_spans(text, "", 1, 1, self._cut_spans)

    def target_spans(self, ids: Sequence[int]) -> list[Span]:
        """Return the characters of each id in `decode(ids)`."""
        return target_spans(ids, self._shown, self.decode)

    def _cut_spans(self, text: str) -> list[Span]:
        return [span for _, span in piece_spans(self._pieces, text)]

    def _shown(self, index: int) -> str:
        return "" if index in self._specials else self._piece_of_id.get(index, "")

    def _encode(self, text: str) -> list[int]:
        pieces = self._pieces.encode(text, out_type=str)
        return [self._id_of_piece.get(piece, self._unk_id) for piece in pieces]

    def check_table(self, base: Base) -> None:
        """Check that the base's token table has a row for every language.

        Raises:
            CorruptBaseError: It has fewer: the languages are those of another list.
        """
        rows, last = int(base.config.get("vocab_size", 0)), max(self._language_ids.values())
        if last >= rows:
            raise CorruptBaseError(
                f"base {base.name!r}: its token table has {rows:,} rows, the last language token "
                f"would be row {last:,}; language_codes in tokenizer_config.json says whose list "
                "of languages it has (m2m100, wmt21)"
            )

    def _language_id(self, language: str) -> int:
        return self._language_ids[choose(language, self._language_ids, "the base model")]


def load_tokenizer(base: Base) -> BaseTokenizer:
    """Return the tokenizer of a base.

    A base built by `hub bases build` has the languages of its record; any other M2M-100 base has
    all hundred.

    Raises:
        CorruptBaseError: Its files are missing or unreadable, or of a family without languages.
    """
    from hub.bases.tokenizers import loading

    loaders = {
        "m2m_100": _load_m2m_100,
        "mbart": loading.load_mbart,
        "marian": loading.load_marian,
        "t5": loading.load_t5,
        "mt5": loading.load_t5,
    }
    loader = loaders.get(base.family)
    if loader is None:
        raise CorruptBaseError(
            f"base {base.name!r}: model_type {base.family!r} has no tokenizer for translation; "
            f"these have: {', '.join(sorted(loaders))}"
        )
    return loader(base)


def _load_m2m_100(base: Base) -> BaseTokenizer:
    """M2M-100 ships a vocab.json, NLLB-200 of the same architecture does not."""
    from hub.bases.tokenizers.loading import load_nllb, m2m_languages, refuse_small100

    refuse_small100(base)
    if not (base.folder / "vocab.json").is_file():
        return load_nllb(base)
    codes = m2m_languages(base)
    known = {canonical(code): code for code in codes}
    recorded = [canonical(code) for code in base.record.get("languages") or known]
    languages = {tag: known.get(tag) or m2m_code(tag) for tag in recorded}
    found = M2M100Tokenizer(base.folder, codes, languages)
    found.check_table(base)
    return found
