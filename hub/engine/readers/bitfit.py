"""BitFit (arXiv 2106.10199): a shift of every bias, of linears and of norms."""

from __future__ import annotations

import re
from typing import Final

from hub.engine.readers.files import AdapterFiles, check_shape
from hub.engine.readers.target import Contents, Target, vector
from hub.engine.vectors import VectorPart

_KEY: Final = re.compile(r"(?P<module>.+)\.(?P<part>bitfit_bias)")


def read_bitfit(files: AdapterFiles, target: Target) -> Contents:
    """Return one shift for every module named."""
    files.refuse(("modules_to_save",), "BitFit")
    vectors: list[VectorPart] = []
    for module, parts in files.by_module(_KEY, {*target.linears, *target.norms}).items():
        name, values = f"{module}.bitfit_bias", parts["bitfit_bias"]
        if module in target.linears:
            site = target.linears[module]
            check_shape(name, values, target.linear_shape(site)[:1])
        else:
            site = target.norms[module]
            check_shape(name, values, (target.architecture.d_model,))
        vectors.append(vector(site, "add", values))
    return Contents(vectors=tuple(vectors))
