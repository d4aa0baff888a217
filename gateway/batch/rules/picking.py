"""Which ready tasks a server takes next.

Rule: limits filter first, and what is set aside (`gateway.batch.rules.throttle`) stands behind everything else. Then a
lottery over the priorities that have something to do; within a priority the groups take turns, within a group the
earlier planned start goes first, then the lower number.
Source: batch reference, sections 14.2, 18; gaps G16, G17, G29, G30.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from gateway.batch.rules.job import Priority
from gateway.kernel.ids import RunTaskId

PAUSED = -1
"""Concurrency of a group that takes nothing new."""

ODDS: Mapping[Priority, int] = MappingProxyType(
    {Priority.LOW: 5, Priority.NORMAL: 10, Priority.HIGH: 15, Priority.CRITICAL: 30, Priority.RESERVED: 40}
)
"""Odds of being picked next, in a hundred, when every priority has something to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A ready task that this server may run. `job_limit`: tasks of its job at once, 0: no limit of its own."""

    id: RunTaskId
    job_id: int
    group: str
    priority: Priority
    planned_at: datetime
    job_limit: int = 0
    handler: str = ""


_Waiting = dict[Priority, dict[str, deque[Candidate]]]
NO_ROOMS: Mapping[str, int | None] = MappingProxyType({})


def select_tasks(
    candidates: Iterable[Candidate],
    *,
    free: int,
    reserved: int,
    running_by_job: Mapping[tuple[int, str], int],
    limits: Mapping[str, int],
    chance: Callable[[], float],
    rooms: Mapping[str, int | None] = NO_ROOMS,
) -> tuple[Candidate, ...]:
    """Return the tasks to start now, at most *free*, in the order in which they were drawn.

    *free* are the threads without a task, *reserved* how many of them only the priority *reserved* may use;
    *running_by_job* counts the tasks in work on all servers, by job and group; *limits* are the concurrencies of the
    groups: tasks of each single job at once, 0 or missing: no limit, -1: nothing new; *chance* gives numbers in [0, 1);
    *rooms* say how often each handler may still be started before it is set aside, None or missing: without end.
    """
    draw = _Draw(candidates, running_by_job=running_by_job, limits=limits, chance=chance, rooms=rooms)
    chosen = list[Candidate]()
    ordinary = free - reserved
    while len(chosen) < free:
        candidate = draw.next(reserved_only=ordinary <= 0)
        if candidate is None:
            break
        chosen.append(candidate)
        # The kept threads are used first by those they are kept for.
        if candidate.priority is Priority.RESERVED and reserved > 0:
            reserved -= 1
        else:
            ordinary -= 1
    return tuple(chosen)


class _Draw:
    """The candidates by priority and group, taken one by one."""

    def __init__(
        self,
        candidates: Iterable[Candidate],
        *,
        running_by_job: Mapping[tuple[int, str], int],
        limits: Mapping[str, int],
        chance: Callable[[], float],
        rooms: Mapping[str, int | None],
    ) -> None:
        self.in_group = Counter(running_by_job)
        self.in_all = Counter[int]()
        for (job, _), running in running_by_job.items():
            self.in_all[job] += running
        self.limits = limits
        self.chance = chance
        self.rooms = rooms
        self.started = Counter[str]()
        self.waiting: _Waiting = {}
        self.aside: _Waiting = {}
        for candidate in sorted(candidates, key=lambda each: (each.group, each.planned_at, each.id)):
            _append(self.waiting, candidate)
        self.turns: dict[Priority, int] = {}

    def next(self, *, reserved_only: bool) -> Candidate | None:
        """Take one candidate out, one that is set aside only when there is no other; None when nobody may start."""
        for waiting in (self.waiting, self.aside):
            while levels := [level for level in waiting if not reserved_only or level is Priority.RESERVED]:
                level = self.drawn(levels)
                candidate = self.of_level(waiting[level], level, is_aside=waiting is self.aside)
                if candidate is not None:
                    self.in_group[candidate.job_id, candidate.group] += 1
                    self.in_all[candidate.job_id] += 1
                    self.started[candidate.handler] += 1
                    return candidate
                del waiting[level]
        return None

    def drawn(self, levels: list[Priority]) -> Priority:
        """Return one of *levels* by its odds."""
        levels = sorted(levels, key=lambda level: ODDS[level])
        ticket = self.chance() * sum(ODDS[level] for level in levels)
        for level in levels:
            ticket -= ODDS[level]
            if ticket < 0:
                return level
        return levels[-1]

    def of_level(self, groups: dict[str, deque[Candidate]], level: Priority, *, is_aside: bool) -> Candidate | None:
        """Take the first candidate that the limits allow of the group whose turn it is; sets aside what has no room."""
        names = list(groups)
        # Chance says who begins, so that no group is favoured when threads become free one at a time.
        turn = self.turns.setdefault(level, int(self.chance() * len(names)))
        for step in range(len(names)):
            queue = groups[names[(turn + step) % len(names)]]
            while queue:
                candidate = queue.popleft()
                if not is_aside and self.used_up(candidate):
                    _append(self.aside, candidate)
                elif self.allowed(candidate):
                    self.turns[level] = turn + step + 1
                    return candidate
        return None

    def allowed(self, candidate: Candidate) -> bool:
        limit = self.limits.get(candidate.group, 0)
        if limit == PAUSED:
            return False
        if limit and self.in_group[candidate.job_id, candidate.group] >= limit:
            return False
        return not candidate.job_limit or self.in_all[candidate.job_id] < candidate.job_limit

    def used_up(self, candidate: Candidate) -> bool:
        room = self.rooms.get(candidate.handler)
        return room is not None and self.started[candidate.handler] >= room


def _append(waiting: _Waiting, candidate: Candidate) -> None:
    waiting.setdefault(candidate.priority, {}).setdefault(candidate.group, deque()).append(candidate)
