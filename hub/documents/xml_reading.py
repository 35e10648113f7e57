"""XML of strangers: no document type, no entities of its own, no network, bounded depth.

libxml2 parses; expat looks first, because it says where a document type declaration begins before
anything in it is acted upon. A file with one is refused: entities that grow ("billion laughs") and
entities that read files are declared there, and neither XLIFF nor office formats have one.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from lxml import etree

from hub.errors import DocumentError

MAX_DEPTH: Final = 200

_HEAD: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:<\?xml[^>]*\?>)?\s*(?=<)")
_UNSUITED: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Element = etree._Element


def read_xml(data: bytes, what: str = "the file") -> etree._ElementTree:
    """Parse XML.

    Args:
        data: The file.
        what: It is called in messages.

    Raises:
        DocumentError: It is not well-formed, declares a document type, or is nested too deeply.
    """
    _look(data, what)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_blank_text=False, strip_cdata=False,
    )  # fmt: skip
    try:
        return etree.fromstring(data, parser).getroottree()
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DocumentError(f"{what} is not well-formed XML: {error!s:.200}") from None


def _look(data: bytes, what: str) -> None:
    depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise DocumentError(f"{what} nests elements deeper than {MAX_DEPTH}; flatten it")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def declare(*_: object) -> None:
        raise DocumentError(
            f"{what} declares a document type, which may hold entities that read files or fill "
            "the memory; remove the <!DOCTYPE …> line"
        )

    looking = expat.ParserCreate()
    looking.StartElementHandler = begin
    looking.EndElementHandler = end
    looking.StartDoctypeDeclHandler = declare
    try:
        looking.Parse(data, True)
    except expat.ExpatError as error:
        raise DocumentError(f"{what} is not well-formed XML: {error}; mend it") from None
    except (LookupError, ValueError) as error:
        raise DocumentError(f"{what} has an encoding that is not known: {error!s:.80}") from None


def write_xml(tree: etree._ElementTree, original: bytes) -> bytes:
    """Return XML in the encoding that it came in, with its declaration and its line ends."""
    encoding = tree.docinfo.encoding or "UTF-8"
    head = _HEAD.match(original)
    if head is None:  # UTF-16
        return _bytes(etree.tostring(tree, encoding=encoding, xml_declaration=True))
    written = _bytes(etree.tostring(tree, encoding=encoding, xml_declaration=False))
    if b"\r\n" in original:
        written = written.replace(b"\n", b"\r\n")
    return head[0] + written


def _bytes(written: str | bytes) -> bytes:
    assert isinstance(written, bytes)  # text where the encoding is "unicode" alone
    return written


def text_of(element: Element) -> str:
    """Return all text in an element."""
    return "".join(str(piece) for piece in element.itertext())


def local(element: Element) -> str:
    """Return an element's name without its namespace, "" for a comment or an instruction."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def suited(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return _UNSUITED.sub("", text)
