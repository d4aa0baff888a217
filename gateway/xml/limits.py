"""What a port allows in a file, and how much processor time reading one may cost.

Good files take 0.03 to 0.1 seconds for a megabyte. So one hostile file costs its neighbours seconds, never minutes;
the limit that the kernel keeps (`workers.limits`) is for a reader that does not come back from a single call.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lxml import etree

from gateway.kernel.errors import FileRefused
from gateway.xml.names import line_of

SchemaSet = tuple[tuple[str, ...], str]
"""What names the schemas of a site: their folders, and a text that changes with their content."""

FILE_SECONDS = 1.0
ENVELOPE_SECONDS = 0.5
SECONDS_PER_BYTE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRules:
    """The limits and switches for reading one file.

    Units: sizes in bytes as received. An envelope of `max_envelope_bytes` or more is refused alone; one that
    goes on beyond `hard_envelope_bytes` refuses the whole file.
    Shape: `schema_folders` are absolute folders with the port's own document schemas; `schema_version` is any
    text that changes whenever their content does, so that a reader knows when to load them again.
    Source: AIF reference, section 5.3; reliability reference, sections 3.2 and 4.1.
    """

    max_file_bytes: int = 2_000_000_000
    max_envelope_bytes: int = 10_000_000
    hard_envelope_bytes: int = 32_000_000
    max_envelopes: int = 500_000
    max_attributes: int = 100
    max_memory_bytes: int = 1_000_000_000
    strict_header: bool = False
    validate: bool = True
    schema_folders: tuple[str, ...] = ()
    schema_version: str = ""

    @property
    def schemas(self) -> SchemaSet:
        """Return what names the schemas: a reader knows those it was started for, and no others."""
        return self.schema_folders, self.schema_version

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "ReadRules":
        """Return the rules that are these fields (`asdict`) after a way through JSON, which knows no tuples."""
        return cls(**{**fields, "schema_folders": tuple(fields["schema_folders"])})


def file_seconds(file_bytes: int) -> float:
    """Return how long a file may take, in seconds of processor time."""
    return FILE_SECONDS + file_bytes * SECONDS_PER_BYTE


class WorkClock:
    """Tells the processor time of this process in seconds, without what serves all files: the making of schemas."""

    def __init__(self, now: Callable[[], float] = time.process_time) -> None:
        self._now = now
        self._apart = 0.0
        self._stopped_at: float | None = None

    def __call__(self) -> float:
        return (self._now() if self._stopped_at is None else self._stopped_at) - self._apart

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock meanwhile; may be nested."""
        if self._stopped_at is not None:
            yield
            return
        self._stopped_at = self._now()
        try:
            yield
        finally:
            self._apart += self._now() - self._stopped_at
            self._stopped_at = None


class Budget:
    """The time for one file and for the envelope that is being read."""

    def __init__(self, file_bytes: int, clock: Callable[[], float]) -> None:
        self._file_bytes = file_bytes
        self._clock = clock
        self._now = self._began = self._envelope_began = clock()
        self.short = False
        """True when half of the file's time is used up: what is left is for reading, not for finding words."""

    def begin_envelope(self) -> None:
        """Let the time of another envelope begin, at the last look at the clock."""
        self._envelope_began = self._now

    def check(self, envelope: int, envelope_bytes: int, element: etree._Element | None) -> None:
        """Look at the clock; *envelope* counts from 1 and has brought so many bytes, *element* is its begin.

        Raises: FileRefused `file.too-costly`.
        """
        self._now = self._clock()
        limit = ENVELOPE_SECONDS + envelope_bytes * SECONDS_PER_BYTE
        if self._now - self._envelope_began > limit:
            text = (
                f"Envelope {envelope} takes too much work to read: more than {limit:.1f} seconds of processor time for "
                f"{envelope_bytes} bytes; a good one takes a tenth. Look for what repeats in it without need, such as "
                "elements, namespace declarations or the same mistake, and remove it."
            )
            raise _too_costly(text, envelope, element)
        limit = file_seconds(self._file_bytes)
        self.short = self._now - self._began > limit / 2
        if self._now - self._began > limit:
            text = (
                f"The file takes too much work to read: more than {limit:.1f} seconds of processor time for "
                f"{self._file_bytes} bytes, used up at envelope {envelope}; a good file takes a tenth. Correct the "
                "mistakes in its messages, or send them in several files."
            )
            raise _too_costly(text, envelope, element)


def _too_costly(text: str, envelope: int, element: etree._Element | None) -> FileRefused:
    line = None if element is None else line_of(element)
    return FileRefused(text, code="file.too-costly", line=line, envelope=envelope)
