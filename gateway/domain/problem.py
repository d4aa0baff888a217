"""One thing wrong in a partner's document, told so that the partner can mend it."""

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong and where.

    Shape: `line` and `column` count from 1 in the partner's file (None: no place can be named);
    `path` names the element from the document root, e.g. `/SalesOrder/SalesTable[1]/SalesLine[2]/SalesQty`;
    `found` is the offending value, cut to 200 characters; `expected` says what is allowed.
    """

    code: str
    text: str
    line: int | None = None
    column: int | None = None
    path: str | None = None
    found: str | None = None
    expected: str | None = None

    @property
    def cause(self) -> tuple[str, str, str]:
        """Return what is alike where the same mistake was made again: in the next line, with another value."""
        return self.code, _NUMBER.sub("", self.path or ""), self.expected or self.text

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}" + (f", column {self.column}" if self.column else "")
        where = ", ".join(part for part in (place, self.path) if part)
        return f"{where}: {self.text}" if where else self.text
