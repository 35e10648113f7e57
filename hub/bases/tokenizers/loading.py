"""The tokenizer of a base, from the files in its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hub.bases.base import Base
from hub.bases.languages import DIRECTION, said_languages
from hub.bases.tokenizers.codes import languages_of, tag_of
from hub.bases.tokenizers.layouts import (
    MarianTokenizer,
    MBartTokenizer,
    PrefixedTokenizer,
    T5Tokenizer,
)
from hub.bases.tokenizers.pieces import (
    BytePieces,
    JsonPieces,
    Pieces,
    SentencePieces,
    WithLanguages,
    byte_pieces_of,
    cut,
    cut_spans,
    load_sentencepiece,
    read_object,
)
from hub.bases.tokenizers.spans import Span
from hub.errors import BaseNotFoundError, CorruptBaseError
from hub.language_tables import (
    FLORES_200,
    ISO_639_5,
    M2M_100,
    MBART_25,
    MBART_50,
    MBART_50_ADDED,
    MC4,
    WMT_21,
)

_FAIRSEQ: Final = ("<s>", "<pad>", "</s>", "<unk>")
_NLLB_CODE: Final = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
_MBART_CODE: Final = re.compile(r"[a-z]{2}_[A-Z]{2}")
_MARIAN_CODE: Final = re.compile(r">>(.+)<<")
_MADLAD_CODE: Final = re.compile(r"<2([a-z]{2,3}(?:_[A-Za-z]+)*)>")
_T5_PAIR: Final = re.compile(r"translation_([a-z]{2,3})_to_([a-z]{2,3})")
_T5_WORDS: Final = re.compile(r"translate (\w+) to (\w+): ?")
_MADLAD_LEAST: Final = 2
_SMALL100: Final = re.compile(r"small[-_]?100", re.IGNORECASE)
_OPUS_NAME: Final = re.compile(
    r"opus-mt-(?:tc-\w+-)?(?P<source_lang>[A-Za-z_]+)-(?P<target_lang>[A-Za-z_]+)$"
)
_LONGEST_CODE: Final = 8
"""Characters of a code with its script ("zho_Hant"); what is longer is a name, not a code."""
_TOKEN: Final = re.compile(r"<[^<>\s]+>|>>[^<>\s]+<<|\[[^\[\]\s]+\]|__[^\s]+__")
"""What tokens that ask for a language look like; any other word is put in front of a source."""

TOKENIZER_CONFIG: Final = "tokenizer_config.json"
_SIDES: Final = ("source_lang", "target_lang")


def load_nllb(base: Base) -> PrefixedTokenizer:
    """Return NLLB-200's tokenizer.

    Files that transformers wrote from SentencePiece alone list no language: their tokens then have
    the ids behind all pieces, in NLLB-200's order, as in the published checkpoints.

    Raises:
        CorruptBaseError: Files are missing or cannot be read.
    """
    pieces = _fairseq_pieces(base, _listed_codes(base, _NLLB_CODE) or FLORES_200.split())
    tokens = [token for token in pieces.ids if _NLLB_CODE.fullmatch(token)]
    if not tokens:
        pieces = WithLanguages(pieces, FLORES_200.split())
        tokens = FLORES_200.split()
    _check_rows(base, pieces, tokens)
    return PrefixedTokenizer(
        base.name,
        pieces,
        _some(base, languages_of(tokens)),
        decoder_start_id=_start_id(base, pieces.ids["</s>"]),
        hidden=_hidden(pieces, (*_FAIRSEQ, "<mask>")),
    )


def load_mbart(base: Base) -> PrefixedTokenizer:
    """Return mBART-50's tokenizer, or mBART's.

    Raises:
        CorruptBaseError: Files are missing or cannot be read.
    """
    fifty = _is_fifty(base)
    order = MBART_25.split() + (MBART_50_ADDED.split() if fifty else [])
    pieces = _fairseq_pieces(base, order)
    known = set(MBART_50.split())
    tokens = [token for token in pieces.ids if token in known]
    fifty = fifty or any(token in pieces.ids for token in MBART_50_ADDED.split())
    kind = PrefixedTokenizer if fifty else MBartTokenizer
    codes = {tag.partition("-")[0]: code for tag, code in languages_of(tokens).items()}
    return kind(
        base.name,
        pieces,
        _some(base, codes),
        decoder_start_id=_start_id(base, pieces.ids["</s>"]),
        hidden=_hidden(pieces, (*_FAIRSEQ, "<mask>")),
    )


def _is_fifty(base: Base) -> bool:
    """Return whether a base is mBART-50: by the rows of its table, or by its tokenizer's class.

    Folders name either class, or none; only mBART-50's table has rows for all its languages.
    """
    path = base.folder / "sentencepiece.bpe.model"
    rows = int(base.config.get("vocab_size") or 0)
    if rows and path.is_file():
        pieces = int(load_sentencepiece(path).get_piece_size())
        return rows > pieces + len(MBART_50.split())
    return "MBart50" in str(_settings(base).get("tokenizer_class", ""))


def _check_rows(base: Base, pieces: Pieces, tokens: Sequence[str]) -> None:
    """Check that a base's table has a row for every language token."""
    rows = int(base.config.get("vocab_size") or 0)
    last = max((pieces.ids[token] for token in tokens), default=-1)
    if rows and last >= rows:
        raise CorruptBaseError(
            f"base {base.name!r}: its token table has {rows:,} rows, but its tokenizer's language "
            f"tokens go up to id {last:,}; take tokenizer and weights from the same model"
        )


def m2m_languages(base: Base) -> list[str]:
    """Return the codes of an M2M-100 vocabulary in the order of their ids.

    Raises:
        CorruptBaseError: tokenizer_config.json names a list that is not known.
    """
    named = str(_settings(base).get("language_codes") or "m2m100")
    lists = {"m2m100": M2M_100, "wmt21": WMT_21}
    if named not in lists:
        raise CorruptBaseError(
            f"base {base.name!r}: tokenizer_config.json names the list of languages {named!r}; "
            f"known are {', '.join(lists)}"
        )
    return lists[named].split()


def refuse_small100(base: Base) -> None:
    """Refuse SMaLL-100, which has M2M-100's files and another layout: the target in the source.

    Raises:
        BaseNotFoundError: A file or the name says that it is SMaLL-100.
    """
    settings = _settings(base)
    signs = (
        str(settings.get("tokenizer_class", "")), str(settings.get("auto_map", "")),
        str(base.config.get("_name_or_path", "")), base.name.rpartition("/")[2],
    )  # fmt: skip
    script = base.folder / "tokenization_small100.py"
    if script.is_file() or any(_SMALL100.search(sign) for sign in signs):
        raise BaseNotFoundError(
            f"base {base.name!r} is SMaLL-100, which is not served: it is told the target language "
            "in the source, which M2M-100's tokenizer does not do; take facebook/m2m100_418M",
            field="base",
        )


def load_marian(base: Base) -> MarianTokenizer:
    """Return a Marian tokenizer.

    Its source and target languages are those of tokenizer_config.json, else those in the name
    (`opus-mt-en-de`). Where these name a group ("ROMANCE") or nothing, `--languages` or the
    "languages" of a base.json say them.

    Raises:
        CorruptBaseError: Files are missing or cannot be read, or a language is not known.
    """
    ids: Mapping[str, int] = read_object(base.folder / "vocab.json")
    settings = _settings(base)
    if settings.get("separate_vocabs"):
        raise CorruptBaseError(
            f"base {base.name!r}: tokenizer_config.json says separate_vocabs; vocabularies that "
            "differ between source and target are not served"
        )
    if not {"<unk>", "<pad>", "</s>"} <= ids.keys():
        raise CorruptBaseError(f"base {base.name!r}: vocab.json lacks <unk>, <pad> or </s>")
    tokens = {match[1]: token for token in ids if (match := _MARIAN_CODE.fullmatch(token))}
    targets = {tag: tokens[code] for tag, code in languages_of(tokens).items()}
    sources, others = _sides(base, has_tokens=bool(targets))
    if not targets:
        targets = dict.fromkeys(others, "")
    return MarianTokenizer(
        base.name,
        _VocabularyPieces(base.folder / "source.spm", ids),
        _VocabularyPieces(base.folder / "target.spm", ids),
        frozenset(sources),
        targets,
        decoder_start_id=_start_id(base, ids["<pad>"]),
    )


def load_t5(base: Base) -> T5Tokenizer:
    """Return the tokenizer of a T5, mT5 or MADLAD-400 base.

    T5's languages and words are those of its config's translation tasks. mT5 asks for nothing
    in words, and has the languages of its training data. `--languages` says those of a fine-tune,
    and the words or tokens that ask for each.

    Raises:
        CorruptBaseError: Files are missing or cannot be read.
    """
    pieces = _t5_pieces(base)
    said = said_languages(base)
    tokens = {match[1]: token for token in pieces.ids if (match := _MADLAD_CODE.fullmatch(token))}
    words = _task_words(base.config)
    if len(tokens) >= _MADLAD_LEAST:
        targets = {tag: tokens[code] for tag, code in languages_of(tokens).items()}
        words = {}
    elif said:
        targets, words = _said_of_t5(base, pieces, said)
    elif words:
        targets = dict.fromkeys(words, "")
    else:
        known = MC4.split() if base.family == "mt5" else ("en", "de", "fr", "ro")
        targets = dict.fromkeys(languages_of(known), "")
    extra = [token for token in pieces.ids if token.startswith("<extra_id_")]
    return T5Tokenizer(
        base.name,
        pieces,
        _some(base, targets),
        words,
        decoder_start_id=_start_id(base, pieces.ids["<pad>"]),
        hidden=_hidden(pieces, ("<unk>", *extra)),
    )


def _said_of_t5(
    base: Base, pieces: Pieces, said: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return targets with their tokens, and words, from what was said of a fine-tune."""
    if all(_TOKEN.fullmatch(word) for word in said.values()):
        missing = [word for word in said.values() if word not in pieces.ids]
        if not missing:
            return dict(said), {}
        raise CorruptBaseError(
            f"base {base.name!r}: its vocabulary has no token {missing[0]!r}; say its languages "
            "with tokens that it has, or with the words that its prompts use, as en=English"
        )
    return dict.fromkeys(said, ""), {tag: word for tag, word in said.items() if word}


class _VocabularyPieces:
    """Marian: a SentencePiece model cuts, vocab.json numbers."""

    def __init__(self, path: Path, ids: Mapping[str, int]) -> None:
        self._model = load_sentencepiece(path)
        self._ids = ids
        self._pieces = {index: piece for piece, index in ids.items()}

    @property
    def ids(self) -> Mapping[str, int]:
        return self._ids

    def encode(self, text: str) -> list[int]:
        unk = self._ids["<unk>"]
        return [self._ids.get(piece, unk) for piece in cut(self._model, text)]

    def spans(self, text: str) -> list[Span]:
        return cut_spans(self._model, text)

    def piece(self, index: int) -> str:
        return self._pieces.get(index, "")

    @property
    def byte_ids(self) -> Mapping[int, int]:
        return byte_pieces_of(self._model, self._ids)

    def decode(self, ids: Sequence[int]) -> str:
        pieces = [self._pieces[index] for index in ids if index in self._pieces]
        return str(self._model.decode_pieces(pieces)).replace("▁", " ").strip()


def _fairseq_pieces(base: Base, codes: Sequence[str]) -> Pieces:
    """Return a vocabulary with fairseq's first four ids, from whichever file there is."""
    if (base.folder / "tokenizer.json").is_file():
        return _checked(base, JsonPieces(base.folder / "tokenizer.json"), _FAIRSEQ)
    path = base.folder / "sentencepiece.bpe.model"
    if not path.is_file():
        raise _no_files(base, "tokenizer.json or sentencepiece.bpe.model")
    if not codes:
        raise _no_files(base, "tokenizer.json, or additional_special_tokens with the languages")
    return SentencePieces(path, lambda _, index: index + 1, (*codes, "<mask>"), _FAIRSEQ)


def _t5_pieces(base: Base) -> Pieces:
    needed = ("<pad>", "</s>", "<unk>")
    if "ByT5" in str(_settings(base).get("tokenizer_class", "")):
        return BytePieces()
    if (base.folder / "tokenizer.json").is_file():
        return _checked(base, JsonPieces(base.folder / "tokenizer.json"), needed)
    path = base.folder / "spiece.model"
    if not path.is_file():
        raise _no_files(base, "tokenizer.json or spiece.model")
    return _checked(base, SentencePieces(path), needed)


def _checked(base: Base, pieces: Pieces, needed: Sequence[str]) -> Pieces:
    for token in needed:
        if token not in pieces.ids:
            raise CorruptBaseError(f"base {base.name!r}: its vocabulary lacks {token!r}")
    return pieces


def _no_files(base: Base, needed: str) -> CorruptBaseError:
    return CorruptBaseError(
        f"base {base.name!r} (model_type {base.family!r}) has no tokenizer: {needed} is missing"
    )


def _settings(base: Base) -> Mapping[str, Any]:
    return read_object(base.folder / "tokenizer_config.json")


def _listed_codes(base: Base, code: re.Pattern[str]) -> list[str]:
    """Return the language tokens that the folder's settings list, in the order of their ids."""
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        settings = read_object(base.folder / name)
        for key in ("additional_special_tokens", "extra_special_tokens"):
            tokens = settings.get(key) or []
            names = [one.get("content") if isinstance(one, dict) else one for one in tokens]
            found = [str(one) for one in names if code.fullmatch(str(one))]
            if found:
                return found
    return []


def marian_pair(base: Base) -> tuple[str, str] | None:
    """Return the two languages of a Marian whose name alone says them, None for any other."""
    settings = _settings(base)
    if settings.get("source_lang") or settings.get("target_lang"):
        return None
    source, target = (_stated(base, key) for key in _SIDES)
    return (source, target) if source and target else None


def _sides(base: Base, *, has_tokens: bool) -> tuple[list[str], list[str]]:
    """Return the source and the target languages of a Marian.

    What `--languages` says stands for a side that names a group or nothing. Where neither side
    names a language, and no token asks for a target, it has to say the direction.

    Raises:
        CorruptBaseError: A side has no language, or the direction is not known.
    """
    source, target = (_stated(base, key) for key in _SIDES)
    if source and (target or has_tokens):
        return [source], [target] if target else []
    said = said_languages(base)
    if said.directed:
        first, second = said
        return [source or first], [target or second]
    if not said:
        unnamed = _SIDES[0] if source is None else _SIDES[1]
        raise CorruptBaseError(
            f"base {base.name!r}: {unnamed} of {TOKENIZER_CONFIG} is "
            f"{_settings(base).get(unnamed)!r}, which names no language; say them once with "
            "--languages fr,es,it, or of a base of one pair --languages en>fr"
        )
    if source is None and target is None and not has_tokens:
        raise CorruptBaseError(
            f"base {base.name!r} translates one way, and its files do not say which; say it once "
            f"with --languages, as {DIRECTION.join(list(said)[:2])}"
        )
    others = [tag for tag in said if tag not in (source, target)]
    return [source] if source else others, [target] if target else others


def _stated(base: Base, key: str) -> str | None:
    """Return the language that a Marian names for one side, None for a group or nothing."""
    stated = str(_settings(base).get(key) or _in_name(base, key))
    if len(stated) > _LONGEST_CODE or stated.lower() in ISO_639_5.split():
        return None
    return tag_of(stated)


def _in_name(base: Base, key: str) -> str:
    """Return the language of one side that a name such as opus-mt-en-de says."""
    found = _OPUS_NAME.search(base.name.partition("@")[0].rstrip("/"))
    return found[key] if found else ""


def _task_words(config: Mapping[str, Any]) -> dict[str, str]:
    """Return languages with the names that T5's translation tasks have for them."""
    found: dict[str, str] = {}
    for task, options in (config.get("task_specific_params") or {}).items():
        pair = _T5_PAIR.fullmatch(str(task))
        words = _T5_WORDS.fullmatch(str((options or {}).get("prefix", "")))
        if pair and words:
            for code, word in zip(pair.groups(), words.groups(), strict=True):
                tag = tag_of(code)
                if tag is not None:
                    found[tag] = word
    return found


def _some(base: Base, codes: Mapping[str, str]) -> Mapping[str, str]:
    """Keep the languages that a base's record names, all where it names none."""
    if not codes:
        raise CorruptBaseError(
            f"base {base.name!r}: its vocabulary has no language tokens, so it is no model for "
            "translation between several languages; take its tokenizer files from where it was "
            "published"
        )
    named = {tag_of(str(code)) for code in base.record.get("languages", ())}
    return {tag: code for tag, code in codes.items() if tag in named} if named else codes


def _hidden(pieces: Pieces, tokens: Sequence[str]) -> list[int]:
    return [pieces.ids[token] for token in tokens if token in pieces.ids]


def _start_id(base: Base, default: int) -> int:
    found = base.decoding_config.get("decoder_start_token_id")
    return default if found is None else int(found)
