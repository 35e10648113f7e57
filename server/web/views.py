"""What there is, as the page shows it: languages, adapters, routes, glossaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.bases import EMBEDDED
from hub.glossaries import Allows, Glossaries
from hub.manifest import AdapterManifest, Metric
from hub.provenance import OriginRecord
from hub.registry import AdapterVersion
from server.access.identity import Identity
from server.access.permits import Permit
from server.core import Core
from server.messages import LoadedAdapter
from server.translation.routes import RouteEntry
from server.web.canaries import arms_of, running_canaries
from server.web.feedback import may_correct

MOST: Final = 300
"""Adapters that a page lists; of more the newest version of each name comes first."""
_PREFERRED: Final[tuple[Metric, ...]] = ("chrf++", "comet", "bleu", "ter", "exact")
_LESS_IS_BETTER: Final = frozenset({"ter"})
_SAMPLES: Final = ("sample_date", "sample_weeks", "sample_speed", "sample_places")
"""Messages with texts that the embedded base knows."""

Loaded = Mapping[str, LoadedAdapter]


def page_view(core: Core, identity: Identity, loaded: Loaded | None) -> dict[str, Any]:
    """Return what the page needs to start. Blocks on the registry.

    Args:
        core: What is served.
        identity: Who asks.
        loaded: Adapters in memory by digest; None for a caller who may not see that.
    """
    limits = core.translator.limits
    return {
        "base": base_view(core),
        "languages": [{"code": code} for code in sorted(core.translator.router.languages)],
        "adapters": [brief(one, loaded) for one in served_versions(core, identity.permit)],
        "routes": [route_view(one) for one in core.routes().permitted(identity.permit).sorted()],
        "glossaries": _glossaries(
            core.glossaries, core.glossary_owners.visible(identity.tenant, identity.permit)
        ),
        "limits": {"characters": limits.max_content_characters, "beam": limits.max_beam},
        "samples": _SAMPLES if core.base.name == EMBEDDED else (),
        "feedback": may_correct(core, identity),
        "caller": {"tenant": identity.tenant, "admin": loaded is not None},
    }


def adapters_view(core: Core, identity: Identity, loaded: Loaded | None) -> dict[str, Any]:
    """Return adapters with their scores and where they come from. Blocks on the registry."""
    versions, canaries = served_versions(core, identity.permit), running_canaries(core)
    return {
        "adapters": [
            {**brief(one, loaded), **detail(one), "arms": arms_of(one, canaries)}
            for one in versions
        ],
        "routes": [route_view(one) for one in core.routes().permitted(identity.permit).sorted()],
    }


def base_view(core: Core) -> dict[str, str]:
    """Return the base as it is served."""
    settings = core.settings
    return {
        "name": core.base.name,
        "digest": core.base.digest,
        "quantization": settings.quantization,
        "device": settings.device,
    }


def served_versions(core: Core, permit: Permit) -> list[AdapterVersion]:
    """Return the versions that a caller can ask this server for: those made for its base."""
    served = [
        version
        for version in core.registry.versions()
        if permit.allows(version.name) and core.base.answers_to(version.manifest.base.digest)
    ]
    newest: dict[str, int] = {}
    for version in served:
        newest[version.name] = max(version.version, newest.get(version.name, 0))
    served.sort(
        key=lambda one: (
            not (one.aliases or newest[one.name] == one.version), one.name, -one.version,
        )
    )  # fmt: skip
    return sorted(served[:MOST], key=lambda one: (one.name, -one.version))


def brief(version: AdapterVersion, loaded: Loaded | None) -> dict[str, Any]:
    """Return what is needed to choose an adapter."""
    manifest = version.manifest
    return {
        "ref": version.ref,
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "aliases": version.aliases,
        "source": manifest.language_pair.source,
        "target": manifest.language_pair.target,
        "domain": manifest.domain,
        "method": manifest.method,
        "size": manifest.size,
        "budget": manifest.budget,
        "fraction": manifest.realised_fraction,
        "parameters": manifest.trainable_parameters,
        "bytes": version.bytes,
        "score": score_view(manifest),
        "residency": None if loaded is None else residency_view(loaded.get(version.digest)),
    }


def residency_view(loaded: LoadedAdapter | None) -> dict[str, Any]:
    """Return where an adapter is."""
    if loaded is None:
        return {"tier": "registry", "slot": 0, "running": 0, "pinned": False}
    return {
        "tier": "device" if loaded.slot else "host",
        "slot": loaded.slot,
        "running": loaded.running,
        "pinned": loaded.pinned,
    }


def score_view(manifest: AdapterManifest) -> dict[str, Any] | None:
    """Return the score that adapters are told apart by, with its interval over the base's."""
    metric = next((one for one in _PREFERRED if manifest.score(one, "adapter") is not None), None)
    if metric is None:
        return None
    compared = manifest.comparison(metric)
    return {
        "metric": metric,
        "adapter": manifest.score(metric, "adapter"),
        "base": manifest.score(metric, "base"),
        "delta": compared and compared.delta,
        "low": compared and compared.low,
        "high": compared and compared.high,
        "better": metric not in _LESS_IS_BETTER,
    }


def detail(version: AdapterVersion) -> dict[str, Any]:
    """Return all scores of an adapter, and where it comes from."""
    manifest = version.manifest
    return {
        "created": version.created_at.isoformat(),
        "scores": [score.model_dump(mode="json") for score in manifest.scores],
        "lineage": _lineage(manifest),
    }


def _lineage(manifest: AdapterManifest) -> dict[str, Any]:
    corpus, origin = manifest.corpus, manifest.origin
    return {
        "corpus": corpus.name if corpus else "",
        "licence": corpus.licence if corpus else "",
        "items": corpus.train if corpus else 0,
        "recipe": manifest.recipe_digest or "",
        "seed": manifest.seed,
        "origin": _origin(origin) if origin else "",
        "parents": [
            parent.model_dump(mode="json") for parent in (origin.parents if origin else ())
        ],
    }


def _origin(origin: OriginRecord) -> str:
    return " ".join(part for part in (origin.kind, origin.source, origin.method) if part)


def route_view(entry: RouteEntry) -> dict[str, Any]:
    """Return a route."""
    return {
        "source": entry.pair.source,
        "target": entry.pair.target,
        "domain": entry.domain,
        "adapter": entry.ref,
        "adapter_version": entry.version.ref,
    }


def _glossaries(glossaries: Glossaries, allows: Allows) -> Sequence[dict[str, Any]]:
    return [
        {
            "ref": one.name,
            "version": one.version,
            "source": one.pair.source,
            "target": one.pair.target,
            "terms": len(one.terms),
        }
        for one in glossaries.newest(allows)
    ]
