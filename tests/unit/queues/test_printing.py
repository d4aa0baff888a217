"""The printed page, by the text of its PDF; where it breaks; and which printer it goes to."""

import os
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from fpdf.enums import TextDirection
from pypdf import PdfReader

from gateway.config.models_posting import Letterhead, Printer, Printing, Selection
from gateway.queues.printing.page import break_pages, draw, visual_runs
from gateway.queues.printing.paper import read_paper
from gateway.queues.printing.printing import choose_printer
from gateway.queues.printing.process import PrintFailed
from gateway.queues.printing.process import draw as draw_apart
from gateway.queues.printing.targets import deliver
from gateway.queues.printing.words import LANGUAGES, language
from gateway.workers.launcher import Launcher
from tests.fonts import write_font
from tests.posting import is_valid

HEAD = Letterhead(
    name="Werk & Söhne GmbH", address=("Hafenstraße 1", "20457 Hamburg"), tax_number="DE123", bank="IBAN DE02"
)

CASE_9 = (
    ("Desk, oak", "2", "499.95", "999.90", "FULL", "25"),
    ("Lamp", "10", "4.49", "42.65", "FULL", "25"),
    ("Rope", "3", "12.345", "37.04", "LOW", "12"),
)


def invoice(lines: Sequence[tuple[str, ...]] = CASE_9, code: str = "en", number: str = "SINV-000001") -> bytes:
    """Write a posted sales invoice that comes to the totals of case 9 of the posting reference."""
    rows = "".join(
        f'<Line class="entity"><LineNo>{at}0000</LineNo><Type>Item</Type><No>N{at}</No><Description>{text}'
        f"</Description><Quantity>{quantity}</Quantity><UnitCode>PCS</UnitCode><UnitPrice>{price}</UnitPrice>"
        f"<LineDiscountAmount>{'2.25' if text == 'Lamp' else '0.00'}</LineDiscountAmount><LineAmount>{amount}"
        f"</LineAmount><InvoiceDiscountAmount>0.00</InvoiceDiscountAmount><TaxGroup>{group}</TaxGroup><TaxPercent>"
        f"{percent}</TaxPercent><TaxBase>{amount}</TaxBase><TaxAmount>0.00</TaxAmount></Line>"
        for at, (text, quantity, price, amount, group, percent) in enumerate(lines, start=1)
    )
    content = (
        f'<Header class="entity" xmlns="urn:gateway:posting"><DocumentNo>{number}</DocumentNo>'
        "<SourceDocument>SalesOrder</SourceDocument><SourceDocumentNo>1001</SourceDocumentNo><PostedBy>ann</PostedBy>"
        "<PostedAt>2031-02-10T09:00:00Z</PostedAt><DocumentDate>2031-02-09</DocumentDate><PostingDate>2031-02-10"
        "</PostingDate><DueDate>2031-03-12</DueDate><CurrencyCode>EUR</CurrencyCode><PaymentTerms>30 days net"
        f"</PaymentTerms><YourReference>Ms Hansen</YourReference><LanguageCode>{code}</LanguageCode>"
        "<CustomerNo>10000</CustomerNo><SellTo><Name>Ελληνική Εταιρεία</Name><AddressLine>Улица 1</AddressLine>"
        "<PostCode>1058</PostCode><City>København</City><CountryCode>DK</CountryCode></SellTo>"
        f"{rows}<Totals><Subtotal>1079.59</Subtotal><InvoiceDiscountAmount>32.39</InvoiceDiscountAmount>"
        "<Tax><TaxGroup>FULL</TaxGroup><TaxPercent>25</TaxPercent><TaxBase>1011.27</TaxBase><TaxAmount>252.82"
        "</TaxAmount></Tax><Tax><TaxGroup>LOW</TaxGroup><TaxPercent>12</TaxPercent><TaxBase>35.93</TaxBase>"
        "<TaxAmount>4.31</TaxAmount></Tax><Rounding>0.00</Rounding><Total>1304.33</Total></Totals></Header>"
    ).encode()
    assert is_valid(content, "PostedSalesInvoice")
    return content


def texts(pdf: bytes) -> list[str]:
    """Return the text of each page, spaces as they come made one."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(BytesIO(pdf)).pages]


def printed(content: bytes, *, copy: bool = False, fonts: Sequence[Path] = ()) -> tuple[bytes, str]:
    return draw(read_paper(content, "PostedSalesInvoice", copy=copy), HEAD, "A4", fonts)


def test_a_page_says_who_what_and_how_much() -> None:
    pdf, missing = printed(invoice())
    (text,) = texts(pdf)
    for wanted in (
        "Werk & Söhne GmbH", "Hafenstraße 1", "IBAN DE02", "DE123", "Ελληνική Εταιρεία", "Улица 1", "1058 København",
        "Invoice SINV-000001", "9 February 2031", "12 March 2031", "10000", "Ms Hansen", "1001", "Desk, oak", "999.90",
        "12.345", "2.25", "Tax 25 % of 1,011.27", "252.82", "Tax 12 % of 35.93", "4.31", "-32.39", "Total EUR",
        "1,304.33", "Payment terms: 30 days net", "Page 1 of 1",
    ):  # fmt: skip
        assert wanted in text
    assert missing == "" and "COPY" not in text and "Rounding" not in text


def test_a_letterhead_may_be_on_the_paper_already() -> None:
    pdf, _ = draw(read_paper(invoice(), "PostedSalesInvoice"), Printing.model_validate({}).letterhead, "Letter", ())
    assert "1,304.33" in texts(pdf)[0]


def test_a_document_without_an_address_has_that_of_its_customer() -> None:
    content = re.sub(b"<SellTo>.*</SellTo>", b"", invoice())
    card = (
        b'<Header class="entity" xmlns="urn:gateway:posting"><No>10000</No><Address><Name>Cannon Group</Name>'
        b"<PostCode>1058</PostCode><City>Oslo</City></Address></Header>"
    )
    assert read_paper(content, "PostedSalesInvoice", card=card).address == ["Cannon Group", "1058 Oslo"]
    assert read_paper(content, "PostedSalesInvoice").address == ()
    assert "Ελληνική Εταιρεία" in read_paper(invoice(), "PostedSalesInvoice", card=card).address


def test_a_second_print_is_the_same_file_and_a_copy_says_so() -> None:
    first, copy = printed(invoice())[0], printed(invoice(), copy=True)[0]
    assert printed(invoice())[0] == first != copy
    assert "COPY" in texts(copy)[0]


def test_many_lines_break_over_pages_with_what_is_carried_forward() -> None:
    pdf, _ = printed(invoice([("Screw", "1", "10.00", "10.00", "FULL", "25")] * 60))
    first, second = texts(pdf)
    assert "Page 1 of 2" in first and "Page 2 of 2" in second
    carried = first.split("Carried forward")[1].split()[0]
    assert second.split("Brought forward")[1].split()[0] == carried
    assert Decimal(carried) == 10 * first.count("Screw") and first.count("Screw") + second.count("Screw") == 60
    assert "1,304.33" in second and "1,304.33" not in first and "Description" in second


def test_a_letter_that_no_font_has_is_told() -> None:
    _, missing = printed(invoice([("Lampe 電灯", "1", "1.00", "1.00", "FULL", "25")]))
    assert missing == "灯電"


def test_fonts_of_the_site_have_further_letters(tmp_path: Path) -> None:
    font = write_font(tmp_path / "lamp.ttf", "灯")
    pdf, missing = printed(invoice([("Lampe 電灯", "1", "1.00", "1.00", "FULL", "25")]), fonts=[font])
    assert missing == "電" and "灯" in texts(pdf)[0]


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("Desk 18", ["Desk 18"]), ("", []), ("مكتب رقم 18 لا", [" لا", "18", "مكتب رقم "]),
        ("N5 مكتب 18 لا, oak", ["N5 ", " لا", "18", "مكتب ", ", oak"]),
    ],
)  # fmt: skip
def test_a_number_in_arabic_text_stands_where_a_reader_expects_it(text: str, runs: list[str]) -> None:
    found = visual_runs(text)
    assert [run for run, _ in found] == runs
    assert all((direction is TextDirection.RTL) == any(c > "\u0600" for c in run) for run, direction in found)


def test_a_long_description_is_written_whole() -> None:
    words = [f"word{number:02}" for number in range(35)]
    pdf, _ = printed(invoice([(" ".join(words), "1", "1.00", "1.00", "FULL", "25")]))
    text = " ".join(texts(pdf))
    assert all(word in text for word in words)


def test_languages_have_words_and_forms_of_their_own() -> None:
    text = texts(printed(invoice(code="de-AT"))[0])[0]
    assert "Rechnung SINV-000001" in text and "1.304,33" in text and "09.02.2031" in text and "USt. 25 %" in text
    forms = {code: (one.amount(Decimal("1304.33")), one.date(date(2031, 2, 9))) for code, one in LANGUAGES.items()}
    assert forms == {
        "en": ("1,304.33", "9 February 2031"), "de": ("1.304,33", "09.02.2031"), "da": ("1.304,33", "09.02.2031"),
        "fr": ("1\u00a0304,33", "09/02/2031"),
    }  # fmt: skip
    assert language("xx") is LANGUAGES["en"]


def test_totals_never_stand_alone() -> None:
    for lines in range(1, 80):
        pages = break_pages([5.0] * lines, first=100, later=150, carry=5, end=40)
        assert [index for page in pages for index in page] == list(range(lines))
        assert len(pages[-1]) >= min(2, lines)
        rooms = [100.0] + [145.0] * len(pages)
        ends = [5.0] * (len(pages) - 1) + [40.0]
        assert all(5 * len(page) + end <= room for page, room, end in zip(pages, rooms, ends, strict=False))


@pytest.mark.parametrize(
    ("user", "document", "wanted"),
    [
        ("ann", "PostedSalesInvoice", "both"), ("ann", "PostedSalesShipment", "hers"),
        ("ben", "PostedSalesInvoice", "invoices"), ("ben", "PostedSalesShipment", "all"),
    ],
)  # fmt: skip
def test_the_more_specific_selection_wins(user: str, document: str, wanted: str) -> None:
    rows = [
        {"printer": "all"}, {"document": "PostedSalesInvoice", "printer": "invoices"},
        {"user": "ann", "printer": "hers"}, {"user": "ann", "document": "PostedSalesInvoice", "printer": "both"},
    ]  # fmt: skip
    selections = [Selection.model_validate(row) for row in rows]
    assert choose_printer(selections, document, user) == wanted
    assert choose_printer(selections[1:2], "PostedSalesShipment", user) is None


async def test_a_page_is_drawn_in_a_process_of_its_own(launcher: Launcher, tmp_path: Path) -> None:
    drawn = await draw_apart(launcher, Printing(letterhead=HEAD), "PostedSalesInvoice", invoice(), copy=False)
    assert "1,304.33" in texts(drawn.content)[0] and drawn.missing == ""
    broken = tmp_path / "logo.png"
    broken.write_bytes(b"no picture")
    head = HEAD.model_copy(update={"logo": broken})
    with pytest.raises(PrintFailed, match=r"The page cannot be drawn: .*logo\.png"):
        await draw_apart(launcher, Printing(letterhead=head), "PostedSalesInvoice", invoice(), copy=False)


async def test_a_folder_gets_whole_files_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "printed"
    place = await deliver("archive", Printer(folder=folder), "a.pdf", b"%PDF")
    assert place == str(folder / "a.pdf") and [path.name for path in folder.iterdir()] == ["a.pdf"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PrintFailed, match=r"file/a\.pdf cannot be written: .*print again"):
        await deliver("archive", Printer(folder=tmp_path / "file"), "a.pdf", b"%PDF")


async def test_what_was_left_unfinished_is_removed_and_who_prints_the_same_is_not_hurt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".a.pdf.4711.tmp").write_bytes(b"%PD")
    (tmp_path / ".b.pdf.4711.tmp").write_bytes(b"%PD")
    await deliver("archive", Printer(folder=tmp_path), "a.pdf", b"%PDF")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.pdf.4711.tmp", "a.pdf"]
    sync = os.fsync

    def meanwhile(number: int) -> None:
        sync(number)
        for ours in tmp_path.glob(".a.pdf.*.tmp"):
            ours.unlink()

    monkeypatch.setattr("os.fsync", meanwhile)
    assert await deliver("archive", Printer(folder=tmp_path), "a.pdf", b"%PDF") == str(tmp_path / "a.pdf")


async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PrintFailed, match="No space left on device"):
        await deliver("archive", Printer(folder=tmp_path), "a.pdf", b"%PDF")
    assert list(tmp_path.iterdir()) == []


async def test_a_command_gets_the_file_and_one_that_hangs_is_ended(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    command = ("/bin/sh", "-c", 'cp "$0" "$2" && echo "$1" >> "$2"', "{file}", "{printer}", str(taken))
    assert await deliver("HP4", Printer(command=command), "a.pdf", b"%PDF\n") == "the printer HP4"
    assert taken.read_bytes() == b"%PDF\nHP4\n"
    hanging = Printer(command=("/bin/sh", "-c", "sleep 600", "{file}"), timeout_seconds=0.2)
    with pytest.raises(PrintFailed, match=r"The printer HP4 did not print a\.pdf: /bin/sh did not end within 0\.2"):
        await deliver("HP4", hanging, "a.pdf", b"")
    with pytest.raises(PrintFailed, match="exit code 1"):
        await deliver("HP4", Printer(command=("/bin/false", "{file}")), "a.pdf", b"")
    with pytest.raises(PrintFailed, match="cannot be started"):
        await deliver("HP4", Printer(command=("/nowhere/lp", "{file}")), "a.pdf", b"")
