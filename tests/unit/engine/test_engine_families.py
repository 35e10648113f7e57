"""Every family computes what transformers computes, and decodes as generate does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hub.engine.architecture import Site
from hub.engine.families import find_family
from hub.engine.requests import DecodingOptions
from hub.errors import BaseNotFoundError, CorruptBaseError

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "mbart": ("mbart", {}),
    "mbart scaled relu": ("mbart", {"scale_embedding": True, "activation_function": "relu"}),
    "bart": ("bart", {}),
    "bart narrow": ("bart", {"d_model": 24, "encoder_attention_heads": 3, "vocab_size": 131}),
    "marian": ("marian", {}),
    "marian gelu_new": ("marian", {"activation_function": "gelu_new", "scale_embedding": False}),
    "t5": ("t5", {}),
    "t5 wide heads": ("t5", {"d_kv": 16, "num_heads": 3, "num_layers": 1, "num_decoder_layers": 4}),
    "t5 v1.1": ("t5_gated", {}),
    "t5 gated silu": ("t5_gated", {"feed_forward_proj": "gated-silu"}),
    "mt5": ("mt5", {}),
}
FAMILIES = ("mbart", "bart", "marian", "t5", "t5_gated", "mt5")


@pytest.fixture(scope="module")
def served(lab: Any) -> Any:
    """A family's model and an engine on it, made once."""
    made: dict[str, Any] = {}

    def serve(family: str) -> Any:
        if family not in made:
            model = lab.model(seed=3, family=family)
            made[family] = (model, lab.engine(lab.base(model)))
        return made[family]

    return serve


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_transformers(lab: Any, name: str) -> None:
    family, config = CONFIGS[name]
    model = lab.model(seed=7, family=family, **config)
    engine = lab.engine(lab.base(model))
    requests = lab.forced(12, seed=3)
    references = [lab.reference_logits(model, request) for request in requests]
    assert len({tuple(reference.argmax(-1).tolist()) for reference in references}) > 6
    assert max(float(reference.abs().max()) for reference in references) > 1

    for logits, reference in zip(engine.forced_logits(requests), references, strict=True):
        torch.testing.assert_close(logits, reference, atol=1e-4, rtol=1e-5)


OPTIONS = {
    "greedy": DecodingOptions(max_new_tokens=20),
    "beam 5": DecodingOptions(beam_size=5, max_new_tokens=20),
    "n-best": DecodingOptions(
        beam_size=5, max_new_tokens=16, length_penalty=0.4, num_hypotheses=5
    ),
    "min length": DecodingOptions(
        beam_size=5, max_new_tokens=12, min_new_tokens=7, length_penalty=2.0, num_hypotheses=3
    ),
    "no repeat, greedy": DecodingOptions(max_new_tokens=24, no_repeat_ngram_size=2),
    "no repeat, beam 5": DecodingOptions(beam_size=5, max_new_tokens=16, no_repeat_ngram_size=3),
    "penalty, greedy": DecodingOptions(max_new_tokens=24, repetition_penalty=1.7),
    "penalty, beam 5": DecodingOptions(
        beam_size=5, max_new_tokens=16, repetition_penalty=1.3, num_hypotheses=2
    ),
    "bad words": DecodingOptions(beam_size=5, max_new_tokens=12, bad_words=tuple(range(20, 80))),
    "forced end": DecodingOptions(beam_size=5, max_new_tokens=6, forced_eos=True),
    "forced end, greedy": DecodingOptions(max_new_tokens=4, forced_eos=True),
    "no forced end": DecodingOptions(beam_size=5, max_new_tokens=3, forced_eos=False),
    "everything": DecodingOptions(
        beam_size=5, max_new_tokens=14, min_new_tokens=4, length_penalty=1.4, num_hypotheses=4,
        no_repeat_ngram_size=1, repetition_penalty=1.2, bad_words=(7, 8, 9), forced_eos=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", [*FAMILIES, "m2m_100"])
@pytest.mark.parametrize("name", OPTIONS)
def test_decoding_equals_generate(lab: Any, served: Any, family: str, name: str) -> None:
    model, engine = served(family)
    forced_bos = family in ("mbart", "m2m_100")
    options = OPTIONS[name]
    if family == "m2m_100":
        # transformers takes a generated pad token for padding and does not count its position.
        options = replace(
            options, bad_words=(*(options.bad_words or ()), model.config.pad_token_id)
        )
    requests = lab.requests(4, seed=11, options=options, forced_bos=forced_bos)
    references = [lab.reference_output(model, request) for request in requests]
    assert len({reference[0][0] for reference in references}) >= 2

    for finished, reference in zip(engine.translate(requests), references, strict=True):
        assert finished.error is None
        assert [one.token_ids for one in finished.hypotheses] == [ids for ids, _ in reference]
        for one, (_, score) in zip(finished.hypotheses, reference, strict=True):
            if score is not None:
                assert one.score == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_some_end_and_some_are_cut(lab: Any, served: Any, family: str) -> None:
    """The comparisons above are worth something only if both kinds are in them."""
    _, engine = served(family)
    options = DecodingOptions(max_new_tokens=20, forced_eos=False)
    found = engine.translate(lab.requests(24, seed=11, options=options, forced_bos=False))
    assert {one.hypotheses[0].finished for one in found} == {True, False}


@pytest.mark.parametrize(
    "change",
    [
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.7},
        {"bad_words": tuple(range(20, 80))},
        {"forced_eos": True, "max_new_tokens": 4},
        {"min_new_tokens": 20},
    ],
    ids=str,
)
def test_every_rule_changes_something(lab: Any, served: Any, change: dict[str, Any]) -> None:
    """And leaves alone the request beside it that did not ask."""
    _, engine = served("bart")
    plain = DecodingOptions(max_new_tokens=20, forced_eos=False)
    requests = lab.requests(8, seed=11, options=plain, forced_bos=False)
    alone = [one.hypotheses[0] for one in engine.translate(requests)]
    ruled = [
        replace(one, options=replace(plain, **change)) if one.key % 2 else one for one in requests
    ]
    found = [one.hypotheses[0] for one in engine.translate(ruled)]
    assert found[::2] == alone[::2]
    assert [one.token_ids for one in found[1::2]] != [one.token_ids for one in alone[1::2]]


@pytest.mark.parametrize("family", [*FAMILIES, "m2m_100"])
def test_every_module_has_an_address(served: Any, family: str) -> None:
    """Adapters bind by module path, so each path of the transformers model must be known."""
    model, engine = served(family)
    config = model.config.to_dict()
    names, architecture = find_family(config), engine.architecture
    modules = {path: type(module).__name__ for path, module in model.named_modules()}
    linears = {path for path, kind in modules.items() if kind == "Linear"} - {"lm_head"}
    assert names.linear_modules(architecture).keys() == linears
    norms = {path for path, kind in modules.items() if kind.endswith("LayerNorm")}
    assert names.norm_modules(architecture).keys() == norms
    layers = {path for path, kind in modules.items() if kind.endswith(("Block", "Layer"))}
    assert names.layer_modules(architecture).keys() == layers
    attentions = {path for path, kind in modules.items() if kind.endswith("Attention")}
    attentions = {path for path in attentions if "Layer" not in modules[path]}
    assert names.attention_modules(architecture).keys() == attentions
    feed_forwards = {p for p, kind in modules.items() if "Dense" in kind} or {
        path for path in linears if path.endswith("fc2")
    }
    assert names.sublayer_modules(architecture).keys() == attentions | feed_forwards
    for path, site in names.linear_modules(architecture).items():
        shape = tuple(model.get_submodule(path).weight.shape)
        assert architecture.linear_shape(site.stack, site.name) == shape


def test_addresses_say_which_stack_and_part(served: Any) -> None:
    model, engine = served("t5_gated")
    names, shape = find_family(model.config.to_dict()), engine.architecture
    linears = names.linear_modules(shape)
    inner = "decoder.block.1.layer.2.DenseReluDense"
    assert linears[f"{inner}.wi_0"] == Site("decoder", 1, "fc1_gate")
    assert linears[f"{inner}.wi_1"] == Site("decoder", 1, "fc1")
    assert linears["decoder.block.0.layer.1.EncDecAttention.o"] == Site(
        "decoder", 0, "cross_attn.out"
    )
    assert names.sublayer_modules(shape)[inner] == Site("decoder", 1, "feed_forward")
    norms = names.norm_modules(shape)
    assert norms["encoder.final_layer_norm"] == Site("encoder", -1, "final_norm")
    assert norms["encoder.block.2.layer.1.layer_norm"] == Site("encoder", 2, "feed_forward_norm")
    model, engine = served("mbart")
    norms = find_family(model.config.to_dict()).norm_modules(engine.architecture)
    assert norms["model.decoder.layernorm_embedding"] == Site("decoder", -1, "embedding_norm")


@pytest.mark.parametrize("quantization", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("family", ["mbart", "marian", "t5", "t5_gated"])
def test_a_row_is_the_same_bits_in_any_company(lab: Any, family: str, quantization: str) -> None:
    engine = lab.engine(lab.base(lab.model(seed=3, family=family)), quantization)
    requests = lab.forced(24, seed=9, longest=60)
    alone = [engine.forced_logits([request])[0] for request in requests]
    assert all(bool(torch.isfinite(one).all()) for one in alone)
    for company in (requests, requests[:7], requests[3:16]):
        for request, logits in zip(company, engine.forced_logits(company), strict=True):
            assert torch.equal(logits, alone[request.key])
    for beam in (1, 4):
        options = DecodingOptions(beam_size=beam, max_new_tokens=20, no_repeat_ngram_size=2)
        texts = lab.requests(9, seed=4, options=options, forced_bos=False)
        single = [one.hypotheses for one in lab.alone(engine, texts)]
        assert len({one[0].token_ids for one in single}) > 4
        assert [one.hypotheses for one in engine.translate(texts)] == single


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_stays_close(lab: Any, served: Any, family: str) -> None:
    model, exact = served(family)
    near = lab.engine(lab.base(model), "int8")
    requests = lab.forced(12, seed=3)
    for own, reference in zip(
        near.forced_logits(requests), exact.forced_logits(requests), strict=True
    ):
        assert 0 < float((own - reference).norm() / reference.norm()) < 0.2


def test_rules_of_the_base_hold_unless_the_request_says_otherwise(lab: Any) -> None:
    model = lab.model(seed=3, family="bart")
    model.generation_config.update(no_repeat_ngram_size=2, bad_words_ids=[[7]], num_beams=4,
                                   repetition_penalty=1.5, forced_eos_token_id=2)  # fmt: skip
    engine = lab.engine(lab.base(model))
    defaults = engine.architecture.decoding
    assert (defaults.no_repeat_ngram_size, defaults.repetition_penalty) == (2, 1.5)
    assert (defaults.bad_words, defaults.forced_eos_id) == ((7,), 2)
    free = DecodingOptions(max_new_tokens=20, no_repeat_ngram_size=0, repetition_penalty=1.0,
                           bad_words=(), forced_eos=False)  # fmt: skip
    asked = {}
    for options in (DecodingOptions(max_new_tokens=20), free):
        requests = lab.requests(4, seed=11, options=options, forced_bos=False)
        found = [one.hypotheses[0].token_ids for one in engine.translate(requests)]
        assert found == [lab.reference_output(model, one)[0][0] for one in requests]
        asked[options] = found
    assert len({str(found) for found in asked.values()}) == 2


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "umt5"}, "'umt5'.*bart, m2m_100, marian, mbart, mt5, t5"),
        ({"model_type": "bart", "activation_function": "mish"}, "mish.*relu, gelu"),
        ({"model_type": "bart", "tie_word_embeddings": False}, "tie_word_embeddings=false"),
        ({"model_type": "t5", "feed_forward_proj": "gated-tanh"}, "gated-tanh"),
        ({"model_type": "mbart"}, "decoder_start_token_id"),
        (
            {"model_type": "marian", "share_encoder_decoder_embeddings": False},
            "share_encoder_decoder_embeddings=false",
        ),
        ({"model_type": "marian", "vocab_size": 9, "decoder_vocab_size": 8}, "one vocabulary"),
        ({"model_type": "bart", "bad_words_ids": [[4, 5]]}, r"\[4, 5\]"),
    ],
)
def test_what_is_not_served_is_refused_by_name(config: dict[str, Any], words: str) -> None:
    with pytest.raises(BaseNotFoundError, match=words):
        find_family(config).architecture(config)


_BART: dict[str, Any] = {
    "vocab_size": 120, "d_model": 32, "encoder_attention_heads": 4, "decoder_attention_heads": 2,
}  # fmt: skip
BASES: dict[str, dict[str, Any]] = {
    "bart": {"model_type": "bart", **_BART},
    "m2m": {"model_type": "m2m_100", **_BART},
    "mbart": {"model_type": "mbart", "decoder_start_token_id": 2, **_BART},
    "marian": {"model_type": "marian", "pad_token_id": 3, "decoder_start_token_id": 3, **_BART},
    "t5": {"model_type": "t5"},
}
BART_LIKE = ("bart", "m2m", "mbart", "marian")
OUTSIDE = r"is 120, expected a token id under vocab_size \(120\)"
BEYOND = r"is 32128, expected a token id under vocab_size \(32128\)"
SIZES = ("encoder_attention_heads", "decoder_attention_heads", "encoder_layers", "decoder_layers",
         "d_model", "vocab_size", "encoder_ffn_dim", "max_position_embeddings")  # fmt: skip
T5_SIZES = ("num_heads", "num_layers", "num_decoder_layers", "d_model", "vocab_size", "d_kv",
            "d_ff", "relative_attention_max_distance")  # fmt: skip
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    *((base, {key: 0}, "is 0, expected 1 to") for base in BART_LIKE for key in SIZES),
    *(("t5", {key: 0}, "is 0, expected 1 to") for key in T5_SIZES),
    *(
        (base, {key: value}, words)
        for base in BART_LIKE
        for key, value, words in [
            ("encoder_attention_heads", 5, r"is 5, expected a divisor of d_model \(32\)"),
            ("decoder_attention_heads", 5, r"is 5, expected a divisor of d_model \(32\)"),
            ("decoder_start_token_id", 120, OUTSIDE),
            ("pad_token_id", 120, OUTSIDE),
            ("eos_token_id", [2, 120], OUTSIDE),
            ("forced_eos_token_id", 120, OUTSIDE),
            ("bad_words_ids", [[119], [120]], OUTSIDE),
        ]
    ),
    ("bart", {"d_model": 10**400}, "is 10{79}, expected 1 to 2147483647"),
    ("bart", {"bad_words_ids": 5}, "is 5, expected a list of lists of token ids"),
    ("bart", {"bad_words_ids": [5]}, r"is \[5\], expected a list of lists of token ids"),
    ("bart", {"bad_words_ids": ["a"]}, r"is \['a'\], expected a list of lists of token ids"),
    ("bart", {"bad_words_ids": [[]]}, r"is \[\[\]\], expected a list of lists of token ids"),
    ("bart", {"repetition_penalty": float("inf")}, "is inf, expected a finite number above 0"),
    ("t5", {"decoder_start_token_id": 32128}, BEYOND),
    ("t5", {"pad_token_id": 32128}, BEYOND),
    ("t5", {"eos_token_id": 32128}, BEYOND),
    *(
        ("t5", {"relative_attention_num_buckets": n}, f"is {n}, expected an even.* at least 4")
        for n in (1, 2, 3, 33)
    ),
    ("t5", {"relative_attention_max_distance": 16}, r"is 16, expected more than half.*\(16\)"),
    ("t5", {"layer_norm_epsilon": None}, "is None, expected a number above 0"),
    ("t5", {"layer_norm_epsilon": "x"}, "is 'x', expected a number above 0"),
    ("t5", {"layer_norm_epsilon": 0}, "is 0, expected a finite number above 0"),
    ("t5", {"layer_norm_epsilon": -1e-6}, "is -1e-06, expected a finite number above 0"),
    ("t5", {"layer_norm_epsilon": 10**400}, "is 10{79}, expected a finite number above 0"),
]


@pytest.mark.parametrize(("base", "change", "words"), BROKEN)
def test_numbers_that_do_not_fit_are_corrupt(base: str, change: dict[str, Any], words: str) -> None:
    """The same config without the change is served."""
    config = BASES[base]
    assert find_family(config).architecture(config).family == config["model_type"]
    broken, [key] = config | change, change
    with pytest.raises(CorruptBaseError, match=f"config.json: {key} {words}") as caught:
        find_family(broken).architecture(broken)
    assert type(caught.value) is CorruptBaseError


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ("bart", {"decoder_start_token_id": 119, "pad_token_id": 119, "eos_token_id": 119}),
        ("bart", {"forced_eos_token_id": 119, "bad_words_ids": [[119]]}),
        ("bart", {"bad_words_ids": None}),
        ("t5", {"relative_attention_num_buckets": 4, "relative_attention_max_distance": 3}),
        ("t5", {"relative_attention_max_distance": 17}),
        ("t5", {"num_heads": 5, "layer_norm_epsilon": 1}),
    ],
)
def test_the_last_number_that_fits_is_served(base: str, change: dict[str, Any]) -> None:
    config = BASES[base] | change
    assert find_family(config).architecture(config).family == config["model_type"]


@pytest.mark.parametrize(("buckets", "distance"), [(4, 3), (8, 5)])
def test_the_smallest_relative_positions_equal_transformers(
    lab: Any, buckets: int, distance: int
) -> None:
    names = {
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": distance,
    }
    model = lab.model(seed=7, family="t5", **names)
    engine = lab.engine(lab.base(model))
    requests = lab.forced(6, seed=3)
    for request, logits in zip(requests, engine.forced_logits(requests), strict=True):
        reference = lab.reference_logits(model, request)
        torch.testing.assert_close(logits, reference, atol=1e-4, rtol=1e-5)


def test_positions_end_where_the_base_says(lab: Any, served: Any) -> None:
    """Learned positions are a table; relative ones go on, as far as memory allows."""
    _, engine = served("bart")
    assert engine.architecture.max_positions == 96
    model, engine = served("t5")
    assert engine.architecture.max_positions == 1024
    [source] = lab.sources(1, seed=1, longest=40)
    long = tuple(source * 200)[:300]
    request = replace(lab.forced(1, seed=3)[0], source_ids=long)
    [logits] = engine.forced_logits([request])
    torch.testing.assert_close(logits, lab.reference_logits(model, request), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_on_every_linear_equals_peft(lab: Any, served: Any, family: str) -> None:
    model, _ = served(family)
    engine = lab.engine(lab.base(model))
    inside = r".*(layers|block)\.\d+\..*\.(q_proj|k_proj|v_proj|out_proj|q|k|v|o|wi|wi_0|wi_1|wo)"
    folder = lab.lora(model, seed=2, targets=rf"({inside}|.*\.fc[12])", rank=3, magnitude=0.1)
    engine.place(1, engine.read_adapter(folder))
    requests = lab.forced(6, seed=8, slots=(1, 0))
    with lab.applied(model, folder) as adapted:
        for request, own in zip(requests, engine.forced_logits(requests), strict=True):
            plain = lab.reference_logits(model, request)
            expected = lab.reference_logits(adapted, request) if request.slot else plain
            assert (float((expected - plain).abs().max()) > 0.1) is bool(request.slot)
            torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("family", ["mbart", "marian"])
def test_a_bottleneck_acts_behind_the_layer(lab: Any, served: Any, family: str) -> None:
    """With norms behind the sub-layers too, the layer's output is what its last norm gives."""
    model, _ = served(family)
    engine = lab.engine(lab.base(model))
    folder = lab.bottleneck(model, seed=4)
    engine.place(1, engine.read_adapter(folder))
    requests = lab.forced(4, seed=8, slots=(1,))
    plain = [lab.reference_logits(model, request) for request in requests]
    with lab.applied(model, folder) as adapted:
        for request, own, base in zip(requests, engine.forced_logits(requests), plain, strict=True):
            expected = lab.reference_logits(adapted, request)
            assert float((expected - base).abs().max()) > 0.1
            torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-5)
