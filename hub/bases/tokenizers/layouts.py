"""Where each family puts its language and end tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hub.bases.tokenizers.codes import find_code
from hub.bases.tokenizers.pieces import Pieces
from hub.bases.tokenizers.spans import Span, source_spans, target_spans
from hub.errors import LanguageError
from hub.text import normal, normal_target


@dataclass(frozen=True, slots=True)
class Frame:
    """What a family puts around the pieces of a source.

    Attributes:
        before: Tokens in front.
        words: Text in front, cut into pieces together with the source's own.
        after: Tokens behind.
    """

    before: Sequence[int]
    after: Sequence[int]
    words: str = ""


class _Layout:
    """What all layouts share: ids, and text back from them.

    Attributes:
        name: Of the base, for messages.
    """

    def __init__(
        self,
        name: str,
        source: Pieces,
        target: Pieces,
        *,
        pad_id: int,
        eos_id: int,
        decoder_start_id: int,
        hidden: Sequence[int],
    ) -> None:
        self.name = name
        self._source = source
        self._target = target
        self._pad_id = pad_id
        self._eos_id = eos_id
        self._start_id = decoder_start_id
        self._hidden = frozenset((*hidden, pad_id, eos_id, decoder_start_id))

    @property
    def pad_id(self) -> int:
        """Id that fills short rows."""
        return self._pad_id

    @property
    def eos_id(self) -> int:
        """Id that ends a sentence."""
        return self._eos_id

    @property
    def decoder_start_id(self) -> int:
        """Id that the decoder is started with."""
        return self._start_id

    @property
    def unk_id(self) -> int:
        """Id of what the vocabulary cannot spell."""
        return self._target.ids["<unk>"]

    @property
    def tokens(self) -> Mapping[int, str]:
        """The token of every id that has one, languages included."""
        return {index: token for token, index in self._target.ids.items()}

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Bytes of the target vocabulary's byte pieces, by id."""
        return self._target.byte_ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; special and language tokens are left out."""
        return self._target.decode([index for index in ids if index not in self._hidden])

    def encode_source(self, text: str, language: str, target: str = "") -> list[int]:
        """Return the ids of a source text in its family's layout."""
        frame = self._frame(language, target)
        pieces = self._source.encode(frame.words + normal(text))
        return [*frame.before, *pieces, *frame.after]

    def source_spans(self, text: str, language: str, target: str = "") -> list[Span | None]:
        """Return the characters of each id of `encode_source`; None for those of the layout."""
        frame = self._frame(language, target)
        before, after = len(frame.before), len(frame.after)
        return source_spans(text, frame.words, before, after, self._source.spans)

    def target_spans(self, ids: Sequence[int]) -> list[Span]:
        """Return the characters of each id in `decode(ids)`."""
        return target_spans(ids, self._shown, self.decode)

    def _shown(self, index: int) -> str:
        return "" if index in self._hidden else self._target.piece(index)

    def _frame(self, language: str, target: str) -> Frame:
        raise NotImplementedError

    def _target_ids(self, text: str) -> list[int]:
        return self._target.encode(normal_target(text))


class PrefixedTokenizer(_Layout):
    """NLLB and mBART-50: `[source] pieces </s>` → `[target] pieces </s>`."""

    def __init__(
        self,
        name: str,
        pieces: Pieces,
        codes: Mapping[str, str],
        *,
        decoder_start_id: int,
        hidden: Sequence[int],
    ) -> None:
        """Take a vocabulary.

        Args:
            name: Of the base.
            pieces: Both sides' vocabulary.
            codes: Canonical tags with the tokens that mean them.
            decoder_start_id: From the config.
            hidden: More special ids.
        """
        self._codes = codes
        super().__init__(
            name,
            pieces,
            pieces,
            pad_id=pieces.ids["<pad>"],
            eos_id=pieces.ids["</s>"],
            decoder_start_id=decoder_start_id,
            hidden=(*hidden, *(pieces.ids[code] for code in codes.values())),
        )

    @property
    def languages(self) -> frozenset[str]:
        """BCP-47 codes of the languages it has."""
        return frozenset(self._codes)

    def _frame(self, language: str, target: str) -> Frame:
        return Frame([self._language_id(language)], [self.eos_id])

    def target_prefix(self, language: str) -> list[int]:
        """Return `[language]`."""
        return [self._language_id(language)]

    def encode_target(self, text: str, language: str) -> list[int]:
        """Return `[language] pieces </s>`."""
        return [self._language_id(language), *self._target_ids(text), self.eos_id]

    def _language_id(self, language: str) -> int:
        return self._source.ids[find_code(language, self._codes, self.name)]


class MBartTokenizer(PrefixedTokenizer):
    """mBART: `pieces </s> [source]` → `pieces </s>`, the decoder started with `[target]`.

    The start token is the config's, so a base translates into the one language that it was
    fine-tuned for.
    """

    def _frame(self, language: str, target: str) -> Frame:
        if target:
            self._check_target(target)
        return Frame([], [self.eos_id, self._language_id(language)])

    def target_prefix(self, language: str) -> list[int]:
        """Return nothing: the language is the decoder's first token."""
        self._language_id(language)
        return []

    def encode_target(self, text: str, language: str) -> list[int]:
        """Return `pieces </s>`."""
        self._check_target(language)
        return [*self._target_ids(text), self.eos_id]

    def _check_target(self, language: str) -> None:
        if self._language_id(language) != self.decoder_start_id:
            own = [
                tag
                for tag, code in self._codes.items()
                if self._source.ids[code] == self.decoder_start_id
            ]
            raise LanguageError(
                f"{self.name} starts its decoder for {', '.join(own) or 'no language'} alone, "
                f"not for {language!r}",
                field="language",
            )


class MarianTokenizer(_Layout):
    """Marian: `pieces </s>` → `pieces </s>`; with several targets `[>>target<<] pieces </s>`."""

    def __init__(
        self,
        name: str,
        source: Pieces,
        target: Pieces,
        sources: frozenset[str],
        targets: Mapping[str, str],
        *,
        decoder_start_id: int,
    ) -> None:
        """Take vocabularies.

        Args:
            name: Of the base.
            source: The source side.
            target: The target side, with the same ids.
            sources: Canonical tags of the source languages.
            targets: Canonical tags of the target languages with the token that asks for each;
                an empty one where there is a single target.
            decoder_start_id: From the config.
        """
        self._sources = sources
        self._targets = targets
        ids = source.ids
        super().__init__(
            name,
            source,
            target,
            pad_id=ids["<pad>"],
            eos_id=ids["</s>"],
            decoder_start_id=decoder_start_id,
            hidden=(ids["<unk>"], *(ids[code] for code in targets.values() if code)),
        )

    @property
    def languages(self) -> frozenset[str]:
        """BCP-47 codes of the languages it has, on either side."""
        return self._sources | frozenset(self._targets)

    def _frame(self, language: str, target: str) -> Frame:
        find_code(language, dict.fromkeys(self._sources, language), self.name)
        code = self._target_code(target)
        return Frame([self._source.ids[code]] if code else [], [self.eos_id])

    def target_prefix(self, language: str) -> list[int]:
        """Return nothing: the target is said in the source."""
        return []

    def encode_target(self, text: str, language: str) -> list[int]:
        """Return `pieces </s>`."""
        self._target_code(language)
        return [*self._target_ids(text), self.eos_id]

    def _target_code(self, language: str) -> str:
        if not language:
            if len(self._targets) == 1:
                return next(iter(self._targets.values()))
            raise LanguageError(f"{self.name} needs to know the target language", field="language")
        # Never empty inside find_code, where that would mean "none".
        found = find_code(language, {tag: tag for tag in self._targets}, self.name)
        return self._targets[found]


class T5Tokenizer(_Layout):
    """T5, mT5 and MADLAD-400: `[words that ask for a pair] pieces </s>` → `pieces </s>`."""

    def __init__(
        self,
        name: str,
        pieces: Pieces,
        targets: Mapping[str, str],
        words: Mapping[str, str],
        *,
        decoder_start_id: int,
        hidden: Sequence[int],
    ) -> None:
        """Take a vocabulary.

        Args:
            name: Of the base.
            pieces: Both sides' vocabulary.
            targets: Canonical tags with MADLAD's target tokens, empty ones where there are none.
            words: Canonical tags with the names in T5's "translate English to German: "; empty
                where a base was not trained on such words.
            decoder_start_id: From the config.
            hidden: More special ids.
        """
        self._targets = targets
        self._words = words
        super().__init__(
            name,
            pieces,
            pieces,
            pad_id=pieces.ids["<pad>"],
            eos_id=pieces.ids["</s>"],
            decoder_start_id=decoder_start_id,
            hidden=(*hidden, *(pieces.ids[code] for code in targets.values() if code)),
        )

    @property
    def languages(self) -> frozenset[str]:
        """BCP-47 codes of the languages it has."""
        return frozenset(self._targets)

    def _frame(self, language: str, target: str) -> Frame:
        tags = {tag: tag for tag in self._targets}
        source = find_code(language, tags, self.name)
        if not target:
            raise LanguageError(f"{self.name} needs to know the target language", field="language")
        wanted = find_code(target, tags, self.name)
        code = self._targets[wanted]
        prefix = [self._source.ids[code]] if code else []
        words = ""
        if self._words:
            words = f"translate {self._words[source]} to {self._words[wanted]}: "
        return Frame(prefix, [self.eos_id], words)

    def target_prefix(self, language: str) -> list[int]:
        """Return nothing: the target is said in the source."""
        return []

    def encode_target(self, text: str, language: str) -> list[int]:
        """Return `pieces </s>`."""
        find_code(language, {tag: tag for tag in self._targets}, self.name)
        return [*self._target_ids(text), self.eos_id]
