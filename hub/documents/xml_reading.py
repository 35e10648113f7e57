"""XML of strangers: no document type, no entities of its own, no network, bounded depth and size.

libxml2 parses; expat looks first, because it says where a document type declaration begins before
anything in it is acted upon. A file with one is refused: entities that grow ("billion laughs") and
entities that read files are declared there, and neither XLIFF nor office formats have one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from lxml import etree

from hub.errors import DocumentError

MAX_DEPTH: Final = 200
MAX_NODES: Final = 4_000_000
"""Elements, attributes, comments and the like of one document; each takes some 100 bytes."""

_HEAD: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:<\?xml[^>]*\?>)?\s*(?=<)")
_UNSUITED: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Element = etree._Element


@dataclass(slots=True)
class Room:
    """How many nodes a document may still have; one for all parts of it."""

    left: int = MAX_NODES

    def take(self, nodes: int, what: str) -> None:
        """Make room for some.

        Raises:
            DocumentError: There is none.
        """
        self.left -= nodes
        if self.left < 0:
            raise DocumentError(
                f"{what} brings the document over {MAX_NODES:,} elements and attributes; split it"
            )


def read_xml(data: bytes, what: str = "the file", room: Room | None = None) -> etree._ElementTree:
    """Parse XML.

    Args:
        data: The file.
        what: It is called in messages.
        room: Of the document that it is a part of; one of its own by default.

    Raises:
        DocumentError: It is not well-formed, declares a document type, is nested too deeply or has
            too many nodes.
    """
    _look(data, what, room or Room())
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_blank_text=False, strip_cdata=False,
    )  # fmt: skip
    try:
        return etree.fromstring(data, parser).getroottree()
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DocumentError(f"{what} is not well-formed XML: {error!s:.200}") from None


def _look(data: bytes, what: str, room: Room) -> None:
    depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        room.take(1 + len(attributes), what)
        if depth > MAX_DEPTH:
            raise DocumentError(f"{what} nests elements deeper than {MAX_DEPTH}; flatten it")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def other(*_: object) -> None:
        room.take(1, what)

    def declare(*_: object) -> None:
        raise DocumentError(
            f"{what} declares a document type, which may hold entities that read files or fill "
            "the memory; remove the <!DOCTYPE …> line"
        )

    looking = expat.ParserCreate()
    looking.StartElementHandler = begin
    looking.EndElementHandler = end
    looking.CommentHandler = other
    looking.ProcessingInstructionHandler = other
    looking.StartCdataSectionHandler = other
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
