"""Bad input is refused with file and line, quickly, in little memory, and without the network."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.collect import collect
from training.corpora.plan import CorpusRequest, plan_corpus
from training.corpora.xml_stream import MAX_DEPTH

TU = '<tu><tuv xml:lang="en"><seg>{}</seg></tuv><tuv xml:lang="ko"><seg>나</seg></tuv></tu>'
TMX = '<tmx version="1.4">\n<body>\n{}\n</body></tmx>'
XLF = '<xliff version="1.2">\n<file source-language="en"{}><body>\n{}</body></file></xliff>'
LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">\n' for i in range(1, 10))

# Content, and what the message says.
BAD = {
    "columns-1.tsv": ("a\t나\nonly one\n", ":2: 1 tab-separated column, where 2 must be"),
    "columns-3.tsv": ("a\tb\tc\n", ":1: 3 tab-separated columns, where 2 must be"),
    "empty-line.tsv": ("a\t나\n\nb\t다\n", ":2: 1 tab-separated column, where 2"),
    "broken.jsonl": ('{"source": "a", "target": "나"}\n{"source"', ":2: not JSON: "),
    "list.jsonl": ("[1, 2]\n", ":1: a JSON list, where an object"),
    "no-key.jsonl": ('{"source": "a"}\n', ":1: no key for 'en' among: source"),
    "later-key.jsonl": (
        '{"source": "a", "target": "나"}\n\n{"source": "b", "src": "c"}',
        ":3: no key 'target' among: source, src",
    ),
    "two-keys.jsonl": ('{"en_US": "a", "en": "b", "ko": "c"}\n', ":1: keys en_US, en are all 'en'"),
    "number.jsonl": ('{"source": 1, "target": "a"}\n', ":1: 'source' is int, where a string"),
    "deep.jsonl": ("[" * 500_000, ":1: JSON nested too deeply"),
    "huge-int.jsonl": ('{"source": ' + "9" * 5000 + "}", ":1: not JSON: "),
    "surrogate.jsonl": ('{"source": "\\ud800", "target": "a"}', ":1: a lone surrogate"),
    "dtd.tmx": (
        '<!DOCTYPE tmx SYSTEM "http://127.0.0.1:9/tmx14.dtd">\n' + TMX.format(TU.format("a&nbsp;")),
        ":4: &nbsp; is declared nowhere but perhaps in a DTD, which is not fetched",
    ),
    "parameter.tmx": (
        '<!DOCTYPE tmx [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]>\n' + TMX.format(""),
        ":1: a document type declaration that declares something",
    ),
    "xxe.tmx": (
        '<?xml version="1.0"?>\n<!DOCTYPE tmx [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n'
        + TMX.format(TU.format("&x;")),
        ":2: a document type declaration",
    ),
    "laughs.xlf": (
        f'<!DOCTYPE xliff [<!ENTITY l0 "ha">\n{LAUGHS}]>\n' + XLF.format("", "&l9;"),
        ":1: a document type declaration that declares something",
    ),
    "undeclared.tmx": (TMX.format(TU.format("&nbsp;")), ":3: &nbsp; is declared nowhere"),
    "attribute.tmx": (
        '<!DOCTYPE tmx SYSTEM "x.dtd">\n' + TMX.format(TU.format("a").replace('"en"', '"&en;"')),
        ":4: &en; is declared nowhere",
    ),
    "reference.tmx": (
        "<!DOCTYPE tmx [ %outside; ]>\n" + TMX.format(""),
        ":1: %outside; is declared nowhere",
    ),
    **{
        f"{kind}.tmx": (
            f"<!DOCTYPE tmx [\n<!{kind} {what}>]>\n" + TMX.format(""),
            ":2: a document type declaration that declares something",
        )
        for kind, what in (
            ("ENTITY", 'x "y"'),
            ("ELEMENT", "x ANY"),
            ("ATTLIST", 'x y CDATA "z"'),
            ("NOTATION", 'x SYSTEM "y"'),
        )
    },
    "cut.tmx": (TMX.format(TU.format("a"))[:-20], ":3: not well-formed XML: unclosed token"),
    "unclosed.tmx": (TMX.format(TU.format("a"))[:-7], ":4: not well-formed XML: unclosed token"),
    "crossed.tmx": (TMX.format("<tu></tuv>"), ":3: not well-formed XML: mismatched tag"),
    "latin1.tmx": (
        TMX.format(TU.format("@")).encode().replace(b"@", b"\xe9"),
        ":3: byte 0xe9 is not valid in utf-8, the encoding of XML that declares none",
    ),
    "deep.tmx": (TMX.format("<a>" * 1000), f":3: elements nested deeper than {MAX_DEPTH}"),
    "html.tmx": ("<html><p>no</p></html>", ":1: an HTML page"),
    "page.tmx": ("<!DOCTYPE html>\n<html><body><br></html>", ":1: an HTML page"),
    "own-encoding.tmx": (
        '<?xml version="1.0" encoding="x-own"?>\n' + TMX.format(""),
        ":1: the file says that it is in 'x-own', which is no known encoding",
    ),
    "escape.tmx": (
        '<?xml version="1.0" encoding="unicode_escape"?>\n' + TMX.format(""),
        ":1: the file says that it is in 'unicode_escape', which is no known encoding",
    ),
    "euc-kr.tmx": (
        b'<?xml version="1.0" encoding="EUC-KR"?>\n'
        + TMX.format("@").encode().replace(b"@", b"\xff"),
        ":4: byte 0xff is not valid in cp949, which it declares as EUC-KR",
    ),
    "upper.tmx": (TMX.format(TU.format("a").replace("tu>", "TU>")), ": there is no unit in it"),
    "empty.tmx": ("", ":1: not well-formed XML: no element found"),
    "binary.tmx": (b"\x89PNG\r\n\x1a\n\0\0", ":1: byte 0x89 is not valid in utf-8"),
    "tmx.xlf": (TMX.format(""), ":1: not XLIFF"),
    "no-units.xlf": (XLF.format("", ""), ": there is no unit in it"),
    "no-source.xlf": (
        "<xliff><file><body>\n<trans-unit id='1'><source>a</source><target>b</target></trans-unit>"
        "</body></file></xliff>",
        ":2: the file does not say its source language; say #source=en&target=ko",
    ),
    "broken.po": ('msgid "a"\nmsgstr "나"\n\nnonsense here\n', ":4: not a PO catalogue"),
    "no-str.po": (
        'msgid "a"\n\nmsgid "b"\nmsgstr "c"\n',
        ":1: not a PO catalogue: an entry without msgstr",
    ),
    "charset.po": (
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=X-OWN\\n"\n',
        ": the catalogue says it is in 'X-OWN', which is no known charset",
    ),
    "compiled.po": (
        b"\xde\x12\x04\x95\0\0\0\0",
        ":1: the file holds a compiled catalogue; make a PO file of it with msgunfmt",
    ),
    "latin1.tsv": (b"a\tb\ncaf\xe9\tb\n", ":2: byte 4 (0xe9) is not valid UTF-8"),
}


def load(path, pair: str = "en-ko"):
    parsed = LanguagePair.parse(pair)
    plan = plan_corpus(CorpusRequest(data=(str(path),), no_clean=True), parsed)
    return collect(
        parsed, plan.sources, train=10, dev=0, test=0, cleaning=plan.cleaning, seed=1
    )  # fmt: skip


@pytest.fixture
def no_network():
    """Fail on any look-up or connection while the test runs."""
    seen: list[str] = []
    watching = [True]

    def hook(event: str, arguments: object) -> None:
        if watching[0] and event.split(".")[0] in ("socket", "urllib", "http"):
            seen.append(event)

    sys.addaudithook(hook)
    yield seen
    watching[0] = False
    assert seen == []


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_their_place(put, no_network, name: str) -> None:
    content, said = BAD[name]
    path = put(name, content)
    started = time.process_time()
    with pytest.raises(CorpusError) as caught:
        load(path)
    assert time.process_time() - started < 1
    assert f"{path}{said}" in caught.value.message
    assert caught.value.exit_code == 65


def test_the_audit_hook_would_see_the_network(no_network) -> None:
    import socket

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 9), timeout=0.1).close()
    assert no_network
    no_network.clear()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (TMX.format(TU.format("x" * 30_000_000)), "a.tmx:3: the segment has more than 1,048,576"),
        (f'<tmx a="{"x" * 30_000_000}"/>', "a.tmx:1: a tag with more than 1,048,576 bytes"),
    ],
)
def test_something_endless_in_xml_is_refused_in_little_memory(put, content, said) -> None:
    path = put("a.tmx", content)
    del content
    tracemalloc.start()
    with pytest.raises(CorpusError, match=r"the limit") as caught:
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said in caught.value.message
    assert peak < 25_000_000


def test_long_names_and_codes_cost_no_time(put) -> None:
    """Expressions over them take time in proportion."""
    blanks = "a" + " " * 900_000 + "b"
    tag = f'<ph x="1" equiv-text="&lt;{" " * 900_000}x"/>'
    files = {
        "a.tmx": TMX.format(TU.format(f"a{tag}b") + TU.format("c").replace('"en"', f'"{blanks}"')),
        "a.jsonl": json.dumps({"en": "a", "ko": "나", blanks: 1}),
        "a.tsv": f"{blanks}\tko\n",
        "a.po": f'msgid ""\nmsgstr "Language:{blanks}\\n"\n\nmsgid "a"\nmsgstr "나"\n',
    }
    started = time.process_time()
    for name, content in files.items():
        with suppress(CorpusError):
            load(put(name, content))
    assert time.process_time() - started < 3


def test_a_large_file_is_read_in_little_memory(put) -> None:
    """Units leave nothing behind: what is kept are ten of them."""
    text = "word " * 200
    small, large = (
        put(f"{n}.tmx", TMX.format("\n".join(TU.format(f"{i} {text}") for i in range(n))))
        for n in (4_200, 6_700)
    )
    peaks = []
    for path in (small, small, large):
        tracemalloc.start()
        load(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert large.stat().st_size - small.stat().st_size > 2_500_000
    assert peaks[2] < peaks[1] + 1_000_000


def test_parameter_entities_do_not_help(put, no_network) -> None:
    text = '<!DOCTYPE t [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x">%p;]>' + TMX.format("")
    with pytest.raises(CorpusError, match="document type declaration"):
        load(put("a.tmx", text))


SOUND = {
    "a.po": 'msgid ""\nmsgstr "Plural-Forms: nplurals=2; plural=n!=1;\\n"\n\n#, c-format\n'
    'msgid "one"\nmsgid_plural "more"\nmsgstr[0] "하나"\nmsgstr[1] "둘"\n',
    "a.tmx": '<?xml version="1.0" encoding="utf-8"?>' + TMX.format(TU.format("a<ph>b</ph>c") * 2),
    "a.xlf": XLF.format(
        " target-language='ko'",
        "<trans-unit id='1'><source>a</source><seg-source><mrk mtype='seg' mid='1'>a</mrk>"
        "</seg-source><target>나</target></trans-unit><group restype='x-gettext-plurals'>"
        "<trans-unit id='2[0]'><source>b</source><target>다</target></trans-unit></group>",
    ),
    "a.csv": 'en;ko\n"a ""b"" c";나\nd;"다\n라"\n',
    "a.tsv": "en\tko\na\t나\n",
    "a.jsonl": '{"translation": {"en": "a", "ko": "나"}}\n' * 2,
}
INSERTED = [
    b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\r", b"\n", b'"', b"<", b">", b"&x;", b"</seg>", b"<tu>",
    b"<mrk mtype='seg'>", b"</source>", b"<?p x?>", b"\\", b"charset=utf-7", b"encoding='hz'",
    b'msgid ""\n', b'msgstr[3] "x"\n', b"nplurals=", b"null", b"{", b"]", b",", b";", b"\t",
    b"+2AA-",
]  # fmt: skip


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(SOUND)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(INSERTED)), max_size=5),
)
def test_damaged_files_are_read_or_refused(name: str, damage: list) -> None:
    """Whatever is cut out of a file and put into it, no other error comes out."""
    data = SOUND[name].encode()
    for place, cut, piece in damage:
        start = int(place * len(data))
        data = data[:start] + piece + data[start + cut :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        if not damage:
            assert len(load(path).train) > 0
            return
        with suppress(CorpusError):
            load(path)
