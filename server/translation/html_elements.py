"""Which elements of HTML interrupt running text, and which stay as they are."""

from __future__ import annotations

from typing import Final

_BLOCK: Final = """
address area article aside audio base blockquote body br button canvas caption center col colgroup
datalist dd details dialog dir div dl dt embed fieldset figcaption figure footer form frame frameset
h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe legend li link main map menu meta nav noembed
noframes noscript object ol optgroup option p param plaintext pre search section select source style
summary table tbody td template textarea tfoot th thead title tr track ul video xmp
"""
_VOID: Final = "area base br col embed frame hr img input link meta param source track wbr"
_VERBATIM: Final = """
code kbd math samp script style svg textarea tt var xmp iframe noembed noframes plaintext
"""
_SELF_ENDING: Final = "p li dt dd tr td th option optgroup thead tbody tfoot"
_TEXT_ATTRIBUTES: Final = "alt aria-label placeholder title"

BLOCK: Final = frozenset(_BLOCK.split())
"""Elements that end the sentence before them. All others are inline, unknown ones too.

A `br` is among them: what stands on a line of its own is translated on its own.
"""

VOID: Final = frozenset(_VOID.split())
"""Elements without content or end tag."""

VERBATIM: Final = frozenset(_VERBATIM.split())
"""Elements whose content is not translated."""

SELF_ENDING: Final = frozenset(_SELF_ENDING.split())
"""Elements that a start tag of the same name ends, if it follows directly."""

TEXT_ATTRIBUTES: Final = frozenset(_TEXT_ATTRIBUTES.split())
"""Attributes that people read."""
