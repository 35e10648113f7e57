"""`--data feedback:`: corrections as training data."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.cli import build_app
from hub.errors import CorpusError
from hub.feedback.records import PostEdit
from hub.feedback.store import FeedbackStore
from hub.languages import LanguagePair
from hub.settings import Settings
from training.commands import register
from training.corpora.feedback import located
from training.corpora.formats import read_segments
from training.corpora.plan import CorpusRequest, plan_corpus
from training.corpora.segments import Skipped
from training.corpora.sources import parse_source

PAIR = LanguagePair.parse("en-de")


@pytest.fixture
def url(tmp_path: Path) -> str:
    path = str(tmp_path / "f.sqlite3")
    store = FeedbackStore(path)
    for tenant in ("acme", "other"):
        edits = [
            PostEdit(PAIR, f"text {n} of {tenant}", "falsch", f"Text {n} von {tenant}")
            for n in range(40)
        ]
        store.submit(tenant, "1", "", edits, datetime.now(UTC))
    again = PostEdit(PAIR, "text 0 of acme", "falsch", "Besser")
    store.submit("acme", "2", "", [again], datetime.now(UTC))
    store.close()
    return path


def test_how_it_is_written() -> None:
    bare, weighted = parse_source("feedback:"), parse_source("2.5@feedback:")
    assert (bare.format, bare.path, bare.name) == ("feedback", "", "feedback")
    assert weighted.weight == 2.5
    whole = parse_source("3@feedback:postgresql://u:hidden@h/db#tenant=acme&adapter=a:2")
    assert whole.path == "postgresql://u:hidden@h/db"
    assert whole.options == {"tenant": "acme", "adapter": "a:2"}
    assert whole.where == "feedback:postgresql://u:***@h/db"
    assert "hidden" not in whole.name
    with pytest.raises(CorpusError, match="no option 'columns'"):
        parse_source("feedback:x#columns=1,2")
    assert parse_source("./feedback:x.tsv").format == "tsv"


def test_the_last_correction_is_read(url: str) -> None:
    skipped = Skipped()
    found = list(read_segments(parse_source(f"feedback:{url}#tenant=acme"), PAIR, skipped))
    assert len(found) == 40
    assert found[-1][1:] == ("text 0 of acme", "Besser")
    assert skipped == {"corrected again later": 1}
    assert len(list(read_segments(parse_source(f"feedback:{url}"), PAIR, Skipped()))) == 80


def test_a_store_without_such_edits_is_said_so(url: str, tmp_path: Path) -> None:
    for text, pair in (
        (f"feedback:{url}", "en-ko"),
        (f"feedback:{url}#tenant=nobody", "en-de"),
        (f"feedback:{tmp_path / 'none.sqlite3'}", "en-de"),
    ):
        with pytest.raises(CorpusError, match=r"feedback:sqlite:///.*there is no segment for en-"):
            list(read_segments(parse_source(text), LanguagePair.parse(pair), Skipped()))


def test_weight_makes_copies_of_the_training_segments(url: str, tmp_path: Path) -> None:
    more = tmp_path / "more.tsv"
    more.write_text("".join(f"line {n}\tZeile {n}\n" for n in range(300)))
    request = CorpusRequest(data=(str(more), f"3@feedback:{url}#tenant=acme"), no_clean=True)
    corpus = plan_corpus(request, PAIR).load(seed=1, train=10_000, dev=20, test=20)
    copies = [one for one in corpus.train if one.kind == "feedback"]
    assert len(copies) == 3 * len({one.source for one in copies}) > 0
    assert {one.kind for one in corpus.train} == {"feedback", "more.tsv"}
    assert corpus.report is not None
    assert [one.weight for one in corpus.report.sources] == [1, 3]
    assert corpus.name == "more.tsv + 3@feedback"


def test_the_store_of_the_settings_is_meant_without_a_url(tmp_path: Path) -> None:
    settings = Settings(registry=str(tmp_path))
    request = CorpusRequest(data=("2@feedback:#tenant=a", "x.tsv"), dev="feedback:", test="9@y.tsv")
    found = located(request, settings)
    where = tmp_path / "feedback.sqlite3"
    assert found.data == (f"2@feedback:{where}#tenant=a", "x.tsv")
    assert (found.dev, found.test) == (f"feedback:{where}", "9@y.tsv")


def test_the_command_line_checks_the_store_of_the_settings(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_FEEDBACK_URL", url)
    app = build_app(())
    register(app)
    arguments = ["corpus", "check", "--pair", "en-de", "--data", "2@feedback:#tenant=acme"]
    done = CliRunner().invoke(app, [*arguments, "--dev", "0", "--test", "0", "--json", "-"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    (source,) = facts["sources"]
    assert (source["name"], source["weight"], source["read"]) == ("feedback", 2, 40)
    assert facts["skipped"] == {"corrected again later": 1}
    assert facts["train"] == 2 * source["kept"] > 0
    assert url not in done.stdout
