"""What `hub serve` says when it is ready."""

from __future__ import annotations

import pytest

from hub.engine import native
from server.commands import _kernels


@pytest.mark.skipif(not native.available(), reason="built without a C compiler")
def test_the_instruction_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUB_CPU_ISA", raising=False)
    assert _kernels() == native.variant()
    monkeypatch.setenv("HUB_CPU_ISA", "plain")
    with native.using("plain"):
        assert _kernels() == "plain, as HUB_CPU_ISA says"


def test_missing_kernels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available", lambda: False)
    assert "install the package where there is a C compiler" in _kernels()
