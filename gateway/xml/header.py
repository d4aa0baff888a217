"""Read and check what stands around the documents of an envelope: Header, Body, MessageParts.

Everything here runs once per message: the good case is a straight line, problems are put together only for
an envelope that has some.
Source: AIF reference, sections 5 and 6; rulings, "Names and XML"; reliability reference, rows 78 to 92.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lxml import etree

from gateway.kernel.ids import is_message_id
from gateway.kernel.namespaces import ENVELOPE_NAMESPACES, XSI, canonical
from gateway.kernel.problem import Problem, Problems
from gateway.messaging.rules.envelope import Header
from gateway.xml.names import MAX_TEXT, XML_SPACE, XSI_TYPE, clean, local_name, meant, split_name
from gateway.xml.usual_header import ELEMENT_OF, FIELDS, UsualFrames

MAX_ID = 256
MAX_ACTION = 1000
MAX_PARTS = 100
"""Documents in one message; real ones have one, some few."""

_ORDER = {field: place for place, field in enumerate(FIELDS.values())}
_XSI_MARK = XSI.encode()
LOCATIONS = (f"{{{XSI}}}schemaLocation", f"{{{XSI}}}noNamespaceSchemaLocation")
"""Attributes that tell where schemas lie: passed over, nothing is fetched."""
XML_ATTRIBUTE = "{http://www.w3.org/XML/1998/namespace}"
_IGNORED = (*LOCATIONS, f"{{{XSI}}}nil")
_SAMPLE = "Header with an Action, then Body with MessageParts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The element names of one envelope namespace, as `{namespace}local`."""

    namespace: str
    envelope: str
    header: str
    body: str
    parts: str
    fields: Mapping[str, str]

    @classmethod
    def of(cls, namespace: str) -> "Names":
        """Return the names for an envelope namespace in the form the partner writes it."""
        return cls(
            namespace=namespace,
            envelope=f"{{{namespace}}}Envelope",
            header=f"{{{namespace}}}Header",
            body=f"{{{namespace}}}Body",
            parts=f"{{{namespace}}}MessageParts",
            fields={f"{{{namespace}}}{element}": field for element, field in FIELDS.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around the documents: the header's values, the children of MessageParts, what is wrong.

    Of too many documents there are none in `parts`, and one problem.
    """

    header: Header
    parts: Sequence[etree._Element]
    problems: tuple[Problem, ...] = ()


def read_frame(
    envelope: etree._Element,
    names: Names,
    content: bytes = b"",
    usual: UsualFrames | None = None,
    *,
    strict: bool = False,
) -> Frame:
    """Read the frame of an envelope; *content* is its serialised form, which *usual* is asked about first.

    Shape: problems carry the path from `/Envelope` but no place in the file; at most one per element.
    """
    known = None if usual is None or strict else usual.values(content)
    if known is not None:
        only = envelope[1][0][0] if len(envelope[1][0]) == 1 else None
        if only is not None and not (_XSI_MARK in content and only.get(XSI_TYPE) is not None):
            wrong = _check_values(known)
            return Frame(header=Header(**known), parts=[only], problems=tuple(wrong))
    problems = Problems()
    header, body = _header_and_body(envelope, names, problems)
    values: dict[str, str] = {}
    if header is not None:
        _read_fields(header, names, values, problems, strict=strict)
    message_parts, parts = _read_body(body, names, problems)
    for element, path in (
        (envelope, "/Envelope"),
        (header, "/Envelope/Header"),
        (body, "/Envelope/Body"),
        (message_parts, "/Envelope/Body/MessageParts"),
    ):
        if element is not None and element.keys():
            _check_attributes(element, path, problems)
    if _XSI_MARK in content:
        for part in parts:
            if part.get(XSI_TYPE) is not None:
                problems.add(_typed, part, f"/Envelope/Body/MessageParts/{_local(part)}")
    for problem in _check_values(values):
        problems.append(problem)
    return Frame(header=Header(**values), parts=parts, problems=problems.all())


def _header_and_body(
    envelope: etree._Element, names: Names, problems: Problems
) -> tuple[etree._Element | None, etree._Element | None]:
    """Return Header and Body; anything but exactly these two, in this order, is a problem."""
    if len(envelope) == 2 and envelope[0].tag == names.header and envelope[1].tag == names.body:
        header, body = envelope
        if _has_text(envelope.text) or _has_text(header.tail) or _has_text(body.tail):
            problems.add(_stray_text, "/Envelope")
        return header, body
    headers: list[etree._Element] = []
    bodies: list[etree._Element] = []
    stray = _has_text(envelope.text)
    for child in envelope:
        stray = stray or _has_text(child.tail)
        if child.tag == names.header:
            headers.append(child)
        elif child.tag == names.body:
            bodies.append(child)
        else:
            problems.add(_unknown, child, names, "Envelope", "/Envelope", "envelope.structure")
    for name, found in (("Header", headers), ("Body", bodies)):
        if len(found) != 1:
            count = "is missing" if not found else f"stands {len(found)} times"
            text = f"{name} {count}; an Envelope has {_SAMPLE}."
            problems.add(Problem, code="envelope.structure", text=text, path="/Envelope", expected=_SAMPLE)
    if headers and bodies and envelope.index(bodies[0]) < envelope.index(headers[0]):
        text = "Body stands before Header; put the Header first."
        problems.add(Problem, code="envelope.structure", text=text, path="/Envelope/Body[1]")
    if stray:
        problems.add(_stray_text, "/Envelope")
    return (headers[0] if headers else None), (bodies[0] if bodies else None)


def _read_fields(
    header: etree._Element, names: Names, values: dict[str, str], problems: Problems, *, strict: bool
) -> None:
    """Fill *values* from the children of Header."""
    stray = _has_text(header.text)
    last, actions = -1, 0
    seen: set[str] = set()
    for child in header:
        field = names.fields.get(child.tag)
        if _has_text(child.tail):
            stray = True
        if field is None:
            problems.add(_unknown, child, names, "Header", "/Envelope/Header", "header.unknown")
            continue
        path = f"/Envelope/Header/{ELEMENT_OF[field]}"
        if field == "action":
            actions += 1
        elif field in seen:
            text = f"{ELEMENT_OF[field]} stands more than once in the Header; leave one."
            problems.add(Problem, code="header.repeated", text=text, path=f"{path}[2]")
            continue
        seen.add(field)
        if strict:
            if _ORDER[field] < last:
                text = f"{ELEMENT_OF[field]} is out of order; this port wants the documented order of header elements."
                problems.add(Problem, code="header.order", text=text, path=path, expected=", ".join(FIELDS))
            last = max(last, _ORDER[field])
        if len(child):
            text = f"{ELEMENT_OF[field]} holds elements; it must hold text alone."
            problems.add(Problem, code="header.content", text=text, path=path, expected="text")
            continue
        if child.keys():
            _check_attributes(child, path, problems)
        value = (child.text or "").strip(XML_SPACE)
        if value:
            values[field] = value
    if stray:
        problems.add(_stray_text, "/Envelope/Header")
    if actions != 1 or "action" not in values:
        if actions > 1:
            values.pop("action", None)
        problems.add(_action_missing, actions)


def _read_body(
    body: etree._Element | None, names: Names, problems: Problems
) -> tuple[etree._Element | None, list[etree._Element]]:
    """Return MessageParts and its children."""
    if body is None:
        return None, []
    if len(body) != 1 or body[0].tag != names.parts:
        problems.add(_bad_body, body, names)
        return None, []
    message_parts = body[0]
    parts: list[etree._Element] = []
    if len(message_parts) > MAX_PARTS:
        problems.add(
            Problem,
            code="envelope.structure",
            text=f"MessageParts holds more than {MAX_PARTS} documents. Send them in several messages.",
            path="/Envelope/Body/MessageParts",
            expected=f"at most {MAX_PARTS} documents",
        )
    else:
        parts = list(message_parts)
    if _has_text(body.text) or _has_text(message_parts.tail):
        problems.add(_stray_text, "/Envelope/Body")
    if _has_text(message_parts.text) or any(_has_text(part.tail) for part in parts):
        problems.add(_stray_text, "/Envelope/Body/MessageParts")
    return message_parts, parts


def _check_values(values: dict[str, str]) -> list[Problem]:
    """Check identifiers and lengths; over-long values are cut so that everything behind can hold them."""
    problems: list[Problem] = []
    for field, value in values.items():
        name, limit = ELEMENT_OF[field], MAX_ACTION if field == "action" else MAX_ID
        if field == "message_id":
            if is_message_id(value):
                continue
            code, expected = "messageid.invalid", "a GUID, braces optional"
            text = "MessageId is not a GUID; write it like {722B196B-4ACB-4048-8ED3-36915A7DD269}, or leave it out."
        elif len(value) > limit:
            code, expected = "header.too-long", f"at most {limit} characters"
            text = f"{name} has {len(value)} characters; at most {limit} are allowed."
        else:
            continue
        path = f"/Envelope/Header/{name}"
        problems.append(Problem(code=code, text=text, path=path, found=clean(value), expected=expected))
        values[field] = value[:MAX_TEXT]
    return problems


def _check_attributes(element: etree._Element, path: str, problems: Problems) -> None:
    """Say which attributes do not belong on the frame: `xsi:type` could change what a schema accepts."""
    for key, value in element.items():
        name = str(key)
        if name == XSI_TYPE:
            problems.add(_typed, element, path)
        elif name not in _IGNORED and not name.startswith(XML_ATTRIBUTE):
            text = f"{_local(element)} has no attribute {clean(name)}; remove it."
            problems.add(Problem, code="envelope.attribute", text=text, path=path, found=clean(str(value)))


def _typed(element: etree._Element, path: str) -> Problem:
    text = f"xsi:type is not allowed on {_local(element)}; remove it."
    return Problem(code="xsi.type.forbidden", text=text, path=path, found=clean(element.get(XSI_TYPE) or ""))


def _unknown(child: etree._Element, names: Names, parent: str, path: str, code: str) -> Problem:
    """Say which element does not belong here, and why it may look as if it did."""
    namespace, local = split_name(child.tag)
    where = f"{path}/{local}"
    if not namespace:
        text = (
            f'{clean(local)} in {parent} has no namespace (xmlns=""), so it is not the {clean(local)} '
            f'of the message schema; remove xmlns="".'
        )
    elif canonical(namespace) in ENVELOPE_NAMESPACES and namespace != names.namespace:
        text = (
            f"{clean(local)} in {parent} is in the namespace {clean(namespace)}, "
            f"its Envelope in {names.namespace}; use one namespace for the whole Envelope."
        )
    else:
        known = list(FIELDS) if parent == "Header" else ["Header", "Body", "MessageParts"]
        text = f"{clean(local)} is not an element of {parent}{meant(clean(local), known) or '.'}"
    expected = ", ".join(FIELDS) if parent == "Header" else _SAMPLE
    return Problem(code=code, text=text, path=clean(where), found=clean(str(child.tag)), expected=expected)


def _bad_body(body: etree._Element, names: Names) -> Problem:
    """Say why a Body does not hold exactly one MessageParts."""
    if len(body) == 0:
        text = "Body is empty; it must hold one MessageParts."
    elif len(body) > 1:
        text = f"Body holds {len(body)} elements; it must hold one MessageParts and nothing else."
    elif canonical(split_name(body[0].tag)[0]) not in (*ENVELOPE_NAMESPACES, ""):
        text = f"{_local(body[0])} stands directly in Body; put it into MessageParts, and that into Body."
    else:
        return _unknown(body[0], names, "Body", "/Envelope/Body", "envelope.structure")
    return Problem(code="envelope.structure", text=text, path="/Envelope/Body", expected="one MessageParts")


def _action_missing(actions: int) -> Problem:
    text = {0: "Action is missing from the Header", 1: "Action is empty"}.get(
        actions, f"Action stands {actions} times in the Header"
    )
    return Problem(
        code="action.missing",
        text=f"{text}; exactly one is needed.",
        path="/Envelope/Header/Action[2]" if actions > 1 else "/Envelope/Header",
        expected="{service namespace}/{service}/{operation}",
    )


def _stray_text(path: str) -> Problem:
    name = path.rpartition("/")[2]
    return Problem(code="envelope.text", text=f"Text stands directly in {name}; remove it.", path=path)


def _has_text(text: str | None) -> bool:
    """Tell whether there is anything but XML white space."""
    return text is not None and bool(text.strip(XML_SPACE))


def _local(element: etree._Element) -> str:
    return clean(local_name(element))
