"""What is configured of a document service."""

import re
from dataclasses import dataclass
from string import Formatter


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """How keys of new documents are made: sequence, text form, first number, distance; whether partners may, too.

    `continuous`: without gaps.
    """

    sequence: str
    format: str
    first: int
    step: int
    continuous: bool = True
    accept_sent: bool = False

    def can_make(self, key: str) -> bool:
        """Tell whether some number of the sequence, written in its form, is this key."""
        before = after = ""
        for literal, field, _, _ in reversed(list(Formatter().parse(self.format))):
            if field is not None:
                before, after = literal, before + after
            else:
                before = literal + before
        return re.fullmatch(f"{re.escape(before)} *[0-9]+{re.escape(after)}", key) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKind:
    """Which documents a service keeps.

    Shape: `document` is canonical `{namespace}local`; `entity` and `key` are local names in that namespace.
    """

    document: str
    entity: str
    key: str
    numbering: Numbering | None

    @property
    def namespace(self) -> str:
        """Return the canonical namespace of the document."""
        return self.document[1:].partition("}")[0]

    @property
    def name(self) -> str:
        """Return the local name of the document."""
        return self.document.rpartition("}")[2]
