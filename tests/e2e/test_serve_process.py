"""The real thing: a `hub serve` process, real clients, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from safetensors.numpy import save_file

from hub.bases import open_base
from hub.client import Decoding, HubClient
from hub.errors import AdapterNotFoundError, ServerUnreachableError
from hub.manifest import AdapterManifest, BaseReference, CorpusReference
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.registry import AdapterVersion, Registry

HUB = [sys.executable, "-c", "from hub.cli import main; main()"]
SHORT = Decoding(max_output_tokens=4)
WAIT = 120


@dataclass
class Server:
    """A running `hub serve`."""

    process: subprocess.Popen[str]
    target: str
    metrics: str
    log: list[str]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(WAIT)

    def metric(self, name: str) -> float:
        """Read one metric without labels over HTTP."""
        from urllib.request import urlopen

        with urlopen(f"http://{self.metrics}/metrics", timeout=WAIT) as reply:
            lines = reply.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HUB_")}
    return {**kept, "HUB_THREADS": "1", "OMP_NUM_THREADS": "1", **more}


def hub(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HUB, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WAIT,
        env=environment(**more),
        check=False,
    )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start `hub serve` on free ports; it is killed after the test if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Server:
        command = [*HUB, "serve", "--port", "0", "--metrics-port", "0", "--announce", "json"]
        process = subprocess.Popen(
            [*command, "--registry", str(tmp_path / "registry"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stderr is not None
        log: list[str] = []
        threading.Thread(target=log.extend, args=(process.stderr,), daemon=True).start()
        line = process.stdout.readline()
        assert line, f"no announcement: {log}"
        ready = json.loads(line)
        assert ready.keys() == {"event", "grpc", "metrics"}
        assert ready["event"] == "ready"
        return Server(process, ready["grpc"], ready["metrics"], log)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(WAIT)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


TEXTS = 240
"""Of one call, with 16 beams each: many batches in a row, long enough to be seen running."""


def request(tokens: int, beam: int = 1) -> pb.TranslateTextRequest:
    return pb.TranslateTextRequest(
        contents=["Monday"] * TEXTS,
        source_language_code="en",
        target_language_code="ko",
        decoding=pb.DecodingOptions(max_output_tokens=tokens, beam_size=beam),
    )


def call_in_flight(
    server: Server, channel: grpc.Channel, message: pb.TranslateTextRequest
) -> grpc.Future:
    """Start a call and return once the engine runs it."""
    translate = channel.unary_unary(
        "/adapterhub.v1.TranslationService/TranslateText",
        pb.TranslateTextRequest.SerializeToString,
        pb.TranslateTextResponse.FromString,
    )
    call = translate.future(message, timeout=WAIT)
    while not server.metric("hub_requests_running"):
        assert not call.done(), "the call was too short to be seen running"
    return call


def test_hangup_reads_the_settings_again_and_the_log_is_json(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('log_format = "json"\nmax_contents = 2\n')
    server = serve("--config", str(file))
    with HubClient(server.target, timeout=WAIT) as client:
        client.translate(["Monday"], "en", "ko", decoding=SHORT)
        file.write_text('log_format = "json"\nmax_contents = 1\n')
        server.signal(signal.SIGHUP)
        while not any("in force now: max_contents" in line for line in server.log):
            assert server.process.poll() is None
            time.sleep(0.02)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = [json.loads(line) for line in server.log]
    events = [line["event"] for line in lines if "event" in line]
    assert events == ["listening", "ready", "draining", "stopped"]
    (call,) = (line for line in lines if line["message"] == "request")
    assert (call["code"], call["items"]) == ("OK", 1)


def test_in_json_the_reason_of_a_failed_start_is_an_event() -> None:
    ended = hub("serve", "--log-format", "json", "--port", "0", "--metrics-port", "0",
                "--base", "/nowhere/at/all")  # fmt: skip
    assert ended.returncode == 66
    last = json.loads(ended.stderr.splitlines()[-1])
    assert (last["event"], last["reason"]) == ("failed", "BASE_NOT_FOUND")


def test_translate_then_drain_on_sigterm(serve: Callable[..., Server]) -> None:
    server = serve("--drain-seconds", str(WAIT))
    with HubClient(server.target, timeout=WAIT) as client:
        assert client.is_serving()
        reply = client.translate(["Monday", "euro"], "en", "ko", decoding=SHORT)
        assert len(reply.texts) == 2
        assert reply.base_name == "embedded"
        with grpc.insecure_channel(server.target) as channel:
            call = call_in_flight(server, channel, request(100, beam=16))
            server.signal(signal.SIGTERM)
            translations = call.result().translations
        assert [one.status.code for one in translations] == [0] * TEXTS
        assert server.wait() == 0
        with pytest.raises(ServerUnreachableError):
            client.translate(["a"], "en", "ko")
    assert any("draining" in line for line in server.log)


def test_an_adapter_published_by_another_process_is_served(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve()
    with HubClient(server.target, timeout=WAIT) as client:
        with pytest.raises(AdapterNotFoundError):
            client.translate(["Monday"], "en", "ko", adapter="late", decoding=SHORT)
        version = publish_lora(tmp_path / "adapter", tmp_path / "registry", "late")
        alone = client.translate(["Monday"], "en", "ko", decoding=SHORT)
        adapted = client.translate(["Monday"], "en", "ko", adapter="late", decoding=SHORT)
    item = adapted.items[0]
    assert (item.adapter_version, item.adapter_digest) == ("late:1", version.digest)
    assert item.quality.mean_log_probability != alone.items[0].quality.mean_log_probability


def publish_lora(folder: Path, registry: Path, name: str) -> AdapterVersion:
    """Publish a random LoRA of rank 2 on the decoder's queries of the embedded base."""
    base = open_base()
    width, layers = base.dimensions.d_model, base.dimensions.decoder_layers
    chance = np.random.default_rng(1)
    weights = {}
    for layer in range(layers):
        site = f"base_model.model.model.decoder.layers.{layer}.self_attn.q_proj"
        weights[f"{site}.lora_A.weight"] = chance.standard_normal((2, width)).astype(np.float32)
        weights[f"{site}.lora_B.weight"] = chance.standard_normal((width, 2)).astype(np.float32)
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    targets = r".*\.decoder\..*\.self_attn\.q_proj"
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("# late\n")
    manifest = AdapterManifest(
        pair="en-ko",
        method="lora",
        size=2,
        budget=None,
        trainable_parameters=sum(tensor.size for tensor in weights.values()),
        base=BaseReference(name=base.name, digest=base.digest, parameters=base.parameters),
        corpus=CorpusReference(
            name="none", fingerprint="none", licence="CC0-1.0", train=0, dev=0, test=0
        ),
        recipe_digest="sha256:" + "0" * 64,
        seed=1,
    )
    (folder / "hub.json").write_text(manifest.to_json(), encoding="utf-8")
    with Registry.open(registry) as opened:
        return opened.publish(folder, name)


def test_a_signal_while_loading_ends_the_process(tmp_path: Path) -> None:
    command = [*HUB, "serve", "--port", "0", "--metrics-port", "0"]
    with subprocess.Popen(
        [*command, "--registry", str(tmp_path / "registry")],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stderr is not None
        assert "listening on" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert "stopped" in process.stderr.read()


def test_second_signal_stops_at_once(serve: Callable[..., Server]) -> None:
    server = serve()
    with grpc.insecure_channel(server.target) as channel:
        call = call_in_flight(server, channel, request(250, beam=16))
        server.signal(signal.SIGTERM)
        while not any("draining" in line for line in server.log):
            assert server.process.poll() is None
        server.signal(signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM
        # Texts that ended before are answered, and the others told why not.
        assert call.exception() or any(one.status.code for one in call.result().translations)


def test_ctrl_c_when_idle_exits_with_0(serve: Callable[..., Server]) -> None:
    server = serve()
    assert server.metric("hub_base_model_bytes") > 1 << 20
    with HubClient(server.target, timeout=WAIT) as client:
        assert client.is_serving()  # a connection stays open, and does not hold the server up
        server.signal(signal.SIGINT)
        assert server.wait() == 0


def test_the_command_line_translates(serve: Callable[..., Server]) -> None:
    server = serve()
    address = ("--server", server.target, "--pair", "en-ko", "--max-output-tokens", "4")
    lines = hub("translate", *address, stdin="Monday\nTuesday\r\neuro\n")
    assert lines.returncode == 0, lines.stderr
    assert len(lines.stdout.splitlines()) == 3
    assert "TRUNCATED" in lines.stderr or lines.stderr == ""
    records = hub("translate", *address, "--json", "Monday", "Tuesday")
    found = [json.loads(line) for line in records.stdout.splitlines()]
    assert [record["source"] for record in found] == ["Monday", "Tuesday"]
    assert [record["target"] for record in found] == lines.stdout.splitlines()[:2]
    assert all(record["adapter"] == record["digest"] == "" for record in found)
    mixed = hub("translate", *address, "Monday", " ")
    assert mixed.returncode == 64
    assert mixed.stdout.splitlines()[0] == lines.stdout.splitlines()[0]
    assert "empty or blank" in mixed.stderr
    unknown = hub("translate", *address, "--adapter", "nobody", "Monday")
    assert unknown.returncode == 66
    assert "nobody" in unknown.stderr
    assert "Traceback" not in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--pair", "en-en", "a"), 64, "both 'en'"),
        (("--pair", "english", "a"), 64, "english"),
        (("a",), 64, "--pair is missing"),
        (("--pair", "en-ko", "--server", "127.0.0.1:1", "a"), 69, "hub serve"),
    ],
)
def test_translate_refuses(arguments: tuple[str, ...], code: int, told: str) -> None:
    done = hub("translate", *arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.startswith("error: ")


def test_serve_refuses_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = hub(
            "serve", "--port", port, "--metrics-port", "0", "--registry", str(tmp_path / "r")
        )
    assert done.returncode == 71
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--slots", "0"), 64),
        (("--quantization", "int3"), 64),
        (("--device", "tpu"), 64),
        (("--announce", "xml"), 64),
        (("--base", "/nowhere/at/all"), 66),
        (("--registry", "/dev/null/registry"), 77),
    ],
)
def test_serve_refuses_bad_settings(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    registry = ("--registry", str(tmp_path / "registry"))
    done = hub("serve", "--port", "0", "--metrics-port", "0", *registry, *arguments)
    assert done.returncode == code, done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
