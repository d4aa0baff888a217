"""What became of a chunk."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.contracts.service import Reply
from gateway.kernel.ids import MessageKey, SetKey
from gateway.messaging.processing.decide import Failed
from gateway.messaging.processing.duplicates import Seen
from gateway.messaging.processing.prepare import Item, Prepared
from gateway.messaging.processing.rollback import FailedCompensation
from gateway.messaging.rules.message import Retry, Work
from gateway.messaging.rules.states import Policy


@dataclass(slots=True)
class ChunkResult:
    """What became of the chunk; every item stands in exactly one of `done`, `failed`, `again` and `released`.

    `halted` maps a set to the message behind which nothing of it runs (0: after too many failures), `rolled_back` to
    its failed message; members that did not run stand in none of the lists, the store holds them. `repeated` are those
    of the done that did not run, because they were processed before. `compensated` are the rolled back sets that left
    nothing outside the database, `compensation_failed` the messages of others that did.
    """

    done: list[tuple[Prepared, Reply]] = field(default_factory=list)
    repeated: list[Work] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    again: list[Retry[Work]] = field(default_factory=list)
    released: list[Work] = field(default_factory=list)
    halted: dict[SetKey, MessageKey] = field(default_factory=dict)
    rolled_back: dict[SetKey, MessageKey] = field(default_factory=dict)
    compensated: list[SetKey] = field(default_factory=list)
    compensation_failed: list[FailedCompensation] = field(default_factory=list)
    failures: Counter[SetKey] = field(default_factory=Counter)

    def file(self, outcome: Failed | Retry[Work]) -> None:
        """Put a message that did not succeed where it belongs; its set may halt."""
        if isinstance(outcome, Retry):
            self.again.append(outcome)
        else:
            self.failed.append(outcome)
            self._halt_set(outcome.failure.work)

    def file_repeated(self, seen: Seen) -> None:
        """File what was processed before: answered again, or refused."""
        self.done += seen.again
        self.repeated += [item.work for item, _ in seen.again]
        for failed in seen.refused:
            self.file(failed)

    def release(self, items: Iterable[Item]) -> None:
        """Give back what has not run, unless its set halted: then the store holds it."""
        self.released += [item.work for item in items if not self.is_halted(item.work)]

    def is_halted(self, work: Work) -> bool:
        """Tell whether a message is held because its set stopped: the store does that for the whole rest."""
        return work.set_key is not None and work.key > self.halted.get(work.set_key, work.key)

    def _halt_set(self, failed: Work) -> None:
        """Stop the set of a failed message: behind it under Halt, all of it after too many failures."""
        if failed.set_key is None:
            return
        if failed.policy is Policy.HALT:
            self.halted[failed.set_key] = failed.key
        elif failed.failures_left is not None:
            self.failures[failed.set_key] += 1
            if self.failures[failed.set_key] >= failed.failures_left:
                self.halted[failed.set_key] = MessageKey(0)
