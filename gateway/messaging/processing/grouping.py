"""Put the messages of a chunk into the groups in which they run."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from uuid import UUID

from gateway.kernel.ids import LaneName
from gateway.messaging.processing.prepare import Item, Prepared
from gateway.messaging.rules.states import Policy

_STRICT = (Policy.HALT, Policy.ROLLBACK)


def free_groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the messages without a lane, those of one operation together: nothing says in which order they run."""
    free = sorted((item for item in items if item.work.lane is None), key=_operation)
    yield from _runs(free, lambda item: ())


def lanes(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the messages of each lane, in order."""
    found: dict[LaneName, list[Item]] = {}
    for item in items:
        if item.work.lane is not None:
            found.setdefault(item.work.lane, []).append(item)
    yield from found.values()


def lane_groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the messages of a lane in runs; a set under Halt or Rollback is never in one run with others."""
    yield from _runs(items, lambda item: item.work.set_key if item.work.policy in _STRICT else ())


def _operation(item: Item) -> tuple[str, str]:
    return (item.work.service or "", item.work.operation or "")


def _runs(items: Sequence[Item], apart: Callable[[Item], object]) -> Iterator[list[Item]]:
    """Split into runs that one bulk call may do: same operation and kind; a repeated MessageId begins a new run."""
    for _, alike in groupby(items, key=lambda item: (isinstance(item, Prepared), *_operation(item), apart(item))):
        run: list[Item] = []
        seen: set[UUID] = set()
        for item in alike:
            if item.work.message_id in seen:
                yield run
                run, seen = [], set()
            seen.add(item.work.message_id)
            run.append(item)
        yield run
