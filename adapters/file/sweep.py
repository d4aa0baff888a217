"""One orderly walk through an inbound folder: the listing is the truth, events are only hints.

A walk goes page by page in name order. A page holds the smallest names after the page before, so that a folder
of a million entries costs a bounded amount of memory and never holds the interpreter for long.

A system may leave a file out of a listing that was under way when the file appeared, and still list one that appeared
after it. So a page is listed until one listing finds no name that the one before lacked: whatever was there before any
name of the page, and sorts before its last one, is in the page.
"""

from collections.abc import Callable, Iterator

from adapters.file.folder import EntryKind, Folder, scan
from adapters.file.names import key_name

PAGE_NAMES = 50_000
_MOST_LISTINGS = 20
"""Of one page. Who drops a file during each of them, and not in the order of names, shows no order to keep."""

LeaveIn = Callable[[bytes, EntryKind | None], None]


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

    def names(self, folder: Folder, leave: LeaveIn) -> Iterator[bytes]:
        """Yield the names that are still to come; listing again, of the folder as it is then, page by page.

        *leave* is told once per walk about every entry that is not taken: its kind, or None when it is a
        regular file whose name does not match.
        """
        while True:
            while self._next < len(self._page):
                self._next += 1
                yield key_name(self._page[self._next - 1])
            if not self._more:
                return
            self._load(folder, leave)

    def _load(self, folder: Folder, leave: LeaveIn) -> None:
        page = self._smallest(folder, leave if self._last is None else None, None)
        for _ in range(_MOST_LISTINGS - 1):
            if not page:
                break
            known, page = page, self._smallest(folder, None, page[-1])
            if not set(page).difference(known):
                break
        self._page, self._next = page, 0
        if page:
            self._last = page[-1]

    def _smallest(self, folder: Folder, leave: LeaveIn | None, upto: str | None) -> list[str]:
        """List the folder once: return the keys of one page after the last one, none of them beyond *upto*."""
        after = self._last
        best: list[str] = []
        # what lies beyond the end of the page is for the next one
        self._more = upto is not None and self._more
        for part in scan(folder):
            fresh = []
            for name, kind in part:
                if kind is not EntryKind.FILE or not self._takes(name):
                    if leave is not None:
                        leave(name, None if kind is EntryKind.FILE else kind)
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
