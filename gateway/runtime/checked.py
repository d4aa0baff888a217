"""What a check of the configuration found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"  # it runs, with less than is promised
    ERROR = "error"  # it does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was checked and what was found.

    Shape: `path` is the option it comes from, `()` when none; `file` and `line` the place when it is another file.
    """

    subject: str
    verdict: Verdict
    text: str
    path: tuple[str | int, ...] = ()
    file: str | None = None
    line: int | None = None
