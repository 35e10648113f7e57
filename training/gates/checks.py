"""What an adapter must show before it is published.

Every value finite, the budget held, every tensor bound in the serving engine, served as it was
trained (`training.gates.equality`, `training.gates.fresh_process`), and not worse than its base.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hub.errors import AdapterBindingError, BudgetError, QualityGateError
from hub.manifest import AdapterManifest, Metric
from training.evidence.decode import Decoder

WEIGHTS: Final = "*.safetensors"
QUALITY_METRIC: Final[Metric] = "chrf++"
SIGNIFICANT: Final = 0.05


def check_served(files: Mapping[str, bytes], decoder: Decoder) -> None:
    """Refuse before training what the serving engine would refuse after it.

    Args:
        files: The untrained adapter's, by name.
        decoder: Its slot is overwritten.

    Raises:
        IncompatibleAdapterError: The engine does not serve such an adapter on this base.
    """
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        decoder.place(Path(folder))


def check_finite(folder: Path) -> None:
    """Refuse an adapter with a NaN or an infinity in it.

    Raises:
        AdapterBindingError: Names the tensor.
    """
    from safetensors.torch import load_file

    tensors = (item for file in sorted(folder.glob(WEIGHTS)) for item in load_file(file).items())
    for name, tensor in tensors:
        if not bool(tensor.isfinite().all()):
            raise AdapterBindingError(
                f"tensor {name} holds values that are not finite; lower --lr and train again"
            )


def check_budget(manifest: AdapterManifest, instantiated: int) -> None:
    """Refuse an adapter that is larger than its budget or than its own arithmetic.

    Raises:
        BudgetError: Names both counts.
    """
    if instantiated != manifest.trainable_parameters:
        raise BudgetError(
            f"{manifest.method} of size {manifest.size} trains {instantiated:,} parameters, "
            f"but {manifest.trainable_parameters:,} were counted; this is a bug in the arithmetic"
        )
    if manifest.budget is not None and manifest.realised_fraction > manifest.budget:
        raise BudgetError(
            f"the adapter takes {manifest.realised_fraction:.6f} of the base, "
            f"over the budget of {manifest.budget}"
        )


def check_quality(manifest: AdapterManifest, *, force: bool) -> None:
    """Refuse an adapter that translates significantly worse than the base, unless forced.

    The test is one-sided, by paired bootstrap on the unseen test items: what few items cannot tell
    from chance passes.

    Raises:
        QualityGateError: Gives both scores, the difference, its p-value and the limit.
    """
    if force:
        return
    found = manifest.comparison(QUALITY_METRIC)
    base = manifest.score(QUALITY_METRIC, "base")
    adapter = manifest.score(QUALITY_METRIC, "adapter")
    if found is None or base is None or adapter is None:
        raise QualityGateError(
            "the adapter was not compared with its base by chrF++; score it, or publish with "
            "--force"
        )
    if found.p_worse < SIGNIFICANT:
        raise QualityGateError(
            f"the adapter is significantly worse than its base: chrF++ {adapter:.1f} on unseen "
            f"items, the base {base:.1f}; difference {found.delta:+.2f}, 95 % interval "
            f"{found.low:+.2f} to {found.high:+.2f}, one-sided p {found.p_worse:.2g}, limit "
            f"{SIGNIFICANT:g}; train longer (--max-updates), change --lr, give more data, or "
            "publish with --force"
        )
