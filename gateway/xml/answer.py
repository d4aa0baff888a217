"""Writes response files: the envelope around what a service returned, or around a fault.

Made for people too: indented, header in the documented order. Namespaces are written in the scheme and the
generation of the request. Runs once per message, so envelope and keys are written as text; tests hold that
against the same answer built as a tree.
Source: AIF reference, sections 6, 7.3 and 10; rulings, "Namespaces".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from lxml import etree

from gateway.contracts.service import EntityKey
from gateway.kernel.ids import format_message_id
from gateway.kernel.namespaces import ENTITY_KEY, ENTITY_KEY_LIST, FAULT, XSI, Scheme, in_scheme, scheme_of
from gateway.kernel.problem import Problem
from gateway.kernel.text import clean
from gateway.xml.normalise import rewrite_scheme
from gateway.xml.parse import parse_checked
from gateway.xml.parts import standalone

_LANGUAGE = "en-us"
_MAX_VALUE = 100_000
_NO_NAMESPACE = etree.XPath(
    "boolean(descendant-or-self::*[namespace-uri()=''] | descendant::*/@xsi:type[not(contains(., ':'))])",
    namespaces={"xsi": XSI},
)


@dataclass(frozen=True, slots=True)
class AnswerHeader:
    """The header of an answer.

    Shape: `namespace` and `request_message_id` as the request wrote them (the latter empty when nobody asked); the
    optional values are those the request carried.
    """

    namespace: str
    message_id: UUID
    action: str
    request_message_id: str
    conversation_id: str | None = None
    company: str | None = None
    partition_key: str | None = None
    logon_as_user: str | None = None

    @property
    def scheme(self) -> Scheme:
        """Return the form in which the answer writes the documented namespaces."""
        return scheme_of(self.namespace)


def response(header: AnswerHeader, parts: Sequence[etree._Element], *, encoding: str = "UTF-8") -> bytes:
    """Return the file that answers a request.

    Shape: *parts* are the children of MessageParts in canonical (`http://`) namespaces, left unchanged. With a
    declaration; characters that *encoding* lacks become references.
    Raises: LookupError for an unknown encoding.
    """
    return _envelope(header, "".join(_part(part, header.scheme) for part in parts), encoding)


def key_answer(header: AnswerHeader, keys: Sequence[EntityKey], *, encoding: str = "UTF-8") -> bytes:
    """Return what `response` returns for an EntityKeyList of *keys*, without building its tree."""
    return _envelope(header, _key_list(keys, header.scheme), encoding)


def fault(
    header: AnswerHeader,
    code: str,
    text: str,
    *,
    details: Sequence[Problem] = (),
    encoding: str = "UTF-8",
) -> bytes:
    """Return the file that tells why a request failed; one Detail per problem in *details*.

    Every text is made fit for XML, wherever it came from. Otherwise as `response`.
    """
    namespace = in_scheme(FAULT, header.scheme)
    return _envelope(header, "".join(_fault(namespace, code, text, details)), encoding)


def _envelope(header: AnswerHeader, body: str, encoding: str) -> bytes:
    fields = (
        ("MessageId", format_message_id(header.message_id)),
        ("LogonAsUser", header.logon_as_user),
        ("Company", header.company),
        ("Action", header.action),
        ("ConversationId", header.conversation_id),
        ("RequestMessageId", header.request_message_id),
        ("PartitionKey", header.partition_key),
    )
    written = "".join(f"    <{name}>{_text(value)}</{name}>\n" for name, value in fields if value)
    declared = _attribute(header.namespace)
    message_parts = f">\n{body}    </MessageParts>" if body else "/>"
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<Envelope xmlns="{declared}">\n'
        f'  <Header>\n{written}  </Header>\n  <Body>\n    <MessageParts xmlns="{declared}"{message_parts}\n'
        "  </Body>\n</Envelope>\n"
    )
    return document.encode(encoding, "xmlcharrefreplace")


def _part(part: etree._Element, scheme: Scheme) -> str:
    """Return one child of MessageParts, indented, in the scheme of the answer."""
    parent = part.getparent()
    indented = parse_checked(standalone(part, {} if parent is None else parent.nsmap))
    etree.indent(indented, space="  ", level=3)
    text = etree.tostring(indented, encoding="unicode")
    if None not in indented.nsmap and _NO_NAMESPACE(indented):  # the default namespace around it is the envelope's
        name, end, rest = re.split(r"([\s/>])", text, maxsplit=1)
        text = f'{name} xmlns=""{end}{rest}'
    if scheme is not Scheme.HTTP:
        text = rewrite_scheme(text, scheme)
    return f"      {text}\n"


def _key_list(keys: Sequence[EntityKey], scheme: Scheme) -> str:
    namespace = in_scheme(ENTITY_KEY_LIST, scheme)
    if not keys:
        return f'      <EntityKeyList xmlns="{namespace}"/>\n'
    key_namespace = in_scheme(ENTITY_KEY, scheme)
    lines = [f'      <EntityKeyList xmlns="{namespace}">']
    for key in keys:
        lines.append(f'        <EntityKey xmlns="{key_namespace}">\n          <KeyData>')
        lines.extend(
            f"            <KeyField>\n              {_element('Field', field)}\n"
            f"              {_element('Value', value)}\n            </KeyField>"
            for field, value in key
        )
        lines.append("          </KeyData>\n        </EntityKey>")
    lines.append("      </EntityKeyList>\n")
    return "\n".join(lines)


def _fault(namespace: str, code: str, text: str, details: Sequence[Problem]) -> Iterator[str]:
    yield f'      <Fault xmlns="{namespace}">\n        {_element("Code", code)}\n        <Reason>\n'
    yield f'          <Text xml:lang="{_LANGUAGE}">{_text(text)}</Text>\n        </Reason>\n'
    for problem in details:
        yield "        <Detail>\n"
        for name in ("Line", "Column", "Path", "Found", "Expected", "Text"):
            if (value := getattr(problem, name.lower())) is not None:
                yield f"          {_element(name, str(value))}\n"
        yield "        </Detail>\n"
    yield "      </Fault>\n"


def _element(name: str, value: str) -> str:
    return f"<{name}>{_text(value)}</{name}>" if value else f"<{name}/>"


def _text(value: str) -> str:
    value = clean(value, _MAX_VALUE).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return value.replace("\r", "&#13;")


def _attribute(value: str) -> str:
    return _text(value).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
