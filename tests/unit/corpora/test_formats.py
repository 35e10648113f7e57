"""Every format says the same: what is written to it comes back, in the pair's direction."""

from __future__ import annotations

import gzip
import json
from xml.sax.saxutils import escape

import pytest
import zstandard
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from hub.errors import CorpusError, CorpusNotFoundError
from training.corpora.segments import Skipped

PAIRS = [
    ("Hello & <goodbye>", "안녕 & <잘 가>"),
    ('"quoted"', "'따옴표'"),
    ("one\u2028two\u0085three", "하나\u2028둘\u0085셋"),
    ("a 🙂", "나 🙂"),
]
# What a reader makes of them: a segment is one line.
READ = [*PAIRS[:2], ("one two three", "하나 둘 셋"), PAIRS[3]]


def texts(segments) -> list[tuple[str, str]]:
    return [(segment.source, segment.target) for segment in segments]


def tsv(pairs=PAIRS) -> str:
    return "".join(f"{source}\t{target}\n" for source, target in pairs)


def tmx(units, head="") -> str:
    body = "".join(
        "<tu>"
        + "".join(f'<tuv xml:lang="{tag}"><seg>{seg}</seg></tuv>' for tag, seg in unit)
        + "</tu>\n"
        for unit in units
    )
    return f'<?xml version="1.0"?>\n{head}<tmx version="1.4"><header/><body>\n{body}</body></tmx>\n'


def plain_tmx(pairs=PAIRS) -> str:
    return tmx([[("en-US", escape(s)), ("KO", escape(t))] for s, t in pairs])


def xliff12(pairs=PAIRS, languages=("en", "ko")) -> str:
    units = "".join(
        f"<trans-unit id='{i}'><source>{escape(s)}</source><target>{escape(t)}</target>"
        f"<alt-trans><source>no</source><target>no</target></alt-trans></trans-unit>\n"
        for i, (s, t) in enumerate(pairs)
    )
    return (
        '<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">\n'
        f'<file source-language="{languages[0]}" target-language="{languages[1]}" original="a">'
        f"<body>\n{units}</body></file></xliff>"
    )


def xliff20(pairs=PAIRS) -> str:
    units = "".join(
        f"<unit id='{i}'><mtc:matches><mtc:match><source>no</source><target>no</target></mtc:match>"
        f"</mtc:matches><segment><source>{escape(s)}</source><target>{escape(t)}</target></segment>"
        f"<ignorable><source> </source></ignorable></unit>\n"
        for i, (s, t) in enumerate(pairs)
    )
    return (
        '<xliff version="2.0" srcLang="en-US" trgLang="ko-KR" '
        'xmlns="urn:oasis:names:tc:xliff:document:2.0" '
        'xmlns:mtc="urn:oasis:names:tc:xliff:matches:2.0"><file id="f">'
        f"\n{units}</file></xliff>"
    )


def jsonl(pairs=PAIRS) -> str:
    return "".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs)


CONTENTS = {
    "a.tsv": tsv(),
    "a.jsonl": jsonl(),
    "a.tmx": plain_tmx(),
    "a.xlf": xliff12(),
    "b.xliff": xliff20(),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_round_trip(put, read, name: str, suffix: str) -> None:
    data = CONTENTS[name].encode()
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(suffix, bytes)
    assert texts(read(put(name + suffix, pack(data)))) == READ


@pytest.mark.parametrize("name", ["a.tmx", "a.xlf", "b.xliff"])
def test_the_same_file_serves_the_opposite_direction(put, read, name: str) -> None:
    found = texts(read(put(name, CONTENTS[name]), "ko-en"))
    assert found == [(target, source) for source, target in READ]


def test_segments_say_where_they_stand(put, read) -> None:
    assert [segment.line for segment in read(put("a.tsv", tsv()))] == [1, 2, 3, 4]
    assert [segment.line for segment in read(put("a.tmx", plain_tmx()))] == [3, 4, 5, 6]
    assert [segment.line for segment in read(put("a.xlf", xliff12()))] == [3, 4, 5, 6]


# TSV and JSONL


def test_columns_are_chosen_and_a_header_is_passed_over(put, read) -> None:
    path = put("a.tsv", "id\tko\ten\n1\t하나\tone\n2\t둘\ttwo\n")
    assert texts(read(f"{path}#columns=3,2&header=1")) == [("one", "하나"), ("two", "둘")]


@pytest.mark.parametrize(
    ("options", "record"),
    [
        ("", {"source": "a", "target": "나", "score": 1}),
        ("", {"en": "a", "ko": "나", "id": "3"}),
        ("", {"eng_Latn": "a", "ko_KR": "나"}),
        ("", {"translation": {"en": "a", "ko": "나", "de": "c"}}),
        ("#source=src&target=t.x", {"src": "a", "t": {"x": "나"}, "source": "no", "target": "no"}),
    ],
)
def test_keys_of_json_are_found(put, read, options: str, record: dict) -> None:
    path = put("a.jsonl", "\n" + json.dumps(record) + "\n\n")
    assert texts(read(f"{path}{options}")) == [("a", "나")]


def test_line_ends_inside_a_text_become_blanks(put, read) -> None:
    line = json.dumps({"source": "one \n two\r\n\tthree  four", "target": "\n나\n"})
    assert texts(read(put("a.jsonl", line))) == [("one two three  four", "나")]


# Moses


@pytest.mark.parametrize(
    ("names", "spec"),
    [
        (("c.en", "c.ko"), "c"),
        (("c.eng_Latn", "c.kor_Hang"), "c"),
        (("c.en-US", "c.ko_KR"), "moses:{}"),
        (("c.en", "c.ko"), "c.{{en,ko}}"),
        (("c.en", "c.ko"), "c.{{ko,en}}"),
        (("en.c.txt", "ko.c.txt"), "{{ko,en}}.c.txt"),
        (("c.source", "c.hyp"), "c.{{source,hyp}}"),
    ],
)
def test_moses_files_are_told_by_language(put, read, tmp_path, names, spec: str) -> None:
    for name, side in zip(names, (0, 1), strict=True):
        put(name, "".join(pair[side] + "\n" for pair in PAIRS))
    place = spec.replace("{}", f"{tmp_path}/c").replace("{{", "{").replace("}}", "}")
    found = read(place if "moses:" in place else f"{tmp_path}/{place}")
    assert texts(found) == READ


def test_moses_files_may_be_compressed_each_in_its_way(put, read, tmp_path) -> None:
    put("c.en.gz", gzip.compress(b"a\nb\n"))
    put("c.ko", "가\r\n나\r\n")
    put("c.de", "x\n")
    assert texts(read(tmp_path / "c")) == [("a", "가"), ("b", "나")]


@pytest.mark.parametrize(("en", "ko"), [(3, 5), (5, 3), (0, 1)])
def test_unequal_line_counts_are_never_truncated(put, read, tmp_path, en: int, ko: int) -> None:
    put("c.en", "a\n" * en)
    put("c.ko", "가\n" * ko)
    with pytest.raises(CorpusError) as caught:
        read(tmp_path / "c")
    longer = "c.en" if en > ko else "c.ko"
    assert f"{longer}:{min(en, ko) + 1}:" in caught.value.message
    assert f"has {max(en, ko)} lines" in caught.value.message
    assert f" {min(en, ko)}; a pair of files must have as many lines" in caught.value.message


def test_a_line_separator_does_not_put_moses_files_out_of_step(put, read, tmp_path) -> None:
    put("c.en", "a\u2028b\nc\n")
    put("c.ko", "가\n나\n")
    assert len("a\u2028b\nc\n".splitlines()) == 3
    assert texts(read(tmp_path / "c")) == [("a b", "가"), ("c", "나")]


# TMX


def test_the_pair_is_picked_out_of_many_languages(put, read) -> None:
    skipped = Skipped()
    units = [
        [("de", "eins"), ("ko-KR", "하나"), ("en", "one")],
        [("de", "zwei"), ("en", "two")],
        [("x-odd", "?"), ("EN-gb", "three"), ("kor", "셋")],
    ]
    found = read(put("a.tmx", tmx(units)), skipped=skipped)
    assert texts(found) == [("one", "하나"), ("three", "셋")]
    assert skipped == {"without both languages": 1}


def test_the_nearest_variant_is_taken_and_equals_are_left_out(put, read) -> None:
    exact = [[("en-GB", "colour"), ("en-US", "color"), ("ko", "색")]]
    assert texts(read(put("a.tmx", tmx(exact)))) == [("color", "색")]
    assert texts(read(put("a.tmx", tmx(exact)), "en_GB-ko")) == [("colour", "색")]
    for tags in (("en-GB", "en-AU"), ("en", "en-US")):
        skipped = Skipped()
        several = [(tags[0], "a"), (tags[1], "b"), ("ko", "색")]
        found = read(put("a.tmx", tmx([several, [("en", "one"), ("ko", "하나")]])), skipped=skipped)
        assert texts(found) == [("one", "하나")]
        assert skipped == {"with several variants of one language": 1}
        with pytest.raises(CorpusError, match="1 with several variants of one language"):
            read(put("a.tmx", tmx([several])))
        chosen = read(put("a.tmx", tmx([several])).as_posix() + f"#source={tags[1]}")
        assert texts(chosen) == [("b", "색")]


def test_a_file_without_the_pair_says_what_it_has(put, read) -> None:
    with pytest.raises(CorpusError, match="no unit has both languages of en-ko; it has de, en"):
        read(put("a.tmx", tmx([[("de", "eins"), ("en", "one")]])))


def test_inline_tags_are_flattened(put, read) -> None:
    seg = (
        'Press <bpt i="1">&lt;b&gt;</bpt>the <hi type="x">red</hi><ept i="1">&lt;/b&gt;</ept> '
        '<ph>{0 <sub>alt text</sub>}</ph>button\n   <it pos="begin">&lt;i&gt;</it>now'
    )
    found = read(put("a.tmx", tmx([[("en", seg), ("ko", "지금")]])))
    assert texts(found) == [("Press the red button now", "지금")]


def test_utf_16_is_fine_in_xml(put, read) -> None:
    text = plain_tmx().replace('version="1.0"', 'version="1.0" encoding="UTF-16"')
    assert texts(read(put("a.tmx", text.encode("utf-16")))) == READ


# XLIFF


def test_xliff_inline_tags_and_open_units(put, read) -> None:
    skipped = Skipped()
    units = (
        "<trans-unit id='1'><source>A <g id='1'>bold</g> <x id='2'/>move<ph>&lt;br/&gt;</ph>"
        "</source><target>대담한 <mrk mtype='seg'>수</mrk></target></trans-unit>"
        "<trans-unit id='2'><source>b</source></trans-unit>"
        "<trans-unit id='3'><source>c</source><target state='needs-translation'>c</target>"
        "</trans-unit>"
    )
    text = xliff12(()).replace("<body>", f"<body>{units}")
    assert texts(read(put("a.xlf", text), skipped=skipped)) == [("A bold move", "대담한 수")]
    assert skipped == {"untranslated": 1, "in a state that needs work": 1}
    two = xliff20([("a", "가")]).replace("<segment>", "<segment state='initial'>", 1)
    with pytest.raises(CorpusError, match="1 in a state that needs work"):
        read(put("b.xlf", two))
    pc = xliff20([("a", "가")]).replace("<source>a<", "<source>a <pc id='1'>b</pc><ph id='2'/><")
    assert texts(read(put("b.xlf", pc))) == [("a b", "가")]


def test_xliff_for_other_languages_says_so(put, read) -> None:
    with pytest.raises(CorpusError, match="nothing in it is for en-ko; it has en to de"):
        read(put("a.xlf", xliff12(languages=("en", "de"))))


# PO


def catalogue(locale: str = "ko") -> Catalog:
    return Catalog(locale=locale, charset="utf-8")


def po(catalog: Catalog) -> bytes:
    from io import BytesIO

    file = BytesIO()
    write_po(file, catalog)
    return file.getvalue()


def test_po_messages(put, read) -> None:
    made = catalogue()
    for source, target in PAIRS:
        made.add(source, target, context="menu" if source == "a 🙂" else None)
    skipped = Skipped()
    made.add("fuzzy one", "흐림", flags=("fuzzy",))
    made.add("open", "")
    made.add("long\nline", "긴\n줄")
    data = po(made) + b'\n#~ msgid "gone"\n#~ msgstr "\xea\xb0\x80"\n'
    found = read(put("ko.po", data), skipped=skipped)
    assert texts(found) == [*READ, ("long line", "긴 줄")]
    assert skipped == {"fuzzy": 1, "untranslated": 1, "obsolete": 1}
    lines = data.decode().split("\n")
    assert [lines[segment.line - 1][:5] for segment in found if segment.source == '"quoted"'] == [
        "msgid"
    ]


def test_po_plurals(put, read) -> None:
    one, two = catalogue(), catalogue("de")
    one.add(("%d file", "%d files"), ("파일 %d개",))
    two.add(("%d file", "%d files"), ("%d Datei", "%d Dateien"))
    assert texts(read(put("ko.po", po(one)))) == [("%d files", "파일 %d개")]
    found = texts(read(put("de.po", po(two)), "en-de"))
    assert found == [("%d file", "%d Datei"), ("%d files", "%d Dateien")]


def test_po_goes_by_its_header(put, read) -> None:
    made = catalogue("ko_KR")
    made.add("a", "가")
    path = put("x.po", po(made))
    assert texts(read(path, "en-ko")) == [("a", "가")]
    assert texts(read(path, "ko-en")) == [("가", "a")]
    with pytest.raises(CorpusError, match="neither language of en-de"):
        read(path, "en-de")


# Datasets


@pytest.fixture
def rows():
    return {"translation": [{"en": s, "ko": t} for s, t in PAIRS]}


def test_saved_datasets(read, rows, tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict(rows)
    made.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"dev": made}).save_to_disk(tmp_path / "dict")
    made.to_parquet(tmp_path / "a.parquet")
    made.to_json(tmp_path / "a.json")
    assert texts(read(tmp_path / "one")) == READ
    assert texts(read(f"hf:{tmp_path}/dict#split=dev")) == READ
    assert texts(read(tmp_path / "a.parquet")) == READ
    assert texts(read(tmp_path / "a.json")) == READ
    with pytest.raises(CorpusError, match="no split 'train' among: dev"):
        read(tmp_path / "dict")
    with pytest.raises(CorpusError, match=r"one:1: no key for 'de' among: en, ko"):
        read(tmp_path / "one", "en-de")


def test_a_folder_of_parquet_files(read, rows, tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "parts").mkdir()
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "parts" / "train-0.parquet")
    assert texts(read(tmp_path / "parts")) == READ


def test_a_dataset_out_of_reach(read, tmp_path) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(CorpusNotFoundError, match=r"hf:nobody/nothing.*cannot be reached"):
        read("hf:nobody/nothing")
    with pytest.raises(CorpusNotFoundError, match="there is no file"):
        read(tmp_path / "none.parquet")


def test_datasets_are_an_extra(read, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"install adapterhub\[datasets\]"):
        read("hf:nobody/nothing")
