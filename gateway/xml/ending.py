"""Why the parser stopped: the file is wrong, is cut, is empty, or its bytes are not what it declares.

The pull parser tells several errors only when it is closed, and then a cut file looks like a wrong one. The
place decides: an error at the very end of the bytes means that something is missing behind it.
"""

import re

from lxml import etree

from gateway.kernel.errors import FileRefused
from gateway.xml.encoding import Encoding, survey
from gateway.xml.parse import refusal, unfinished
from gateway.xml.source import Source

_NEAR = 16
"""Characters: libxml2 names the begin of an unfinished token, e.g. of `<![CDAT`, not its end."""

_DECLARATION = re.compile(r"<\?xml\b[^>]*\?>")


def at_the_end(
    error: etree.XMLSyntaxError,
    parser: etree.XMLParser,
    source: Source,
    encoding: Encoding,
    *,
    closing: bool,
    root_seen: bool = True,
) -> FileRefused:
    """Return our error for a parser that stopped; *closing* when all bytes were fed before."""
    refused = refusal(error, parser.feed_error_log, root_seen=root_seen)
    if closing and unfinished(parser.feed_error_log):
        seen = survey(source.again(), encoding)
        return incomplete(seen.last_line, seen.last_column)
    if refused.code not in ("encoding.mismatch", "xml.not-wellformed") or not (
        closing or refused.code == "encoding.mismatch"
    ):
        return refused
    seen = survey(source.again(), encoding)
    if seen.bad_offset is not None and refused.code == "encoding.mismatch":
        declared = f'the declared encoding "{encoding.declared}"' if encoding.declared else encoding.name
        return FileRefused(
            f"Byte {seen.bad_offset} of the file (0x{seen.bad_byte:02X}) is not valid in {declared}. "
            "Save the file in the encoding it declares, or declare the encoding it is in.",
            code="encoding.mismatch",
            line=refused.line,
            column=refused.column,
            byte_offset=seen.bad_offset,
        )
    if closing and refused.line == seen.last_line and abs((refused.column or 0) - seen.last_column) <= _NEAR:
        return incomplete(seen.last_line, seen.last_column)
    return refused


def incomplete(line: int | None = None, column: int | None = None) -> FileRefused:
    """Return the refusal of a file that ends too early."""
    return FileRefused(
        "The file ends in the middle of the document: it was cut, or is still being written. Send it again, whole.",
        code="xml.incomplete",
        line=line,
        column=column,
    )


def empty_file(source: Source, encoding: Encoding) -> FileRefused | None:
    """Return the refusal of a file with nothing but a mark, a declaration and white space, None for others."""
    first = True
    for chunk in source.again():
        text = chunk.decode(encoding.codec, "replace").removeprefix("\ufeff")
        if first:
            text = _DECLARATION.sub("", text, count=1) if text.startswith("<?xml") else text
            first = False
        if text.strip():
            return None
    return FileRefused("The file is empty. Send it again, with its content.", code="file.empty")
