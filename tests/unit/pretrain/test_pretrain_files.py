"""A base of parallel files: both directions, a vocabulary of more languages, bad input refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.cli import run
from hub.errors import CorpusError, CorpusNotFoundError, LanguageError
from hub.languages import LanguagePair
from training.pretrain.loop import BaseTrainer
from training.pretrain.recipe import BaseRecipe
from training.pretrain.stream import PairStream
from training.pretrain.texts import FileText
from training.pretrain.vocabulary import build_vocabulary, open_vocabulary

EN_DE, EN_FR = LanguagePair("en", "de"), LanguagePair("en", "fr")
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn"]
FRENCH = ["un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix"]


def write_corpus(path: Path, words: list[str], other: list[str], lines: int) -> Path:
    """Write a TSV of phrases of a few words that correspond."""
    rng = Random(path.name)
    rows = []
    for _ in range(lines):
        picks = [rng.randrange(len(words)) for _ in range(rng.randrange(3, 7))]
        rows.append("\t".join(" ".join(side[i] for i in picks) for side in (words, other)))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    de = write_corpus(tmp_path / "de.tsv", NUMBERS, GERMAN, 400)
    fr = write_corpus(tmp_path / "fr.tsv", NUMBERS, FRENCH, 200)
    return f"en-de={de}", f"en-fr={fr}"


@pytest.fixture
def text(files: tuple[str, str], tmp_path: Path) -> FileText:
    korean = tmp_path / "ko.txt"
    korean.write_text("하나 둘 셋\n넷 다섯 여섯\n" * 20, encoding="utf-8")
    sources = [
        (pair, word.partition("=")[2]) for pair, word in zip((EN_DE, EN_FR), files, strict=True)
    ]
    return FileText.read(sources, [("ko", korean)], seed=0)


def test_pairs_are_drawn_by_size_in_both_directions(text: FileText):
    rng = Random(0)
    drawn = [text.draw(rng) for _ in range(4000)]
    seen = Counter((phrase.source, phrase.target) for phrase in drawn)
    assert set(seen) == {("en", "de"), ("de", "en"), ("en", "fr"), ("fr", "en")}
    sizes = {facts.pair: facts.segments for facts in text.data}
    share = (seen["en", "de"] + seen["de", "en"]) / seen.total()
    assert share == pytest.approx(sizes["en-de"] / sum(sizes.values()), abs=0.04)
    assert seen["en", "de"] == pytest.approx(seen["de", "en"], rel=0.2)
    of = dict(zip(NUMBERS, GERMAN, strict=True))
    german = [phrase for phrase in drawn if phrase.target == "de"]
    assert all([of[w] for w in p.text.split()] == p.translation.split() for p in german)


def test_what_is_scored_is_never_drawn(text: FileText):
    rng = Random(1)
    drawn = {frozenset(phrase[2:]) for phrase in (text.draw(rng) for _ in range(6000))}
    held_out = list(text.held_out())
    assert [str(pair) for pair, _ in held_out] == ["en-de", "de-en", "en-fr", "fr-en"]
    assert all(len(segments) > 2 for _, segments in held_out)
    assert not {frozenset((s.source, s.target)) for _, part in held_out for s in part} & drawn


def test_the_vocabulary_spells_languages_that_only_have_text(text: FileText, tmp_path: Path):
    recipe = BaseRecipe(languages=text.languages, weak={}, vocabulary=400)
    assert text.languages == ("en", "de", "fr", "ko")
    build_vocabulary(recipe, text, tmp_path)
    tokenizer = open_vocabulary(recipe, tmp_path)
    ids = tokenizer.encode_source("하나 둘 셋", "ko")
    assert tokenizer.decode(ids) == "하나 둘 셋"
    assert len(ids) < len("하나 둘 셋".encode())  # not by bytes alone


def test_what_has_no_position_is_not_drawn(text: FileText, tmp_path: Path):
    recipe = BaseRecipe(languages=text.languages, weak={}, vocabulary=400, batch_tokens=128)
    build_vocabulary(recipe, text, tmp_path)
    tokenizer = open_vocabulary(recipe, tmp_path)

    def lengths(positions: int) -> set[int]:
        stream = PairStream(replace(recipe, max_positions=positions), tokenizer, text)
        return {len(e.source) for batch in stream.chunk(0) for e in batch}

    longest = max(lengths(256))
    assert min(lengths(256)) < longest
    assert max(lengths(longest - 1)) == longest - 1
    with pytest.raises(CorpusError, match="none of 1,000 drawn segments has at most 3"):
        lengths(3)


def test_the_recipe_names_its_data_and_only_then_changes(text: FileText):
    bare = BaseRecipe()
    assert "data" not in json.loads(bare.to_json())
    filed = BaseRecipe(data=text.data, texts=text.texts)
    assert filed.digest not in {bare.digest, BaseRecipe(data=text.data).digest}
    assert [fact.pair for fact in filed.data] == ["en-de", "en-fr"]
    assert all(fact.fingerprint.startswith("sha256:") for fact in filed.data)


def test_a_base_is_built_from_files_by_the_command(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "base"
    words = ["bases", "build", str(folder), "--vocabulary", "400", "--updates", "2"]
    words += ["--batch-tokens", "64", "--licence", "CC0-1.0"]
    for word in files:
        words += ["--data", word]
    assert run(words) == 0
    base = open_base(str(folder))
    assert load_tokenizer(base).languages == {"en", "de", "fr"}
    assert base.record["licence"] == "CC0-1.0"
    scored = {score["pair"] for score in base.record["scores"]}
    assert scored == {"en-de", "de-en", "en-fr", "fr-en"}
    assert "CC0-1.0" in capsys.readouterr().out
    assert run(words) == 0  # built already
    (Path(files[0].partition("=")[2])).write_text("one two\teins zwei\n" * 3, encoding="utf-8")
    assert run(words) != 0  # other data is another base


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "en-de"], "write PAIR=SOURCE"),
        (["--data", "de=x.tsv"], "de"),
        (["--data", "en-de=nowhere.tsv"], "there is no file nowhere.tsv"),
        (["--text", "ko=x"], "--text goes with --data"),
        (["--licence", "X"], "--licence goes with --data"),
        (["--data", "en-de=x.tsv", "--languages", "en,de"], "--languages goes with CLDR"),
        (["--data", "en-de=x.tsv", "--weak", "de=0.5"], "--weak goes with CLDR"),
    ],
)
def test_bad_words_are_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["bases", "build", str(tmp_path / "base"), *words]) not in {0, 1}
    assert message in capsys.readouterr().err
    assert not (tmp_path / "base").exists()


def test_bad_files_are_refused_before_the_long_work(files: tuple[str, str], tmp_path: Path):
    source = (EN_DE, files[0].partition("=")[2])
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"fine\n\xff\xff\n")
    with pytest.raises(CorpusError, match=r"bad\.txt:2"):
        FileText.read([source], [("ko", bad)], seed=0)
    with pytest.raises(CorpusNotFoundError, match=r"none\.txt"):
        FileText.read([source], [("ko", tmp_path / "none.txt")], seed=0)
    with pytest.raises(LanguageError, match="tlh"):
        FileText.read([source], [("tlh", bad)], seed=0)
    with pytest.raises(CorpusError, match="its files as en-de"):
        FileText.read([source, (LanguagePair("de", "en"), source[1])], [], seed=0)
    few = write_corpus(tmp_path / "few.tsv", NUMBERS, GERMAN, 2)
    with pytest.raises(CorpusError, match="are left to train on"):
        FileText.read([(EN_DE, str(few))], [], seed=0)
    fine = tmp_path / "fine.txt"
    fine.write_text("하나\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="twice"):
        FileText.read([source], [("ko", fine), ("ko", fine)], seed=0)


def small_build(folder: Path, source: str, *words: str) -> int:
    few = ["--vocabulary", "400", "--updates", "2", "--batch-tokens", "64"]
    return run(["bases", "build", str(folder), "--data", source, *few, *words])


def test_a_folder_that_cannot_be_written_is_named(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    for place in (taken, taken / "inside"):
        assert small_build(place, files[0]) == 64
        assert "choose another folder" in capsys.readouterr().err
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "base.json").write_text("{")
    assert small_build(folder, files[0]) == 64
    assert "base.json is damaged" in capsys.readouterr().err


def test_the_vocabulary_of_other_data_is_not_gone_on_with(
    files: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def killed(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(BaseTrainer, "run", killed)  # before its first checkpoint
    small_build(tmp_path / "base", files[0])
    assert (tmp_path / "base" / "vocab.json").is_file()
    monkeypatch.undo()
    capsys.readouterr()
    assert small_build(tmp_path / "base", files[1]) == 64
    assert "holds a checkpoint of recipe" in capsys.readouterr().err
    assert small_build(tmp_path / "base", files[0]) == 0


def test_a_vocabulary_larger_than_the_text_is_refused(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert small_build(tmp_path / "base", files[0], "--vocabulary", "64000") == 64
    said = capsys.readouterr().err
    assert "--vocabulary 64000 does not go with this text" in said
    assert "Please set it to a value <=" in said
