"""Splits by hash, samples, weights, overlap: the same lines always give the same corpus."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import CorpusError, CorpusNotFoundError
from hub.languages import LanguagePair
from training.corpora.clean import normal
from training.corpora.digests import BottomSample, SeenDigests, digests_of
from training.corpora.plan import CorpusRequest, plan_corpus

EN_DE = LanguagePair.parse("en-de")


def lines(count: int, start: int = 0) -> list[str]:
    words = ("red", "old", "new", "big"), ("rot", "alt", "neu", "groß")
    made = []
    for i in range(start, start + count):
        made.append(f"the {words[0][i % 4]} house {i}\tdas Haus {i} ist {words[1][i % 4]}")
    return made


def corpus(*specs, train=10_000, dev=50, test=50, seed=1, **told):
    request = CorpusRequest(data=tuple(str(spec) for spec in specs), **told)
    return plan_corpus(request, EN_DE).collect(seed=seed, train=train, dev=dev, test=test)


def pairs(segments) -> list[tuple[str, str]]:
    return [(segment.source, segment.target) for segment in segments]


def test_every_line_is_in_one_split_whatever_else_there_is(put) -> None:
    some, more = lines(800), lines(2000)
    random.Random(1).shuffle(more)
    one = corpus(put("a.tsv", "\n".join(some)), dev=9999, test=9999)
    other = corpus(put("b.tsv", "\n".join(more)), dev=9999, test=9999, seed=7)
    for split in ("train", "dev", "test"):
        found = set(pairs(getattr(one, split)))
        assert found
        assert found <= set(pairs(getattr(other, split)))
    assert sum(len(s) for s in (one.train, one.dev, one.test)) == 800
    assert 40 < len(one.dev) + len(one.test) < 120


def test_translations_of_one_text_never_straddle(put) -> None:
    text = "\n".join(f"{'A  ' if i % 2 else 'a '}house {i // 3}\tein Haus {i}" for i in range(3000))
    found = corpus(put("a.tsv", text), dev=999, test=999, clean=("numerals=off",))
    sources = [
        {normal(source) for source, _ in pairs(s)} for s in (found.train, found.dev, found.test)
    ]
    assert all(sources)
    assert not sources[0] & sources[1]
    assert not sources[0] & sources[2]
    assert not sources[1] & sources[2]
    assert found.report.removed == {}


def test_the_order_of_lines_does_not_matter_nor_do_name_and_compression(put) -> None:
    import gzip

    made = lines(500)
    shuffled = made[::-1]
    first = corpus(put("a.tsv", "\n".join(made)))
    packed = corpus(put("other.tsv.gz", gzip.compress("\r\n".join(made).encode())))
    other = corpus(put("b.tsv", "\n".join(shuffled)))
    assert packed.fingerprint == first.fingerprint
    assert pairs(other.train) == pairs(first.train)
    assert pairs(other.test) == pairs(first.test)
    assert other.fingerprint != first.fingerprint  # read in another order


@pytest.mark.parametrize(
    "changes",
    [{"seed": 2, "train": 100}, {"clean": ("numerals=off",)}, {"no_clean": True}, {"test": 10}],
)
def test_what_changes_the_corpus_changes_its_fingerprint(put, changes) -> None:
    path = put("a.tsv", "\n".join(lines(400)))
    plan = {k: changes[k] for k in ("clean", "no_clean") if k in changes}
    sizes = {k: changes[k] for k in ("seed", "train") if k in changes}
    if "test" in changes:
        request = CorpusRequest(data=(str(path),))
        changed = plan_corpus(request, EN_DE).collect(seed=1, train=10_000, dev=50, test=10)
    else:
        changed = corpus(path, **sizes, **plan)
    same = {"train": 100} if "seed" in changes else {}
    assert corpus(path, **same).fingerprint == corpus(path, **same).fingerprint
    assert changed.fingerprint != corpus(path, **same).fingerprint


def test_one_changed_letter_changes_the_fingerprint(put) -> None:
    text = "\n".join(lines(200))
    changed = text.replace("house 7\t", "House 7\t")
    assert changed != text
    found = {corpus(put("a.tsv", each)).fingerprint for each in (text, changed, text + "\n")}
    assert len(found) == 2  # a last line end is no content


def test_every_removal_is_counted_with_an_example(put) -> None:
    bad = [
        "\tleer", "x" * 1001 + "\tlang", "same\tSame", "привет мир\thallo Welt",
        "10 houses\t57 Häuser", "a\x01b\tSteuerzeichen", "short\t" + "lang " * 40,
        "the red house 0\tdas Haus 0 ist rot", "The  RED house 0\tDas Haus 0 ist rot",
    ]  # fmt: skip
    found = corpus(put("a.tsv", "\n".join([*lines(300), *bad])))
    report = found.report
    assert report.read == 309
    assert report.removed == {
        "empty": 1, "max-length": 1, "identical": 1, "script": 1, "numerals": 1, "control": 1,
        "ratio": 1, "duplicate": 2,
    }  # fmt: skip
    assert report.sources[0].kept == 300
    assert report.examples("numerals") == ["a.tsv:305: 10 houses ||| 57 Häuser"]
    assert len(report.examples("duplicate")) == 2
    kept = corpus(put("a.tsv", "\n".join([*lines(300), *bad])), no_clean=True)
    assert kept.report.removed == {"empty": 1}
    assert sum(len(s) for s in (kept.train, kept.dev, kept.test)) == 308


def test_dev_and_test_files_are_kept_apart_from_training(put) -> None:
    path = put("a.tsv", "\n".join(lines(1000)))
    dev = put("dev.tsv", "the red house 0\tetwas\nfresh\tfrisch\nboth\tbeide\n\tleer\n")
    test = put("test.tsv", "unseen\tDas Haus 1 ist ALT\nboth\tbeides\n")
    request = CorpusRequest(data=(str(path),), dev=str(dev), test=str(test))
    found = plan_corpus(request, EN_DE).collect(seed=1, train=5000, dev=9, test=9)
    assert [s.source for s in found.test] == ["unseen", "both"]
    assert [s.source for s in found.dev] == ["the red house 0", "fresh"]  # "both" is in test
    assert len(found.train) == 998
    assert found.report.removed == {"overlap": 3}
    loose = plan_corpus(
        CorpusRequest(data=(str(path),), dev=str(dev), test=str(test), no_clean=True), EN_DE
    ).collect(seed=1, train=5000, dev=9, test=9)
    assert len(loose.train) == 1000
    assert len(loose.dev) == 3


def test_targets_of_the_test_set_are_not_trained_on_either(put) -> None:
    text = "\n".join(f"source number {i}\tZiel {i // 2}" for i in range(2000))
    found = corpus(put("a.tsv", text), clean=("numerals=off",))
    held = {target for part in (found.dev, found.test) for _, target in pairs(part)}
    assert not held & {target for _, target in pairs(found.train)}
    assert found.report.removed["overlap"] > 20


@pytest.mark.parametrize(("weight", "times"), [("3", {3}), ("0.5", {1}), ("1.5", {1, 2})])
def test_weights_repeat_segments_or_take_a_share(put, weight: str, times: set[int]) -> None:
    from collections import Counter

    heavy = put("a.tsv", "\n".join(lines(600)))
    plain = put("b.tsv", "\n".join(lines(600, start=1000)))
    found = corpus(f"{weight}@{heavy}", plain)
    counts = Counter(pairs(found.train))
    mine = [n for (source, _), n in counts.items() if int(source.split()[-1]) < 1000]
    others = [n for (source, _), n in counts.items() if int(source.split()[-1]) >= 1000]
    assert set(mine) == times
    assert set(others) == {1}
    expected = float(weight) * len(others)
    assert abs(sum(mine) - expected) < 0.15 * expected + 1
    assert found.name == f"{weight}@a.tsv + b.tsv"


def test_more_than_the_limit_is_sampled_by_the_seed(put) -> None:
    path = put("a.tsv", "\n".join(lines(1000)))
    one, again, other = (corpus(path, train=100, seed=seed) for seed in (1, 1, 2))
    assert len(one.train) == 100
    assert pairs(one.train) == pairs(again.train) != pairs(other.train)
    assert pairs(one.test) == pairs(other.test)
    whole = corpus(path)
    assert set(pairs(one.train)) < set(pairs(whole.train))
    assert one.report.over_limit == len(whole.train) - 100


def test_segments_remember_their_place(put) -> None:
    segment = next(s for s in corpus(put("a.tsv", "\n".join(lines(50)))).train)
    number = int(segment.source.split()[-1])
    assert (segment.kind, segment.item) == ("a.tsv", f"a.tsv:{number + 1}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": ("cldr", "a.tsv")}, "cldr cannot be mixed"),
        ({"data": ("cldr",), "dev": "a.tsv"}, "--dev FILE goes with --data FILE"),
        ({"data": ("cldr",), "licence": "MIT"}, "--licence goes with"),
        ({"data": ("a.tsv",), "clean": ("ratio=3",), "no_clean": True}, "exclude each other"),
        ({"data": ("a.txt",)}, "tsv:"),
    ],
)
def test_bad_requests(put, monkeypatch, tmp_path, changes, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    put("a.tsv", "a\tb\n")
    put("a.txt", "a\tb\n")
    with pytest.raises(CorpusError, match=said):
        plan_corpus(CorpusRequest(**changes), EN_DE)


def test_missing_files_are_found_before_reading(put) -> None:
    path = put("a.tsv", "not a table")
    for request in (
        CorpusRequest(data=(str(path), "none.tsv")),
        CorpusRequest(data=(str(path),), dev="none.tsv"),
        CorpusRequest(data=(str(path), "none.{en,de}")),
        CorpusRequest(data=(str(path), "none/at/all")),
    ):
        with pytest.raises(CorpusNotFoundError, match="none") as caught:
            plan_corpus(request, EN_DE)
        assert caught.value.exit_code == 66


def test_an_empty_split_is_refused_with_the_counts(put) -> None:
    plan = plan_corpus(CorpusRequest(data=(str(put("a.tsv", "same\tsame\n")),)), EN_DE)
    with pytest.raises(CorpusError, match=r"none of 1 segments .* dev.*identical 1.*--dev FILE"):
        plan.load(seed=1, train=9, dev=9, test=9)
    dev = put("dev.tsv", "a\tb\n")
    plan = plan_corpus(
        CorpusRequest(data=(str(put("a.tsv", "x\tx\n")),), dev=str(dev), test=str(dev)), EN_DE
    )
    with pytest.raises(CorpusError, match="none of 1 segments read is left"):
        plan.load(seed=1, train=9, dev=9, test=9)
    plan = plan_corpus(CorpusRequest(data=(str(dev),), test=str(put("e.tsv", ""))), EN_DE)
    with pytest.raises(CorpusError, match="no segment for en-de"):
        plan.load(seed=1, train=9, dev=9, test=9)


@given(st.lists(st.lists(st.integers(0, 60)), max_size=12))
def test_seen_digests_are_a_set(batches: list[list[int]]) -> None:
    seen, known = SeenDigests(), set()
    for batch in batches:
        expected = []
        for value in batch:
            expected.append(value not in known)
            known.add(value)
        assert seen.add(np.array(batch, dtype=np.uint64)).tolist() == expected
    assert len(seen) == len(known)


@given(st.lists(st.integers(0, 2**64 - 1), unique=True), st.integers(0, 9))
def test_a_sample_has_the_smallest_keys(keys: list[int], size: int) -> None:
    sample = BottomSample(size)
    for start in range(0, len(keys), 3):
        batch = np.array(keys[start : start + 3], dtype=np.uint64)
        for index in sample.candidates(batch).tolist():
            sample.offer(int(batch[index]), str(batch[index]).encode())
    assert sample.drain() == [str(key).encode() for key in sorted(keys)[:size]]


def test_digests_are_blake2b() -> None:
    import hashlib

    expected = int(hashlib.blake2b("가".encode(), digest_size=8).hexdigest(), 16)
    assert digests_of(["가"]).tolist() == [expected]


MEASURE = """
import json, sys
from hub.languages import LanguagePair
from training.corpora.plan import CorpusRequest, plan_corpus
plan = plan_corpus(CorpusRequest(data=(sys.argv[1],)), LanguagePair.parse("en-de"))
found = plan.collect(seed=1, train=int(sys.argv[2]), dev=500, test=500)
# Not ru_maxrss, which begins with what the parent process had when it forked.
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0])
print(json.dumps({"read": found.report.read, "train": len(found.train), "kilobytes": peak}))
"""


@pytest.mark.slow
def test_memory_goes_with_the_sample_not_with_the_file(tmp_path: Path, repository: Path) -> None:
    """Four times the lines may cost 16 bytes more for each, by which duplicates are told."""
    found = []
    for count in (250_000, 1_000_000):
        path = tmp_path / f"{count}.tsv"
        with path.open("w") as file:
            file.writelines(f"{line}\n" for line in lines(count))
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path), "20000"],
            capture_output=True, text=True, check=True, cwd=repository,
            env={**os.environ, "PYTHONPATH": str(repository)},
        )  # fmt: skip
        found.append(json.loads(done.stdout))
    assert [each["read"] for each in found] == [250_000, 1_000_000]
    assert found[0]["train"] > 19_000
    grown = 1024 * (found[1]["kilobytes"] - found[0]["kilobytes"])
    assert grown < 750_000 * 16 + 16_000_000
