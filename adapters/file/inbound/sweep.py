"""One orderly walk through an inbound folder, and what it skips: the listing is the truth, events are only hints.

A walk goes page by page in name order. A page holds the smallest names after the page before, so that a folder
of a million entries costs a bounded amount of memory and never holds the interpreter for long.

A system may leave a file out of a listing that was under way when the file appeared, and still list one that appeared
after it. So a page is listed until one listing finds no name that the one before lacked: whatever was there before any
name of the page, and sorts before its last one, is in the page.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from adapters.file.folder import EntryKind, Folder, scan
from adapters.file.names import display, key_name
from adapters.file.settings import LocalClock
from gateway.messaging.rules.delivery import SkippedFile

PAGE_NAMES = 50_000
MOST_SKIPPED = 1_000
_MOST_LISTINGS = 20
"""Of one page. Who drops a file during each of them, and not in the order of names, shows no order to keep."""

Skip = Callable[[bytes, EntryKind | None], None]


class Sweep:
    """A walk in progress: names of regular files that the port takes, in order, each once."""

    def __init__(
        self, takes: Callable[[bytes], bool], key: Callable[[bytes], str], page_names: int = PAGE_NAMES
    ) -> None:
        self._takes = takes
        self._key = key
        self._page_names = page_names
        self._page: list[str] = []
        self._next = 0
        self._last: str | None = None
        self._more = True

    def names(self, folder: Folder, skip: Skip) -> Iterator[bytes]:
        """Yield the names that are still to come; listing again, of the folder as it is then, page by page.

        *skip* is called once per walk about every entry that is not taken: its kind, or None when it is a
        regular file whose name does not match.
        """
        while True:
            while self._next < len(self._page):
                self._next += 1
                yield key_name(self._page[self._next - 1])
            if not self._more:
                return
            self._load(folder, skip)

    def _load(self, folder: Folder, skip: Skip) -> None:
        page = self._smallest(folder, skip if self._last is None else None, None)
        for _ in range(_MOST_LISTINGS - 1):
            if not page:
                break
            known, page = page, self._smallest(folder, None, page[-1])
            if not set(page).difference(known):
                break
        self._page, self._next = page, 0
        if page:
            self._last = page[-1]

    def _smallest(self, folder: Folder, skip: Skip | None, upto: str | None) -> list[str]:
        """List the folder once: return the keys of one page after the last one, none of them beyond *upto*."""
        after = self._last
        best: list[str] = []
        # what lies beyond the end of the page is for the next one
        self._more = upto is not None and self._more
        for part in scan(folder):
            fresh = []
            for name, kind in part:
                if kind is not EntryKind.FILE or not self._takes(name):
                    if skip is not None:
                        skip(name, None if kind is EntryKind.FILE else kind)
                    continue
                key = self._key(name)
                if (after is None or key > after) and (upto is None or key <= upto):
                    fresh.append(key)
            if fresh and len(best) == self._page_names:
                self._more = True
                worst = best[-1]
                fresh = [key for key in fresh if key < worst]
            if not fresh:
                continue
            # two sorted runs: the sort merges them in one pass
            fresh.sort()
            best += fresh
            best.sort()
            if len(best) > self._page_names:
                self._more = True
                del best[self._page_names :]
        return best


class SkippedFiles:
    """Collects what one walk does not take, and why; at most a thousand entries, so that rubbish costs no memory.

    `seen` is replaced as a whole and may be read from any thread. An entry keeps its first time as long as it
    is skipped for the same reason, so that it can be reported once.
    """

    def __init__(self, clock: LocalClock) -> None:
        self._clock = clock
        self._before: dict[bytes, SkippedFile] = {}
        self._now: dict[bytes, SkippedFile] = {}
        self.seen: tuple[SkippedFile, ...] = ()

    def begin(self) -> None:
        """Begin a new walk."""
        self._before, self._now = self._now, {}

    def add(self, name: bytes, code: str, text: str) -> None:
        """Note that *name* was skipped."""
        if len(self._now) >= MOST_SKIPPED and name not in self._now:
            return
        known = self._before.get(name) or self._now.get(name)
        if known is not None and known.code == code:
            self._now[name] = replace(known, text=text)
            return
        self._now[name] = SkippedFile(name=name, display=display(name), code=code, text=text, since=self._clock.now())

    def drop(self, name: bytes) -> None:
        """Forget *name*: it was claimed, or has gone."""
        self._now.pop(name, None)

    def publish(self) -> None:
        """Let others see what the walk has skipped so far."""
        self.seen = tuple(self._now.values())
