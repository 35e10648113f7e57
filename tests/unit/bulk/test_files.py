"""Files and folders through a translator: where they go, what is resumed, what fails alone."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polib
import pytest

from hub.bulk.files import FileWork, Wishes, translate_files
from hub.bulk.journal import Journal, journal_path
from hub.bulk.targets import plan_files
from hub.documents import Options
from hub.errors import DocumentError, EngineError, InputError, TextError
from hub.replies import ItemReply
from hub.splitting import failed_item

OPTIONS = Options("en", "ko")


@dataclass
class Translator:
    """Turns texts around; what begins with "bad" fails.

    Attributes:
        calls: The texts of each call.
        keys: For each text the routing keys that it was sent with.
        breaks_at: The call that fails as a whole, 0 for none.
    """

    calls: list[Sequence[str]] = field(default_factory=list)
    breaks_at: int = 0
    keys: dict[str, set[str]] = field(default_factory=dict)

    def __call__(
        self, contents: Sequence[str], mime_type: str, routing_key: str, /
    ) -> Sequence[ItemReply]:
        self.calls.append(contents)
        for text in contents:
            self.keys.setdefault(text, set()).add(routing_key)
        if len(self.calls) == self.breaks_at:
            raise EngineError("broken")
        return [self.reply(text) for text in contents]

    def reply(self, text: str) -> ItemReply:
        if text.startswith("bad"):
            return failed_item(TextError("text is bad"))
        return dataclass_replace(failed_item(TextError("x")), text[::-1])

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


def dataclass_replace(item: ItemReply, text: str) -> ItemReply:
    from dataclasses import replace

    return replace(item, text=text, error=None)


def run(
    paths: Sequence[Path],
    translator: Translator,
    output: Path | None = None,
    *,
    fill: bool = False,
    resume: bool = False,
) -> list[FileWork]:
    plan = plan_files(paths, output, "ko")
    wishes = Wishes(OPTIONS, {"model": "a"}, fill=fill, resume=resume, calls=2)
    return list(translate_files(plan.targets, translator, wishes, lambda work, units: None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    (made / "deep" / ".hidden").mkdir(parents=True)
    (made / "a.txt").write_text("one\ntwo\n")
    (made / "deep" / "b.json").write_text('{"k": "three"}')
    (made / "deep" / "c.po").write_text('msgid "four"\nmsgstr ""\n')
    (made / "deep" / "d.exe").write_text("no")
    (made / "deep" / ".hidden" / "e.txt").write_text("no")
    (made / ".f.txt").write_text("no")
    return made


def test_a_folder_keeps_its_structure(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run([folder], Translator(), output)
    assert all(work.error is None and not work.failures for work in done)
    files = {str(p.relative_to(output)): p for p in output.rglob("*") if p.is_file()}
    assert set(files) == {"a.txt", "deep/b.json", "deep/c.po"}
    assert files["a.txt"].read_text() == "eno\nowt\n"
    assert json.loads(files["deep/b.json"].read_text()) == {"k": "eerht"}
    assert polib.pofile(str(files["deep/c.po"]))[0].msgstr == "ruof"
    assert (folder / "a.txt").read_text() == "one\ntwo\n"
    plan = plan_files([folder], output, "ko")
    assert [path.name for path in plan.skipped] == ["d.exe"]


def test_without_an_output_translations_are_beside_and_both_sides_in_place(folder: Path) -> None:
    for _ in range(2):  # what the first run wrote is no input of the second
        run([folder], Translator())
        names = sorted(p.name for p in folder.rglob("*") if p.is_file() and p.name[0] != ".")
        assert names == ["a.ko.txt", "a.txt", "b.json", "b.ko.json", "c.po", "d.exe", "e.txt"]
    assert polib.pofile(str(folder / "deep" / "c.po"))[0].msgstr == "ruof"


def test_a_single_file_may_name_its_output(folder: Path, tmp_path: Path) -> None:
    run([folder / "a.txt"], Translator(), tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text() == "eno\nowt\n"
    run([folder / "a.txt"], Translator(), tmp_path / "other")
    assert (tmp_path / "other" / "a.txt").is_file()


def test_nothing_is_overwritten_by_mistake(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="overwritten by its translation"):
        plan_files([folder], folder, "ko")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="would both be written"):
        plan_files([folder / "a.txt", tmp_path / "a.txt"], tmp_path / "out", "ko")
    with pytest.raises(InputError, match="does not exist"):
        plan_files([tmp_path / "none"], None, "ko")
    with pytest.raises(DocumentError, match="no known format"):
        plan_files([folder / "deep" / "d.exe"], None, "ko")


def test_the_same_text_is_translated_once(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("same\nother\nsame\n")
    translator = Translator()
    (work,) = run([file], translator)
    assert sorted(translator.texts) == ["other", "same"]
    assert work.target.output.read_text() == "emas\nrehto\nemas\n"


def test_texts_of_several_files_share_calls(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.txt").write_text(f"text {number}\nmore {number}\n" * 2)
    translator = Translator()
    done = run([tmp_path], translator, tmp_path / "out")
    assert len(done) == 30
    assert len(translator.texts) == 60
    assert len(translator.calls) <= 4
    assert max(map(len, translator.calls)) <= 64


def test_one_version_of_a_canary_has_all_of_a_file(tmp_path: Path) -> None:
    """Also where its lines share calls with other files, and where an earlier run broke off."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        lines = 100 if number % 20 == 5 else 2
        text = "".join(f"file {number} line {line}\n" for line in range(lines))
        (folder / f"{number:02}.txt").write_text(text)
    whole = Translator()
    run([folder], whole, tmp_path / "out")
    of_file: dict[str, set[str]] = {}
    for text, keys in whole.keys.items():
        of_file.setdefault(text.split(" line")[0], set()).update(keys)
    files = [keys for name, keys in of_file.items() if name.startswith("file")]
    assert len(files) == 40
    assert all(len(keys) == 1 for keys in files)
    assert len(set.union(*files)) == 3  # not one for all, or a share of 10 % would be all or none
    broken = Translator(breaks_at=2)
    with pytest.raises(EngineError):
        run([folder], broken, tmp_path / "other")
    again = Translator()
    run([folder], again, tmp_path / "other", resume=True)
    assert again.keys
    assert all(keys == whole.keys[text] for text, keys in (broken.keys | again.keys).items())


def test_what_fails_stays_as_it_was_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("good\nbad one\n")
    (tmp_path / "b.json").write_text("{")
    first, second = sorted(
        run([tmp_path], Translator(), tmp_path / "out"), key=lambda work: work.target.source
    )
    assert first.target.output.read_text() == "doog\nbad one\n"
    assert [(unit.place, error.message) for unit, error in first.failures] == [
        ("line 2", "text is bad")
    ]
    assert isinstance(second.error, DocumentError)
    assert not second.target.output.exists()


def test_only_what_is_open_is_filled(tmp_path: Path) -> None:
    file = tmp_path / "a.po"
    file.write_text(
        'msgid "done"\nmsgstr "fertig"\n\n#, fuzzy\nmsgid "old"\nmsgstr "alt"\n\n'
        'msgid "new"\nmsgstr ""\n'
    )
    translator = Translator()
    run([file], translator, fill=True)
    assert sorted(translator.texts) == ["new", "old"]
    entries = {entry.msgid: (entry.msgstr, entry.fuzzy) for entry in polib.pofile(str(file))}
    assert entries == {"done": ("fertig", False), "old": ("dlo", False), "new": ("wen", False)}
    again = Translator()
    run([file], again, fill=True)
    assert again.texts == []


def test_a_run_that_broke_off_is_taken_up(tmp_path: Path) -> None:
    file, output = tmp_path / "a.txt", tmp_path / "out.txt"
    file.write_text("".join(f"line {number}\n" for number in range(500)))
    broken = Translator(breaks_at=6)
    with pytest.raises(EngineError):
        run([file], broken, output)
    assert not output.exists()
    kept = len(journal_path(output).read_text().splitlines()) - 1
    assert kept >= 64
    with journal_path(output).open("a") as journal:
        journal.write('{"unit": 499, "te')  # a crash in the middle of a line
    rest = Translator()
    (work,) = run([file], rest, output, resume=True)
    assert len(rest.texts) == 500 - kept
    assert work.resumed == kept
    assert output.read_text().splitlines() == [f"line {n}"[::-1] for n in range(500)]
    assert not journal_path(output).exists()


def test_a_journal_of_another_file_or_other_options_is_not_used(tmp_path: Path) -> None:
    file, output = tmp_path / "a.txt", tmp_path / "out.txt"
    file.write_text("one\n")
    with Journal(output, "key of another run") as journal:
        journal.add({0: "wrong"})
    run([file], Translator(), output, resume=True)
    assert output.read_text() == "eno\n"


def test_finished_files_are_left_alone_until_their_source_changes(tmp_path: Path) -> None:
    file, output = tmp_path / "a.txt", tmp_path / "out.txt"
    file.write_text("one\n")
    run([file], Translator(), output, resume=True)
    second = Translator()
    (work,) = run([file], second, output, resume=True)
    assert work.is_current
    assert second.calls == []
    newer = output.stat().st_mtime_ns + 10**9
    file.write_text("two\n")
    os.utime(file, ns=(newer, newer))
    run([file], Translator(), output, resume=True)
    assert output.read_text() == "owt\n"


def test_permissions_are_kept_and_links_are_followed(tmp_path: Path) -> None:
    file = tmp_path / "a.po"
    file.write_text('msgid "one"\nmsgstr ""\n')
    file.chmod(0o640)
    link = tmp_path / "link.po"
    link.symlink_to(file)
    run([link], Translator())
    assert link.is_symlink()
    assert polib.pofile(str(file))[0].msgstr == "eno"
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.po", 'msgid ""\nmsgstr "Language: de_AT\\n"\n\nmsgid "one"\nmsgstr ""\n'),
        (
            "a.xlf",
            '<xliff version="1.2"><file target-language="de"><body><trans-unit id="1">'
            "<source>one</source></trans-unit></body></file></xliff>",
        ),
        (
            "b.xlf",
            '<xliff version="2.0" trgLang="de" xmlns="urn:oasis:names:tc:xliff:document:2.0">'
            '<file id="f"><unit id="u"><segment><source>one</source></segment></unit></file>'
            "</xliff>",
        ),
    ],
)
def test_translations_into_another_language_are_not_written_over(
    tmp_path: Path, name: str, content: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    translator = Translator()
    (work,) = run([file], translator)
    assert isinstance(work.error, DocumentError)
    assert "says that its translations are in 'de" in work.error.message
    assert translator.calls == []
    assert file.read_text() == content
    (work,) = run([file], translator, tmp_path / "out")
    assert work.error is None
    written = work.target.output.read_text()
    assert "eno" in written
    assert not re.search(r"de(_AT|\")", written)
