"""Adapters as a base's server reads them: the folder, and what its manifest promises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from hub.bases import Base
from hub.bases.languages import said_text
from hub.engine.adapters import AdapterReader, HostAdapter
from hub.engine.deltas import find_deltas
from hub.engine.families import Checkpoint, find_family
from hub.engine.linear import Precision
from hub.errors import AdapterBindingError, WrongBaseError
from hub.manifest import AdapterManifest


@dataclass(frozen=True)
class CheckedReader:
    """Reads adapters for one base; safe on any thread, and needs none of the base's weights."""

    base: Base
    reader: AdapterReader

    @classmethod
    def of(cls, base: Base, precision: Precision) -> CheckedReader:
        """Return the reader of a base that is kept in some precision."""
        family = find_family(base.config)
        reader = AdapterReader(
            family,
            base.architecture,
            find_deltas(precision),
            base.digest,
            weights=lambda: Checkpoint(base, family),
            dtype=precision.cache_dtype,
            table_rows=precision.table_rows,
        )
        return cls(base, reader)

    @torch.inference_mode()
    def read(self, folder: Path, manifest: AdapterManifest | None = None) -> HostAdapter:
        """Read an adapter folder into host memory.

        Raises:
            WrongBaseError: The manifest names another base.
            AdapterBindingError: A tensor does not bind, or the count is not the manifest's.
            IncompatibleAdapterError: The kind of adapter is not served.
            CorruptBlobError: A file cannot be read.
        """
        if manifest is not None:
            self._check_base(manifest)
        adapter = self.reader.read(folder)
        if manifest is not None:
            _check_counts(folder, manifest, adapter)
        return adapter

    def _check_base(self, manifest: AdapterManifest) -> None:
        """Check that the base is the adapter's, and is asked for languages as it was then.

        Raises:
            WrongBaseError: It is another, or other words for its languages were said of it here.
        """
        if not self.base.answers_to(manifest.base.digest):
            raise WrongBaseError(
                f"the adapter was trained on base {manifest.base.name!r} "
                f"({manifest.base.digest}), this engine serves {self.base.digest}"
            )
        said, here = manifest.base.languages, said_text(self.base)
        if said and here != said:
            raise WrongBaseError(
                f"the adapter was made for {said!r} as the base's languages, here they are "
                f"{here!r}; start with --languages {said}"
            )


def _check_counts(folder: Path, manifest: AdapterManifest, adapter: HostAdapter) -> None:
    """Check that an adapter is as large as its manifest says.

    Raises:
        AdapterBindingError: It is not.
    """
    if manifest.trainable_parameters != adapter.parameters:
        raise AdapterBindingError(
            f"{folder.name} holds {adapter.parameters:,} values, its manifest says "
            f"{manifest.trainable_parameters:,}"
        )
    if manifest.table_rows != adapter.table_rows:
        raise AdapterBindingError(
            f"{folder.name} has {adapter.table_rows:,} rows of the token table, its manifest "
            f"says {manifest.table_rows:,}"
        )
