"""CTranslate2 models of merged bases, written by CTranslate2's own converter."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import IncompatibleAdapterError, SettingsError
from hub.quiet import quiet_libraries

if TYPE_CHECKING:
    from hub.bases import Base
    from hub.manifest import AdapterManifest

FAMILIES: Final = ("m2m_100", "mbart", "marian", "t5", "mt5")
SHARED: Final = "shared_vocabulary.json"


def convert(merged: Path, base: Base, target: Path, quantization: str) -> None:
    """Convert a transformers folder.

    Args:
        merged: The merged base.
        base: The base that it was made from, whose vocabulary it has.
        target: An existing folder, for the model.
        quantization: int8, int8_float32 or float32.

    Raises:
        IncompatibleAdapterError: CTranslate2 does not convert this family.
        SettingsError: CTranslate2 is not installed.
    """
    if base.family not in FAMILIES:
        raise IncompatibleAdapterError(
            f"bases of family {base.family!r} are not exported to CTranslate2; these are: "
            f"{', '.join(FAMILIES)}"
        )
    shape = base.architecture
    if shape.encoder_heads != shape.decoder_heads:
        raise IncompatibleAdapterError(
            f"base {base.label!r} has {shape.encoder_heads} heads in its encoder and "
            f"{shape.decoder_heads} in its decoder, where CTranslate2 has one number for both; "
            "export with --to base"
        )
    if base.family == "marian":
        _check_pad(base)
    try:
        spec = _specification(merged, base)
        spec.validate()
        spec.optimize(quantization=quantization)
    except (KeyError, ValueError, AttributeError, NotImplementedError) as error:
        raise IncompatibleAdapterError(
            f"CTranslate2's converter does not take base {base.label!r} "
            f"({type(error).__name__}: {str(error)[:200]}); export with --to base"
        ) from error
    spec.save(str(target))


def _specification(merged: Path, base: Base) -> Any:
    """Return CTranslate2's model of a folder, with the vocabulary as our tokenizer has it.

    CTranslate2's converter asks transformers' tokenizers for the vocabulary, which do not load
    every published form; ids and tokens are known here.
    """
    import transformers

    try:
        from ctranslate2.converters import transformers as converters
    except ImportError:
        raise SettingsError(
            "--to ctranslate2 needs the package ctranslate2; install it with pip"
        ) from None
    with quiet_libraries():
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(merged, dtype="float32")
    _say_what_configs_leave_out(model.config, base)
    loader = converters._MODEL_LOADERS[type(model.config).__name__]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = loader.get_model_spec(model)
    tokens = vocabulary(base)
    if base.family == "marian":  # its converter leaves the padding's row out
        tokens = tokens[:-1]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    eos = tokens[base.architecture.eos_ids[0]]
    start = eos if base.family == "marian" else tokens[base.architecture.decoder_start_id]
    spec.config.add_attribute("decoder_start_token", start)
    spec.config.bos_token = tokens[0] if base.family in ("m2m_100", "mbart") else start
    spec.config.eos_token = eos
    spec.config.unk_token = "<unk>"
    return spec


def _say_what_configs_leave_out(config: Any, base: Base) -> None:
    """Set what the converter reads from configs, and transformers 5 no longer writes rightly.

    mBART's norms have lost their keys; T5's `tie_word_embeddings` is always true, where the
    converter takes it for the scale of the output.
    """
    shape = base.architecture
    if base.family == "mbart":
        config.normalize_before = shape.norm_placement == "pre"
        config.normalize_embedding = shape.embedding_norm
    elif base.family in ("t5", "mt5"):
        config.tie_word_embeddings = shape.output_scale != 1.0


def _check_pad(base: Base) -> None:
    """Check what CTranslate2 takes for granted of Marian: padding comes last, and is zero.

    Its decoder starts from a zero embedding in the place of the padding token.

    Raises:
        IncompatibleAdapterError: The base is another kind of Marian.
    """
    from hub.bases.values import read_values

    shape = base.architecture
    pad = read_values(base.tensors["model.shared.weight"])[shape.pad_id]
    is_last = shape.pad_id == shape.decoder_start_id == shape.vocab_size - 1
    if not is_last or bool(pad.any()):
        raise IncompatibleAdapterError(
            f"base {base.label!r} does not start its decoder from a padding token that is the last "
            "and zero, as CTranslate2 has it for Marian; export with --to base"
        )


def vocabulary(base: Base) -> list[str]:
    """Return the token of every id of a base's table; ids without a token get a name of their own.

    Raises:
        CorruptBaseError: The base has no tokenizer that loads.
    """
    from hub.bases.tokenizer import load_tokenizer

    known = load_tokenizer(base).tokens
    return [known.get(index, f"<unused{index}>") for index in range(base.architecture.vocab_size)]


def how_to_translate(manifest: AdapterManifest, base: Base, ref: str, quantization: str) -> str:
    """Return a README with the layout of tokens that this base wants."""
    from hub.bases.licence import licence_text
    from hub.bases.tokenizer import load_tokenizer

    pair, tokenizer, tokens = manifest.language_pair, load_tokenizer(base), vocabulary(base)
    text = "Hello"
    source = [tokens[index] for index in tokenizer.encode_source(text, pair.source, pair.target)]
    prefix = [tokens[index] for index in tokenizer.target_prefix(pair.target)]
    forced = f", target_prefix=[{prefix!r}]" if prefix else ""
    return (
        f"# {manifest.pair}: {ref} in CTranslate2\n\n"
        f"The base `{base.label}` with the adapter `{ref}` merged in, {quantization}.\n"
        f"Base licence: {licence_text(base.licence)}.\n\n"
        "The tokenizer's files are those of the base. A source's tokens and the forced beginning\n"
        "of its target:\n\n"
        "```python\n"
        "import ctranslate2\n\n"
        f'translator = ctranslate2.Translator("{ref.partition(":")[0]}-ct2")\n'
        f"source = {source!r}  # {text!r}\n"
        f"found = translator.translate_batch([source]{forced}, beam_size=1)\n"
        f"print(found[0].hypotheses[0][{len(prefix)}:])\n"
        "```\n"
    )
