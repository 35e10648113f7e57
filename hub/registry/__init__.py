"""The registry of adapters: content-addressed blobs and a catalog of versions and aliases."""

from __future__ import annotations

from hub.registry.blobs import folder_digest
from hub.registry.evidence import CanaryEvidence
from hub.registry.faults import CatalogSchemaError
from hub.registry.fsck import Finding, FsckReport
from hub.registry.records import AdapterVersion, AliasEvent, AliasState, Canary, Note
from hub.registry.registry import Registry

__all__ = [
    "AdapterVersion",
    "AliasEvent",
    "AliasState",
    "Canary",
    "CanaryEvidence",
    "CatalogSchemaError",
    "Finding",
    "FsckReport",
    "Note",
    "Registry",
    "folder_digest",
]
