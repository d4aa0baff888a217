"""The seam between the scheduler and everything it runs: one task, one call."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Feed(Protocol):
    """Tells a task whether more input may come while it runs.

    Two implementations: in a timed occurrence the earlier task has already ended, so nothing more comes; in a
    busy period the earlier tasks stream beside this one.
    """

    async def more(self) -> bool:
        """Wait until new input is hinted (True), or until none can come or a stop was asked for (False)."""
        ...

    async def hinted(self) -> None:
        """Wait for the next hint only, while this task still has work of its own under way."""
        ...

    def produced(self) -> None:
        """Tell the tasks behind this one that there is input for them."""
        ...

    def enough(self) -> bool:
        """Tell whether the occurrence has reached its bound: a task that brings in new work ends here."""
        ...


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a run did, counted while it goes; shown live and kept in history.

    Rule: keys are words of the glossary in the plural, e.g. `files`, `messages`, `failed`, `responses`.
    """

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, number: int = 1) -> None:
        """Count *number* more of *what*."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number

    @property
    def idle(self) -> bool:
        """True while nothing at all was done: such a run leaves no history."""
        return not self.counts


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a task may know of its run.

    `stopping` is set when the task should end at its next safe point; `parameters` are the task's own, checked.
    """

    task: str
    feed: Feed
    stopping: asyncio.Event
    tally: Tally
    parameters: Mapping[str, object] = field(default_factory=dict)


class TaskHandler(Protocol):
    """The code behind a task.

    Before: conditions of the task are met, its batch group may run here. After a normal return the task is
    Ended; any exception makes it Error. A crash in the middle may run it again: a handler keeps its progress
    in the store, not in itself.
    """

    async def run(self, context: TaskContext) -> None:
        """Do the task's work until its input is empty and no more can come, or a stop is asked for."""
        ...
