"""Evidence becomes a manifest, passes the gates, and goes to the registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hub.bases.languages import said_text
from hub.golden import GOLDEN_FILE
from hub.manifest import (
    MANIFEST_FILE,
    AdapterManifest,
    BaseReference,
    CleaningRecord,
    CorpusReference,
    EnvironmentRecord,
    OutputRecord,
    SourceRecord,
)
from hub.vocabulary import VOCABULARY_FILE, vocabulary_json
from training.corpora.model import segments_fingerprint
from training.evidence.card import model_card
from training.gates.checks import check_quality
from training.methods.catalog import ROWS
from training.recipe import Recipe
from training.runs import RunFolder

if TYPE_CHECKING:
    from hub.bases import Base
    from hub.golden import GoldenLines
    from hub.registry import AdapterVersion, Registry
    from training.corpora import CorpusSplits
    from training.evidence.gather import Evidence
    from training.gates.equality import EqualityEvidence

CARD_FILE = "README.md"


def describe(
    recipe: Recipe,
    base: Base,
    corpus: CorpusSplits,
    trainable_parameters: int,
    environment: EnvironmentRecord | None = None,
    domain: str = "",
) -> AdapterManifest:
    """Return the manifest of a run, without scores yet."""
    return AdapterManifest(
        pair=recipe.pair,
        method=recipe.method,
        size=recipe.size,
        budget=recipe.budget,
        trainable_parameters=trainable_parameters,
        base=BaseReference(
            name=recipe.base,
            digest=base.digest,
            parameters=base.dimensions.parameters,
            licence=base.licence,
            languages=said_text(base),
        ),
        corpus=_corpus_record(corpus),
        recipe_digest=recipe.digest,
        seed=recipe.seed,
        environment=environment,
        domain=domain,
        token_rows=int(recipe.options.get(ROWS, 0)),
    )


def _corpus_record(corpus: CorpusSplits) -> CorpusReference:
    plain = CorpusReference(
        name=corpus.name,
        fingerprint=corpus.fingerprint,
        licence=corpus.licence,
        train=len(corpus.train),
        dev=len(corpus.dev),
        test=len(corpus.test),
    )
    report = corpus.report
    if report is None:
        return plain
    return plain.model_copy(
        update={
            "sources": tuple(
                SourceRecord(
                    name=source.name,
                    format=source.format,
                    weight=source.weight,
                    digest=source.digest,
                    read=source.read,
                    kept=source.kept,
                )
                for source in report.sources
            ),
            "cleaning": CleaningRecord(
                settings=report.cleaning.settings, removed=report.removed, skipped=report.skipped
            ),
            "test_fingerprint": segments_fingerprint(corpus.test),
        }
    )


def with_evidence(
    manifest: AdapterManifest, evidence: Evidence, output: OutputRecord | None = None
) -> AdapterManifest:
    """Return the manifest with its evidence, and with what the adapter's outputs look like."""
    return manifest.model_copy(
        update={
            "scores": evidence.scores,
            "comparisons": evidence.comparisons,
            "lengths": evidence.lengths,
            "output": output,
        }
    )


def write_evidence(
    run: RunFolder,
    recipe: Recipe,
    manifest: AdapterManifest,
    equality: EqualityEvidence,
    golden: GoldenLines | None = None,
    tokens: Sequence[int] | None = None,
) -> Path:
    """Complete the best adapter's folder with all that goes with its weights.

    Args:
        run: Where the folder is.
        recipe: What was trained.
        manifest: With its evidence.
        equality: What the gate measured.
        golden: Lines that a server translates again; None for none.
        tokens: Those that its translations may need; None for no such list.
    """
    if golden is not None:
        run.write(f"{run.best.name}/{GOLDEN_FILE}", golden.to_json().encode())
    if tokens is not None:
        text = vocabulary_json(manifest.language_pair.target, tokens)
        run.write(f"{run.best.name}/{VOCABULARY_FILE}", text.encode())
    run.write(f"{run.best.name}/{MANIFEST_FILE}", manifest.to_json().encode())
    card = model_card(manifest, recipe, equality)
    run.write(f"{run.best.name}/{CARD_FILE}", card.encode())
    return run.best


def default_name(recipe: Recipe) -> str:
    """Return the adapter name that a run publishes under when none is given."""
    beside = "-tokens" if recipe.options.get(ROWS) else ""
    return f"{recipe.pair}.{recipe.method}{beside}".lower()


def publish(
    registry: Registry,
    folder: Path,
    name: str,
    manifest: AdapterManifest,
    *,
    aliases: Sequence[str] = (),
    force: bool = False,
) -> AdapterVersion:
    """Publish a finished adapter folder, unless it translates worse than its base.

    Aliases are moved to the new version from wherever they pointed.

    Raises:
        QualityGateError: The adapter is worse than the base and `force` is not set.
    """
    check_quality(manifest, force=force)
    return registry.publish(folder, name, manifest, aliases)
