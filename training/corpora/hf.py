"""Datasets of the `datasets` library: saved folders, Parquet, Arrow and JSON files, Hub ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hub.errors import CorpusError, CorpusNotFoundError
from hub.languages import LanguagePair
from training.corpora.record_keys import RecordSides
from training.corpora.segments import Segment, Skipped, refuse_long
from training.corpora.sources import DataSource

_BUILDERS: Final[Mapping[str, str]] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
}
_SAVED: Final = ("dataset_dict.json", "state.json")


def read_hf(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield a dataset's rows; the line of a segment is its row, from 1.

    Columns are found as JSONL's keys are; rows with a null side are left out and counted.

    Raises:
        CorpusNotFoundError: There is no such file, folder or dataset, or the Hub is out of reach.
        CorpusError: The `datasets` library is missing, or a row lacks a side.
    """
    take = RecordSides(source, pair, skipped)
    for number, row in enumerate(_rows(source), start=1):
        place = f"{source.path}:{number}"
        sides = take(row, place)
        if sides is None:
            continue
        for side in sides:
            refuse_long(place, side)
        yield Segment(number, *sides)


def _rows(source: DataSource) -> Iterator[Mapping[str, Any]]:
    try:
        import datasets
    except ImportError:
        raise CorpusError(
            f"--data {source.typed}: reading datasets needs the `datasets` library; install "
            "adapterhub[datasets]",
            field="data",
        ) from None
    datasets.disable_progress_bars()
    try:
        yield from _open(source, datasets)
    except CorpusError:
        raise
    except (ConnectionError, OSError, RuntimeError) as error:
        raise _unreachable(source, error) from None
    except (ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise CorpusError(f"{source.path}: not a dataset: {_first_line(error)}") from None


def _open(source: DataSource, datasets: Any) -> Iterable[Mapping[str, Any]]:
    path = Path(source.path)
    split = source.options.get("split", "train")
    if path.is_dir() and any((path / name).is_file() for name in _SAVED):
        return _one_split(source, datasets.load_from_disk(str(path)), split)
    if path.is_file():
        builder = _BUILDERS.get(path.suffix)
        if builder is None:
            raise CorpusError(f"{path}: datasets of this format are not read", field="data")
        return _stream(datasets, builder, split="train", data_files=str(path))
    if not path.is_dir() and (path.suffix in _BUILDERS or path.is_absolute()):
        raise CorpusNotFoundError(f"there is no file {path}", field="data")
    return _stream(datasets, source.path, split=split, name=source.options.get("config"))


def _stream(datasets: Any, what: str, **told: Any) -> Iterable[Mapping[str, Any]]:
    rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(what, streaming=True, **told)
    return rows


def _one_split(source: DataSource, opened: Any, split: str) -> Iterable[Mapping[str, Any]]:
    if not hasattr(opened, "keys"):
        rows: Iterable[Mapping[str, Any]] = opened
        return rows
    if split not in opened:
        raise CorpusError(
            f"{source.path}: no split {split!r} among: {', '.join(opened)}; choose one with "
            "#split=NAME",
            field="data",
        )
    chosen: Iterable[Mapping[str, Any]] = opened[split]
    return chosen


def _unreachable(source: DataSource, error: Exception) -> CorpusNotFoundError:
    return CorpusNotFoundError(
        f"--data {source.typed}: there is no local folder {source.path}, and as a dataset of the "
        f"Hugging Face Hub it cannot be reached: {_first_line(error)}",
        field="data",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
