"""What is configured of a document service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """How keys of new documents are made: sequence, text form, first number, distance."""

    sequence: str
    format: str
    first: int
    step: int


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
