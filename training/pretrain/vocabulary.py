"""The base's SentencePiece vocabulary, as the files of an M2M-100 tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

from hub.bases.tokenizer import M2M100Tokenizer
from hub.errors import SettingsError
from hub.language_tables import M2M_100
from hub.languages import m2m_code
from training.pretrain.recipe import BaseRecipe
from training.pretrain.texts import TrainingText

_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
_SPARE_ROWS = 8  # M2M-100 keeps as many unused ids after its languages.


def build_vocabulary(recipe: BaseRecipe, text: TrainingText, folder: Path) -> None:
    """Train SentencePiece on texts of every language and write the tokenizer's files.

    Digits are pieces of their own, so that numbers are read
    place by place; characters outside the vocabulary fall back to their UTF-8 bytes; the text is
    not normalised, so that decoding gives back what was encoded.

    Raises:
        SettingsError: The text holds too little, or too many characters, for so many pieces.
    """
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "sentencepiece.bpe"
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=text.vocabulary(),
            model_prefix=str(model),
            model_type="bpe",
            vocab_size=recipe.vocabulary,
            character_coverage=0.9995,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            unk_id=0,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        said = str(error).rpartition("] ")[2]
        if "ocabulary size" not in said:
            raise
        raise SettingsError(
            f"--vocabulary {recipe.vocabulary} does not go with this text: {said}",
            field="vocabulary",
        ) from None
    model.with_suffix(".bpe.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=f"{model}.model")
    names = [pieces.id_to_piece(index) for index in range(pieces.get_piece_size())]
    ordered = [*_SPECIALS, *(name for name in names if name not in _SPECIALS)]
    vocabulary = {name: index for index, name in enumerate(ordered)}
    (folder / "vocab.json").write_text(
        json.dumps(vocabulary, ensure_ascii=False, indent=0), encoding="utf-8"
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "M2M100Tokenizer",
                "language_codes": "m2m100",
                "num_madeup_words": _SPARE_ROWS,
                # Without this, transformers 5 leaves language tokens in decoded text.
                "extra_special_tokens": [f"__{code}__" for code in M2M_100.split()],
                "model_max_length": recipe.max_positions,
            },
            indent=1,
        ),
        encoding="utf-8",
    )


def open_vocabulary(recipe: BaseRecipe, folder: Path) -> M2M100Tokenizer:
    """Return the tokenizer over the recipe's languages."""
    languages = {language: m2m_code(language) for language in recipe.languages}
    return M2M100Tokenizer(folder, M2M_100.split(), languages)


def embedding_rows(folder: Path) -> int:
    """Return the number of ids: pieces, one per M2M-100 language, and the spare ones."""
    pieces = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return len(pieces) + len(M2M_100.split()) + _SPARE_ROWS
