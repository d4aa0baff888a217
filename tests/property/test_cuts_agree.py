"""What is cut out of an envelope without parsing it is byte for byte what parsing yields."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from gateway.kernel.errors import FileRefused
from gateway.kernel.namespaces import canonical
from gateway.messaging.services.document import _parsed
from gateway.messaging.services.document_kind import DocumentKind
from gateway.xml.parts import Cutter
from tests.bench import orders
from tests.documents import BATCH, CREATE, MESSAGE, SALES_ORDER, batch, envelope, order
from tests.hostile import HOSTILE
from tests.unit.xml.reading import read

KIND = DocumentKind(document=f"{{{SALES_ORDER}}}SalesOrder", entity="SalesTable", key="SalesId", numbering=None)
CUTTER = Cutter(KIND.name, KIND.entity, KIND.key)
DOCUMENTED = Path(__file__).parents[1] / "data" / "documentation"
T = TypeVar("T")
XSI = "http://www.w3.org/2001/XMLSchema-instance"
SAMPLE = (schemas.FOLDER / "documents/SalesOrder.sample.xml").read_text()
LARGE = range(32, 45)
"""Rows of hostile files that take long to read."""
AROUND = f' xmlns:t="urn:t" xmlns:xsi="{XSI}"'

NAMES = ("SalesTable", "SalesId", "SalesLine", "SalesTableX", "SalesOrder", "MessageParts", "SalesIdX", "A.b-c")
TAGS = (*NAMES, "t:A", "xsi:A", "t:SalesTable", "t:SalesId", "t:SalesOrder")
DECLARED = (
    f' xmlns="{SALES_ORDER}"', ' xmlns=""', ' xmlns:u="urn:u"', ' xmlns:t="urn:other"', f' xmlns:xsi="{XSI}"',
    f" xmlns:o='{SALES_ORDER}'", ' xmlns="urn:é"', ' xmlns="urn:a&amp;b"', " xmlns:SalesTable='urn:s'",
)  # fmt: skip
ATTRIBUTES = (
    "", ' class="entity"', " class='entity'", ' class="&#101;ntity"', ' class="entities"', ' t:class="entity"',
    ' a=" class=&quot;entity&quot;>"', ' xsi:nil="true"', ' xsi:type="t:Big"', ' a="&lt;SalesTable>"', ' xml:lang="de"',
    ' class="entity" action="create"', ' action="create" class="entity"', " b='x&#10;\"y'", ' b="t:x"',
)  # fmt: skip
TEXTS = (
    "", " ", "\n  ", "SO-1", " SO-2\t", "t:x", ' class="entity"', "a&lt;SalesTable&gt;b", "&#13;", "é&amp;", "]]&gt;",
    "<![CDATA[</SalesTable>]]>", "<!-- <SalesTable> -->", "<?x </SalesTable>?>", ":SalesTable", ":SalesId", "\u00a0",
)  # fmt: skip


class Partner:
    """Writes orders as partners do, and the *odder* the more so as nobody would."""

    def __init__(self, seed: int, odd: float) -> None:
        self._chance = random.Random(seed)
        self._odd = odd

    def file(self) -> bytes:
        """Return a batch of one envelope, in some encoding."""
        on_batch, mark = self._chance.random() < 0.5, self._chance.choice(["", "", "m:"])
        declared = f' xmlns{":m" if mark else ""}="{MESSAGE}"' + ("" if on_batch else AROUND)
        encoding = self._chance.choice(["UTF-8", "UTF-16", "windows-1252", "GB18030"])
        text = (
            f'<?xml version="1.0" encoding="{encoding}"?><Batch xmlns="{BATCH}"{AROUND if on_batch else ""}>'
            f"<{mark}Envelope{declared}><{mark}Header><{mark}Action>{CREATE}</{mark}Action></{mark}Header>"
            f"<{mark}Body><{mark}MessageParts{self._one('', DECLARED[2:5])}>\n{self._document()}</{mark}MessageParts>"
            f"</{mark}Body></{mark}Envelope></Batch>"
        )
        return text.encode(encoding, "xmlcharrefreplace")

    def _document(self) -> str:
        tables = [self._element("SalesTable", self._fields(2), ' class="entity"') for _ in range(self._few())]
        purpose = [self._element("DocPurpose", "Original")] if self._chance.random() < 0.5 else []
        declared, name = self._one(("", "SalesOrder"), [(":o", "o:SalesOrder")])
        inside = self._text("\n").join(["", *purpose, *tables, ""])
        return f'<{name} xmlns{declared}="{SALES_ORDER}"{self._one("", DECLARED[2:5])}>{inside}</{name}>'

    def _fields(self, depth: int) -> str:
        fields = [self._element(f"Field{number}", self._text("value")) for number in range(self._chance.randrange(3))]
        if self._chance.random() < (0.5 if depth == 2 else self._odd):
            fields.append(self._element("SalesId", self._text("SO-7")))
        if depth:
            fields += [
                self._element("SalesLine", self._fields(depth - 1), ' class="entity"') for _ in range(self._few())
            ]
        if self._chance.random() < self._odd:
            self._chance.shuffle(fields)
        return self._text("\n").join(["", *fields, ""])

    def _element(self, name: str, inside: str, attributes: str = "") -> str:
        tag, declared, attributes = self._one(name, TAGS), self._one("", DECLARED), self._one(attributes, ATTRIBUTES)
        end = f">{inside}</{tag}>" if inside else "/>"
        return f"<{tag}{declared}{attributes}{end}"

    def _few(self) -> int:
        return self._chance.choice([1, 1, 2, self._one(1, [0, 5])])

    def _text(self, usual: str) -> str:
        return self._one(usual, TEXTS)

    def _one(self, usual: T, others: Sequence[T]) -> T:
        return self._chance.choice(others) if self._chance.random() < self._odd else usual


def kept(file: bytes) -> list[bytes]:
    """Return the envelopes of a file that come as far as the document service, as they are kept."""
    try:
        envelopes = read(file).envelopes
    except FileRefused:
        return []
    return [
        each.content
        for each in envelopes
        if not each.header_problems and [canonical(part) for part in each.parts] == [KIND.document]
    ]


def is_cut(content: bytes) -> bool:
    """Compare the two ways; tells whether the quick one was taken."""
    cuts = CUTTER.cut(content)
    assert cuts is None or cuts == list(_parsed(content, KIND)), content.decode()
    return cuts is not None


@given(seed=st.integers(0, 2**48))
def test_whatever_is_cut_is_what_parsing_yields(seed: int) -> None:
    for odd in (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5):
        for content in kept(Partner(seed, odd).file()):
            is_cut(content)


def test_hostile_messages_are_cut_as_they_are_parsed() -> None:
    for case in HOSTILE:
        if case.row not in LARGE:
            for content in kept(b"".join(case.chunks())):
                is_cut(content)


@pytest.mark.parametrize("file", sorted(DOCUMENTED.glob("*.xml")), ids=lambda file: file.name)
def test_documented_messages_are_cut(file: Path) -> None:
    assert all(is_cut(content) for content in kept(file.read_bytes()))


@pytest.mark.parametrize(
    "text",
    [
        orders.envelope(1, lines=30),
        envelope(order(extra="<SalesId> SO-1 </SalesId>")),
        envelope(SAMPLE.partition("?>")[2]),
        envelope().replace(' class="entity"', ' class="entity" action="create"'),
        envelope().replace("<Envelope", f"<Envelope{AROUND}"),
        envelope(header="<Company>DAT</Company>", namespace=MESSAGE.replace("http:", "https:")),
        f'<m:Envelope xmlns:m="{MESSAGE}"><m:Header><m:Action>{CREATE}</m:Action></m:Header><m:Body><m:MessageParts>'
        f"{order()}</m:MessageParts></m:Body></m:Envelope>",
    ],
)  # fmt: skip
def test_usual_messages_are_cut(text: str) -> None:
    (alone,), (member,) = kept(text.encode()), kept(batch([text]))
    assert is_cut(alone) and is_cut(member)


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "<SalesTable/>",
        '<SalesTable xmlns:u="urn:u"/><SalesTable>x</SalesTable>',
        '<u:SalesTable xmlns:u="urn:u"/><SalesTable>x</SalesTable>',
        "<Other><SalesTable>x</SalesTable></Other><SalesTable>y</SalesTable>",
        "<SalesTable><SalesTable>x</SalesTable></SalesTable>",
        '<SalesTable xmlns="urn:other">x</SalesTable>',
        "<SalesTable><t:A/></SalesTable>",
        "<SalesTable><A>t:A</A></SalesTable>",
        '<SalesTable><u:SalesId xmlns:u="urn:u">1</u:SalesId><SalesId>2</SalesId></SalesTable>',
        "<SalesTable><SalesId a='1'>1</SalesId><SalesId>2</SalesId></SalesTable>",
        "<SalesTable><SalesId/><SalesId>2</SalesId></SalesTable>",
        "<SalesTable><SalesLine><SalesId>1</SalesId></SalesLine><SalesId>2</SalesId></SalesTable>",
        "<SalesTable><SalesId>1&amp;2</SalesId></SalesTable>",
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(inside: str) -> None:
    document = f'<SalesOrder xmlns="{SALES_ORDER}">{inside}</SalesOrder>'
    (content,) = kept(envelope(document).replace("<Envelope", f"<Envelope{AROUND}").encode())
    assert not is_cut(content)


def test_a_document_inside_a_document_is_not_taken_for_it() -> None:
    inner = f"<MessageParts>{order()}</MessageParts>"
    (content,) = kept(envelope(f'<o:SalesOrder xmlns:o="{SALES_ORDER}">{inner}</o:SalesOrder>').encode())
    assert not is_cut(content)


def test_of_many_records_each_has_its_own_key_and_number_of_entities() -> None:
    line = '<SalesLine class="entity"/>'
    tables = "".join(f"<SalesTable><A/><SalesId>S{number}</SalesId>{line * number}</SalesTable>" for number in range(9))
    (content,) = kept(envelope(f'<SalesOrder xmlns="{SALES_ORDER}">{tables}</SalesOrder>').encode())
    assert is_cut(content)
    assert [(cut.key, cut.entities) for cut in CUTTER.cut(content) or []] == [(f"S{n}", n + 1) for n in range(9)]


def test_a_long_namespace_is_not_written_for_each_of_many_records() -> None:
    tables = "<SalesTable>1</SalesTable>" * 1_000
    text = envelope(f'<SalesOrder xmlns="urn:{"x" * 2_000}">{tables}</SalesOrder>')
    assert CUTTER.cut(read(text).envelopes[0].content) is None
