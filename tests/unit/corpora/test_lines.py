r"""Lines end at \n and nowhere else; whatever is not text is refused with its place."""

from __future__ import annotations

import gzip
import tempfile
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from hub.errors import CorpusError, CorpusNotFoundError
from training.corpora.lines import LINE_LIMIT, read_lines

ODD = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
TEXT = f"one\n{ODD}\n\n끝"


def lines_of(path: Path, **told: int) -> list[str]:
    return list(read_lines(path, **told))


def test_python_would_cut_where_we_do_not(put) -> None:
    assert len(TEXT.splitlines()) > 4
    assert lines_of(put("a.txt", TEXT)) == ["one", ODD, "", "끝"]


def test_marks_and_carriage_returns_are_dropped(put) -> None:
    path = put("a.txt", b"\xef\xbb\xbfone\r\ntwo\rtwo\r\n\xef\xbb\xbfthree\r\r\n")
    assert lines_of(path) == ["one", "two\rtwo", "\ufeffthree\r"]


@pytest.mark.parametrize(("content", "count"), [(b"", 0), (b"\n", 1), (b"a", 1), (b"a\n", 1)])
def test_a_last_line_needs_no_end(put, content: bytes, count: int) -> None:
    assert len(lines_of(put("a.txt", content))) == count


@given(st.text(alphabet=st.sampled_from("ab한\n\r\u2028\u0085\x0b\x0c\ufeff🙂")), st.integers(1, 9))
def test_lines_are_those_between_line_feeds(text: str, block: int) -> None:
    # A file without a line feed whose lines end at carriage returns is refused; see below.
    start = text.encode()[: max(block, 3)]
    assume(b"\n" in start or b"\r" not in start)
    expected = text.removeprefix("\ufeff").split("\n")
    if expected[-1] == "":
        expected.pop()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes(text.encode())
        # A mark is looked for in the first block, which is never as small as here.
        found = lines_of(path, block=max(block, 3))
    assert found == [line.removesuffix("\r") for line in expected]


def test_lines_of_classic_mac_os_are_named(put) -> None:
    with pytest.raises(CorpusError, match=r"a\.txt:1: its lines end at carriage returns alone"):
        lines_of(put("a.txt", "one\rtwo\r"))
    assert lines_of(put("b.txt", "one\r")) == ["one"]
    assert lines_of(put("c.txt", "one\rtwo\n")) == ["one\rtwo"]


def test_the_end_of_a_dos_file_is_no_line(put) -> None:
    assert lines_of(put("a.txt", "one\r\ntwo\r\n\x1a")) == ["one", "two"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst", "a.txt.GZ"])
def test_compressed_files_are_unpacked(put, name: str) -> None:
    data = (TEXT * 3000).encode()
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    path = put(name, pack.get(Path(name).suffix.lower(), bytes)(data))
    assert lines_of(path) == (TEXT * 3000).split("\n")


def test_several_members_and_frames_are_one_file(put) -> None:
    zst = zstandard.ZstdCompressor().compress
    assert lines_of(put("a.gz", gzip.compress(b"a\n") + gzip.compress(b"b"))) == ["a", "b"]
    assert lines_of(put("a.zst", zst(b"a\n") + zst(b"b\n" * 9000))) == ["a"] + ["b"] * 9000


def refusal(path: Path, **told: int) -> str:
    with pytest.raises(CorpusError) as caught:
        lines_of(path, **told)
    assert caught.value.exit_code == 65
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", b"ok\nfine\nx\xffy\n", "a.tsv:3: byte 2 (0xff) is not valid UTF-8"),
        ("a.tsv", b"ok\n\xed\xa0\x80\n", "a.tsv:2: byte 1 (0xed) is not valid UTF-8"),
        ("a.tsv", b"ok\ncut\xea\xb0", "a.tsv:2: byte 4 (0xea) is not valid UTF-8"),
        ("a.tsv", b"ok\na\0b\n", "a.tsv:2: byte 2 is 0x00; this is not a text file"),
        ("a.tsv", "가\t나\n".encode("utf-16"), "a.tsv:1: the file holds UTF-16 text"),
        ("a.tsv", gzip.compress(b"a\tb\n"), "a.tsv:1: the file holds gzip data"),
        ("a.tsv", b"\x28\xb5\x2f\xfd\x00", "a.tsv:1: the file holds Zstandard data"),
        ("a.tsv", b"PK\x03\x04rest", "a.tsv:1: the file holds a ZIP archive"),
        ("a.gz", b"no gzip at all", "a.gz holds damaged gzip data"),
        ("a.zst", b"no zstd at all", "a.zst holds damaged Zstandard data"),
    ],
)
def test_what_is_not_text_is_refused_with_its_place(put, name, content, said) -> None:
    assert said in refusal(put(name, content))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_truncated_file_is_no_short_file(put, suffix: str) -> None:
    data = b"".join(b"line %d\n" % number for number in range(20_000))
    whole = gzip.compress(data) if suffix == "gz" else zstandard.ZstdCompressor().compress(data)
    assert len(lines_of(put(f"a.{suffix}", whole))) == 20_000
    for cut in (10, len(whole) // 2, len(whole) - 1):
        said = refusal(put(f"a.{suffix}", whole[:cut]))
        assert f"a.{suffix} ends in the middle of its" in said


def test_flipped_bits_are_found(put) -> None:
    whole = bytearray(gzip.compress(b"line\n" * 9000))
    whole[len(whole) // 2] ^= 0xFF
    assert "a.gz" in refusal(put("a.gz", bytes(whole)))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusNotFoundError) as caught:
        lines_of(tmp_path / "none.tsv")
    assert caught.value.exit_code == 66
    assert "cannot be read" in refusal(tmp_path)


def test_a_line_over_the_limit_is_named(put) -> None:
    path = put("a.tsv", b"short\n" + b"x" * 11 + b"\nshort\n")
    assert lines_of(path, limit=11) == ["short", "x" * 11, "short"]
    assert "a.tsv:2: the line has more than 10 bytes, the limit" in refusal(path, limit=10)
    assert "a.tsv:2" in refusal(put("a.tsv", b"short\n" + b"x" * 11), limit=10, block=4)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_hundred_megabyte_line_is_refused_in_little_memory(put, suffix: str) -> None:
    data = b"fine\n" + b"x" * 100_000_000
    path = put(f"a.tsv{suffix}", b"")
    if suffix == ".gz":
        path.write_bytes(gzip.compress(data, 1))
    elif suffix == ".zst":
        path.write_bytes(zstandard.ZstdCompressor(1).compress(data))
    else:
        path.write_bytes(data)
    del data
    tracemalloc.start()
    said = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f":2: the line has more than {LINE_LIMIT:,} bytes" in said
    assert peak < 40_000_000
