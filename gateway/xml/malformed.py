"""Why a file is no well-formed XML, and what to do about it: our words for what the parser says.

By libxml2's error numbers: its texts name its functions and change between releases. The pull parser tells several
errors only when it is closed, and then a cut file looks like a wrong one. The place decides: an error at the very end
of the bytes means that something is missing behind it.
Source: reliability reference, sections 4.1 and 4.2.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from lxml import etree

from gateway.kernel.errors import FileRefused
from gateway.xml.encoding import SUPPORTED, FileEncoding, survey
from gateway.xml.names import clean
from gateway.xml.source import Source

_NO_MEMORY = 2
_UNKNOWN_ENCODING = (31, 32)
_UNFINISHED = (45, 47, 63)  # comment, processing instruction, CDATA: while bytes come, only a limit ends them
_BAD_BYTES = 81
_BAD_NAMESPACE = 99
_TOO_LONG_NAME = 110
_RESOURCE_LIMIT = 114
_NEAR = 16
"""Characters: libxml2 names the begin of an unfinished token, e.g. of `<![CDAT`, not its end."""
_DECLARATION = re.compile(r"<\?xml\b[^>]*\?>")


class LogEntry(Protocol):
    """One line of libxml2's error log."""

    type: int
    level: int
    line: int
    column: int
    message: str


_SEND_AGAIN = "Correct it and send it whole again."
_CHARACTER = re.compile(r"(?:Char|value) (?:0x([0-9A-Fa-f]+)|(\d+))")
_NO_CONTROLS = "XML allows no control characters, not even as references; remove it."
_AMPERSAND = "Write &amp; for an ampersand."
_ATTRIBUTES = 'Write attributes as name="value", with a blank before each.'
_SEVERAL = (
    "Send each document in a file of its own, or put the Envelopes, without their XML declarations, into one Batch."
)


class Mistake(NamedTuple):
    """What is wrong, with `{0}`, `{1}`, … for what `names` finds in the parser's text, and what to do about it."""

    what: str
    remedy: str = _SEND_AGAIN
    names: str | None = None
    unnamed: str = ""
    """What is said when the parser's text is another than the one known here."""


_KNOWN = {
    4: Mistake("It does not begin with the tag of an element", "Send the XML document itself, with nothing before it."),
    5: Mistake("Something stands behind the end of the document", f"Is it another document? {_SEVERAL}"),
    6: Mistake("A reference to a character by its number is not written as &#160; or &#xA0;"),
    7: Mistake("A reference to a character by its number is not written as &#160; or &#xA0;"),
    23: Mistake("A reference that begins with & is not ended by a semicolon", _AMPERSAND),
    26: Mistake(
        "&{0}; stands for nothing",
        "XML knows amp, lt, gt, quot and apos; write other characters themselves, or as &#160; by number.",
        r"Entity '([^']*)'",
        "A reference that begins with & stands for nothing",
    ),
    38: Mistake("A < stands in the value of an attribute", "Write &lt; for it."),
    39: Mistake("The value of an attribute is not in quotes", _ATTRIBUTES),
    40: Mistake("The value of an attribute has no end", _ATTRIBUTES),
    41: Mistake("An attribute has no value", _ATTRIBUTES),
    42: Mistake("The attribute {0} stands twice on one element", "Leave one.", r"Attribute (\S+) redefined",
                "An attribute stands twice on one element"),
    46: Mistake("An instruction (<? ?>) has no name", "Remove it."),
    62: Mistake("]]> stands in the text of an element", "Write ]]&gt; for it."),
    64: Mistake("The XML declaration does not stand at the very start of the file", "Remove what stands before it."),
    65: Mistake("A blank is missing between two attributes", _ATTRIBUTES),
    73: Mistake("A tag is not ended by >"),
    76: Mistake(
        "<{0}> of line {1} is closed by </{2}>",
        "Close each element by its own name, the innermost first.",
        r"mismatch: (\S+) line (\d+) and (\S+)",
        "An element is closed by another name than its own",
    ),
    77: Mistake("An element has no closing tag"),
    78: Mistake("The XML declaration says standalone with a value that is neither yes nor no", "Leave standalone out."),
    80: Mistake('A comment holds two hyphens ("--")', "Put a blank between them."),
    96: Mistake("The XML declaration names no version", 'Declare version="1.0".'),
    _BAD_NAMESPACE: Mistake(
        "The namespace {0} is no valid address (URI)",
        "Write it in one piece: white space in it may come from a wrapped line.",
        r"'(.*)' is not a valid URI",
        "A namespace is no valid address (URI)",
    ),
    108: Mistake("The XML declaration names a version that is not supported", 'Declare version="1.0".'),
    200: Mistake("A namespace is declared as XML does not allow it", "Declare neither xml nor xmlns."),
    201: Mistake(
        "The prefix {0} is not declared", "Declare it with xmlns, or write the right one.", r"prefix (\S+) (?:on|for)",
        "A prefix is not declared",
    ),
    202: Mistake("A name holds more than one colon", "Write prefix:name."),
    203: Mistake("An attribute stands twice on one element, by two prefixes of one namespace", "Leave one."),
}  # fmt: skip
_INSIDE = {
    64: Mistake("A second XML declaration (<?xml ... ?>) stands in the file: one document inside or behind another",
                _SEVERAL),
}  # fmt: skip
_INVALID_CHARACTER, _NAME_REQUIRED = 9, 68
_OTHER = Mistake("It breaks the rules of XML at this place")


def refusal(error: etree.XMLSyntaxError, log: Iterable[LogEntry], *, root_seen: bool = True) -> FileRefused:
    """Return our error for what the parser says; *log* is its own error log, whose first error counts.

    *root_seen* is False for what comes before the start tag of the root.
    Not the log that the exception carries: that one also holds errors of earlier files.
    Raises: MemoryError when the parser ran out of memory: that is the reader's end, not the file's fault.
    """
    first = _first_error(log)
    if first is None:
        number, text, line, column = 0, error.msg or "", error.lineno, error.offset
    else:
        number, text, line, column = first.type, first.message, first.line, first.column
    if number == _NO_MEMORY:
        raise MemoryError(text)
    code, sentence = _classify(number, clean(text), root_seen=root_seen)
    return FileRefused(sentence, code=code, line=line or None, column=column or None)


def refusal_of_stopped(
    error: etree.XMLSyntaxError,
    parser: etree.XMLParser,
    source: Source,
    encoding: FileEncoding,
    *,
    closing: bool,
    root_seen: bool = True,
) -> FileRefused:
    """Return our error for a parser that stopped in a file; *closing* when all bytes were fed before."""
    log: Iterable[LogEntry] = parser.feed_error_log
    refused = refusal(error, log, root_seen=root_seen)
    first = _first_error(log)
    is_unfinished = closing and first is not None and first.type in _UNFINISHED
    has_bad_bytes = refused.code == "encoding.mismatch"
    if not (is_unfinished or has_bad_bytes or (closing and refused.code == "xml.not-wellformed")):
        return refused
    seen = survey(source.reread(), encoding)
    if has_bad_bytes and seen.bad_offset is not None:
        declared = f'the declared encoding "{encoding.declared}"' if encoding.declared else encoding.name
        return FileRefused(
            f"Byte {seen.bad_offset} of the file (0x{seen.bad_byte:02X}) is not valid in {declared}. "
            "Save the file in the encoding it declares, or declare the encoding it is in.",
            code="encoding.mismatch",
            line=refused.line,
            column=refused.column,
            byte_offset=seen.bad_offset,
        )
    is_at_end = refused.line == seen.last_line and abs((refused.column or 0) - seen.last_column) <= _NEAR
    return incomplete(seen.last_line, seen.last_column) if is_unfinished or (closing and is_at_end) else refused


def incomplete(line: int | None = None, column: int | None = None) -> FileRefused:
    """Return the refusal of a file that ends too early."""
    return FileRefused(
        "The file ends in the middle of the document: it was cut, or is still being written. Send it again, whole.",
        code="xml.incomplete",
        line=line,
        column=column,
    )


def empty_file(source: Source, encoding: FileEncoding) -> FileRefused | None:
    """Return the refusal of a file with nothing but a mark, a declaration and white space, None for others."""
    for number, chunk in enumerate(source.reread()):
        text = chunk.decode(encoding.codec, "replace").removeprefix("\ufeff")
        if number == 0 and text.startswith("<?xml"):
            text = _DECLARATION.sub("", text, count=1)
        if text.strip():
            return None
    return FileRefused("The file is empty. Send it again, with its content.", code="file.empty")


def complains_of_namespaces_alone(log: Iterable[LogEntry]) -> bool:
    """Tell whether all that the parser complains of are namespaces that are no valid URI.

    XML itself allows them, so libxml2 reads on to the end and refuses the document only then.
    """
    return {entry.type for entry in log if entry.level >= etree.ErrorLevels.ERROR} == {_BAD_NAMESPACE}


def bad_namespace_in(log: Iterable[LogEntry]) -> tuple[str, str] | None:
    """Return the first namespace that is no valid URI and two sentences about it, None when there is none."""
    mistake = _KNOWN[_BAD_NAMESPACE]
    for entry in log:
        if (found := re.search(mistake.names or "", entry.message, re.DOTALL)) is not None:
            return found[1], f"{mistake.what.format(clean(found[1]))}. {mistake.remedy}"
    return None


def _first_error(log: Iterable[LogEntry]) -> LogEntry | None:
    return next((entry for entry in log if entry.level >= etree.ErrorLevels.ERROR), None)


def _classify(number: int, text: str, *, root_seen: bool) -> tuple[str, str]:
    """Return our code and a sentence for an error number of libxml2, which it calls *text* itself."""
    if number == _RESOURCE_LIMIT and "depth" in text:  # libxml2 has one number for all its limits
        return "xml.too-deep", "Elements are nested more than 256 deep; no business document needs that."
    if number == _TOO_LONG_NAME:
        return "xml.limit", "A name has more than 50,000 characters; no business document needs that."
    if number == _RESOURCE_LIMIT or number in _UNFINISHED:
        return "xml.limit", "A single text, attribute, comment or instruction is over its limit of 10 MB; send less."
    if number == _BAD_BYTES:
        return "encoding.mismatch", "The bytes are not in the encoding that the file declares."
    if number in _UNKNOWN_ENCODING:
        text = f"The encoding that the file declares is not supported; supported are {SUPPORTED}."
        return "encoding.unsupported", text
    mistake = (_INSIDE.get(number) if root_seen else None) or _mistake(number, text)
    what = mistake.what
    if mistake.names is not None:
        found = re.search(mistake.names, text)
        what = mistake.unnamed if found is None else what.format(*found.groups())
    return "xml.not-wellformed", f"The file is not well-formed XML: {what}. {mistake.remedy}"


def _mistake(number: int, text: str) -> Mistake:
    if number == _INVALID_CHARACTER:
        return _invalid_character(text)
    if number == _NAME_REQUIRED:
        if "EntityRef" in text:
            return Mistake("An ampersand (&) stands alone", _AMPERSAND)
        return Mistake("A < is not followed by the name of an element", "Write &lt; for a < that begins no tag.")
    return _KNOWN.get(number, _OTHER)


def _invalid_character(text: str) -> Mistake:
    found = _CHARACTER.search(text)
    if found is None:
        return Mistake("A reference names a character beyond the last one, U+10FFFF", "Correct or remove it.")
    code = int(found[1], 16) if found[1] else int(found[2])
    what = "A reference names the character" if "CharRef" in text else "It holds the character"
    return Mistake(f"{what} U+{code:04X}, which XML does not allow", _NO_CONTROLS)
