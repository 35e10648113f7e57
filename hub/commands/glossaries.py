"""`hub glossaries`: store, list, show and remove terms with prescribed translations."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.adapters import JsonFlag, RegistryFlag, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hub.glossaries import Glossaries, StoredGlossary, Term

glossaries_app = typer.Typer(help="Store, list, show and remove glossaries.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the glossary.")]
Ref = Annotated[str, typer.Argument(metavar="REF", help="name or name:version")]


@glossaries_app.command("add")
def add(
    name: Name,
    file: Annotated[Path, typer.Argument(help="TSV or CSV: source, then one or more targets.")],
    pair: Annotated[str, typer.Option(help="What it is for, such as en-ko.")],
    registry: RegistryFlag = None,
) -> None:
    """Store the terms of a file as a new version of a glossary."""
    from hub.languages import LanguagePair

    made = _opened(registry).put(name, LanguagePair.parse(pair), read_terms(file))
    print(f"{made.ref} {len(made.terms)} terms")


@glossaries_app.command("list")
def list_glossaries(registry: RegistryFlag = None, as_json: JsonFlag = False) -> None:
    """List the newest version of every glossary."""
    from hub.console import note, print_table

    found = _opened(registry).newest()
    if as_json:
        print_json([_record(one) for one in found])
    elif found:
        rows = [(one.name, str(one.version), str(one.pair), str(len(one.terms))) for one in found]
        print_table(("glossary", ">version", "pair", ">terms"), rows)
    else:
        note("no glossary is stored; add one with `hub glossaries add NAME FILE --pair en-ko`")


@glossaries_app.command("show")
def show(ref: Ref, registry: RegistryFlag = None, as_json: JsonFlag = False) -> None:
    """Print a glossary's terms, as `add` reads them."""
    found = _opened(registry).get(ref)
    if as_json:
        terms = [{"source": one.source, "targets": list(one.targets)} for one in found.terms]
        print_json(_record(found) | {"terms": terms})
        return
    for term in found.terms:
        print("\t".join((term.source, *term.targets)))


@glossaries_app.command("remove")
def remove(name: Name, registry: RegistryFlag = None) -> None:
    """Remove a glossary, all its versions."""
    _opened(registry).remove(name)


def _opened(registry: str | None) -> Glossaries:
    from hub.glossaries import Glossaries
    from hub.registry.registry import local_root
    from hub.settings import load_settings

    return Glossaries(local_root(load_settings({"registry": registry}).registry))


def _record(found: StoredGlossary) -> dict[str, object]:
    return {
        "name": found.name,
        "version": found.version,
        "pair": str(found.pair),
        "term_count": len(found.terms),
        "created": found.created_at.isoformat(),
    }


def read_terms(file: Path) -> list[Term]:
    """Read terms from a TSV or, by its name, a CSV file: a source and its forms on each line.

    Raises:
        InputError: The file cannot be read, a line has no target, or a source is there twice; the
            message says which.
    """
    from hub.errors import InputError
    from hub.glossaries import Term, normalized

    first: dict[str, int] = {}
    terms = []
    for number, cells in _rows(file):
        source, *targets = cells
        given = tuple(target for target in targets if target)
        if not source or not given:
            raise InputError(
                f"{file}:{number}: a term has a source and at least one target; separate them by "
                + ("commas" if _is_csv(file) else "tabs"),
                field="file",
            )
        earlier = first.setdefault(normalized(source), number)
        if earlier != number:
            raise InputError(
                f"{file}:{number}: term {source[:40]!r} is on line {earlier} already; give it "
                "once, with all its targets",
                field="file",
            )
        terms.append(Term(source, given))
    return terms


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a file that hold anything, with the number of their last line."""
    import csv

    from hub.errors import InputError

    try:
        text = file.read_text(encoding="utf-8-sig")
        if _is_csv(file):
            reader = csv.reader(io.StringIO(text, newline=""), strict=True)
            rows = ((reader.line_num, row) for row in reader)
        else:
            rows = ((number, line.split("\t")) for number, line in enumerate(text.split("\n"), 1))
        for number, row in rows:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield number, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read terms from {file}: {error}", field="file") from None


def _is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv"
