"""How much processor time the reading of a file may take, by its size: a reader that has used it up refuses the file.

Good files take 0.03 to 0.1 seconds for a megabyte. So one hostile file costs its neighbours seconds, never minutes;
the limit that the kernel keeps (`workers.limits`) is for a reader that does not come back from a single call.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lxml import etree

from gateway.kernel.errors import FileRefused
from gateway.xml.parse import line_of

FILE_SECONDS = 1.0
ENVELOPE_SECONDS = 0.5
SECONDS_PER_BYTE = 1e-6


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
            raise FileRefused(
                f"Envelope {envelope} takes too much work to read: more than {limit:.1f} seconds of processor time for "
                f"{envelope_bytes} bytes; a good one takes a tenth. Look for what repeats in it without need, such as "
                "elements, namespace declarations or the same mistake, and remove it.",
                code="file.too-costly",
                line=None if element is None else line_of(element),
                envelope=envelope,
            )
        limit = file_seconds(self._file_bytes)
        self.short = self._now - self._began > limit / 2
        if self._now - self._began > limit:
            raise FileRefused(
                f"The file takes too much work to read: more than {limit:.1f} seconds of processor time for "
                f"{self._file_bytes} bytes, used up at envelope {envelope}; a good file takes a tenth. Correct the "
                "mistakes in its messages, or send them in several files.",
                code="file.too-costly",
                line=None if element is None else line_of(element),
                envelope=envelope,
            )
