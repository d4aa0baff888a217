"""Draws the paper of a document as a PDF. Only the process that prints imports this: fpdf2 and what it needs are large.

Rule: the bytes depend on the document and the set-up alone, so a second print of it is the same file. Lengths are mm.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Final, Literal

from fpdf import FPDF
from fpdf.bidi import BidiParagraph, auto_detect_base_direction
from fpdf.enums import MethodReturnValue, TextDirection

from gateway.config.models_posting import Letterhead
from gateway.queues.printing.paper import Paper, Row

_FONTS: Final = Path(__file__).with_name("fonts")
_FAMILY: Final = "noto"
_LEFT, _RIGHT, _TOP, _BOTTOM = 20.0, 15.0, 15.0, 25.0
_WINDOW: Final = 45.0
"""Where the address stands, so that the window of an envelope shows it."""
_FIRST_TABLE: Final = 95.0
_LINE: Final = 5.0
_SHARES: Final = (0.06, 0.34, 0.10, 0.08, 0.12, 0.10, 0.07, 0.13)
_COLUMNS: Final = ("position", "description", "quantity", "unit", "price", "discount", "tax", "amount")
_TO_THE_RIGHT: Final = {0, 2, 4, 5, 6, 7}
_SHAPED_FROM: Final = 0x0590
"""Scripts before it (Latin, Greek, Cyrillic, Armenian) need no shaping."""

_WITH_END: Final = 2
"""So many lines stand before the totals on the last page, so that these never stand alone."""

Align = Literal["L", "R"]


class Unusable(Exception):
    """A font or a logo of the site cannot be used."""


def draw(paper: Paper, letterhead: Letterhead, form: str, fonts: Sequence[Path]) -> tuple[bytes, str]:
    """Return the PDF, and the letters in it that no font has. *form* is A4 or Letter.

    Raises: Unusable, for a font or a logo.
    """
    logging.getLogger("fpdf").setLevel(logging.ERROR)  # it warns of each letter that is missing; we return them
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    page = _Page(paper, letterhead, form)
    missing = page.find_letters(fonts)
    page.draw()
    return page.bytes(), missing


def break_pages(heights: Sequence[float], *, first: float, later: float, carry: float, end: float) -> list[list[int]]:
    """Return for each page the lines on it, by their indexes.

    *first* and *later* are the rooms of the first page and of the others; *carry* is the height of what is carried
    forward and brought forward, *end* that of what follows the last line.
    """
    pages: list[list[int]] = [[]]
    left = first
    for index, height in enumerate(heights):
        rest = len(heights) - index
        needed = height + carry
        if rest <= _WITH_END:
            together = sum(heights[index:]) + end
            needed = max(height, together if rest == _WITH_END or len(heights) == 1 else height + end)
        if pages[-1] and needed > left:
            pages.append([])
            left = later - carry
        pages[-1].append(index)
        left -= height
    if end > left:  # two lines that fill a page by themselves
        pages.append([])
    return pages


def visual_runs(text: str) -> Sequence[tuple[str, TextDirection]]:
    """Return the parts of a line from left to right, each with the direction that it is read in.

    fpdf2 writes parts of different directions in the order in which they are read: a number in Arabic text, and what
    follows it, would stand on the wrong side. Source: Unicode Bidirectional Algorithm, rule L2.
    """
    characters, _ = BidiParagraph(text=text, base_direction=auto_detect_base_direction(text)).get_all()
    runs = [
        (level, "".join(one.character for one in run))
        for level, run in groupby(characters, key=lambda one: one.embedding_level)
    ]
    for lowest in range(max((level for level, _ in runs), default=0), 0, -1):
        turned: list[tuple[int, str]] = []
        for is_inside, group in groupby(runs, key=lambda run: run[0] >= lowest):
            together = list(group)
            turned += reversed(together) if is_inside else together
        runs = turned
    return [(run, TextDirection.RTL if level % 2 else TextDirection.LTR) for level, run in runs]


@contextmanager
def _using(path: Path) -> Iterator[None]:
    """Say of a file of the site that it is the one that cannot be used."""
    try:
        yield
    except Exception as error:  # libraries raise what they like
        raise Unusable(f"{path} cannot be used: {error}") from error


class _Page:
    def __init__(self, paper: Paper, letterhead: Letterhead, form: str) -> None:
        self.paper = paper
        self.letterhead = letterhead
        self.words = paper.language.words
        self.shaped = False
        pdf = self.pdf = FPDF(format=form)
        pdf.set_auto_page_break(False)
        pdf.set_margins(_LEFT, _TOP, _RIGHT)
        pdf.c_margin = 0.8
        pdf.str_alias_nb_pages = None  # type: ignore[assignment]  # a description may say {nb}; pages are counted before
        pdf.set_creation_date(paper.posted_at)
        pdf.set_title(f"{paper.title} {paper.number}")
        pdf.set_author(letterhead.name or "")
        pdf.set_lang(paper.code)
        for style, name in (("", "Regular"), ("B", "Bold")):
            pdf.add_font(_FAMILY, style, _FONTS / f"NotoSans-{name}.ttf")
        pdf.set_font(_FAMILY, size=9)
        self.width = pdf.w - _LEFT - _RIGHT
        self.priced = bool(paper.totals)
        self.widths = [share * self.width for share in _SHARES]

    def find_letters(self, fonts: Sequence[Path]) -> str:
        """Load those of *fonts* whose letters occur; returns the letters that none has."""
        wanted = {letter for text in self._texts() for letter in text} - {" "}
        wanted -= self._letters_of(_FAMILY)
        more = []
        for number, path in enumerate(fonts):
            if not wanted:
                break
            name = f"more{number}"
            with _using(path):
                self.pdf.add_font(name, "", path)
            if found := wanted & self._letters_of(name):
                more.append(name)
                wanted -= found
        if more:
            self.pdf.set_fallback_fonts(more, exact_match=False)
        if any(ord(letter) >= _SHAPED_FROM for text in self._texts() for letter in text):
            self.shaped = True
            self.pdf.set_text_shaping(True)  # lines are measured so before the first is written
        return "".join(sorted(wanted))

    def _letters_of(self, name: str) -> set[str]:
        return {chr(code) for code in self.pdf.fonts[name].cmap}  # type: ignore[union-attr]

    def _texts(self) -> Iterator[str]:
        paper, head = self.paper, self.letterhead
        yield from (paper.title, paper.number, *head.address)
        yield from filter(None, (head.name, head.tax_number, head.bank))
        yield from (*paper.address, *paper.terms, *self.words.values())
        for pair in (*paper.facts, *paper.totals):
            yield from pair
        for row in paper.rows:
            yield from row.cells

    def draw(self) -> None:
        pdf = self.pdf
        pdf.add_page()  # lines are measured on a page
        rows = [(row, self._lines(row)) for row in self.paper.rows]
        heights = [max(len(lines), 1) * _LINE for _, lines in rows]
        room = pdf.h - _BOTTOM
        head = _LINE + 2
        below = (len(self.paper.totals) + 1 + len(self.paper.terms) * 2) * (_LINE + 1)
        carry = _LINE if self.priced else 0.0
        pages = break_pages(heights, first=room - _FIRST_TABLE - head, later=room - 40.0 - head, carry=carry, end=below)
        carried = Decimal(0)
        for number, page in enumerate(pages, start=1):
            if number > 1:
                pdf.add_page()
            self._head(number, len(pages))
            self._table_head()
            if number > 1 and self.priced and page:
                self._sum(self.words["brought"], self.paper.language.amount(carried))
            for index in page:
                self._row(*rows[index])
                carried += rows[index][0].amount
            if number < len(pages) and self.priced:
                self._sum(self.words["carried"], self.paper.language.amount(carried))
        self._totals()

    def _lines(self, row: Row) -> Sequence[str]:
        """Return the lines of a description; the text of a comment may go over all columns."""
        lines = self.pdf.multi_cell(
            self._description_width(row), _LINE, row.cells[1], dry_run=True, output=MethodReturnValue.LINES
        )
        assert isinstance(lines, list)
        return lines

    def _description_width(self, row: Row) -> float:
        return self.widths[1] if row.cells[0] else sum(self.widths[1:])

    def _head(self, number: int, pages: int) -> None:
        pdf, paper, head = self.pdf, self.paper, self.letterhead
        pdf.set_xy(_LEFT, _TOP)
        if head.logo is not None:
            with _using(head.logo):
                pdf.image(str(head.logo), x=_LEFT, y=_TOP, h=15)
        self._text(_LEFT, _TOP, self.width, head.name or "", size=12, bold=True, align="R")
        for index, line in enumerate(head.address):
            self._text(_LEFT, _TOP + 6 + 4 * index, self.width, line, size=8, align="R")
        self._foot(number, pages)
        if number > 1:
            self._text(_LEFT, 33.0, self.width, self._title(), bold=True)
            pdf.set_y(40.0)
            return
        for index, line in enumerate(paper.address[:8]):
            self._text(_LEFT, _WINDOW + _LINE * index, 85.0, line, size=10)
        for index, (word, text) in enumerate(paper.facts):
            y = _WINDOW + 4.5 * index
            self._text(_LEFT + 95, y, 32.0, word, size=8)
            self._text(_LEFT + 127, y, self.width - 127, text, bold=index == 0)
        self._text(_LEFT, _FIRST_TABLE - 9, self.width, self._title(), size=14, bold=True)
        pdf.set_y(_FIRST_TABLE)

    def _title(self) -> str:
        copy = f"  {self.words['copy']}" if self.paper.copy else ""
        return f"{self.paper.title} {self.paper.number}{copy}"

    def _foot(self, number: int, pages: int) -> None:
        head, y = self.letterhead, self.pdf.h - 18
        tax = f"{self.words['tax_number']} {head.tax_number}" if head.tax_number else ""
        self.pdf.line(_LEFT, y, _LEFT + self.width, y)
        self._text(_LEFT, y + 1, self.width - 30, "  ·  ".join(filter(None, (head.bank, tax))), size=7)
        page = self.words["page"].format(page=number, pages=pages)
        self._text(_LEFT, y + 1, self.width, page, size=7, align="R")

    def _table_head(self) -> None:
        y = self.pdf.get_y()
        for index, column in enumerate(_COLUMNS if self.priced else _COLUMNS[:4]):
            self._cell(index, y, self.words[column], bold=True)
        self.pdf.line(_LEFT, y + _LINE + 0.5, _LEFT + self.width, y + _LINE + 0.5)
        self.pdf.set_y(y + _LINE + 2)

    def _row(self, row: Row, lines: Sequence[str]) -> None:
        y = self.pdf.get_y()
        for index, text in enumerate(row.cells):
            if text and index != 1:
                self._cell(index, y, text)
        x = _LEFT + self.widths[0]
        for index, line in enumerate(lines):
            self._text(x, y + _LINE * index, self._description_width(row), line)
        self.pdf.set_y(y + max(len(lines), 1) * _LINE)

    def _cell(self, index: int, y: float, text: str, *, bold: bool = False) -> None:
        x = _LEFT + sum(self.widths[:index])
        self._text(x, y, self.widths[index], text, bold=bold, align="R" if index in _TO_THE_RIGHT else "L")

    def _sum(self, word: str, text: str) -> None:
        y = self.pdf.get_y()
        self._text(_LEFT + self.widths[0], y, self.width / 2, word, bold=True)
        self._cell(len(_COLUMNS) - 1, y, text, bold=True)
        self.pdf.set_y(y + _LINE)

    def _totals(self) -> None:
        pdf = self.pdf
        y = pdf.get_y() + 2
        if self.paper.totals:
            pdf.line(_LEFT, y - 1, _LEFT + self.width, y - 1)
        for index, (word, text) in enumerate(self.paper.totals):
            last = index == len(self.paper.totals) - 1
            self._text(_LEFT + self.width / 2, y, self.width / 2 - 35, word, bold=last)
            self._text(_LEFT + self.width - 35, y, 35.0, text, bold=last, align="R")
            y += _LINE + 1
        for line in self.paper.terms:
            y += _LINE
            self._text(_LEFT, y, self.width, line)

    def _text(
        self, x: float, y: float, width: float, text: str, *, size: float = 9, bold: bool = False, align: Align = "L"
    ) -> None:
        """Write one line; one that is too long is written smaller, so that nothing is lost or stands in another."""
        pdf = self.pdf
        pdf.set_font(_FAMILY, "B" if bold else "", size)
        runs = visual_runs(text) if self.shaped else [(text, TextDirection.LTR)]
        needed, room = sum(self._width(*run) for run in runs), width - 2 * pdf.c_margin
        if needed > room:
            pdf.set_font_size(size * room / needed)
            needed = room
        x += width - 2 * pdf.c_margin - needed if align == "R" else 0
        for run, direction in runs:
            wide = self._width(run, direction)
            pdf.set_xy(x, y)
            pdf.cell(wide + 2 * pdf.c_margin, _LINE, run)
            x += wide
        pdf.set_font(_FAMILY, "", 9)

    def _width(self, run: str, direction: TextDirection) -> float:
        """Return the width of a run, which is drawn next."""
        if self.shaped:
            self.pdf.set_text_shaping(True, direction=direction)
        return float(self.pdf.get_string_width(run))

    def bytes(self) -> bytes:
        out = BytesIO()
        self.pdf.output(out)
        return out.getvalue()
