"""`hub doctor` on broken machines: every fault is found, named with a remedy, and survived."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.bases import open_base
from hub.cli import run
from hub.doctor import contents, machine, network, software
from hub.doctor.checks import all_checks
from hub.doctor.report import Check, Finding, Report, examine
from hub.registry import Registry
from hub.registry.testing import example_manifest, write_adapter_folder
from hub.settings import Settings, load_settings

Make = Callable[..., Settings]


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    def make(**flags: Any) -> Settings:
        given = {"registry": str(tmp_path / "registry"), "port": 0, "metrics_port": 0, **flags}
        return load_settings(given, environ={}, folder=tmp_path)

    return make


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry with one version."""
    folder = write_adapter_folder(tmp_path / "adapter", example_manifest())
    with Registry.open(tmp_path / "registry") as opened:
        opened.publish(folder, "one")
    return tmp_path / "registry"


def only(findings: Any) -> Finding:
    (finding,) = findings
    return finding


def test_the_whole_command_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--registry", str(tmp_path), "--port", "0", "--metrics-port", "0", "--json"]
    assert run(["doctor", *flags]) == 0
    told = json.loads(capsys.readouterr().out)
    by_name = {one["check"]: one for one in told["checks"]}
    assert by_name.keys() >= {check.name for check in all_checks()}
    assert "9,450,240 parameters" in by_name["base"]["detail"]
    assert open_base().digest[:19] in by_name["base"]["detail"]
    assert told["status"] in ("ok", "warn")
    assert list(tmp_path.iterdir()) == []  # nothing was made


def test_as_a_table_with_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--registry", str(tmp_path), "--base", str(tmp_path / "none"), "--port", "0"]
    assert run(["doctor", *flags, "--metrics-port", "0"]) == 1
    told = capsys.readouterr()
    assert f"base\tfail\tbase '{tmp_path / 'none'}'" in told.out
    assert "something failed" in told.err


def test_bad_settings_are_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json", "--max-beam", "99"]) == 1
    (only_one,) = json.loads(capsys.readouterr().out)["checks"]
    assert only_one["check"] == "settings"
    assert "max_beam = '99' (from --max-beam)" in only_one["detail"]


def test_a_check_that_breaks_is_a_finding_and_the_others_run(settings: Make) -> None:
    def broken(given: Settings) -> Any:
        yield Finding("first", "ok", "before it broke")
        raise RuntimeError("what nobody foresaw")

    report = examine(settings(), (Check("broken", broken), Check("clock", machine.check_clock)))
    assert [one.status for one in report.findings] == ["ok", "fail", "ok"]
    assert "RuntimeError: what nobody foresaw" in report.findings[1].detail
    assert "HUB_DEBUG=1" in report.findings[1].remedy
    assert (report.status, report.exit_code) == ("fail", 1)
    assert Report((Finding("a", "warn", "b"),)).exit_code == 0


def test_a_library_that_is_broken(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    report = examine(settings(device="cpu"), (Check("memory", machine.check_memory),))
    assert report.exit_code == 1
    assert "psutil" in report.findings[0].detail
    assert "install the package again" in report.findings[0].remedy


def test_what_memory_needs_is_not_told_of_a_base_that_does_not_open(settings: Make) -> None:
    assert list(machine.check_memory(settings(base="/nowhere/at/all"))) == []


def test_a_damaged_base(settings: Make, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(open_base().folder, folder)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    check = Check("base", contents.check_base)
    report = examine(settings(base=str(folder)), (check,))
    assert report.exit_code == 1
    assert "has sha256" in report.findings[0].detail
    (folder / "sentencepiece.bpe.model").unlink()
    assert examine(settings(base=str(folder)), (check,)).exit_code == 1


def test_another_base_than_the_settings_ask_for(settings: Make) -> None:
    check = Check("base", contents.check_base)
    other = "sha256:" + "0" * 64
    report = examine(settings(base_digest=other), (check,))
    assert f"but base_digest asks for {other}" in report.findings[0].detail
    assert examine(settings(base_digest=open_base().digest), (check,)).status == "ok"


def test_a_base_that_would_have_to_be_fetched(settings: Make) -> None:
    found = only(contents.check_base(settings(base="someone/some-model")))
    assert found.status == "warn"
    assert found.remedy.endswith("hub bases pull someone/some-model")


def test_a_sound_registry(settings: Make, registry: Path) -> None:
    found = only(contents.check_registry(settings()))
    assert found.status == "ok"
    assert "1 versions" in found.detail


@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_a_registry_with_a_damaged_file(settings: Make, registry: Path, harm: str) -> None:
    blob = max((registry / "blobs").iterdir(), key=lambda each: each.stat().st_size)
    if harm == "missing":
        blob.unlink()
    else:
        blob.chmod(0o600)
        os.truncate(blob, 5)
    found = only(contents.check_registry(settings()))
    assert found.status == "fail"
    assert "one:1" in found.detail
    assert "fsck --repair" in found.remedy


def test_a_catalog_that_is_none(settings: Make, registry: Path) -> None:
    (registry / "catalog.sqlite3").write_bytes(b"not a database at all" * 100)
    report = examine(settings(), (Check("registry", contents.check_registry),))
    assert report.exit_code == 1
    assert str(registry) in report.findings[0].detail


def test_a_catalog_that_somebody_holds(settings: Make, registry: Path) -> None:
    holder = sqlite3.connect(registry / "catalog.sqlite3", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        found = only(contents.check_registry(settings()))  # readers do not wait in WAL mode
        assert found.status == "ok"
    finally:
        holder.close()


def test_a_clock_that_was_set_back(settings: Make, registry: Path) -> None:
    later = time.time() + 86_400
    os.utime(registry / "catalog.sqlite3", (later, later))
    *_, clock = contents.check_registry(settings())
    assert (clock.check, clock.status) == ("clock", "warn")


def test_an_impossible_time(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    found = only(machine.check_clock(settings()))
    assert found.status == "fail"
    assert "1970" in found.detail


def test_a_folder_that_cannot_be_one(settings: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    findings = list(contents.check_disk(settings(registry=str(tmp_path / "file" / "registry"))))
    assert [one.status for one in findings] == ["fail", "ok", "ok"]
    assert "HUB_REGISTRY" in findings[0].remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written(settings: Make, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    findings = list(contents.check_disk(settings(runs=closed / "runs")))
    assert findings[2].status == "fail"
    assert "cannot be written" in findings[2].detail


def test_a_full_disk(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, status in ((contents.TOO_LITTLE - 1, "fail"), (contents.LITTLE - 1, "warn")):
        usage = shutil._ntuple_diskusage(10**12, 0, free)  # type: ignore[attr-defined]
        monkeypatch.setattr(shutil, "disk_usage", lambda place, usage=usage: usage)
        assert {one.status for one in contents.check_disk(settings())} == {status}


def test_ports(settings: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        first, second = network.check_ports(settings(port=port))
        assert (first.status, second.status) == ("fail", "ok")
        assert "in use" in first.detail
        assert "--port" in first.remedy
        _, metrics = network.check_ports(settings(metrics_port=port))
        assert "--metrics-port" in metrics.remedy
    first, _ = network.check_ports(settings(port=port))
    assert (first.status, first.detail) == ("ok", f"port {port} on 127.0.0.1 is free")
    both = only(network.check_ports(settings(port=5000, metrics_port=5000)))
    assert both.status == "fail"
    foreign, _ = network.check_ports(settings(host="192.0.2.1", port=5000))
    assert (foreign.status, "--host" in foreign.remedy) == ("fail", True)


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, "ok"),
        ({"http_proxy": "http://proxy:3128"}, "warn"),
        ({"grpc_proxy": "http://proxy:3128", "no_proxy": "example.org"}, "warn"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "localhost, 127.0.0.1"}, "ok"),
        ({"http_proxy": "http://proxy:3128", "no_grpc_proxy": "*"}, "ok"),
    ],
)
def test_proxies(settings: Make, environ: dict[str, str], status: str) -> None:
    found = only(network.check_proxy(settings(), environ))
    assert found.status == status
    assert bool(found.remedy) == (status != "ok")


def test_memory(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(free: int, **flags: Any) -> Finding:
        monkeypatch.setattr(machine, "available_bytes", lambda: free)
        return only(machine.check_memory(settings(device="cpu", **flags)))

    parameters = open_base().parameters
    loading = machine.PROCESS_BYTES + int(parameters * 1.3) + 4 * parameters
    serving = machine.PROCESS_BYTES + int(parameters * 1.3) + 2**30 + 2**29
    assert found(loading - 1).status == "fail"
    assert found(loading).status == "warn"
    assert "HUB_HOST_ADAPTER_BYTES" in found(serving - 1).remedy
    assert found(serving).status == "ok"
    assert found(serving, quantization="float32").status == "warn"


def test_a_container_has_less_than_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(machine, "_CGROUPS", ((str(limit), str(used)),))
    whole = machine.available_bytes()
    limit.write_text("5000000\n")
    used.write_text("1000000\n")
    assert machine.available_bytes() == 4_000_000 < whole
    limit.write_text("max\n")
    assert machine.available_bytes() > 4_000_000


def test_versions(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(software.check_versions(settings())).status == "ok"
    asked = ["torch>=99", "no-such-package-of-ours>=1", 'absent>=1; extra == "dev"']
    monkeypatch.setattr(software, "requires", lambda name: asked)
    found = only(software.check_versions(settings()))
    assert found.status == "fail"
    assert "is not >=99" in found.detail
    assert "no-such-package-of-ours is missing" in found.detail
    assert "absent" not in found.detail


def test_generated_code_that_does_not_load(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hub.pb.adapterhub.v1.adapter_service_pb2_grpc", None)
    monkeypatch.delattr("hub.pb.adapterhub.v1.adapter_service_pb2_grpc", raising=False)
    found = only(software.check_wire(settings()))
    assert found.status == "fail"
    assert "grpcio" in found.remedy


def test_kernels(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from hub.engine import native

    monkeypatch.setattr(native, "available", lambda: False)
    found = list(machine.check_cpu(settings(threads=4096)))
    assert [(one.check, one.status) for one in found] == [("cpu", "warn"), ("threads", "warn")]
    assert "C compiler" in found[0].remedy


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="has a GPU")
def test_a_gpu_that_is_not_there(settings: Make) -> None:
    report = examine(settings(device="cuda"), (Check("gpu", machine.check_gpu),))
    assert report.exit_code == 1
    assert "there is no GPU to use" in report.findings[0].detail


def test_a_locale_that_lacks_scripts(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import locale

    assert only(machine.check_locale(settings())).status in ("ok", "warn")
    monkeypatch.setattr(locale, "getpreferredencoding", lambda setlocale=True: "ANSI_X3.4-1968")
    assert only(machine.check_locale(settings())).status == "warn"
