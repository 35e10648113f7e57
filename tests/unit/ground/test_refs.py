"""Refs: the four forms are read, everything else is refused by name."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import RefError
from hub.refs import MAX_VERSION, AdapterRef, check_alias, check_name

DIGEST = "sha256:" + "0123456789abcdef" * 4
HEAD = string.ascii_lowercase + string.digits
names = st.builds(str.__add__, st.sampled_from(HEAD), st.text(HEAD + "._-", max_size=99))
refs = st.one_of(
    st.builds(AdapterRef, name=names, alias=names),
    st.builds(AdapterRef, name=names, version=st.integers(1, MAX_VERSION)),
    st.builds(
        AdapterRef,
        digest=st.text("0123456789abcdef", min_size=8, max_size=64).map("sha256:{}".format),
    ),
)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("en-ko.bottleneck", AdapterRef(name="en-ko.bottleneck", alias="latest")),
        ("medical@prod", AdapterRef(name="medical", alias="prod")),
        ("medical:12", AdapterRef(name="medical", version=12)),
        (DIGEST, AdapterRef(digest=DIGEST)),
        ("SHA256:0123ABCD", AdapterRef(digest="sha256:0123abcd")),
        ("  medical  ", AdapterRef(name="medical", alias="latest")),
    ],
)
def test_reads_each_form(text: str, ref: AdapterRef) -> None:
    assert AdapterRef.parse(text) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Medical",
        ".hidden",
        "../etc/passwd",
        "a/b",
        "a b",
        "a@",
        "@prod",
        "a@b@c",
        "a@prod:3",
        "a:",
        "a:0",
        "a:-1",
        "a:01",
        "a:1.5",
        "a:3:4",
        "a:latest",
        f"a:{MAX_VERSION + 1}",
        "a:99999999999999999999",
        "a" * 101,
        "sha256:",
        "sha256:0123456",
        "sha256:xyzxyzxy",
        "sha256:" + "0" * 65,
        "md5:" + "0" * 32,
        "한국어",
        "a\0b",
        "a\nb",
        "a\n",
        "a:٣",
    ],
)
def test_refuses_everything_else(text: str) -> None:
    if text == "a\n":  # surrounding space is forgiven in a ref, not in a name
        with pytest.raises(RefError):
            check_name(text)
        return
    with pytest.raises(RefError):
        AdapterRef.parse(text)


def test_the_message_shows_the_value_and_the_rule_but_never_floods() -> None:
    with pytest.raises(RefError, match=r"'Bad Name'.*a-z, 0-9"):
        AdapterRef.parse("Bad Name")
    with pytest.raises(RefError) as caught:
        AdapterRef.parse("X" * 1_000_000)
    assert len(str(caught.value)) < 500


@given(refs)
def test_parse_reads_back_what_str_writes(ref: AdapterRef) -> None:
    assert AdapterRef.parse(str(ref)) == ref


@given(st.text())
def test_parse_returns_a_ref_or_raises_ref_error(text: str) -> None:
    try:
        ref = AdapterRef.parse(text)
    except RefError:
        return
    assert AdapterRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"name": "a"},
        {"name": "a", "alias": "b", "version": 1},
        {"name": "a", "digest": DIGEST},
        {"alias": "prod"},
        {"version": 3},
        {"name": "a", "version": 0},
        {"digest": "sha256:short"},
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts: dict[str, object]) -> None:
    with pytest.raises(RefError):
        AdapterRef(**parts)  # type: ignore[arg-type]


def test_only_versions_and_whole_digests_are_exact() -> None:
    assert AdapterRef.parse("a:3").is_exact
    assert AdapterRef.parse(DIGEST).is_exact
    assert not AdapterRef.parse(DIGEST[:20]).is_exact
    assert not AdapterRef.parse("a@prod").is_exact


def test_names_and_aliases_share_one_rule() -> None:
    for check in (check_name, check_alias):
        assert check("x9._-") == "x9._-"
        with pytest.raises(RefError):
            check("-x")
