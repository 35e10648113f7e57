"""Options come in groups; the command line is the same flat list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
import typer

from hub.cli import run
from training.option_groups import GroupedCommand, grouped

FLAGS = """
--pair --budget --method --width --rank --prefix-length --targets --rslora --no-rslora --dora
--no-dora --placement --activation --norm --no-norm --attentions --reparametrised --direct
--norm-train --base --data --train --dev --test --clean --no-clean --licence --seed --lr --schedule
--warmup --label-smoothing --dropout --tokens --max-updates --eval-every --patience --precision
--quantization --name --alias --publish --no-publish --force --resume --no-resume --registry --runs
--json --accumulate --checkpointing --no-checkpointing --quantize --track
"""


@dataclass(frozen=True)
class Colours:
    title: ClassVar[str] = "Colours"

    red: Annotated[int, typer.Option(help="How red.")]
    blue: Annotated[int, typer.Option("--azure", help="How blue.")] = 3


@dataclass(frozen=True)
class Shapes:
    title: ClassVar[str] = "Shapes"

    round: Annotated[bool, typer.Option("--round", help="No corners.")] = False
    names: Annotated[list[str] | None, typer.Option(help="What to call it.")] = None


def call(*words: str) -> tuple[Colours, Shapes]:
    seen: list[Any] = []

    @grouped
    def paint(colours: Colours, shapes: Shapes) -> None:
        """Paint."""
        seen.extend((colours, shapes))

    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=GroupedCommand)(paint)
    typer.main.get_command(app).main(list(words), standalone_mode=False)
    return seen[0], seen[1]


def test_each_group_gets_its_own() -> None:
    assert call("--red", "1") == (Colours(1, 3), Shapes())
    words = ("--round", "--names", "a", "--red", "2", "--names", "b", "--azure", "9")
    assert call(*words) == (Colours(2, 9), Shapes(True, ["a", "b"]))


def test_help_has_a_section_for_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(IndexError):  # nothing was painted
        call("--help")
    text = capsys.readouterr().out
    order = [text.index(each) for each in ("Paint.", "Colours:", "--azure", "Shapes:", "--names")]
    assert order == sorted(order)


def test_train_has_all_its_flags_under_titles(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--help"]) == 0
    text = capsys.readouterr().out
    words = set(text.replace("/", " ").replace(",", " ").split())
    assert words.issuperset(FLAGS.split())
    for title in ("What is trained:", "Data:", "Learning:", "Scoring and publishing:", "The run:"):
        assert title in text
    assert "Train an adapter under a budget" in text
    assert run(["train"]) == 2
    assert "--pair" in capsys.readouterr().err
