"""What a file is: the look at its root element, before any of its content is built.

A DOCTYPE ends it here, wherever it stands and before its first declaration is read.
Source: AIF reference, sections 4.3 and 5.2; reliability reference, rows 1 to 25, 65, 71, 73, 74, 79, 80.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from gateway.kernel.errors import FileRefused
from gateway.kernel.namespaces import BATCH, BATCH_NAMESPACES, ENVELOPE_NAMESPACES, MESSAGE_2011, canonical
from gateway.messaging.rules.envelope import FileHead, Root
from gateway.xml.declarations import MAX_CHARACTERS, characters
from gateway.xml.encoding import PREFIX_BYTES, FileEncoding, looks_like
from gateway.xml.header import LOCATIONS, MAX_ID, XML_ATTRIBUTE
from gateway.xml.limits import ReadRules
from gateway.xml.malformed import empty_file, incomplete, refusal_of_stopped
from gateway.xml.names import XML_SPACE, XSI_TYPE, clean, split_name
from gateway.xml.parse import DoctypeFound, RootFound, root_parser
from gateway.xml.source import CHUNK_BYTES, Source

_FIRST_PIECE = 1024
_WITH_BLANK, _WITHOUT_BLANK = "/Microsoft Dynamics/", "/Microsoft_Dynamics/"
_PROLOG = re.compile(r"\ufeff?(?:\s+|<!--.*?-->|<\?.*?\?>)*", re.DOTALL)
_START_TAG = re.compile(r"<(?:[^\"'>]|\"[^\"]*\"|'[^']*')*>")
_SOAP = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootElement:
    """The root of a file that we take: its name for the parser, and the head made of it.

    Shape: `respell` is what has to be written differently in the first `length` bytes, up to the end of the start
    tag, for the parser to take it; None for nearly all files.
    """

    tag: str
    head: FileHead
    length: int = 0
    respell: tuple[bytes, bytes] | None = None


def read_root(source: Source, encoding: FileEncoding, rules: ReadRules) -> RootElement:
    """Find the root element and check it.

    Raises: FileRefused when there is none, when it is not ours, when a DOCTYPE comes first.
    """
    parser = root_parser()
    offset, length, closing = 0, _FIRST_PIECE, False
    try:
        while piece := source.peek(offset, length):
            offset += len(piece)
            parser.feed(piece)
            length = min(2 * length, CHUNK_BYTES)  # the root is nearly always in the first piece
        closing = True
        parser.close()
    except DoctypeFound:
        raise _doctype(source, encoding, offset) from None
    except RootFound as root:
        if closing and _to_end_of_root(source.peek(0, offset), encoding) is None:
            raise incomplete() from None
        head = _checked(root, encoding, rules, _place(source, encoding, offset))
        if _WITH_BLANK in root.tag:
            return _respelled(root.tag, head, source.peek(0, offset), encoding)
        return RootElement(tag=root.tag, head=head)
    except etree.XMLSyntaxError as error:
        if (empty := empty_file(source, encoding)) is not None:
            raise empty from None
        refused = refusal_of_stopped(error, parser, source, encoding, closing=closing, root_seen=False)
        hint = looks_like(source.peek(0, PREFIX_BYTES))
        if hint is not None and refused.code == "xml.not-wellformed":
            text = f"This is not XML: the file looks like {hint}. Send the XML document itself."
            refused = FileRefused(text, code=refused.code, line=refused.line, column=refused.column)
        raise refused from error
    raise AssertionError("a parser that ends without root and without error")


def _to_end_of_root(start: bytes, encoding: FileEncoding) -> str | None:
    """Return the text up to the end of the root's start tag, None when the file ends before that.

    Then the parser makes do with half of the tag.
    """
    text = start.decode(encoding.codec, "ignore")
    end = _START_TAG.match(text, _length_of_prolog(text))
    return None if end is None else text[: end.end()]


def _length_of_prolog(text: str) -> int:
    prolog = _PROLOG.match(text)
    assert prolog is not None  # it also matches nothing
    return prolog.end()


def _checked(root: RootFound, encoding: FileEncoding, rules: ReadRules, place: Mapping[str, int | None]) -> FileHead:
    """Return what a root element says about its file."""
    namespace, local = split_name(root.tag)
    known = canonical(namespace)
    if len(root.attributes) > rules.max_attributes:
        raise FileRefused(
            f"The root element has {len(root.attributes)} attributes; at most {rules.max_attributes} are allowed.",
            code="xml.too-many-attributes",
            **place,
        )
    if local == "Envelope" and known in ENVELOPE_NAMESPACES:
        return FileHead(root=Root.ENVELOPE, namespace=namespace, encoding=encoding.name)
    if local != "Batch" or known not in BATCH_NAMESPACES:
        raise FileRefused(_why_unknown(namespace, local), code="root.unknown", **place)
    _check_namespaces(root, rules, place)
    ids = _batch_attributes(root.attributes, place)
    return FileHead(
        root=Root.BATCH,
        namespace=namespace,
        encoding=encoding.name,
        batch_id=ids.get("BatchId") or None,
        conversation_id=ids.get("ConversationId") or None,
    )


def _respelled(tag: str, head: FileHead, start: bytes, encoding: FileEncoding) -> RootElement:
    """Return the root as the parser can take it: a namespace with a blank, as documented once, is no URI to it."""
    text = _to_end_of_root(start, encoding)
    assert text is not None  # the parser has read it
    return RootElement(
        tag=tag.replace(_WITH_BLANK, _WITHOUT_BLANK),
        head=head,
        length=len(text.encode(encoding.codec)),
        respell=(_WITH_BLANK.encode(encoding.codec), _WITHOUT_BLANK.encode(encoding.codec)),
    )


def _check_namespaces(root: RootFound, rules: ReadRules, place: Mapping[str, int | None]) -> None:
    """Refuse a Batch whose declarations would blow up every one of its envelopes."""
    declared, length = root.namespaces, characters(root.namespaces)
    if len(declared) > rules.max_attributes or length > MAX_CHARACTERS:
        raise FileRefused(
            f"The Batch declares {len(declared)} namespaces in {length} characters; at most {rules.max_attributes} "
            f"in {MAX_CHARACTERS} are allowed. Declare them where they are used.",
            code="xml.limit",
            **place,
        )


def _batch_attributes(attributes: Mapping[str, str], place: Mapping[str, int | None]) -> dict[str, str]:
    """Return the attributes of a Batch, trimmed."""
    ids: dict[str, str] = {}
    for name, value in attributes.items():
        if name == XSI_TYPE:
            text = "xsi:type is not allowed on Batch; remove it."
            raise FileRefused(text, code="xsi.type.forbidden", **place)
        if name in LOCATIONS or name.startswith(XML_ATTRIBUTE):
            continue
        if name not in ("BatchId", "ConversationId"):
            case = " Upper and lower case count." if name.lower() in ("batchid", "conversationid") else ""
            text = f"Batch has no attribute {clean(name)}; allowed are BatchId and ConversationId.{case}"
            raise FileRefused(text, code="batch.attribute", **place)
        ids[name] = value.strip(XML_SPACE)
        if len(ids[name]) > MAX_ID:
            text = f"{name} of the Batch has {len(ids[name])} characters; at most {MAX_ID} are allowed."
            raise FileRefused(text, code="batch.attribute", **place)
    return ids


def _why_unknown(namespace: str, local: str) -> str:
    """Say what a root element is, and what it should be."""
    name = f"{clean(local)} in namespace {clean(namespace)}" if namespace else f"{clean(local)} without namespace"
    wanted = f"expected is Envelope in {MESSAGE_2011} or Batch in {BATCH}"
    whole = "".join(namespace.split())
    if whole != namespace and canonical(whole) in (*ENVELOPE_NAMESPACES, *BATCH_NAMESPACES):
        return (
            f"The namespace of {clean(local)} has white space in it, perhaps from a wrapped line; "
            f"write it in one piece: {clean(whole)}."
        )
    if namespace in _SOAP:
        return f"This is a SOAP envelope; SOAP is not taken here: {wanted}."
    if local.lower() == "html":
        return f"This is an HTML page, perhaps the error page of a server: {wanted}."
    right = next((each for each in ("Envelope", "Batch") if each.lower() == local.lower() and each != local), None)
    if right is not None:
        return f"The root element is {clean(local)}; upper and lower case count, write {right}: {wanted}."
    if local in ("Envelope", "Batch"):
        return f"The root element is {name}, which is not one of the message namespaces: {wanted}."
    if namespace.startswith(("http://schemas.microsoft.com/dynamics/", "https://schemas.microsoft.com/dynamics/")):
        return f"The root element is {name}: a business document without its Envelope; {wanted}."
    return f"The root element is {name}; {wanted}."


def _doctype(source: Source, encoding: FileEncoding, length: int) -> FileRefused:
    """Return the refusal of a document type, whatever it declares."""
    page = " The file looks like an HTML page." if looks_like(source.peek(0, PREFIX_BYTES)) == "an HTML page" else ""
    return FileRefused(
        f"The file has a DOCTYPE; document types and entities are never accepted. Remove it.{page}",
        code="dtd.forbidden",
        **_place(source, encoding, length),
    )


def _place(source: Source, encoding: FileEncoding, length: int) -> dict[str, int | None]:
    """Return line and column of the first thing after the prolog, within the first *length* bytes."""
    text = source.peek(0, length).decode(encoding.codec, "replace")
    before = text[: _length_of_prolog(text)].removeprefix("\ufeff")
    return {"line": before.count("\n") + 1, "column": len(before) - before.rfind("\n")}
