"""What travels between the rooms of the server: plain frozen dataclasses, no wire, no tensors.

    command ──route, tokenize──▶ jobs ──queue, engine──▶ outcomes ──score──▶ result

A job is one text; it ends in exactly one outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from hub.engine.requests import EarlyStopping
from hub.engine.shortlists import Shortlist
from hub.errors import HubError
from hub.glossaries import Term


@dataclass(frozen=True, slots=True)
class SearchChoice:
    """What a caller asked of the search; None where the server's default is wanted."""

    beam_size: int | None = None
    max_output_tokens: int | None = None
    length_penalty: float | None = None
    num_alternatives: int = 0


class Split(Enum):
    """Where a text of several sentences is split."""

    SENTENCES = "sentences"
    SENTENCES_AND_LINES = "sentences and lines"
    LINES = "lines"
    OFF = "off"


class Priority(Enum):
    """Which requests go first; background is the server's own and never goes before a caller's."""

    INTERACTIVE = "interactive"
    BATCH = "batch"
    BACKGROUND = "background"

    def goes_behind(self, other: Priority) -> bool:
        """Tell whether requests of this priority wait for those of another."""
        order = list(Priority)
        return order.index(self) > order.index(other)


@dataclass(frozen=True, slots=True)
class GlossaryChoice:
    """Prescribed translations.

    Attributes:
        stored: "name" or "name:version" of a stored glossary, "" for none.
        terms: Terms of this request; they win over stored ones with the same source.
        forced: Whether the search is made to use them, or misses are reported only.
    """

    stored: str = ""
    terms: tuple[Term, ...] = ()
    ignore_case: bool = False
    forced: bool = True

    @property
    def empty(self) -> bool:
        """Tell whether it prescribes nothing."""
        return not self.stored and not self.terms


@dataclass(frozen=True, slots=True)
class TranslateCommand:
    """One call, as it came in.

    Attributes:
        source: "" to detect the language of each item.
        adapter: A ref; "base" for the base model alone; "" for the route of pair and domain.
        mime_type: "" means text/plain.
        deadline: Monotonic seconds after which nobody waits for the reply, None for no limit.
        domain: Narrows the route of a command without an adapter.
        require_adapter: Refuse a fallback.
        refuse_long: Refuse a sentence that is longer than the model takes, rather than split it.
        keep: Spans of the source that stay as they are.
        token_scores: Whether output tokens are returned with their log-probabilities.
        tenant: Who asks, "" where there is no authentication.
        permitted: Patterns of the names of adapters that the tenant may use.
        labels: The caller's own, for logs.
        routing_key: Requests with the same one get the same arm of a canary; "" for the texts.
    """

    contents: tuple[str, ...]
    source: str
    target: str
    adapter: str = ""
    search: SearchChoice = field(default_factory=SearchChoice)
    mime_type: str = ""
    deadline: float | None = None
    domain: str = ""
    require_adapter: bool = False
    split: Split = Split.SENTENCES
    refuse_long: bool = False
    keep: tuple[str, ...] = ()
    glossary: GlossaryChoice = field(default_factory=GlossaryChoice)
    token_scores: bool = False
    priority: Priority = Priority.INTERACTIVE
    tenant: str = ""
    permitted: tuple[str, ...] = ("*",)
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    routing_key: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """How one text is searched for, every default filled in."""

    beam_size: int
    max_new_tokens: int
    length_penalty: float
    num_hypotheses: int
    early_stopping: EarlyStopping = False


@dataclass(frozen=True, slots=True)
class Job:
    """One sentence on its way through the queue and the engine.

    Attributes:
        key: Unique in this process, from 1; higher arrived later.
        digest: The adapter's digest, "" for the base model.
        source_ids: Tokens for the encoder, language and end tokens included.
        prefix_ids: Tokens that the output is forced to begin with.
        adapter_bytes: Size of the adapter's files, an estimate of its size in memory.
        deadline: As in TranslateCommand.
        tenant: As in TranslateCommand; fairness is between tenants.
        align: Whether candidates carry an alignment.
        token_scores: Whether candidates carry the log-probability of each token.
        constraints: Terms that the output must hold: for each, the token sequences of its forms,
            any of which will do.
        joiners: Tokens that may not come right behind a term, because they continue the word.
        shortlist: The tokens of the target language, where outputs choose from these; None for all.
    """

    key: int
    digest: str
    source_ids: tuple[int, ...]
    prefix_ids: tuple[int, ...]
    search: Search
    adapter_bytes: int = 0
    deadline: float | None = None
    priority: Priority = Priority.INTERACTIVE
    tenant: str = ""
    align: bool = False
    token_scores: bool = False
    constraints: tuple[tuple[tuple[int, ...], ...], ...] = ()
    joiners: frozenset[int] = frozenset()
    shortlist: Shortlist | None = None

    @property
    def rows(self) -> int:
        """Return the rows it takes in a batch: one per beam."""
        return self.search.beam_size

    @property
    def tokens(self) -> int:
        """Return the length of its source."""
        return len(self.source_ids)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One hypothesis: tokens without prefix and end; `finished` is False when it was cut.

    Attributes:
        alignment: For each token the index of the source token that it attends to most; empty
            unless the job asked for it.
        token_log_probabilities: `length` of them, one for each token and one for the end token
            where there is one; empty unless the job asked for them.
    """

    token_ids: tuple[int, ...]
    score: float
    log_probability: float
    finished: bool
    alignment: tuple[int, ...] = ()
    token_log_probabilities: tuple[float, ...] = ()

    @property
    def length(self) -> int:
        """Return the tokens that the log-probability is the sum of, the end token included."""
        return len(self.token_ids) + self.finished

    @property
    def mean_log_probability(self) -> float:
        """Return the mean over those tokens; 0 for no token."""
        return self.log_probability / self.length if self.length else 0.0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds by stage, and the fullest step that a job took part in.

    Attributes:
        queue_seconds: From acceptance to the first step, `load_seconds` included.
        load_seconds: What of it the adapter's load took.
        accepted_at: Monotonic seconds of the acceptance; 0 where there was none.
        ended_at: Monotonic seconds of the reply.
    """

    queue_seconds: float = 0.0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    batch_rows: int = 0
    batch_distinct_adapters: int = 0
    load_seconds: float = 0.0
    accepted_at: float = 0.0
    ended_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: with candidates, best first, or with an error; every job has one."""

    key: int
    candidates: tuple[Candidate, ...] = ()
    error: HubError | None = None
    timings: Timings = field(default_factory=Timings)


class Flag(Enum):
    """What a reader of a translation should beware of."""

    TRUNCATED = "truncated"
    REPETITION = "repetition"
    LENGTH_RATIO = "length_ratio"
    UNKNOWN_CHARACTERS = "unknown_characters"
    UNKNOWN_TOKEN = "unknown_token"
    SPLIT = "split"
    TAG_MISMATCH = "tag_mismatch"
    PLACEHOLDER_MISMATCH = "placeholder_mismatch"
    GLOSSARY_MISS = "glossary_miss"
    UNCERTAIN_LANGUAGE = "uncertain_language"
    OFF_TARGET = "off_target"
    NUMBER_MISMATCH = "number_mismatch"
    COPY = "copy"
    EMPTY = "empty"
    LOW_PROBABILITY = "low_probability"


class Fallback(Enum):
    """Why an item was translated by another adapter than the one that was asked for."""

    NO_DOMAIN = "no_domain"
    RELATED_LOCALE = "related_locale"
    NO_ADAPTER = "no_adapter"
    OVERLOAD = "overload"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class FlagDetail:
    """What a flag is about: placeholders, tags, terms, numbers."""

    flag: Flag
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenScore:
    """An output token, blanks as blanks, and its log-probability."""

    text: str
    log_probability: float


@dataclass(frozen=True, slots=True)
class Detected:
    """A detected language and the detector's own estimate of being right, 0 to 1."""

    language: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Signals:
    """Quality signals that need no reference.

    Attributes:
        log_probability_z: Of `mean_log_probability` against the adapter's dev set, in standard
            deviations; None where that is not known.
        length_ratio_z: Of the logarithm of `length_ratio`, likewise.
    """

    mean_log_probability: float = 0.0
    length_ratio: float = 0.0
    repetition: float = 0.0
    log_probability_z: float | None = None
    length_ratio_z: float | None = None


@dataclass(frozen=True, slots=True)
class SecondTry:
    """What came of translating bad sentences of a text once more.

    Attributes:
        reason: What was wrong with the first of them.
        adapter_version: What translated them again, "" for the base model.
        segments: How many, and `kept` how many of the new translations are returned.
    """

    reason: Flag
    adapter_version: str
    adapter_digest: str
    segments: int
    kept: int


@dataclass(frozen=True, slots=True)
class AlternativeText:
    """A hypothesis after the best one, as text."""

    text: str
    score: float
    mean_log_probability: float
    truncated: bool


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one text.

    Attributes:
        unknown_characters: The first few characters of the source that the vocabulary lacks.
        source: The source language as it was served.
        detected: Where the source language was left to be detected.
        adapter_version: "name:version", "" for the base model.
        adapter_digest: "sha256:…", "" for the base model.
        requested: The ref that was asked for, or that the route named.
        fallback: Why the adapter is not that one.
        segments: Sentences it was translated in.
        sentence_signals: Of each of them.
        second_try: Where bad translations of some were made once more.
    """

    text: str = ""
    signals: Signals = field(default_factory=Signals)
    flags: tuple[Flag, ...] = ()
    alternatives: tuple[AlternativeText, ...] = ()
    error: HubError | None = None
    timings: Timings = field(default_factory=Timings)
    input_tokens: int = 0
    output_tokens: int = 0
    unknown_characters: tuple[str, ...] = ()
    source: str = ""
    detected: Detected | None = None
    adapter_version: str = ""
    adapter_digest: str = ""
    requested: str = ""
    fallback: Fallback | None = None
    details: tuple[FlagDetail, ...] = ()
    tokens: tuple[TokenScore, ...] = ()
    segments: int = 1
    sentence_signals: tuple[Signals, ...] = ()
    second_try: SecondTry | None = None


@dataclass(frozen=True, slots=True)
class FinishedSegment:
    """A sentence of a stream.

    Attributes:
        item: Index of its text in the command.
        index: Of the sentence in its text.
        text: With the white space around it: the sentences of a text, joined, are its translation.
        start: First code point of the source sentence in its text, and `end` one past its last.
        signals: Of this sentence alone.
    """

    item: int
    index: int
    text: str
    start: int
    end: int
    signals: Signals = field(default_factory=Signals)


@dataclass(frozen=True, slots=True)
class FinishedItem:
    """The end of a text of a stream."""

    item: int
    result: ItemResult


@dataclass(frozen=True, slots=True)
class TranslateResult:
    """What became of a command; `items` keep the order of its contents.

    Attributes:
        source: The source language as it was served; it may say less than the command's. "" where
            the items have different ones.
        target: The target language, likewise.
        stage_seconds: Seconds by stage of the whole command: "route", "tokenize", "total".
    """

    items: tuple[ItemResult, ...]
    source: str
    target: str
    input_characters: int
    stage_seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter in memory.

    Attributes:
        slot: 0 when it is only in the host tier.
        pinned: It stays in host memory until it is unloaded.
    """

    digest: str
    slot: int
    size_bytes: int
    running: int
    pinned: bool = False
