"""The engines that ours is measured against, on the same random weights, at exact lengths.

None of them is imported before it is asked for. CTranslate2 is no dependency of this package, and
so is imported by name.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from hub.errors import SettingsError
from server.bench.workload import PREFIX, Workload

Runner = Callable[[int, int], None]
"""Translates a batch of so many sources with such a beam."""

PEFT_ADAPTERS: Final = 32
PEFT_RANK: Final = 16
_CT2_TYPES: Final = ("int8", "bfloat16", "float16", "float32")
"""Precisions that have the same name there."""


def find_peers(names: Sequence[str]) -> tuple[str, ...]:
    """Check that every peer is known and installed.

    Raises:
        SettingsError: Names the peer, or the package that it lacks.
    """
    for name in names:
        if name not in PEERS:
            raise SettingsError(f"--against {name!r} is not known; choose among {', '.join(PEERS)}")
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise SettingsError(
                f"--against {name} needs the package {name}, which cannot be imported ({error}); "
                f"run `pip install {name}` or leave it out"
            ) from error
    return tuple(names)


def ctranslate2_runner(
    base: Path, scratch: Path, work: Workload, quantization: str, threads: int, device: str
) -> Runner:
    """CTranslate2 with one merged model, in its own precision of the same name.

    Raises:
        SettingsError: It has none of that name.
    """
    if quantization not in _CT2_TYPES:
        raise SettingsError(
            f"--against ctranslate2 has no {quantization}; leave it out, or give --quantization "
            f"{', '.join(_CT2_TYPES)}"
        )
    ctranslate2: Any = importlib.import_module("ctranslate2")
    tokens = _convert(base, scratch / "ctranslate2", quantization)
    kind, _, number = device.partition(":")
    translator = ctranslate2.Translator(
        str(scratch / "ctranslate2"), device=kind, device_index=int(number or 0),
        compute_type=quantization, intra_threads=threads, inter_threads=1,
    )  # fmt: skip
    length = work.target_tokens + 1

    def run(batch: int, beam: int) -> None:
        sources = [[tokens[i] for i in source] for source in work.sources(batch)]
        found = translator.translate_batch(
            sources, target_prefix=[[tokens[PREFIX]]] * batch, beam_size=beam, max_batch_size=0,
            min_decoding_length=length, max_decoding_length=length,
        )  # fmt: skip
        _check_lengths("ctranslate2", [len(one.hypotheses[0]) for one in found], length)

    return run


def _convert(base: Path, folder: Path, quantization: str) -> list[str]:
    model = _load(base, "float32")
    converters: Any = importlib.import_module("ctranslate2.converters.transformers")
    spec = converters.M2M100Loader().get_model_spec(model)
    tokens = ["<s>", "<pad>", "</s>", "<unk>"]
    tokens += [f"t{index}" for index in range(4, model.config.vocab_size)]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.add_attribute("decoder_start_token", "</s>")
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    return tokens


def transformers_runner(
    base: Path, scratch: Path, work: Workload, quantization: str, threads: int, device: str
) -> Runner:
    """Transformers' generate in bfloat16."""
    model = _load(base, "bfloat16").to(device)

    def run(batch: int, beam: int) -> None:
        _generate("transformers", model, work, batch, beam)

    return run


def peft_runner(
    base: Path, scratch: Path, work: Workload, quantization: str, threads: int, device: str
) -> Runner:
    """PEFT in bfloat16, rows of one batch choosing among 32 LoRA adapters of rank 16 on q and v."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="SEQ_2_SEQ_LM", r=PEFT_RANK, lora_alpha=PEFT_RANK,
        target_modules=["q_proj", "v_proj"], init_lora_weights=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = get_peft_model(_load(base, "bfloat16").to(device), config, adapter_name="a0")
        for number in range(1, PEFT_ADAPTERS):
            model.add_adapter(f"a{number}", config)
    model.train(False)

    def run(batch: int, beam: int) -> None:
        names = [f"a{row % PEFT_ADAPTERS}" for row in range(batch)]
        _generate("peft", model, work, batch, beam, adapter_names=names)

    return run


def _generate(
    name: str, model: Any, work: Workload, batch: int, beam: int, **options: list[str]
) -> None:
    import torch

    length = work.target_tokens + 1  # the forced token counts
    with torch.inference_mode():
        found = model.generate(
            input_ids=torch.tensor(work.sources(batch), device=model.device),
            forced_bos_token_id=PREFIX, num_beams=beam, do_sample=False, min_new_tokens=length,
            max_new_tokens=length, early_stopping=False if beam > 1 else None, **options,
        ).cpu()  # fmt: skip
    _check_lengths(name, [found.shape[1] - 1], length)


def _load(base: Path, dtype: str) -> Any:
    import torch
    from transformers import M2M100ForConditionalGeneration

    # from_pretrained leaves the model in evaluation mode.
    return M2M100ForConditionalGeneration.from_pretrained(base, dtype=getattr(torch, dtype))


def _check_lengths(name: str, lengths: Sequence[int], expected: int) -> None:
    assert all(length == expected for length in lengths), f"{name}: {lengths}, not {expected}"


Build = Callable[[Path, Path, Workload, str, int, str], Runner]
"""Prepares an engine: base, scratch folder, work, precision, threads, device."""

PEERS: Final[Mapping[str, Build]] = MappingProxyType(
    {
        "ctranslate2": ctranslate2_runner,
        "transformers": transformers_runner,
        "peft": peft_runner,
    }
)
