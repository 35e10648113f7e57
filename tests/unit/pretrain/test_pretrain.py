"""Building a base: the recipe decides, interruptions change nothing, the result opens anywhere."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.errors import SettingsError
from hub.languages import LanguagePair
from training.pretrain.build import export, record_scores
from training.pretrain.loop import BaseTrainer, learning_rate
from training.pretrain.recipe import BaseRecipe
from training.pretrain.stream import BATCHES_PER_CHUNK, PairStream
from training.pretrain.texts import CldrText
from training.pretrain.vocabulary import build_vocabulary, embedding_rows, open_vocabulary

TINY = BaseRecipe(
    languages=("en", "de", "ko"),
    weak={"ko": 0.1},
    vocabulary=600,
    vocabulary_phrases=300,
    d_model=32,
    ffn=64,
    encoder_layers=1,
    decoder_layers=1,
    heads=2,
    batch_tokens=256,
    updates=12,
    warmup=4,
)
EN_DE = LanguagePair("en", "de")


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    build_vocabulary(TINY, CldrText(TINY), folder)
    return folder


def trainer(folder: Path, recipe: BaseRecipe = TINY) -> BaseTrainer:
    return BaseTrainer(recipe, CldrText(recipe), folder, open_vocabulary(recipe, folder))


def run(folder: Path, vocabulary: Path, stop_at: int | None = None) -> BaseTrainer:
    """Train in a folder; with `stop_at`, as Ctrl-C would stop it after that update."""
    for file in vocabulary.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    training = trainer(folder)

    def report(progress) -> None:
        if progress.update == stop_at:
            raise KeyboardInterrupt

    try:
        training.run(report)
    except KeyboardInterrupt:
        assert stop_at is not None
    return training


def test_the_embedded_base_is_of_the_recipe_in_this_package():
    record = open_base().record
    assert record["recipe_digest"] == BaseRecipe().digest
    assert tuple(record["languages"]) == BaseRecipe().languages
    assert len(set(record["languages"]) - set(record["recipe"]["weak"])) >= 16
    assert {score["pair"] for score in record["scores"]} >= {"en-ko", "en-nl", "en-de"}


def test_languages_are_sampled_by_weight(vocabulary: Path):
    tokenizer = open_vocabulary(TINY, vocabulary)
    language_of = {tokenizer.target_prefix(name)[0]: name for name in TINY.languages}
    stream = PairStream(TINY, tokenizer, CldrText(TINY))
    seen = Counter(
        language_of[example.target[0]]
        for number in range(3)
        for batch in stream.chunk(number)
        for example in batch
    )
    assert set(seen) == set(TINY.languages)
    assert 0.01 < seen["ko"] / seen.total() < 0.12  # 0.1 of the others' weight
    assert seen["en"] > seen["de"] > seen["ko"]


def test_a_chunk_follows_from_its_number_alone(vocabulary: Path):
    tokenizer = open_vocabulary(TINY, vocabulary)
    fresh = PairStream(TINY, tokenizer, CldrText(TINY)).chunk(1)
    assert fresh == PairStream(TINY, tokenizer, CldrText(TINY)).chunk(1)
    assert fresh != PairStream(TINY, tokenizer, CldrText(TINY)).chunk(2)
    begun_late = PairStream(TINY, tokenizer, CldrText(TINY)).batches(BATCHES_PER_CHUNK + 3)
    assert list(itertools.islice(begun_late, 2)) == fresh[3:5]


def test_batches_hold_about_their_budget(vocabulary: Path):
    for batch in PairStream(TINY, open_vocabulary(TINY, vocabulary), CldrText(TINY)).chunk(0):
        longest = max(len(example.target) for example in batch)
        tokens = sum(len(example.target) for example in batch)
        assert TINY.batch_tokens - longest <= tokens <= TINY.batch_tokens + 2 * longest


def test_the_rate_rises_then_falls_to_zero():
    rates = [learning_rate(TINY, update) for update in range(TINY.updates + 1)]
    assert rates[:4] == pytest.approx([0.25e-2 * k / 5 for k in (1, 2, 3, 4)])
    assert max(rates) == TINY.learning_rate
    assert rates[-1] == pytest.approx(0)
    assert all(one >= other for one, other in itertools.pairwise(rates[4:]))


def test_an_interrupted_build_ends_in_the_same_weights(tmp_path: Path, vocabulary: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = run(whole, vocabulary).master_model().state_dict()
    first = run(parts, vocabulary, stop_at=5)
    assert first.update == 5
    assert any(
        not torch.equal(first.model.state_dict()[name].float(), expected[name]) for name in expected
    )
    resumed = run(parts, vocabulary).master_model().state_dict()
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path: Path, vocabulary: Path):
    run(tmp_path, vocabulary, stop_at=2)
    with pytest.raises(SettingsError, match="choose another folder"):
        trainer(tmp_path, replace(TINY, learning_rate=1e-3))


def test_a_built_base_opens_in_the_hub_and_in_transformers(tmp_path: Path, vocabulary: Path):
    from transformers import AutoTokenizer, M2M100ForConditionalGeneration

    training = run(tmp_path, vocabulary, stop_at=3)
    export(training, TINY, tmp_path)
    record_scores(tmp_path, CldrText(TINY, [EN_DE, LanguagePair("en", "ja")]))
    base = open_base(str(tmp_path))
    model = M2M100ForConditionalGeneration.from_pretrained(tmp_path)
    assert base.parameters == sum(p.numel() for p in model.parameters())
    assert base.dimensions.vocab_size == embedding_rows(tmp_path)
    assert load_tokenizer(base).languages == set(TINY.languages)
    assert base.digest.startswith("sha256:")  # the record's files are those on disk
    theirs = AutoTokenizer.from_pretrained(tmp_path, src_lang="de")
    assert theirs("Montag")["input_ids"] == load_tokenizer(base).encode_source("Montag", "de")
    scores = json.loads((tmp_path / "base.json").read_text(encoding="utf-8"))["scores"]
    assert {score["pair"] for score in scores} == {"en-de"}
    assert {score["metric"] for score in scores} == {"chrf++", "bleu", "ter", "exact"}


def test_width_and_layers_make_a_base_of_another_size() -> None:
    from training.pretrain.commands import BaseOptions, recipe_of

    small = recipe_of(BaseOptions(width=96, layers=2))
    large = recipe_of(BaseOptions(width=384, layers=6))
    assert (small.d_model, small.ffn, small.heads, small.encoder_layers) == (96, 384, 3, 2)
    assert (large.d_model, large.ffn, large.heads, large.decoder_layers) == (384, 1536, 6, 6)
    assert len({small.digest, large.digest, recipe_of(BaseOptions()).digest}) == 3


def test_a_width_that_cannot_be_cut_into_heads_is_refused() -> None:
    from hub.errors import SettingsError
    from training.pretrain.commands import BaseOptions, recipe_of

    with pytest.raises(SettingsError, match=r"--width 100 .* multiple of 32"):
        recipe_of(BaseOptions(width=100))
