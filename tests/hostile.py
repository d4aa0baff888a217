"""Bad and odd inputs, one per row of the reliability catalogue, as pure functions that make their bytes.

Used wherever bytes of strangers are read: by the unit tests of the reader and by the end-to-end catalogue.
"""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

MESSAGE = "http://schemas.microsoft.com/dynamics/2011/01/documents/Message"
MESSAGE_2008 = "http://schemas.microsoft.com/dynamics/2008/01/documents/Message"
BATCH = "http://schemas.microsoft.com/dynamics/2009/06/documents/Batch"
SALES_ORDER = "http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder"
CREATE = "http://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create"
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
ACTION = f"<Action>{CREATE}</Action>"
TRAP = "127.0.0.1:9"
"""Where the inputs want to connect to; nothing may."""
SECRET = "/etc/passwd"
"""The file that the inputs want to read; nothing may."""

Content = bytes | Iterable[bytes]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input and where it goes.

    Shape: `kind` Q: the file is refused with `code`; F: it is read, and exactly one envelope, number `bad`, has a
    problem with `code`; A: it is read without a problem, `envelopes` of them. `schema`: the outcome holds only
    where documents are validated. `max_envelopes` is the limit of the port it is meant for.
    """

    row: int
    title: str
    make: Callable[[], Content]
    kind: str
    code: str | None = None
    bad: int = 1
    envelopes: int = 1
    schema: bool = False
    max_envelopes: int = 500_000

    @property
    def id(self) -> str:
        return f"{self.row}-{self.title}"

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes piece by piece."""
        content = self.make()
        if isinstance(content, bytes):
            yield content
        else:
            yield from content


def line(quantity: str = "10", item: str = "10003") -> str:
    """Return one order line."""
    return (
        f'<SalesLine class="entity"><ItemId>{item}</ItemId><SalesQty>{quantity}</SalesQty>'
        "<SalesUnit>Pcs</SalesUnit></SalesLine>"
    )


def order(lines: str | None = None, *, form: str = "P0", date: str = "2011-05-31", root: str = "") -> str:
    """Return a sales order as a document."""
    return (
        f'<SalesOrder xmlns="{SALES_ORDER}"{root}><SalesTable class="entity"><CustAccount>100002</CustAccount>'
        f"<PurchOrderFormNum>{form}</PurchOrderFormNum><ReceiptDateRequested>{date}</ReceiptDateRequested>"
        f"{line() if lines is None else lines}</SalesTable></SalesOrder>"
    )


def parts(document: str | None = None) -> str:
    """Return a Body with one document."""
    return f"<Body><MessageParts>{order() if document is None else document}</MessageParts></Body>"


def envelope(
    document: str | None = None,
    *,
    header: str = ACTION,
    body: str | None = None,
    content: str | None = None,
    namespace: str = MESSAGE,
    attributes: str = "",
) -> str:
    """Return an Envelope; *content* replaces Header and Body."""
    if content is None:
        content = f"<Header>{header}</Header>{parts(document) if body is None else body}"
    return f'<Envelope xmlns="{namespace}"{attributes}>{content}</Envelope>'


def batch(*envelopes: str, attributes: str = "", namespace: str = BATCH) -> str:
    """Return a Batch of envelopes."""
    return f'<Batch xmlns="{namespace}"{attributes}>{"".join(envelopes)}</Batch>'


def with_doctype(doctype: str, root: str | None = None) -> bytes:
    """Return a good batch behind a document type."""
    return f'<?xml version="1.0"?>\n{doctype}\n{batch(envelope()) if root is None else root}'.encode()


def nested(depth: int) -> bytes:
    """Return an envelope whose document goes *depth* elements deep."""
    return envelope("<x>" * depth + "</x>" * depth).encode()


def laughs(levels: int = 11) -> str:
    """Return the entity declarations that grow tenfold each."""
    rows = ['<!ENTITY l0 "ha">']
    rows += [f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, levels)]
    return "<!DOCTYPE Batch [" + "".join(rows) + "]>"


def sized(size: int, *, tail: str = "") -> str:
    """Return an envelope of exactly *size* bytes, valid but for its length."""
    lines = line() * ((size - 2000) // len(line()))
    short = envelope(order(lines, form=""))
    return envelope(order(lines, form="", root=" " * (size - len(short)))) + tail


def endless_envelope(total: int) -> Iterator[bytes]:
    """Yield the start of an envelope that goes on for *total* bytes."""
    yield envelope(content=f"<Header>{ACTION}</Header><Body><MessageParts>").encode().removesuffix(b"</Envelope>")
    piece = b"<x>1</x>" * 8192
    for _ in range(total // len(piece)):
        yield piece


def many_envelopes(count: int, one: str | None = None) -> Iterator[bytes]:
    """Yield a batch of *count* envelopes."""
    yield batch().removesuffix("</Batch>").encode()
    each = (envelope() if one is None else one).encode()
    per_piece = max(1, 65536 // len(each))
    for start in range(0, count, per_piece):
        yield each * min(per_piece, count - start)
    yield b"</Batch>"


def zipped(content: bytes) -> bytes:
    """Return a ZIP archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("order.xml", content)
    return file.getvalue()


def declared(encoding: str, text: str, codec: str | None = None) -> bytes:
    """Return text that declares *encoding* and is in *codec*."""
    return f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(codec or encoding)


_ONE = batch(envelope())
_GOOD = _ONE.encode()
_UMLAUTS = batch(envelope(order(form="Größe")))
_TEN_MB = 10_000_000


def _after_header(header: str) -> Callable[[], bytes]:
    return lambda: envelope(header=header).encode()


def _of(text: str | bytes) -> Callable[[], bytes]:
    return lambda: text if isinstance(text, bytes) else text.encode()


def _q(row: int, title: str, make: Callable[[], Content], code: str) -> Case:
    return Case(row=row, title=title, make=make, kind="Q", code=code)


def _f(row: int, title: str, make: Callable[[], Content], code: str, *, bad: int = 1, of: int = 1) -> Case:
    return Case(row=row, title=title, make=make, kind="F", code=code, bad=bad, envelopes=of)


def _s(row: int, title: str, document: str, code: str = "schema") -> Case:
    return Case(row=row, title=title, make=_of(envelope(document)), kind="F", code=code, schema=True)


def _a(row: int, title: str, make: Callable[[], Content], *, of: int = 1) -> Case:
    return Case(row=row, title=title, make=make, kind="A", envelopes=of)


def _doctypes() -> Iterator[Case]:
    code = "dtd.forbidden"
    secret = f"file://{SECRET}"
    cases: list[tuple[int, str, str]] = [
        (1, "harmless doctype", "<!DOCTYPE Batch>"),
        (2, "small internal entity", '<!DOCTYPE Batch [<!ENTITY e "x">]>'),
        (3, "entity from a file", f'<!DOCTYPE Batch [<!ENTITY e SYSTEM "{secret}">]>'),
        *(
            (4, f"entity from {scheme}", f'<!DOCTYPE Batch [<!ENTITY e SYSTEM "{scheme}{TRAP}/x">]>')
            for scheme in ("http://", "ftp://", "\\\\\\\\", "jar:http://", "expect://", "netdoc:///")
        ),
        (5, "external subset from a file", f'<!DOCTYPE Batch SYSTEM "{secret}">'),
        (5, "external subset from http", f'<!DOCTYPE Batch SYSTEM "http://{TRAP}/x.dtd">'),
        (6, "public id", '<!DOCTYPE Batch PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x.dtd">'),
        (7, "parameter entity", f'<!DOCTYPE Batch [<!ENTITY % p SYSTEM "{secret}"> %p;]>'),
        (8, "billion laughs declared", laughs()),
        (10, "laughs in an attribute default", laughs()[:-2] + '<!ATTLIST Batch BatchId CDATA "&l9;">]>'),
        (11, "quadratic blow-up", f'<!DOCTYPE Batch [<!ENTITY e "{"x" * 50_000}">]>'),
        (15, "default that moves the namespace", '<!DOCTYPE Batch [<!ATTLIST Batch xmlns CDATA "urn:x">]>'),
        (16, "default that adds a class", '<!DOCTYPE Batch [<!ATTLIST SalesTable class CDATA "entity">]>'),
        (17, "notation", '<!DOCTYPE Batch [<!NOTATION n SYSTEM "x"><!ENTITY u SYSTEM "y" NDATA n>]>'),
        (20, "doctype behind a long comment", f"<!--{'x' * 200_000}--><!DOCTYPE Batch>"),
        (
            21,
            "200,000 entities",
            "<!DOCTYPE Batch [" + "".join(f'<!ENTITY e{n} "x">' for n in range(200_000)) + "]>",
        ),
    ]
    for row, title, doctype in cases:
        yield _q(row, title, lambda doctype=doctype: with_doctype(doctype), code)  # type: ignore[misc]

    def used(doctype: str, document: str, attributes: str = "") -> Callable[[], bytes]:
        return lambda: with_doctype(doctype, batch(envelope(document), attributes=attributes))

    yield _q(8, "billion laughs used", used(laughs(), order(form="&l10;")), code)
    yield _q(9, "laughs in an attribute value", used(laughs(), order(), ' BatchId="&l9;"'), code)
    big = f'<!DOCTYPE Batch [<!ENTITY e "{"x" * 100_000}">]>'
    yield _q(12, "amplification by five", used(big, order(form="&e;" * 5)), code)
    loop = '<!DOCTYPE Batch [<!ENTITY a "&b;"><!ENTITY b "&a;">]>'
    yield _q(13, "entity loop", used(loop, order(form="&a;")), code)
    cut = '<!DOCTYPE Batch [<!ENTITY e "999">]>'
    yield _q(14, "entity splitting a number", used(cut, order(line("1&e;0"))), code)
    utf_16 = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE Batch>' + _ONE
    yield _q(18, "doctype in UTF-16", lambda: utf_16.encode("utf-16"), code)
    utf_7 = "<?xml version='1.0' encoding='UTF-7'?>+ADwAIQ-DOCTYPE Batch+AD4-"
    yield _q(19, "doctype in UTF-7", _of(utf_7), "encoding.unsupported")


def _references() -> Iterator[Case]:
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file://{SECRET}"/>{line()}'
    yield _s(22, "xinclude of a file", order(include))
    hint = f' {XSI} xsi:schemaLocation="{BATCH} http://{TRAP}/x.xsd"'
    yield _a(23, "schema location on a good batch", _of(batch(envelope(), attributes=hint)))
    foreign = f'<x xmlns="urn:x" {XSI} xsi:schemaLocation="urn:x http://{TRAP}/x.xsd"/>'
    yield _q(24, "foreign root with schema location", _of(foreign), "root.unknown")
    anything = f'<x {XSI} xmlns:xs="http://www.w3.org/2001/XMLSchema" xsi:type="xs:anyType"/>'
    yield _q(25, "undeclared root with a type", _of(anything), "root.unknown")
    typed = f' {XSI} xsi:type="x"'
    yield _f(26, "type on Envelope", _of(envelope(attributes=typed)), "xsi.type.forbidden")
    yield _f(26, "type on a document", _of(envelope(order(root=typed))), "xsi.type.forbidden")
    header = f"<Action{typed}>{CREATE}</Action>"
    yield _f(26, "type on a header element", _after_header(header), "xsi.type.forbidden")
    yield _q(26, "type on Batch", _of(batch(envelope(), attributes=typed)), "xsi.type.forbidden")
    nil = order().replace("<CustAccount>100002<", f'<CustAccount {XSI} xsi:nil="true"><')
    yield _s(27, "nil on a required field", nil)
    yield _a(28, "stylesheet instruction", _of(f'<?xml-stylesheet href="x.xsl" type="text/xsl"?>{_ONE}'))
    yield _a(29, "xml:base elsewhere", _of(batch(envelope(), attributes=f' xml:base="http://{TRAP}/"')))


def declaring(levels: int, each: int, inside: str = "") -> str:
    """Return *inside* in elements within one another, each of which declares namespaces of its own."""
    prefixes = [" ".join(f'xmlns:p{level}_{n}="urn:{level}:{n}"' for n in range(each)) for level in range(levels)]
    return "".join(f"<d {declared}>" for declared in prefixes) + inside + "</d>" * levels


def _sizes() -> Iterator[Case]:
    for depth in (257, 10_000, 1_000_000):
        yield _q(30, f"depth {depth}", lambda depth=depth: nested(depth), "xml.too-deep")  # type: ignore[misc]
    long = "x" * 10_100_000
    for what, text in (
        ("text", f"<a>{long}</a>"),
        ("cdata", f"<a><![CDATA[{long}]]></a>"),
        ("comment", f"<!--{long}-->"),
        ("instruction", f"<?p {long}?>"),
        ("attribute", f'<a b="{long}"/>'),
    ):
        yield _q(31, f"{what} over 10 MB", lambda text=text: envelope(text).encode(), "xml.limit")  # type: ignore[misc]
    yield _a(32, "envelope of 9.9 MB", lambda: batch(sized(9_900_000), envelope()).encode(), of=2)
    yield _a(32, "envelope of one byte less than 10 MB", lambda: batch(sized(_TEN_MB - 1)).encode())
    yield _f(33, "envelope of exactly 10 MB", lambda: batch(sized(_TEN_MB)).encode(), "message.too-large")
    yield _f(33, "envelope over 10 MB", lambda: envelope("<a/>" * 2_600_000).encode(), "message.too-large")
    yield _f(
        34,
        "second of three over 10 MB",
        lambda: batch(envelope(), sized(12_000_000), envelope()).encode(),
        "message.too-large",
        bad=2,
        of=3,
    )
    yield _q(35, "one endless envelope", lambda: endless_envelope(40_000_000), "message.too-large")
    yield _q(38, "nothing but NUL", _of(b"\0" * 1_000_000), "xml.not-wellformed")
    crowd = " ".join(f'a{n}="x"' for n in range(100_000))
    yield _q(39, "100,000 attributes", _of(envelope(f"<x {crowd}/>")), "xml.too-many-attributes")
    yield _q(39, "100,000 attributes on the root", _of(f"<Batch {crowd}/>"), "xml.too-many-attributes")
    spaces = " ".join(f'xmlns:a{n}="x"' for n in range(50_000))
    yield _q(40, "50,000 namespaces", _of(envelope(f"<x {spaces}/>")), "xml.too-many-attributes")
    yield _q(40, "50,000 namespaces on the batch", _of(batch(envelope(), attributes=f" {spaces}")), "xml.limit")
    wide = f' xmlns:a="{"x" * 100_000}"'
    yield _q(40, "a namespace of 100,000 characters", _of(batch(envelope(), attributes=wide)), "xml.limit")
    yield _f(40, "a namespace of 100,000 characters on an envelope", _of(envelope(attributes=wide)), "xml.limit")
    yield _f(40, "a namespace of 100,000 characters on a document", _of(envelope(order(root=wide))), "xml.limit")
    yield _f(
        40, "1,100 declarations around one place", lambda: envelope(order(declaring(11, 100))).encode(), "xml.limit"
    )
    yield _q(41, "name of 100,000 characters", _of(envelope(f"<{'x' * 100_000}/>")), "xml.limit")
    yield _s(42, "1,000,000 tiny elements", order("<a/>" * 1_000_000))
    yield _s(43, "60,000 errors", order("<a>1</a>" * 60_000))
    yield _a(44, "5 MB of white space", lambda: batch(envelope(), " \n" * 2_500_000, envelope()).encode(), of=2)
    yield _s(45, "number of a million digits", order(line("9" * 1_000_000)))
    yield _q(46, "gzip", lambda: gzip.compress(_GOOD), "xml.not-wellformed")
    yield _q(47, "zip", lambda: zipped(_GOOD), "xml.not-wellformed")
    yield _q(47, "zlib", lambda: zlib.compress(_GOOD), "xml.not-wellformed")
    yield _q(47, "xz", lambda: lzma.compress(_GOOD), "xml.not-wellformed")
    yield _q(47, "7z", _of(b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(100)), "xml.not-wellformed")
    empty = f'<Envelope xmlns="{MESSAGE}"/>'
    too_many = _q(50, "too many envelopes", lambda: many_envelopes(2_001, empty), "batch.too-many")
    yield replace(too_many, max_envelopes=2_000)
    yield _q(51, "no envelopes", _of(batch()), "batch.empty")
    yield _s(52, "many names", order("".join(f"<n{n}/>" for n in range(20_000))))


def _encodings() -> Iterator[Case]:
    mismatch, unsupported = "encoding.mismatch", "encoding.unsupported"
    yield _a(53, "UTF-8 with mark", lambda: _UMLAUTS.encode("utf-8-sig"))
    yield _a(53, "UTF-16 LE with mark", lambda: b"\xff\xfe" + _UMLAUTS.encode("utf-16-le"))
    yield _a(53, "UTF-16 BE with mark", lambda: b"\xfe\xff" + _UMLAUTS.encode("utf-16-be"))
    yield _a(53, "UTF-16 with mark and declaration", lambda: declared("UTF-16", _UMLAUTS))
    yield _q(54, "UTF-16 without mark", lambda: _ONE.encode("utf-16-le"), mismatch)
    yield _q(54, "UTF-16 BE without mark", lambda: _ONE.encode("utf-16-be"), mismatch)
    yield _q(55, "declares UTF-16, is UTF-8", lambda: declared("UTF-16", _ONE, "utf-8"), mismatch)
    yield _q(56, "declares UTF-8, is UTF-16", lambda: declared("UTF-8", _ONE, "utf-16"), mismatch)
    yield _q(56, "declares big, is little", lambda: declared("UTF-16BE", _ONE, "utf-16"), mismatch)
    spaced = f'<?xml version="1.0"{" " * 9000}encoding="ISO-8859-1"?>{_ONE}'
    yield _q(56, "declaration out of sight", _of(spaced), mismatch)
    yield _q(57, "UTF-7", _of(f'<?xml version="1.0" encoding="UTF-7"?>{_ONE}'), unsupported)
    yield _q(57, "UTF-32", lambda: declared("UTF-32", _ONE), unsupported)
    yield _q(57, "UTF-32 without mark", lambda: _ONE.encode("utf-32-be"), unsupported)
    yield _q(57, "EBCDIC", lambda: declared("IBM037", _ONE, "cp037"), unsupported)
    for name in ("ISO-2022-JP", "HZ-GB-2312", "x-user-defined", "ISO-8859-12", "GBK"):
        text = f'<?xml version="1.0" encoding="{name}"?>{_ONE}'
        yield _q(57, name, _of(text), unsupported)
    for name, codec in (
        ("ISO-8859-1", "latin-1"),
        ("iso-8859-15", "iso8859-15"),
        ("windows-1252", "cp1252"),
        ("GB18030", "gb18030"),
    ):
        yield _a(58, name, lambda name=name, codec=codec: declared(name, _UMLAUTS, codec))  # type: ignore[misc]
    yield _a(58, "US-ASCII", lambda: declared("US-ASCII", _ONE, "ascii"))
    yield _q(59, "Latin-1 byte without declaration", lambda: _UMLAUTS.encode("latin-1"), mismatch)
    for title, wrong in (
        ("overlong", b"\xc0\xaf"),
        ("surrogate", b"\xed\xa0\x80"),
        ("above the last", b"\xf4\x90\x80\x80"),
        ("cut sequence", b"\xe2\x82"),
    ):
        content = envelope(order(form="@")).encode().replace(b"@", wrong)
        yield _q(60, f"UTF-8: {title}", _of(content), mismatch)
    for title, wrong in (("NUL", b"\0"), ("0x01", b"\x01"), ("ESC", b"\x1b"), ("U+FFFF", "\uffff".encode())):
        content = envelope(order(form="@")).encode().replace(b"@", wrong)
        yield _q(61, title, _of(content), "xml.not-wellformed")


def _forms() -> Iterator[Case]:
    wrong = "xml.not-wellformed"
    for reference in ("&#0;", "&#1;", "&#xD800;", "&#x110000;", "&#99999999999999999999;"):
        yield _q(62, f"reference {reference}", _of(envelope(order(form=reference))), wrong)
    yield _q(63, "undefined entity", _of(batch(envelope(order(form="&nbsp;")), envelope())), wrong)
    yield _q(64, "XML 1.1 control", _of(f'<?xml version="1.1"?>{envelope(order(form="&#1;"))}'), wrong)
    yield _q(64, "XML 2.0", _of(f'<?xml version="2.0"?>{_ONE}'), wrong)
    for title, content in (
        ("empty", b""),
        ("white space", b" \r\n\t "),
        ("mark only", b"\xef\xbb\xbf"),
        ("declaration only", b'<?xml version="1.0" encoding="utf-8"?>\n'),
        ("UTF-16 mark only", b"\xff\xfe"),
    ):
        yield _q(65, title, _of(content), "file.empty")
    yield _q(66, "cut in the second envelope", lambda: batch(envelope(), envelope()).encode()[:-200], "xml.incomplete")
    yield _q(66, "cut in UTF-16", lambda: _ONE.encode("utf-16")[:-301], "xml.incomplete")
    yield _q(66, "cut before the end tag", lambda: _GOOD[: -len("</Batch>")], "xml.incomplete")
    yield _q(67, "trailing text", _of(_ONE + "thanks"), wrong)
    yield _q(67, "second root", _of(_ONE + _ONE), wrong)
    yield _q(67, "NUL padding", _of(_GOOD + bytes(1000)), wrong)
    yield _q(68, "white space before the declaration", _of(f'\n<?xml version="1.0"?>{_ONE}'), wrong)
    for title, document in (
        ("duplicate attribute", '<a b="1" b="2"/>'),
        ("undeclared prefix", "<p:a/>"),
        ("wrong end tag", "<a></b>"),
        ("bare ampersand", "<a>Smith & Sons</a>"),
        ("less-than in attribute", '<a b="<"/>'),
        ("double hyphen in comment", "<!-- a -- b -->"),
        ("end of CDATA in text", "<a>]]></a>"),
    ):
        yield _q(69, title, _of(envelope(document)), wrong)
    for title, document in (
        ("xml prefix rebound", '<a xmlns:xml="urn:x"/>'),
        ("empty prefixed namespace", '<a xmlns:p=""/>'),
        ("name with leading colon", "<:a/>"),
    ):
        yield _q(70, title, _of(envelope(document)), wrong)
    for title, text in (
        ("JSON", '{"orders": [1, 2]}'),
        ("EDIFACT", "UNA:+.? 'UNB+UNOC:3+SENDER"),
        ("CSV", "item;quantity;unit\n10003;10;Pcs\n"),
        ("PDF", "%PDF-1.7\n"),
        ("ELF", "\x7fELF\x02\x01\x01"),
    ):
        yield _q(71, title, _of(text), wrong)
    yield _q(71, "HTML with doctype", _of("<!DOCTYPE html><html><body>502</body></html>"), "dtd.forbidden")
    yield _q(71, "HTML", _of("<html><body>502</body></html>"), "root.unknown")
    letters = "e\u0301\u00e9 \U0001f69a \u202e\u05d0 a\u200bb"
    yield _a(72, "twins, astral, right-to-left and zero width letters", _of(envelope(order(form=letters))))


def _sets() -> Iterator[Case]:
    unknown = "root.unknown"
    yield _q(73, "batch in another namespace", _of(batch(envelope(), namespace="urn:x")), unknown)
    yield _q(73, "envelope without namespace", _of(envelope(namespace="")), unknown)
    yield _q(73, "bare document", _of(order()), unknown)
    soap = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>'
    yield _q(74, "SOAP envelope", _of(soap), unknown)
    yield _a(75, "single envelope", _of(envelope()))
    foreign = "batch.foreign-element"
    yield _q(76, "foreign element first", _of(batch("<x/>", envelope())), foreign)
    yield _q(76, "foreign element between", _of(batch(envelope(), "<x/>", envelope())), foreign)
    yield _q(76, "foreign element last", _of(batch(envelope(), "<x/>")), foreign)
    yield _q(76, "foreign element alone", _of(batch("<x/>")), foreign)
    yield _q(76, "envelope wrapped", _of(batch(f"<x>{envelope()}</x>")), foreign)
    yield _q(76, "envelope without namespace inside", _of(batch(envelope(), envelope(namespace=""))), foreign)
    yield _q(76, "text first", _of(batch("x", envelope())), "batch.text")
    yield _q(76, "text between", _of(batch(envelope(), "x", envelope())), "batch.text")
    yield _q(76, "text last", _of(batch(envelope(), "x")), "batch.text")
    yield _q(77, "batch in batch", _of(batch(envelope(), batch(envelope()))), foreign)
    inner = envelope(body=parts(f"{envelope()}"))
    yield _f(78, "envelope inside a body", _of(batch(inner, envelope())), "envelope.nested", of=2)
    yield _q(79, "unknown attribute on batch", _of(batch(envelope(), attributes=' Company="x"')), "batch.attribute")
    for name in ("BatchId", "ConversationId"):
        yield _a(80, f"{name} of 256", _of(batch(envelope(), attributes=f' {name}="{"x" * 256}"')))
        yield _q(80, f"{name} of 257", _of(batch(envelope(), attributes=f' {name}="{"x" * 257}"')), "batch.attribute")


def _headers() -> Iterator[Case]:
    structure, header = "envelope.structure", f"<Header>{ACTION}</Header>"
    yield _f(81, "no header", _of(envelope(content=parts())), structure)
    yield _f(81, "two headers", _of(envelope(content=header * 2 + parts())), structure)
    yield _f(81, "no body", _of(envelope(content=header)), structure)
    yield _f(81, "body first", _of(envelope(content=parts() + header)), structure)
    yield _f(81, "empty envelope", _of(envelope(content="")), structure)
    yield _f(81, "header without namespace", _of(envelope(content=f'<Header xmlns=""/>{parts()}')), structure)
    yield _f(81, "parts of 2008 in an envelope of 2011", _of(envelope(
        body=f'<Body><MessageParts xmlns="{MESSAGE_2008}">{order()}</MessageParts></Body>'
    )), structure)  # fmt: skip
    yield _f(82, "no action", _after_header(""), "action.missing")
    yield _f(82, "empty action", _after_header("<Action> </Action>"), "action.missing")
    yield _f(82, "two actions", _after_header(ACTION * 2), "action.missing")
    yield _a(85, "no message id", _after_header(ACTION))
    yield _a(85, "empty ids", _after_header(f"<MessageId/>{ACTION}<ConversationId> </ConversationId>"))
    good = "{722B196B-4ACB-4048-8ED3-36915A7DD269}"
    for title, value in (
        ("a word", "order-1"),
        ("one brace", good[:-1]),
        ("SQL", "' OR 1=1 --"),
        ("a path", "../../etc/passwd"),
        ("10 kB", "A" * 10_000),
    ):
        text = f"<MessageId>{value}</MessageId>{ACTION}"
        yield _f(86, f"message id is {title}", _after_header(text), "messageid.invalid")
    yield _a(87, "lower case without braces", _after_header(f"<MessageId>{good[1:-1].lower()}</MessageId>{ACTION}"))
    yield _a(91, "request message id", _after_header(f"{ACTION}<RequestMessageId>{good}</RequestMessageId>"))
    yield _a(92, "logon as user", _after_header(f"<LogonAsUser>contoso\\a</LogonAsUser>{ACTION}"))
    yield _f(81, "unknown header element", _after_header(f"{ACTION}<Colour>x</Colour>"), "header.unknown")
    yield _f(81, "repeated header element", _after_header(f"<Company>a</Company>{ACTION}<Company>b</Company>"),
             "header.repeated")  # fmt: skip
    yield _f(81, "long conversation", _after_header(f"{ACTION}<ConversationId>{'x' * 257}</ConversationId>"),
             "header.too-long")  # fmt: skip
    yield _f(81, "text in the header", _after_header(f"{ACTION}x"), "envelope.text")


def _values() -> Iterator[Case]:
    yield _s(97, "unknown field", order("<Colour>red</Colour>"))
    yield _s(97, "required field missing", order().replace("<CustAccount>100002</CustAccount>", ""))
    swapped = '<SalesLine class="entity"><SalesQty>1</SalesQty><ItemId>1</ItemId></SalesLine>'
    yield _s(97, "wrong order", order(swapped))
    for value in ("NaN", "INF", "1e400", "1,5", "0x10", "١٢", "1_000", ""):
        yield _s(98, f"quantity {value!r}", order(line(value)))
    for value in ("2011-02-30", "0000-00-00", "31.05.2011"):
        yield _s(99, f"date {value}", order(date=value))
    yield _s(100, "date in the year 99999999", order(date="99999999-01-01"), "value.range")
    for value in ("<script>alert(1)</script>", "=cmd|' /C calc'!A0", "${jndi:ldap://x}", "{{7*7}}", "%s%n", "'; --"):
        escaped = value[:20].replace("<", "&lt;")
        yield _a(104, f"data {value}", _of(envelope(order(form=escaped))))


HOSTILE: list[Case] = [
    *_doctypes(),
    *_references(),
    *_sizes(),
    *_encodings(),
    *_forms(),
    *_sets(),
    *_headers(),
    *_values(),
]
