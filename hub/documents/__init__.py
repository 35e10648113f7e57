"""Files of people, as texts to translate and the structure around them.

    document = open_document("strings.po", data)
    translations = [translate(unit.text, unit.mime_type) for unit in document.units]
    rendered = document.render(translations)        # rendered.data: bytes of the same format

Everything that is not a translated unit comes back as it was. What a file may hold is limited, and
a file that cannot be read is a `DocumentError` that says where and why.
"""

from hub.documents.formats import Format, format_of, formats
from hub.documents.model import Document, Options, Rendered, State, Unit
from hub.documents.opening import open_document

__all__ = [
    "Document",
    "Format",
    "Options",
    "Rendered",
    "State",
    "Unit",
    "format_of",
    "formats",
    "open_document",
]
