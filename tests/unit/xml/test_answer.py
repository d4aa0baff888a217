from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

import schemas
from gateway.kernel.namespaces import MESSAGE_2008, MESSAGE_2011
from gateway.kernel.problem import Problem
from gateway.xml.answer import AnswerHeader, fault, key_answer, response
from gateway.xml.catalog import Catalog
from gateway.xml.keys import build_keys, read_keys

ID = UUID("b165292c-bf8b-43a4-9788-21d1b0aed185")
ACTION = "http://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create"
REQUEST_ID = "{44920385-3194-498F-8AC7-438F3632DF51}"
PRINTED = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.microsoft.com/dynamics/2011/01/documents/Message">
  <Header>
    <MessageId>{B165292C-BF8B-43A4-9788-21D1B0AED185}</MessageId>
    <Action>http://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create</Action>
    <RequestMessageId>{44920385-3194-498F-8AC7-438F3632DF51}</RequestMessageId>
  </Header>
  <Body>
    <MessageParts xmlns="http://schemas.microsoft.com/dynamics/2011/01/documents/Message">
      <EntityKeyList xmlns="http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKeyList">
        <EntityKey xmlns="http://schemas.microsoft.com/dynamics/2006/02/documents/EntityKey">
          <KeyData>
            <KeyField>
              <Field>SalesId</Field>
              <Value>SO-100021</Value>
            </KeyField>
          </KeyData>
        </EntityKey>
      </EntityKeyList>
    </MessageParts>
  </Body>
</Envelope>
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog([schemas.FOLDER])


def valid(catalog: Catalog, content: bytes) -> bool:
    """Tell whether a file follows the envelope's schema and each of its documents follows its own."""
    root = etree.fromstring(content)
    names = [str(part.tag) for part in root.find("{*}Body/{*}MessageParts")]  # type: ignore[union-attr]
    written = (schemas.FOLDER / "envelope" / "Message.xsd").read_text()
    schema = etree.fromstring(written.replace(MESSAGE_2011, etree.QName(root).namespace or "").encode())
    return etree.XMLSchema(schema).validate(root) and all(catalog.element(name) is not None for name in names)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_answer_is_the_printed_one_in_the_scheme_of_the_request(catalog: Catalog, scheme: str) -> None:
    def form(text: str) -> str:
        return text.replace("http://", f"{scheme}://")

    content = response(
        AnswerHeader(form(MESSAGE_2011), ID, form(ACTION), REQUEST_ID), [build_keys([[("SalesId", "SO-100021")]])]
    )

    assert content.decode() == form(PRINTED)
    assert valid(catalog, content)


def tree_built(keys: list[list[tuple[str, str]]]) -> etree._Element:
    """Build the same answer element by element and let lxml indent and write it."""
    maps: list[dict[str, str]] = [{None: MESSAGE_2011}]  # type: ignore[dict-item]
    root = etree.Element(f"{{{MESSAGE_2011}}}Envelope", nsmap=maps[0])
    header = etree.SubElement(root, f"{{{MESSAGE_2011}}}Header")
    for name, value in (("MessageId", f"{{{str(ID).upper()}}}"), ("Action", ACTION), ("RequestMessageId", REQUEST_ID)):
        etree.SubElement(header, f"{{{MESSAGE_2011}}}{name}").text = value
    body = etree.SubElement(root, f"{{{MESSAGE_2011}}}Body")
    etree.SubElement(body, f"{{{MESSAGE_2011}}}MessageParts").append(build_keys(keys))
    etree.indent(root)
    return root


texts = st.text(
    st.characters(min_codepoint=1).filter(lambda character: character.isprintable() or character in "\t\n\r"),
    max_size=20,
)


@given(st.lists(st.lists(st.tuples(texts, texts), min_size=1, max_size=2), max_size=3))
def test_the_written_answer_equals_the_one_built_as_a_tree(keys: list[list[tuple[str, str]]]) -> None:
    header = AnswerHeader(MESSAGE_2011, ID, ACTION, REQUEST_ID)
    content = response(header, [build_keys(keys)])
    assert key_answer(header, keys) == content
    written = etree.fromstring(content)
    built = tree_built(keys)

    assert etree.tostring(written, method="c14n") == etree.tostring(built, method="c14n")


def test_the_header_has_the_documented_order_and_only_what_the_request_carried(catalog: Catalog) -> None:
    answer = AnswerHeader(
        MESSAGE_2011,
        ID,
        ACTION,
        " as sent ",
        conversation_id="C<1>",
        company="DAT",
        partition_key="initial",
        logon_as_user="DOMAIN\\user",
    )
    content = response(answer, [])

    header = etree.fromstring(content)[0]
    assert [str(each.tag).partition("}")[2] for each in header] == [
        "MessageId",
        "LogonAsUser",
        "Company",
        "Action",
        "ConversationId",
        "RequestMessageId",
        "PartitionKey",
    ]
    assert header[5].text == " as sent "
    assert header[4].text == "C<1>"
    assert valid(catalog, content)


def test_an_empty_answer_has_empty_message_parts(catalog: Catalog) -> None:
    content = response(AnswerHeader(MESSAGE_2011, ID, ACTION, REQUEST_ID), [])

    assert f'<MessageParts xmlns="{MESSAGE_2011}"/>' in content.decode()
    assert valid(catalog, content)


def test_an_old_envelope_is_answered_in_kind() -> None:
    root = etree.fromstring(response(AnswerHeader(MESSAGE_2008, ID, ACTION, REQUEST_ID), []))

    assert {str(each.tag)[1:].partition("}")[0] for each in root.iter()} == {MESSAGE_2008}


@pytest.mark.parametrize("name", ["SalesOrder", "Customer"])
def test_a_document_is_indented_whole_and_stays_valid_in_https(catalog: Catalog, name: str) -> None:
    original = etree.fromstring(Path(schemas.FOLDER, "documents", f"{name}.sample.xml").read_bytes())
    before = etree.tostring(original)

    content = response(AnswerHeader(MESSAGE_2011.replace("http:", "https:"), ID, ACTION, REQUEST_ID), [original])

    part = etree.fromstring(content)[1][0][0]
    grammar = catalog.element(str(part.tag))
    assert str(part.tag).startswith("{https:")
    assert grammar is not None
    assert grammar.valid(part)
    assert b"\n        <DocPurpose>" in content
    assert etree.tostring(original) == before


def test_data_that_looks_like_a_namespace_is_not_rewritten() -> None:
    value = 'xmlns="http://schemas.microsoft.com/x" http://schemas.microsoft.com/y'
    part = etree.Element("{urn:a}a", note=value)
    part.text = value

    content = response(AnswerHeader(MESSAGE_2011.replace("http:", "https:"), ID, ACTION, REQUEST_ID), [part])

    copy = etree.fromstring(content)[1][0][0]
    assert (copy.text, copy.get("note")) == (value, value)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "ISO-8859-1", "windows-1252", "US-ASCII"])
def test_any_text_survives_any_encoding(encoding: str) -> None:
    keys = [[("Größe", "中文 😀 & <x>")]]

    root = etree.fromstring(
        response(AnswerHeader(MESSAGE_2011, ID, ACTION, REQUEST_ID), [build_keys(keys)], encoding=encoding)
    )

    assert read_keys(root[1][0][0]) == (tuple(keys[0]),)


def test_a_fault_tells_code_text_and_details(catalog: Catalog) -> None:
    details = [
        Problem(code="schema", text="wrong", line=7, column=9, path="/A/b", found="1,5", expected="a decimal number"),
        Problem(code="schema", text="somewhere"),
    ]

    content = fault(
        AnswerHeader(MESSAGE_2011, ID, ACTION, REQUEST_ID), "SchemaValidation", "It failed.", details=details
    )

    part = etree.fromstring(content)[1][0][0]
    grammar = catalog.element(str(part.tag))
    assert grammar is not None
    assert grammar.valid(part)
    assert valid(catalog, content)
    assert [(str(each.tag).partition("}")[2], each.text) for each in part.find("{*}Detail")] == [  # type: ignore[union-attr]
        ("Line", "7"),
        ("Column", "9"),
        ("Path", "/A/b"),
        ("Found", "1,5"),
        ("Expected", "a decimal number"),
        ("Text", "wrong"),
    ]
    assert part.find("{*}Reason/{*}Text").get("{http://www.w3.org/XML/1998/namespace}lang") == "en-us"  # type: ignore[union-attr]


@given(st.text(), st.text(), st.text(), st.text(max_size=50))
def test_no_text_can_break_a_fault(code: str, text: str, found: str, header: str) -> None:
    detail = Problem(code="x", text=text, found=found, path=code)
    hostile = chr(0) + chr(0xD800) + chr(0xFFFE) + "]]></Fault>" + text

    answer = AnswerHeader(MESSAGE_2011, ID, header, header, conversation_id=header)
    content = fault(answer, code, hostile, details=[detail])

    part = etree.fromstring(content)[1][0][0]
    assert [str(each.tag).partition("}")[2] for each in part] == ["Code", "Reason", "Detail"]
    assert part[1][0].text is not None
    assert part[1][0].text.startswith("\ufffd\ufffd\ufffd]]></Fault>")
