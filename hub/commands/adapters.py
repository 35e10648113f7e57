"""`hub adapters`: list, show, alias, publish and check what the registry holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from hub.golden import GoldenLines
    from hub.manifest import AdapterManifest
    from hub.registry import AdapterVersion, AliasState, FsckReport, Registry

ABSENT: Final = 0
_NOTHING: Final = "–"
_UNKNOWN: Final = "not known"
_COLUMNS: Final = (
    "adapter", ">version", "pair", "method", ">size", ">share", ">chrF++", "aliases", "digest",
    ">bytes",
)  # fmt: skip

RegistryFlag = Annotated[
    str | None, typer.Option("--registry", help="Registry folder; HUB_REGISTRY otherwise.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Adapter name.")]

adapters_app = typer.Typer(
    help="List, show, alias, publish, import and check adapters.", no_args_is_help=True
)


@adapters_app.command("list")
def list_adapters(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this name.")] = None,
    pair: Annotated[str | None, typer.Option(help="Only this pair, such as en-ko.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Only the newest of each name.")] = False,
    registry: RegistryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """List the published versions."""
    found: list[AdapterVersion] = []
    location = _location(registry)
    if _exists(location):
        with opened_registry(location) as opened:
            found = _selected(opened, name, pair, method, latest)
    if as_json:
        print_json({"registry": location, "adapters": [version_record(v) for v in found]})
    elif found:
        from hub.console import print_table

        print_table(_COLUMNS, [_row(version) for version in found])
    else:
        from hub.console import note

        note(
            f"no such adapter in {location}; publish one with `hub train` or `hub adapters publish`"
        )


@adapters_app.command("show")
def show_adapter(
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="name, name@alias, name:version or sha256:…")
    ],
    registry: RegistryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show one version: what it is, what it was made from, how it scores."""
    with existing_registry(registry) as opened:
        version = opened.resolve(ref)
        aliases = opened.aliases(version.name)
        golden = opened.golden(version)
    record = version_record(version)
    record["golden"] = golden and {"lines": len(golden.lines), "chrf++": golden.score}
    record["files"] = dict(version.files)
    record["adapter_aliases"] = {alias: state.version for alias, state in aliases.items()}
    if as_json:
        print_json(record)
        return
    from hub.console import print_table

    print_table(("field", "value"), [*_facts(version, aliases), ("golden lines", _golden(golden))])
    scores = [
        (s.metric, s.system, f"{s.value:.2f}", str(s.items), s.signature)
        for s in version.manifest.scores
    ]
    if scores:
        print_table(("metric", "system", ">value", ">items", "signature"), scores)


@adapters_app.command("alias")
def move_alias(
    name: NameArgument,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Alias, made if new.")],
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Version to point at.")],
    expect: Annotated[
        int | None,
        typer.Option(
            min=ABSENT,
            help="Move only if the alias points at this version now; 0: only if it does not "
            "exist. Without it, where it points is read first.",
        ),
    ] = None,
    registry: RegistryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Point an alias at a version, unless somebody else has moved it meanwhile."""
    from hub.registry import Note

    with existing_registry(registry) as opened:
        expected = _current(opened, name, alias) if expect is None else (expect or None)
        note = Note(user_name(), "hub adapters alias")
        state = opened.set_alias(name, alias, version, expected, note)
    if as_json:
        print_json(
            {"name": name, "alias": alias, "from": expected, "to": state.version,
             "digest": state.digest, "generation": state.generation}
        )  # fmt: skip
    else:
        print(f"{name}@{alias}: {_NOTHING if expected is None else expected} → {state.version}")


@adapters_app.command("publish")
def publish_folder(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Adapter folder.")],
    name: Annotated[str | None, typer.Option(help="Adapter name; pair.method otherwise.")] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="Also point this alias at it; may be repeated.")
    ] = None,
    registry: RegistryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Publish an adapter folder as the next version of a name."""
    from hub.bases.licence import licence_text
    from hub.console import note

    with opened_registry(_location(registry)) as opened:
        version = opened.publish(folder, name or _default_name(folder), aliases=alias or ())
    note(f"base licence: {licence_text(version.manifest.base.licence)}")
    if as_json:
        print_json(version_record(version))
    else:
        print(f"{version.ref} {version.digest}")


@adapters_app.command("fsck")
def check_registry(
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove leftovers, rebuild folders, quarantine damage."),
    ] = False,
    registry: RegistryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Re-hash everything. Exit 0: clean, 1: repaired, 4: damage is left."""
    with existing_registry(registry) as opened:
        report = opened.fsck(repair=repair)
    if as_json:
        print_json(_report_record(report))
    else:
        _print_report(report)
    raise typer.Exit(report.exit_code)


def version_record(version: AdapterVersion) -> dict[str, Any]:
    """Return a version as plain JSON values."""
    manifest = version.manifest
    return {
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "pair": manifest.pair,
        "method": manifest.method,
        "size": manifest.size,
        "budget": manifest.budget,
        "realised_fraction": manifest.realised_fraction,
        "trainable_parameters": manifest.trainable_parameters,
        "base": manifest.base.model_dump(mode="json"),
        "corpus": manifest.corpus.model_dump(mode="json") if manifest.corpus else None,
        "recipe_digest": manifest.recipe_digest,
        "seed": manifest.seed,
        "origin": manifest.origin.model_dump(mode="json") if manifest.origin else None,
        "scores": [score.model_dump(mode="json") for score in manifest.scores],
        "bytes": version.bytes,
        "created_at": version.created_at.isoformat(),
        "aliases": list(version.aliases),
    }


def _selected(
    registry: Registry, name: str | None, pair: str | None, method: str | None, latest: bool
) -> list[AdapterVersion]:
    from hub.languages import LanguagePair
    from hub.refs import LATEST

    wanted = str(LanguagePair.parse(pair)) if pair else None
    found = registry.find(pair=wanted, method=method, alias=LATEST if latest else None)
    if name is None:
        return found
    registry.aliases(name)  # refuses an unknown name, naming near ones
    return [version for version in found if version.name == name]


def _row(version: AdapterVersion) -> Sequence[str]:
    manifest = version.manifest
    return (
        version.name,
        str(version.version),
        manifest.pair,
        manifest.method,
        str(manifest.size),
        f"{100 * manifest.realised_fraction:.3g} %",
        _lift(manifest, "chrf++"),
        ", ".join(version.aliases) or _NOTHING,
        version.digest[: len("sha256:") + 12],
        f"{version.bytes:,}",
    )


def _lift(manifest: AdapterManifest, metric: Literal["chrf++", "bleu", "exact"]) -> str:
    """Spell a score as "base → adapter"."""
    values = (manifest.score(metric, "base"), manifest.score(metric, "adapter"))
    if values == (None, None):
        return _NOTHING
    return " → ".join(_NOTHING if value is None else f"{value:.1f}" for value in values)


def _facts(version: AdapterVersion, aliases: dict[str, AliasState]) -> list[tuple[str, str]]:
    from hub.bases.licence import licence_text

    manifest = version.manifest
    share = f"{100 * (manifest.budget or 0):.3g} % of the base's parameters"
    unasked = _UNKNOWN if manifest.origin else "by size of the base's parameters"
    asked = unasked if manifest.budget is None else share
    return [
        ("adapter", version.ref),
        ("digest", version.digest),
        ("pair", manifest.pair),
        ("method", manifest.trained),
        ("budget", asked),
        (
            "realised",
            f"{manifest.trainable_parameters:,} of {manifest.base.parameters:,} parameters, "
            f"{100 * manifest.realised_fraction:.4g} %",
        ),
        ("base", f"{manifest.base.name} {manifest.base.digest}"),
        ("base licence", licence_text(manifest.base.licence)),
        *_making(manifest),
        ("outputs", _outputs(manifest)),
        ("published", version.created_at.isoformat(timespec="seconds")),
        ("bytes", f"{version.bytes:,}"),
        ("aliases here", ", ".join(version.aliases) or _NOTHING),
        ("all aliases", ", ".join(f"{alias} → {s.version}" for alias, s in aliases.items())),
        *((f"file {name}", f"sha256:{sha256}") for name, sha256 in version.files.items()),
    ]


def _golden(golden: GoldenLines | None) -> str:
    if golden is None:
        return "none, it was published without"
    return f"{len(golden.lines)}, chrF++ {golden.score:.2f} at publishing ({golden.numbers})"


def _outputs(manifest: AdapterManifest) -> str:
    """Say what the adapter's outputs look like, which z-scores while serving are made from."""
    if manifest.output is None:
        return f"{_UNKNOWN}; served without z-scores"
    found = manifest.output
    return (
        f"log-probability {found.log_probability:.2f} ± {found.log_probability_deviation:.2f} "
        f"per token on {found.items} dev lines"
    )


def _making(manifest: AdapterManifest) -> list[tuple[str, str]]:
    """Return what the adapter was made from, each part "not known" where it is not."""
    corpus, origin = manifest.corpus, manifest.origin
    seed = _UNKNOWN if manifest.seed is None else str(manifest.seed)
    facts = [
        (
            "corpus",
            f"{corpus.name} ({corpus.licence}), {corpus.train:,} train, {corpus.dev:,} dev, "
            f"{corpus.test:,} test"
            if corpus
            else _UNKNOWN,
        ),
        ("recipe", f"{manifest.recipe_digest or _UNKNOWN}, seed {seed}"),
    ]
    if origin:
        was = f", was {origin.method}" if origin.method else ""
        named = f" from {origin.source}" if origin.source else ""
        facts.append(("origin", f"{origin.kind}{named}{was}"))
        if origin.digest:
            facts.append(("original files", origin.digest))
        facts += [
            (f"parent {each.ref}", f"weight {each.weight:g}, {each.digest}")
            for each in origin.parents
        ]
    return facts


def _report_record(report: FsckReport) -> dict[str, Any]:
    return {
        "versions": report.versions,
        "blobs": report.blobs,
        "exit_code": report.exit_code,
        "findings": [
            {
                "severity": finding.severity,
                "subject": finding.subject,
                "detail": finding.detail,
                "repaired": finding.repaired,
            }
            for finding in report.findings
        ],
    }


def _print_report(report: FsckReport) -> None:
    from hub.console import print_table

    if report.findings:
        rows = [
            (f.severity, f.subject, f.detail, "repaired" if f.repaired else _NOTHING)
            for f in report.findings
        ]
        print_table(("finding", "subject", "detail", "state"), rows)
    told = {0: "clean", 1: "repaired", 4: "damage is left"}[report.exit_code]
    print(f"{report.versions} versions, {report.blobs} blobs checked: {told}")


def _current(registry: Registry, name: str, alias: str) -> int | None:
    state = registry.aliases(name).get(alias)
    return None if state is None else state.version


def _default_name(folder: Path) -> str:
    """Return pair.method from the folder's manifest."""
    from hub.errors import InputError
    from hub.manifest import MANIFEST_FILE, AdapterManifest

    try:
        manifest = AdapterManifest.from_json((folder / MANIFEST_FILE).read_bytes())
    except FileNotFoundError as error:
        raise InputError(
            f"cannot read {folder / MANIFEST_FILE} ({error.strerror}); give the folder of an "
            "adapter. One from elsewhere is taken in with `hub adapters import`",
            field="folder",
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {folder / MANIFEST_FILE} ({error}); give the folder of an adapter",
            field="folder",
        ) from None
    return f"{manifest.pair}.{manifest.method}".lower()


def _location(flag: str | None) -> str:
    from hub.settings import load_settings

    return load_settings({"registry": flag}).registry


def _exists(location: str) -> bool:
    from hub.registry.registry import CATALOG_FILE, local_root

    return (local_root(location) / CATALOG_FILE).exists()


@contextmanager
def opened_registry(location: str) -> Iterator[Registry]:
    """Open a registry for the block, made if missing."""
    from hub.registry import Registry

    with Registry.open(location) as registry:
        yield registry


@contextmanager
def existing_registry(flag: str | None) -> Iterator[Registry]:
    """Open a registry to look at; unlike publishing, looking creates none."""
    from hub.errors import AdapterNotFoundError

    location = _location(flag)
    if not _exists(location):
        raise AdapterNotFoundError(
            f"there is no registry at {location}; publish an adapter first, or name the folder "
            "with --registry or HUB_REGISTRY",
            field="registry",
        )
    with opened_registry(location) as registry:
        yield registry


def user_name() -> str:
    """Return who runs the command, for the log of moves; "" for a user without a name."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # as in containers
        return ""


def print_json(value: object) -> None:
    """Print a value as JSON for a script to read."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
