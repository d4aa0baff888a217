"""When a job starts next, from what the store knows of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from gateway.batch.rules.definition import JobDefinition
from gateway.batch.rules.job import Base, Missed, Parameters
from gateway.batch.rules.recurrence import Recurrence, first, from_dict, next_after, overran, plan_next


class Planned(Protocol):
    """What a plan is made of, as every row of a job has it."""

    @property
    def recurrence(self) -> Parameters | None: ...
    @property
    def original_start(self) -> datetime: ...
    @property
    def base(self) -> Base: ...
    @property
    def missed(self) -> Missed: ...
    @property
    def tolerance_seconds(self) -> float: ...
    @property
    def occurrences(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a job repeats. `recurrence` None: once. `occurrences` are those started since the recurrence began."""

    recurrence: Recurrence | None
    base: Base
    missed: Missed
    tolerance_seconds: float
    occurrences: int

    @classmethod
    def of(cls, job: Planned) -> Self:
        """Return that of a job. Raises: GatewayError when its recurrence cannot be read."""
        plain = job.recurrence
        return cls(
            recurrence=None if plain is None else from_dict(plain, start=job.original_start),
            base=job.base,
            missed=job.missed,
            tolerance_seconds=job.tolerance_seconds,
            occurrences=job.occurrences,
        )

    def after_end(self, *, planned: datetime, now: datetime) -> datetime | None:
        """Return the planned start after the occurrence planned for *planned*, which ends now; None: no further one."""
        return self._next(planned, finished=now, now=now)

    def standing(self, *, planned: datetime, now: datetime) -> datetime | None:
        """Return *planned*, of which nothing has begun, where it still stands; else what takes its place."""
        return planned if self.recurrence is None else self._next(planned, finished=None, now=now)

    def following(self, planned: datetime) -> datetime | None:
        """Return the point of the grid behind *planned*."""
        return None if self.recurrence is None else next_after(self.recurrence, planned)

    def overran(self, *, planned: datetime, finished: datetime) -> bool:
        """Tell whether an occurrence ended after the next one should have begun."""
        if self.recurrence is None or self.base is Base.FINISH:
            return False
        return overran(self.recurrence, planned=planned, finished=finished)

    def _next(self, planned: datetime, *, finished: datetime | None, now: datetime) -> datetime | None:
        if self.recurrence is None:
            return None
        return plan_next(
            self.recurrence, planned=planned, finished=finished, now=now, base=self.base, missed=self.missed,
            tolerance_seconds=self.tolerance_seconds, occurrences=self.occurrences,
        )  # fmt: skip


def first_start(definition: JobDefinition, now: datetime) -> datetime | None:
    """Return the planned start of the first occurrence of a job that is saved now; None: its recurrence is over.

    Rule: a job that repeats does not catch up on what was before it was there: it starts at the first point of its grid
    from *now* on; with missed = all at the first of all. What is past is due at once.
    Raises: RecurrenceError when its recurrence cannot be read, or never starts anything.
    """
    start = now if definition.start is None else definition.start
    if definition.recurrence is None:
        return start
    rule = from_dict(definition.recurrence, start=start)
    earliest = first(rule)
    return earliest if earliest >= now or definition.missed is Missed.ALL else next_after(rule, now)
