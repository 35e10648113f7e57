"""Which tags belong together, and what of a page is not to be translated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from server.translation.html_elements import BLOCK, SELF_ENDING, VERBATIM, VOID
from server.translation.html_scan import Kind, Token, attributes

COLUMN: Final = re.compile(r"[ \t]*[\t\r\n\f][ \t\r\n\f]*|[ ]{2,}")
"""What ends a line or a column of preformatted text."""

_DEEPEST: Final = 48
"""Inline elements inside each other; deeper ones interrupt the text like blocks."""


@dataclass
class Tree:
    """What is known of each token of a page.

    Attributes:
        partner: Of a start tag the index of its end tag, and the other way round; -1 for none.
        scope: Of a start tag the index of the token at which its element ends.
        apart: Whether the token interrupts running text.
        skipped: Whether it is inside of what is not to be translated.
        verbatim: Start tags of elements that are not to be translated.
        preformatted: Whether blanks mean something there.
    """

    partner: list[int]
    scope: list[int]
    apart: list[bool]
    skipped: list[bool]
    preformatted: list[bool]
    verbatim: set[int] = field(default_factory=set)


def read_tree(html: str, tokens: Sequence[Token]) -> Tree:
    """Return what belongs together. Time is linear, whatever the nesting."""
    count = len(tokens)
    tree = Tree([-1] * count, [count] * count, [False] * count, [False] * count, [False] * count)
    _pair(tokens, tree)
    _find_verbatim(html, tokens, tree)
    _set_apart(html, tokens, tree)
    return tree


def _pair(tokens: Sequence[Token], tree: Tree) -> None:
    opened: list[int] = []
    names: dict[str, int] = {}

    def end(index: int) -> int:
        start = opened.pop()
        names[tokens[start].name] -= 1
        tree.scope[start] = index
        return start

    for index, token in enumerate(tokens):
        if token.kind is Kind.START and not is_void(token):
            if token.name in SELF_ENDING and opened and tokens[opened[-1]].name == token.name:
                end(index)
            opened.append(index)
            names[token.name] = names.get(token.name, 0) + 1
        elif token.kind is Kind.END and names.get(token.name):
            start = end(index)
            while tokens[start].name != token.name:
                start = end(index)
            tree.partner[start], tree.partner[index] = index, start


def is_void(token: Token) -> bool:
    """Tell whether a start tag has no content, by its name or by a slash at its end."""
    return token.closed or token.name in VOID


def _find_verbatim(html: str, tokens: Sequence[Token], tree: Tree) -> None:
    """Follow `translate` and `notranslate` down the tree, and the elements of code."""
    until, ends = [False], [len(tokens)]
    pre_end = 0
    for index, token in enumerate(tokens):
        while len(ends) > 1 and index >= ends[-1]:
            ends.pop()
            until.pop()
        tree.skipped[index] = until[-1]
        tree.preformatted[index] = index < pre_end
        if token.kind is not Kind.START or is_void(token):
            continue
        if token.name == "pre":
            pre_end = max(pre_end, tree.scope[index])
        said = _said(html, token)
        if said is None or said == until[-1]:
            continue
        if said:
            tree.verbatim.add(index)
        until.append(said)
        ends.append(tree.scope[index])


def _said(html: str, token: Token) -> bool | None:
    """Return whether an element is not to be translated, None where it says nothing."""
    if token.name in VERBATIM:
        return True
    for name, start, end in attributes(html, token):
        value = html[start:end].strip("\"'").lower()
        if name == "translate" and value in ("no", "yes", ""):
            return value == "no"
        if name == "class" and "notranslate" in value.split():
            return True
    return None


def _set_apart(html: str, tokens: Sequence[Token], tree: Tree) -> None:
    """Find what interrupts text: blocks, tags without a partner, and what holds one of these.

    In preformatted text the ends of lines and columns do so too.
    """
    depth = 0
    for index, token in enumerate(tokens):
        inline = token.kind in (Kind.START, Kind.END) and token.name not in BLOCK
        if token.kind is Kind.TEXT:
            found = tree.preformatted[index] and COLUMN.search(html, token.start, token.end)
            tree.apart[index] = bool(found)
        elif token.kind is Kind.START and not is_void(token):
            depth += inline and tree.partner[index] >= 0
            lone = tree.partner[index] < 0 and not (index in tree.verbatim or tree.skipped[index])
            tree.apart[index] = not inline or lone or depth > _DEEPEST
        elif token.kind is Kind.START:
            tree.apart[index] = not inline
        elif token.kind is Kind.END:
            tree.apart[index] = not inline or tree.partner[index] < 0 or depth > _DEEPEST
            depth -= inline and tree.partner[index] >= 0
    before = [0]
    for one in tree.apart:
        before.append(before[-1] + one)
    for start, end in enumerate(tree.partner):
        if end > start and before[end] > before[start + 1]:
            tree.apart[start] = tree.apart[end] = True
