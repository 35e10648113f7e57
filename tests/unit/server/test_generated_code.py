"""hub/pb is what `make proto` makes of protos/, byte for byte; and the wire keeps its promises."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from hub.pb.adapterhub.v1 import adapter_service_pb2, translation_service_pb2


def load_generator(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_protos", repository / "protos" / "generate.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.suffix in {".py", ".pyi"})
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in files}


def test_generated_code_is_up_to_date(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is a development dependency")
    load_generator(repository).generate(tmp_path)
    made = contents(tmp_path)
    assert len(made) >= 8
    assert made == contents(repository / "hub" / "pb"), "run `make proto`"


# Written down by hand from google.cloud.translation.v3: these numbers must never change.
@pytest.mark.parametrize(
    ("message", "field", "number"),
    [
        ("TranslateTextRequest", "contents", 1),
        ("TranslateTextRequest", "mime_type", 3),
        ("TranslateTextRequest", "source_language_code", 4),
        ("TranslateTextRequest", "target_language_code", 5),
        ("TranslateTextRequest", "adapter", 6),
        ("TranslateTextResponse", "translations", 1),
        ("Translation", "translated_text", 1),
        ("Translation", "adapter_version", 5),
        ("Translation", "adapter_digest", 6),
        ("Translation", "status", 9),
    ],
)
def test_field_numbers_last(message: str, field: str, number: int) -> None:
    descriptor = translation_service_pb2.DESCRIPTOR.message_types_by_name[message]
    assert descriptor.fields_by_name[field].number == number


def test_zero_of_every_enum_says_nothing() -> None:
    for file in (translation_service_pb2.DESCRIPTOR, adapter_service_pb2.DESCRIPTOR):
        for enum in file.enum_types_by_name.values():
            assert enum.values_by_number[0].name.endswith("_UNSPECIFIED")
