"""The seam to COMET: another interpreter is run, fed and read.

What stands in that environment for COMET is a package of a few lines, so this shows the process
and the protocol, and nothing of COMET's own scores.
"""

from __future__ import annotations

import json
import venv
from pathlib import Path

import pytest

from hub.bases import Base
from hub.cli import run
from hub.errors import SettingsError
from training.evidence.comet import DEFAULT_MODEL, Comet
from training.evidence.significance import compare

STAND_IN = '''
"""Scores the share of a reference's words that a translation has."""
import collections, importlib.util, sys

print("a library prints to standard output")
Prediction = collections.namedtuple("Prediction", "scores system_score")


def download_model(name):
    if name != "Unbabel/wmt22-comet-da":
        raise KeyError(f"Model '{name}' not supported by COMET.")
    return "checkpoint of " + name


def load_from_checkpoint(path):
    return Model(path)


class Model:
    def __init__(self, path):
        self.path = path

    def predict(self, samples, batch_size=8, gpus=1):
        print("progress")
        assert gpus == 0, "there is no GPU here"
        assert importlib.util.find_spec("hub") is None, "the hub is on the path"
        if any(not sample["src"] for sample in samples):
            raise ValueError("an empty source")
        scores = [self.score(sample) for sample in samples]
        ANSWER

    def score(self, sample):
        wanted = sample["ref"].split()
        return sum(word in sample["mt"].split() for word in wanted) / len(wanted)
'''
ANSWERS = {
    "2": "return Prediction(scores, sum(scores) / len(scores))",
    "1": "return scores, sum(scores) / len(scores)",
    "short": "return Prediction(scores[1:], 0.0)",
    "nan": "return Prediction([float('nan') for _ in scores], 0.0)",
    "dies": "import os; sys.stderr.write('out of memory\\n'); os._exit(9)",
    "hangs": "import time; time.sleep(60)",
}
SOURCES, REFERENCES = ["eins zwei", "drei", "東京"], ["one two", "three", "Tōkyō"]
BASE, ADAPTER = ["one one", "four", "Tōkyō"], ["one two", "three", "Kyōto"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of another interpreter, without any package."""
    folder = tmp_path_factory.mktemp("environments") / "comet env"
    venv.create(folder, with_pip=False, symlinks=True)
    return folder


def install(environment: Path, answer: str = "2") -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    package = packages / "comet"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(STAND_IN.replace("ANSWER", ANSWERS[answer]))
    described = packages / "unbabel_comet-2.2.6.dist-info"
    described.mkdir(exist_ok=True)
    (described / "METADATA").write_text("Name: unbabel-comet\nVersion: 2.2.6\n")


def asked(where: str, timeout: float = 60.0) -> Comet:
    return Comet.parse(where, timeout=timeout)


@pytest.mark.parametrize("release", ["1", "2"])
@pytest.mark.parametrize("inside", ["", "/bin/python"])
def test_another_interpreter_scores(bare: Path, release: str, inside: str) -> None:
    install(bare, release)
    base, adapter = asked(f"{bare}{inside}").measure(SOURCES, [BASE, ADAPTER], REFERENCES)
    assert base.statistics[:, 0].tolist() == [0.5, 0.0, 1.0]
    assert adapter.statistics[:, 0].tolist() == [1.0, 1.0, 0.0]
    assert base.score.value == 0.5
    assert adapter.score.value == pytest.approx(2 / 3)
    assert "model:Unbabel/wmt22-comet-da|" in base.signature
    assert "unbabel-comet:2.2.6" in base.signature
    (found,) = compare([adapter], [base], "base")
    assert (found.metric, found.delta) == ("comet", 0.1667)
    assert found.low < found.delta < found.high


def test_a_checkpoint_on_disk_is_not_asked_of_a_hub(bare: Path, tmp_path: Path) -> None:
    install(bare)
    (tmp_path / "model.ckpt").write_text("")
    comet = asked(f"{bare}:{tmp_path}/model.ckpt")
    assert comet.model == f"{tmp_path}/model.ckpt"
    assert len(comet.measure(SOURCES, [BASE], REFERENCES)) == 1


@pytest.mark.parametrize(
    ("answer", "sources", "model", "said"),
    [
        ("2", SOURCES, ":Unbabel/none", "cannot load the model.*KeyError.*not supported by COMET"),
        ("2", ["", "b", "c"], "", "failed while scoring.*ValueError: an empty source"),
        ("short", SOURCES, "", "gave 2 scores for 3 lines"),
        ("nan", SOURCES, "", "not a finite number"),
        ("dies", SOURCES, "", "exit code 9: out of memory"),
    ],
)
def test_what_goes_wrong_there_is_told(
    bare: Path, answer: str, sources: list[str], model: str, said: str
) -> None:
    install(bare, answer)
    with pytest.raises(SettingsError, match=f"--comet: .*{said}"):
        asked(f"{bare}{model}").measure(sources, [BASE], REFERENCES)


def test_it_is_not_waited_for_without_end(bare: Path) -> None:
    install(bare, "hangs")
    with pytest.raises(SettingsError, match=r"within 1 s; give it more with --comet-timeout"):
        asked(str(bare), timeout=1.0).measure(SOURCES, [BASE], REFERENCES)


def test_an_environment_without_the_package(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    venv.create(empty, with_pip=False, symlinks=True)
    with pytest.raises(SettingsError, match=r"pip install unbabel-comet.*No module named 'comet'"):
        asked(str(empty)).measure(SOURCES, [BASE], REFERENCES)


def test_the_package_is_looked_for_before_anything_is_decoded(bare: Path, tmp_path: Path) -> None:
    install(bare)
    asked(str(bare)).check()
    empty = tmp_path / "empty"
    venv.create(empty, with_pip=False, symlinks=True)
    with pytest.raises(SettingsError, match="pip install unbabel-comet"):
        asked(str(empty)).check()
    words = ["eval", "nobody", "--comet", str(empty), "--registry", str(tmp_path / "registry")]
    assert run(words) == 64  # not 66, which a missing adapter would be


def test_no_interpreter(tmp_path: Path) -> None:
    for where in (
        str(tmp_path),
        f"{tmp_path}/nothing:Unbabel/x",
        "no-such-python",
        ":model",
        "~nobody-such/env",
    ):
        with pytest.raises(SettingsError, match="no Python interpreter"):
            asked(where)


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("")
    with pytest.raises(SettingsError, match="cannot be run"):
        asked(str(tmp_path / "python")).measure(SOURCES, [BASE], REFERENCES)


def test_a_time_for_nothing_is_refused() -> None:
    assert Comet.asked(None, None) is None
    with pytest.raises(SettingsError, match="goes with --comet"):
        Comet.asked(None, 5.0)


def test_timeouts_are_positive(bare: Path) -> None:
    for timeout in (0.0, -1.0, float("nan")):
        with pytest.raises(SettingsError, match="--comet-timeout"):
            asked(str(bare), timeout=timeout)


def test_the_default_model() -> None:
    assert asked("python3").model == DEFAULT_MODEL
    assert asked("python3:").model == DEFAULT_MODEL
    assert asked("python3:Unbabel/XCOMET-XL").model == "Unbabel/XCOMET-XL"


def test_an_evaluation_compares_with_another_adapter_and_by_comet(
    tiny_base: Base, bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(bare)
    places = ["--registry", str(tmp_path / "registry")]
    for method in ("bottleneck", "lora"):
        words = [
            *("train", "--pair", "en-de", "--base", str(tiny_base.folder), "--method", method),
            *("--budget", "1%", "--train", "60", "--dev", "8", "--test", "16", "--tokens", "256"),
            *("--max-updates", "2", "--eval-every", "2", "--lr", "0.05", "--precision", "float32"),
            *("--force", "--runs", str(tmp_path / "runs"), *places),
        ]
        assert run(words) == 0
    capsys.readouterr()
    score = ["eval", "en-de.bottleneck", "--base", str(tiny_base.folder), *places]
    asked = [*score, "--against", "en-de.lora", "--comet", str(bare), "--json"]
    assert run([*asked, str(tmp_path / "found.json")]) == 0
    printed = capsys.readouterr()
    found = json.loads((tmp_path / "found.json").read_text())
    (rival,) = found["against"]
    assert rival["ref"] == "en-de.lora:1"
    assert not rival["made_from_other_data"]
    metrics = ["chrf++", "bleu", "ter", "exact", "comet"]
    for comparisons in (found["comparisons"], rival["comparisons"]):
        assert [each["metric"] for each in comparisons] == metrics
    for each in rival["comparisons"]:
        mine = found[f"{each['metric'].rstrip('+')}_adapter"]
        assert each["delta"] == pytest.approx(mine - rival["scores"][each["metric"]], abs=2e-4)
    assert found["comparisons"] != rival["comparisons"]
    assert sum(bucket["items"] for bucket in found["lengths"]) == found["items"] == 16
    assert "score\ten-de.lora:1\tadapter\tchange\t95 % interval\tp" in printed.out
    assert "source words\titems\tchrf++\tbleu\tp of chrf++" in printed.out
    assert "comet: nrefs:1|model:Unbabel/wmt22-comet-da" in printed.err
    assert run([*score, "--against", "en-de.bottleneck:1"]) == 64
    assert "is the adapter en-de.bottleneck:1 itself" in capsys.readouterr().err
    assert run([*score, "--comet", str(tmp_path / "nothing")]) == 64
    assert "no Python interpreter" in capsys.readouterr().err
