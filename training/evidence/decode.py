"""Decode with the serving engine and score: what is measured is what will be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from hub.bases.vocabulary import LanguageLists
from hub.chrf import chrf
from hub.errors import EngineError
from hub.languages import LanguagePair
from hub.manifest import AdapterManifest, ScoreRecord, System
from training.evidence.scoring import Score, score

if TYPE_CHECKING:
    from hub.bases import Base
    from hub.bases.tokenizer import BaseTokenizer
    from hub.engine.engine import Engine
    from hub.engine.requests import DecodeRequest, DecodingOptions, Hypothesis
    from training.corpora import SentencePair

Quantization = Literal["float32", "bfloat16", "int8"]
SearchName = Literal["base", "greedy"]
VocabularyName = Literal["full", "language"]
ADAPTER_SLOT: Final = 1
BASE_SLOT: Final = 0
MAX_ROWS: Final = 64
MAX_NEW_TOKENS: Final = 128


class Decoder:
    """One engine with one base, and one slot for the adapter being looked at."""

    def __init__(
        self,
        base: Base,
        tokenizer: BaseTokenizer,
        quantization: Quantization = "int8",
        search: SearchName = "base",
        vocabulary: VocabularyName = "full",
    ) -> None:
        """Load the engine.

        Args:
            base: Whose rows.
            tokenizer: The base's.
            quantization: Numbers of the engine.
            search: The one that the base was published with, or greedy.
            vocabulary: What outputs choose from: all tokens, or those of the target language.

        Raises:
            CorruptBaseError: The base's weights are damaged.
        """
        self.quantization = quantization
        self.search = search
        self.vocabulary = vocabulary
        self._tokenizer = tokenizer
        self._lists = LanguageLists(tokenizer) if vocabulary == "language" else None
        self._parameters = base.parameters
        self._engine = self.load_engine(base)

    def load_engine(self, base: Base) -> Engine:
        """Return an engine with one slot, in this decoder's numbers."""
        from hub.engine.engine import Engine

        return Engine.load(
            base,
            quantization=self.quantization,
            slots=1,
            max_rows=MAX_ROWS,
            tokenizer=self._tokenizer,
        )

    def place(self, folder: Path, manifest: AdapterManifest | None = None) -> None:
        """Put an adapter folder into the slot, in the place of the one before.

        Raises:
            AdapterBindingError: A tensor does not bind to a site of the base.
            WrongBaseError: The manifest names another base.
            CorruptBlobError: The manifest's counts or budget do not hold.
            IncompatibleAdapterError: The engine does not serve this kind.
        """
        adapter = self._engine.read_adapter(folder, manifest)
        if manifest is not None:
            manifest.verify(parameters=adapter.parameters, base_parameters=self._parameters)
        self._engine.place(ADAPTER_SLOT, adapter)

    @property
    def byte_ids(self) -> Mapping[int, int]:
        """Bytes of the vocabulary's byte pieces, by token."""
        return self._tokenizer.byte_ids

    @property
    def signature(self) -> str:
        """How it decodes, as signatures of scores say it."""
        listed = "|vocabulary:language" if self._lists is not None else ""
        return f"decoding:{self._search_name()}|numbers:{self.quantization}{listed}"

    def _search_name(self) -> str:
        own = self._engine.architecture.decoding
        longest = "" if own.max_length is None else f"|max-length:{own.max_length}"
        if self.search == "greedy" or own.beam_size == 1:
            return f"greedy{longest if self.search != 'greedy' else ''}"
        penalty = "" if own.length_penalty == 1 else f"|length-penalty:{own.length_penalty:g}"
        early = f"|early-stopping:{own.early_stopping}" if own.early_stopping is not False else ""
        return f"beam-{min(own.beam_size, MAX_ROWS)}{penalty}{early}{longest}"

    def translate(
        self, pair: LanguagePair, sources: Sequence[str], slot: int, *, greedy: bool = False
    ) -> list[str]:
        """Return each source's translation, by the base (slot 0) or the adapter (1).

        Args:
            pair: The direction.
            sources: Texts.
            slot: Whose rows.
            greedy: Decode greedily whatever the search is.
        """
        options = self.options(pair, greedy=greedy)
        requests = [
            self._request(pair, text, key, slot, options) for key, text in enumerate(sources)
        ]
        return [self._tokenizer.decode(ids) for ids in self.decode(requests)]

    def outputs(self, pair: LanguagePair, sources: Sequence[str]) -> list[tuple[Hypothesis, int]]:
        """Return the adapter's best hypothesis of each source, and the source's tokens.

        These are the text's own, without those of the base's layout around it.
        """
        options = self.options(pair)
        requests = [
            self._request(pair, text, key, ADAPTER_SLOT, options)
            for key, text in enumerate(sources)
        ]
        around = len(self._tokenizer.encode_source("", pair.source, pair.target))
        lengths = [len(request.source_ids) - around for request in requests]
        return list(zip(self.best(requests), lengths, strict=True))

    def decode(self, requests: Sequence[DecodeRequest]) -> list[tuple[int, ...]]:
        """Return the best hypothesis' ids of each request, in the order of the requests.

        Raises:
            EngineError: The engine failed on a row.
        """
        return [found.token_ids for found in self.best(requests)]

    def best(self, requests: Sequence[DecodeRequest]) -> list[Hypothesis]:
        """Return the best hypothesis of each request, in the order of the requests.

        Raises:
            EngineError: The engine failed on a row.
        """
        found = self.answers(self._engine, requests)
        return [found[request.key] for request in requests]

    @staticmethod
    def answers(engine: Engine, requests: Sequence[DecodeRequest]) -> dict[int, Hypothesis]:
        """Return the best hypotheses by key, one for each request.

        Raises:
            EngineError: The engine failed on a row.
        """
        best: dict[int, Hypothesis] = {}
        for finished in engine.translate(list(requests)):
            if finished.error is not None:
                raise finished.error
            best[finished.key] = finished.hypotheses[0]
        if len(best) != len(requests):
            raise EngineError(f"the engine answered {len(best)} of {len(requests)} requests")
        return best

    def _request(
        self, pair: LanguagePair, text: str, key: int, slot: int, options: DecodingOptions
    ) -> DecodeRequest:
        from hub.engine.requests import DecodeRequest

        return DecodeRequest(
            key=key,
            source_ids=tuple(self._tokenizer.encode_source(text, pair.source, pair.target)),
            prefix_ids=tuple(self._tokenizer.target_prefix(pair.target)),
            slot=slot,
            options=options,
            shortlist=None if self._lists is None else self._lists.of(pair.target),
        )

    def length(self, pair: LanguagePair, text: str) -> int:
        """Return the tokens of a source, those of the base's layout included."""
        return len(self._tokenizer.encode_source(text, pair.source, pair.target))

    def options(self, pair: LanguagePair, *, greedy: bool = False) -> DecodingOptions:
        """Return the options that scores are decoded with: the base's own search, or greedy."""
        from hub.engine.requests import DecodingOptions

        architecture = self._engine.architecture
        own, prefix = architecture.decoding, len(self._tokenizer.target_prefix(pair.target))
        room = min(MAX_NEW_TOKENS, architecture.max_positions - prefix)
        if own.max_length is not None:
            room = max(1, min(room, own.max_length - 1 - prefix))
        if greedy or self.search == "greedy":
            return DecodingOptions(max_new_tokens=room)
        return DecodingOptions(
            beam_size=min(own.beam_size, MAX_ROWS),
            max_new_tokens=room,
            length_penalty=own.length_penalty,
            early_stopping=own.early_stopping,
        )


class DevJudge:
    """Scores an adapter folder by chrF++ on a part of the dev set, decoded greedily."""

    def __init__(
        self, decoder: Decoder, pair: LanguagePair, dev: Sequence[SentencePair], lines: int
    ) -> None:
        """Take evenly spaced segments, so that every kind of text in the set has its share."""
        self._decoder = decoder
        self._pair = pair
        self._segments = spread(dev, lines)

    def __call__(self, folder: Path) -> float:
        """Return chrF++ of the adapter in a folder."""
        self._decoder.place(folder)
        sources = [segment.source for segment in self._segments]
        hypotheses = self._decoder.translate(self._pair, sources, ADAPTER_SLOT, greedy=True)
        return chrf(hypotheses, [segment.target for segment in self._segments])


def spread(segments: Sequence[SentencePair], count: int) -> list[SentencePair]:
    """Return at most `count` segments, evenly spaced."""
    if len(segments) <= count:
        return list(segments)
    return [segments[index * len(segments) // count] for index in range(count)]


def score_system(
    decoder: Decoder,
    pair: LanguagePair,
    segments: Sequence[SentencePair],
    system: System,
) -> tuple[ScoreRecord, ...]:
    """Decode segments with the base or with the placed adapter, and score them."""
    slot = ADAPTER_SLOT if system == "adapter" else BASE_SLOT
    hypotheses = decoder.translate(pair, [s.source for s in segments], slot)
    scores = score(hypotheses, [s.target for s in segments], pair.target)
    return tuple(score_record(found, system, decoder.signature, len(segments)) for found in scores)


def score_record(found: Score, system: System, decoding: str, items: int) -> ScoreRecord:
    """Return a score as it is kept, its signature extended by how the system decoded."""
    return ScoreRecord(
        metric=found.metric,
        system=system,
        value=round(found.value, 4),
        signature=f"{found.signature}|{decoding}",
        items=items,
    )
