"""The software: Python, and every library against what the package asks for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Final

from hub.doctor.report import Finding
from hub.settings import Settings

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PACKAGE: Final = "adapterhub"
_TOLD: Final = ("torch", "transformers", "grpcio", "protobuf", "SQLAlchemy", "pydantic")
"""Libraries whose versions are told where all is well."""


def check_versions(settings: Settings) -> Iterator[Finding]:
    """Compare what is installed with what the package asks for."""
    try:
        asked = requires(_PACKAGE) or []
    except PackageNotFoundError:
        yield Finding(
            "versions", "warn", f"{_PACKAGE} is not installed; versions cannot be compared",
            f"install it: pip install {_PACKAGE}",
        )  # fmt: skip
        return
    wrong = [said for said in map(_complaint, _needed(asked)) if said]
    if wrong:
        yield Finding("versions", "fail", "; ".join(wrong), f"pip install --upgrade {_PACKAGE}")
    else:
        told = ", ".join(f"{name} {version(name)}" for name in _TOLD)
        yield Finding("versions", "ok", f"Python {platform.python_version()}, {told}")


def _needed(asked: list[str]) -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    for text in asked:
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield needed


def _complaint(needed: Requirement) -> str:
    try:
        found = version(needed.name)
    except PackageNotFoundError:
        return f"{needed.name} is missing"
    if needed.specifier.contains(found, prereleases=True):
        return ""
    return f"{needed.name} {found} is not {needed.specifier}"


def check_wire(settings: Settings) -> Iterator[Finding]:
    """Load the generated code, which refuses a gRPC or protobuf that is older than itself."""
    try:
        from hub.pb.adapterhub.v1 import (  # noqa: F401
            adapter_service_pb2_grpc,
            translation_service_pb2_grpc,
        )
    except Exception as error:
        remedy = "pip install --upgrade grpcio protobuf"
        yield Finding("wire", "fail", f"{type(error).__name__}: {error}", remedy)
    else:
        yield Finding("wire", "ok", "the generated code loads with this gRPC and protobuf")
