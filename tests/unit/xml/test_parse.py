"""Each setting of the parsers, shown by the attack it stops (reliability reference, section 4.2).

Where a setting is the second lock behind the refusal of a DOCTYPE, the bare parser is used, without the first.
"""

import ast
import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

import gateway
from gateway.kernel.errors import FileRefused, MalformedMessage
from gateway.xml.names import clean
from gateway.xml.parse import document_parser, parse_checked, pull_parser
from tests.hostile import batch, envelope, laughs, order
from tests.unit.xml.reading import read

CANARY = "canary-4711"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text(CANARY)
    return file


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'<!ENTITY e "x">')

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def _text(content: bytes) -> str:
    """Parse with the bare parser and return all text, as far as one can be had."""
    try:
        return etree.tostring(etree.fromstring(content, document_parser()), encoding="unicode")
    except (etree.XMLSyntaxError, OSError):  # the resolver refuses with an OSError
        return ""


def test_file_entity_is_not_read(secret: Path) -> None:
    assert CANARY not in _text(f'<!DOCTYPE a [<!ENTITY e SYSTEM "{secret.as_uri()}">]><a>&e;</a>'.encode())


def test_external_subset_is_neither_loaded_nor_asked_for(secret: Path, trap: tuple[str, list[str]]) -> None:
    url, asked = trap
    secret.write_text(f'<!ENTITY e "{CANARY}"><!ATTLIST a b CDATA "{CANARY}">')
    for place in (secret.as_uri(), f"{url}/x.dtd"):
        assert CANARY not in _text(f'<!DOCTYPE a SYSTEM "{place}"><a>&e;</a>'.encode())
    assert asked == []


def test_entity_over_http_is_not_asked_for(trap: tuple[str, list[str]]) -> None:
    url, asked = trap
    _text(f'<!DOCTYPE a [<!ENTITY e SYSTEM "{url}/e">]><a>&e;</a>'.encode())
    assert asked == []


def test_stylesheet_and_schema_hints_are_not_asked_for(trap: tuple[str, list[str]]) -> None:
    url, asked = trap
    hint = f' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x {url}/x.xsd"'
    read(f'<?xml-stylesheet href="{url}/x.xsl"?>{batch(envelope(), attributes=hint)}')
    assert asked == []


def test_xinclude_is_not_processed(secret: Path) -> None:
    document = f'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{secret.as_uri()}" parse="text"/>'
    assert CANARY.encode() not in read(batch(envelope(document))).envelopes[0].content


def test_doctype_is_refused_before_its_first_declaration_is_read() -> None:
    unfinished = "<?xml version='1.0'?>\n<!-- x -->\n <!DOCTYPE Batch [<!ENTITY"
    with pytest.raises(FileRefused) as caught:
        read(unfinished)
    assert (caught.value.code, caught.value.line, caught.value.column) == ("dtd.forbidden", 3, 2)


def test_value_cut_by_an_entity_never_comes_out() -> None:
    doctype = '<!DOCTYPE Batch [<!ENTITY e "999">]>'
    with pytest.raises(FileRefused, match="DOCTYPE"):
        read(doctype + batch(envelope(order(form="1&e;0"))))


def test_default_attribute_cannot_move_a_name() -> None:
    with pytest.raises(FileRefused, match="DOCTYPE"):
        read('<!DOCTYPE Batch [<!ATTLIST Batch xmlns CDATA "urn:x">]>' + batch(envelope()))


def test_laughter_costs_nothing() -> None:
    with pytest.raises(FileRefused, match="DOCTYPE"):
        read(laughs() + batch(envelope(order(form="&l10;"))))


def test_long_values_and_deep_trees_stay_limited() -> None:
    for content, code in (("x" * 10_100_000, "xml.limit"), ("<a>" * 300 + "</a>" * 300, "xml.too-deep")):
        with pytest.raises(FileRefused) as caught:
            read(envelope(content))
        assert caught.value.code == code


def test_compressed_file_is_not_unpacked() -> None:
    with pytest.raises(FileRefused, match="looks like a gzip archive"):
        read(gzip.compress(batch(envelope()).encode()))


def test_cut_batch_is_not_recovered() -> None:
    with pytest.raises(FileRefused) as caught:
        read(batch(envelope(), envelope())[:-100])
    assert caught.value.code == "xml.incomplete"


def test_comments_and_instructions_do_not_reach_content() -> None:
    document = order(form="a<!-- x -->b<?p x?>c")
    content = read(batch(envelope(document))).envelopes[0].content
    assert b"<PurchOrderFormNum>abc</PurchOrderFormNum>" in content


@pytest.mark.parametrize("attribute", ['xml:id="line-1"', 'xml:id="1"', 'xml:id=""'])
def test_an_xml_id_that_repeats_or_is_no_name_refuses_no_file(attribute: str) -> None:
    """The parser keeps one table of ids for the whole file, so that one message would judge another."""
    document = f'<R xmlns="urn:t" {attribute}/>'
    one, two = read(batch(envelope(document), envelope(document))).envelopes
    assert attribute.encode() in one.content
    assert one.content == two.content
    assert parse_checked(one.content) is not None


def test_pull_parser_reports_named_elements_alone() -> None:
    parser = pull_parser(("end",), ("b",))
    parser.feed(b"<a><b/><c/><b/></a>")
    assert [element.tag for _, element in parser.read_events()] == ["b", "b"]  # type: ignore[union-attr]


def test_stored_bytes_are_parsed_and_bad_ones_told_with_their_place() -> None:
    assert parse_checked(b"<a>x</a>").text == "x"
    with pytest.raises(MalformedMessage) as caught:
        parse_checked(b"<a>\n <b></a>")
    assert (caught.value.problems[0].line, caught.value.problems[0].code) == (2, "xml.not-wellformed")


@pytest.mark.parametrize("content", [b"<!DOCTYPE a><a/>", b"<!DOCTYPE a SYSTEM 'a.dtd'><a/>", b"<a", b"", b"{}"])
def test_stored_bytes_that_are_no_document_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_checked(content)


def test_error_is_of_this_document_and_not_of_one_before() -> None:
    for content, line in ((b"<a>\n\n\n<b></a>", 4), (b"<a>\n<b></a>", 2)):
        with pytest.raises(MalformedMessage) as caught:
            parse_checked(content)
        assert caught.value.problems[0].line == line
        with pytest.raises(FileRefused) as refused:
            read(envelope().replace(">", f">{content.decode()}", 1))
        assert refused.value.line == line


def test_shown_text_has_one_line_and_no_forbidden_characters() -> None:
    assert clean("a\x00\n b\udc80" + "x" * 300) == "a\ufffd b\ufffd" + "x" * 194 + "…"


def test_no_other_module_makes_a_parser() -> None:
    makers = {"XMLParser", "XMLPullParser", "HTMLParser", "iterparse", "fromstring", "parse", "XML", "HTML"}
    offenders = []
    for file in Path(gateway.__file__).parent.rglob("*.py"):
        if file.name == "parse.py" and file.parent.name == "xml":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "etree"
                and node.func.attr in makers
                and not any("parser" in ast.unparse(argument) for argument in (*node.args, *node.keywords))
            ):
                offenders.append(f"{file}:{node.lineno}")
    assert offenders == []
