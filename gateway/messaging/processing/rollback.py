"""Perform a message set under Rollback: all of it, or nothing.

Effects in the database go with the savepoint. What operations did elsewhere is taken back by their compensations, in
reverse order, before the failure is recorded. A crash on the way leaves the set to be run again, and what it began is
remembered (`message_set.began_at`): so compensations run at least once, also for calls of an earlier life.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.contracts.service import CompensatedOperation, Reply, ServiceContext
from gateway.db.open import Store
from gateway.db.unit import UnitTransaction
from gateway.kernel.errors import DuplicateMessage
from gateway.kernel.ids import SetKey
from gateway.messaging.processing.decide import pass_on
from gateway.messaging.processing.duplicates import Duplicates
from gateway.messaging.processing.prepare import Item, Prepared, Refused, whole_request
from gateway.messaging.rules.message import Work
from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.messaging.statements import sets_sql

Done = list[tuple[Prepared, Reply]]


@dataclass(slots=True)
class Attempt:
    """What one run of a set came to: `done`, or the `error` of the member `failing`."""

    done: Done = field(default_factory=list)
    repeated: list[Work] = field(default_factory=list)
    failing: Item | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class FailedCompensation:
    """A compensation that failed."""

    work: Work
    error: Exception


class RollbackSet:
    """One run of a set."""

    def __init__(
        self, members: Sequence[Item], store: Store, unit: UnitTransaction, context: Callable[[], ServiceContext]
    ) -> None:
        self._members = members
        self._store = store
        self._unit = unit
        self._context = context
        self._called: list[Prepared] = []
        self._began_before = False

    async def run(self, set_key: SetKey, duplicates: Duplicates, done_before: Done) -> Attempt:
        """Perform the members in order on one savepoint, up to the first failure."""
        attempt = Attempt()
        if any(_compensated(item) for item in self._members):
            self._began_before = await begin_set(self._store, set_key)
        try:
            for item in self._members:  # what is known to fail fails before anything runs
                attempt.failing = item
                if isinstance(item, Refused):
                    raise item.error
            async with self._unit.attempt():
                for item in self._members:
                    attempt.failing = item
                    assert isinstance(item, Prepared)
                    await self._execute(item, attempt, duplicates, done_before)
        except Exception as error:
            return Attempt(failing=attempt.failing, error=error)
        return attempt

    async def _execute(self, item: Prepared, attempt: Attempt, duplicates: Duplicates, done_before: Done) -> None:
        seen = await duplicates.split([item], [*done_before, *attempt.done])
        if seen.refused:
            raise DuplicateMessage(seen.refused[0].failure.text)
        if seen.again:
            attempt.done += seen.again
            attempt.repeated.append(item.work)
            return
        self._called.append(item)
        request = await whole_request(item)
        attempt.done.append((item, await item.found.operation.call(request, self._context())))

    async def compensate(self) -> list[FailedCompensation]:
        """Run the compensations of what may have run, the last first; returns those that failed."""
        calls = self._members if self._began_before else self._called
        failed: list[FailedCompensation] = []
        for item in reversed(calls):
            prepared = None if item.work.crashes > MOST_CRASHES else _compensated(item)
            if prepared is None:
                if isinstance(item, Refused):  # it may have been called before, and cannot be asked, or not again
                    failed.append(FailedCompensation(item.work, item.error))
                continue
            operation = prepared.found.operation
            assert isinstance(operation, CompensatedOperation)
            try:
                async with self._unit.attempt():
                    request = await whole_request(prepared)
                    await operation.compensate(request, self._context())
            except Exception as error:
                pass_on(error, self._unit)
                failed.append(FailedCompensation(prepared.work, error))
        return failed


def _compensated(item: Item) -> Prepared | None:
    """Return the request of a member whose operation can be compensated; poison has run, though it is refused now."""
    prepared = item.prepared if isinstance(item, Refused) else item
    return prepared if prepared is not None and isinstance(prepared.found.operation, CompensatedOperation) else None


async def begin_set(store: Store, key: SetKey) -> bool:
    """Note, committed before anything of it runs, that a set may leave something outside the database.

    Returns whether that had been noted before: then an earlier run of it was not brought to its end.
    """
    async with store.transaction() as connection:
        return bool(await sets_sql.begin_set(connection, key))
