"""Small documents and files that the tests of this folder share."""

from lxml import etree

from gateway.kernel.namespaces import MESSAGE_2011
from gateway.xml.parse import document_parser

SALES_ORDER = "http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def sales_order(fields: str = "<CustAccount>100002</CustAccount>", *, attributes: str = 'class="entity"') -> str:
    """Return a SalesOrder with one SalesTable that holds *fields*."""
    return f'<SalesOrder xmlns="{SALES_ORDER}" {XSI}><SalesTable {attributes}>{fields}</SalesTable></SalesOrder>'


def line(fields: str = "<ItemId>10003</ItemId>") -> str:
    """Return one SalesLine."""
    return f'<SalesLine class="entity">{fields}</SalesLine>'


def part(text: str) -> etree._Element:
    """Return a document as the child of an envelope's MessageParts, where it stands in real life."""
    return parts(text)[0]


def parts(text: str) -> list[etree._Element]:
    """Return the children of an envelope's MessageParts."""
    return list(envelope(text)[1][0])


def envelope(text: str) -> etree._Element:
    """Return an envelope around the text of its MessageParts."""
    return etree.fromstring(envelope_text(text), document_parser())


def envelope_text(text: str) -> str:
    """Return the text of an envelope, the header on lines of its own."""
    return (
        f'<Envelope xmlns="{MESSAGE_2011}">\n  <Header>\n    <Action>a/b</Action>\n  </Header>\n'
        f"  <Body><MessageParts>{text}</MessageParts></Body>\n</Envelope>"
    )
