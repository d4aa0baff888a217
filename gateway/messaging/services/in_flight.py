"""Which messages are in the hands of code of other people now, and which of them holds the event loop just now.

A page of memory that a worker shares with the gateway: writing a number costs nothing, and whatever ends the worker,
the gateway reads what was under way and whether its loop was turning.
"""

import asyncio
import mmap
import os
import struct
from collections.abc import Collection, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from gateway.kernel.ids import MessageKey

_SIZE: Final = 65_536
_HEAD: Final = 64
_NUMBER: Final = struct.Struct("<q")
_PLACE: Final = struct.Struct("<qq")
_TURNS_AT: Final = 0
_ON_LOOP_AT: Final = 8
_PLACES: Final = (_SIZE - _HEAD) // _PLACE.size
_TURN_SECONDS: Final = 0.25

NOBODY: Final = MessageKey(0)
CALLED_FOR: Final[ContextVar[MessageKey]] = ContextVar("called_for", default=NOBODY)
"""The message that code of other people works on here, and in every task that it starts."""


class Held(IntEnum):
    """Where the code of a message is."""

    LOOP = 1  # it awaits something, or is on the event loop just now
    THREAD = 2
    ABANDONED = 3  # nobody waits for it any more


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """What the page of a worker says. `turns` counts while code is at work, and is 0 while none is."""

    turns: int
    on_loop: MessageKey
    held: tuple[tuple[MessageKey, Held], ...]

    def suspects(self) -> Collection[MessageKey]:
        """Return which messages may have ended the worker.

        Rule: the one whose code was on the loop, and nobody else; if there was none, those in threads, because only
        one of them can have been running. Code that only waits ends nothing. What was abandoned is to blame when
        nothing else was at work.
        """
        if self.on_loop:
            return {self.on_loop}
        in_threads = {key for key, held in self.held if held is Held.THREAD}
        return in_threads or {key for key, held in self.held if held is Held.ABANDONED}


class InFlightJournal:
    """The page, of the side that writes it and of the side that reads it."""

    def __init__(self, descriptor: int) -> None:
        """Map what the descriptor is open for; it may be closed afterwards."""
        self._page = mmap.mmap(descriptor, _SIZE)
        self._free = list(range(_PLACES))
        self._turning: asyncio.TimerHandle | None = None

    @staticmethod
    def make() -> int:
        """Return a descriptor of an empty page."""
        descriptor = os.memfd_create("in-flight", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        return descriptor

    def close(self) -> None:
        """Give the page back."""
        self._page.close()

    def read(self) -> InFlight:
        """Return what it says now."""
        places = ((key, held) for key, held in _PLACE.iter_unpack(self._page[_HEAD:]) if key)
        return InFlight(
            turns=self.turns, on_loop=self.on_loop,
            held=tuple((MessageKey(key), Held(held)) for key, held in places),
        )  # fmt: skip

    @property
    def turns(self) -> int:
        """Return how often the loop has turned while code is at work; 0 while none is."""
        return self._number(_TURNS_AT)

    @property
    def on_loop(self) -> MessageKey:
        """Return whose code is on the loop now."""
        return MessageKey(self._number(_ON_LOOP_AT))

    def set(self, key: MessageKey, held: Held) -> int:
        """Write that code works on a message; turns of the loop count meanwhile. Returns the place, for `unset`."""
        place = self._free.pop()
        _PLACE.pack_into(self._page, _HEAD + place * _PLACE.size, key, held)
        self._turn_if_still()
        return place

    def _turn_if_still(self) -> None:
        if self._turning is None:
            self._turn()

    def _turn(self) -> None:
        self._write(_TURNS_AT, self.turns + 1)
        self._turning = asyncio.get_running_loop().call_later(_TURN_SECONDS, self._turned)

    def _turned(self) -> None:
        if len(self._free) < _PLACES:
            self._turn()
        else:
            self._turning = None
            self._write(_TURNS_AT, 0)

    def abandon(self, place: int) -> None:
        """Write that nobody waits for that code any more, though it still runs."""
        key, _ = _PLACE.unpack_from(self._page, _HEAD + place * _PLACE.size)
        _PLACE.pack_into(self._page, _HEAD + place * _PLACE.size, key, Held.ABANDONED)

    def unset(self, place: int) -> None:
        """Take one away."""
        _PLACE.pack_into(self._page, _HEAD + place * _PLACE.size, NOBODY, 0)
        self._free.append(place)

    def watch_loop(self) -> None:
        """Write from now on whose code each step of the running event loop belongs to, subtasks too."""

        def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
            context = options.get("context")
            key = CALLED_FOR.get() if context is None else context.get(CALLED_FOR, NOBODY)
            return asyncio.Task(_Marked(work, key, self) if key else work, loop=loop, **options)

        asyncio.get_running_loop().set_task_factory(factory)

    def put_on_loop(self, key: MessageKey) -> MessageKey:
        """Write whose code runs on the loop now; returns whose did before. It may be a task that outlived its call."""
        before = self.on_loop
        self._write(_ON_LOOP_AT, key)
        self._turn_if_still()
        return before

    def _number(self, at: int) -> int:
        return int(_NUMBER.unpack_from(self._page, at)[0])

    def _write(self, at: int, number: int) -> None:
        _NUMBER.pack_into(self._page, at, number)


class _Marked(Coroutine[Any, Any, Any]):
    """A coroutine whose steps say whose they are."""

    __slots__ = ("_journal", "_key", "_of")

    def __init__(self, of: Coroutine[Any, Any, Any], key: MessageKey, journal: InFlightJournal) -> None:
        self._of = of
        self._key = key
        self._journal = journal

    def __await__(self) -> Any:
        return self

    def send(self, value: Any) -> Any:
        before = self._journal.put_on_loop(self._key)
        try:
            return self._of.send(value)
        finally:
            self._journal.put_on_loop(before)

    def throw(self, *error: Any) -> Any:
        before = self._journal.put_on_loop(self._key)
        try:
            return self._of.throw(*error)
        finally:
            self._journal.put_on_loop(before)

    def close(self) -> None:
        self._of.close()
