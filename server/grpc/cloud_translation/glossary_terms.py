"""Terms of a glossary in a data: URI, which is where a client of Google's names a file.

data:text/csv;charset=utf-8,dog%2CHund%0Acat%2CKatze
data:text/tab-separated-values;base64,ZG9nCUh1bmQK
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
from typing import Final
from urllib.parse import unquote_to_bytes

from hub.errors import InputError
from hub.glossaries import MAX_TERMS, Term

_FIELD: Final = "glossary.input_config.gcs_source.input_uri"
_DELIMITERS: Final = {"text/csv": ",", "text/tab-separated-values": "\t", "text/tsv": "\t"}


def read_terms(uri: str) -> list[Term]:
    """Return the terms of a data: URI: a source term and its translation on each line.

    Raises:
        InputError: It is another URI, of another type, or a line has not two columns.
    """
    scheme, _, rest = uri.partition(":")
    if scheme != "data":
        raise InputError(
            f"input_uri {uri[:60]!r} is not read: this server has no access to other storage; "
            "send the terms as data:text/csv,source%2Ctarget or store them with "
            "`hub glossaries add`",
            field=_FIELD,
        )
    head, comma, body = rest.partition(",")
    kind, *parameters = head.split(";")
    delimiter = _DELIMITERS.get(kind.strip().lower())
    if not comma or delimiter is None:
        raise InputError(
            f"{kind[:60]!r} is not a type of terms; use {' or '.join(_DELIMITERS)}", field=_FIELD
        )
    return _terms(_text(body, is_base64="base64" in parameters), delimiter)


def _text(body: str, *, is_base64: bool) -> str:
    data = unquote_to_bytes(body)
    try:
        return (base64.b64decode(data, validate=True) if is_base64 else data).decode("utf-8-sig")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InputError(f"the terms are not UTF-8 text: {error}", field=_FIELD) from None


def _terms(text: str, delimiter: str) -> list[Term]:
    forms: dict[str, list[str]] = {}
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1):
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != 2:
                raise InputError(
                    f"line {number} has {len(row)} columns; give a term and its translation",
                    field=_FIELD,
                )
            forms.setdefault(row[0].strip(), []).append(row[1].strip())
            if number > 2 * MAX_TERMS:
                raise InputError(f"more than {MAX_TERMS} terms; send fewer", field=_FIELD)
    except csv.Error as error:
        raise InputError(f"the terms are not a table: {error}", field=_FIELD) from None
    return [Term(source, tuple(dict.fromkeys(targets))) for source, targets in forms.items()]
