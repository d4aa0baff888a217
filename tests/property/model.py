"""What the queue should do, said as simply as possible: a list of messages, and rules over the whole of it.

No indexes, no heads, no locks: what may run next is found anew each time by looking at everything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.messaging.rules.states import Direction, LaneRule, Outcome, Policy, Reason, Status

STANDING = (Status.HOLD, Status.ERROR)
LANES_PER_CLAIM = 50


class Ending(StrEnum):
    """What a service does with one message."""

    GOOD = "good"
    BAD = "bad"  # it can never succeed
    WORSE = "worse"  # nor for another cause
    LATER = "later"  # for a passing reason not now
    POISON = "poison"  # it does not run: it ended its process too often


@dataclass
class Message:
    """`waits` for a time; `due` when that has passed; `held` says why when it stands still.

    `judge_anew`: released and not judged since. `told`: the causes that its sender was told of. `crashes`: ends of the
    process that it is blamed for; `held_loop`: its last try was cut short, and is not judged yet.
    """

    key: int
    lane: str | None = None
    set_key: int | None = None
    policy: Policy | None = None
    direction: Direction = Direction.IN
    answers: int | None = None
    is_fault: bool = False
    status: Status = Status.READY
    held: Reason = Reason.READY
    waits: bool = False
    due: bool = False
    attempts: int = 0
    crashes: int = 0
    held_loop: bool = False
    outcome: Outcome | None = None
    judge_anew: bool = False
    told: set[Ending] = field(default_factory=set)

    @property
    def refused(self) -> Ending | None:
        """How it ends without being run, because of what it did before."""
        if self.crashes >= MOST_CRASHES:
            return Ending.POISON
        return Ending.LATER if self.held_loop else None


@dataclass
class MessageSet:
    """The messages of one file."""

    policy: Policy
    members: int
    processed: int = 0
    failed: int = 0
    deleted: int = 0
    status: str = "ready"


@dataclass
class ChunkResult:
    """What a worker made of its claim."""

    done: list[Message] = field(default_factory=list)
    failed: list[Message] = field(default_factory=list)
    again: list[Message] = field(default_factory=list)
    released: list[Message] = field(default_factory=list)
    halted: dict[int, int] = field(default_factory=dict)
    rolled_back: dict[int, int] = field(default_factory=dict)
    answered: list[int] = field(default_factory=list)


class Model:
    """One port and everything that was ever put into it."""

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self.sets: dict[int, MessageSet] = {}
        self.claims: dict[int, list[Message]] = {}
        self.rules_at_claim: dict[int, dict[str, LaneRule]] = {}
        self.port_rule = LaneRule.CONTINUE
        self.lane_rules: dict[str, LaneRule] = {}
        self.parked: dict[str, int] = {}

    @property
    def queue(self) -> list[Message]:
        """What is unfinished, in order of arrival."""
        return [self.messages[key] for key in sorted(self.messages) if self.messages[key].outcome is None]

    @property
    def lanes(self) -> list[str]:
        """Lanes in which something is unfinished, or that are put aside."""
        return sorted({m.lane for m in self.queue if m.lane is not None} | set(self.parked))

    def rule(self, lane: str) -> LaneRule:
        return self.lane_rules.get(lane, self.port_rule)

    def in_lane(self, lane: str, *statuses: Status) -> list[Message]:
        return [m for m in self.queue if m.lane == lane and (not statuses or m.status in statuses)]

    def leased(self, lane: str) -> bool:
        return bool(self.in_lane(lane, Status.IN_PROCESS))

    def blocker(self, lane: str) -> Message | None:
        """The first message that stands still, where that blocks."""
        standing = self.in_lane(lane, *STANDING) if self.rule(lane) is LaneRule.BLOCK else []
        return standing[0] if standing else None

    def head(self, lane: str) -> Message | None:
        """The message that a free lane would let run next."""
        ready, blocker = self.in_lane(lane, Status.READY), self.blocker(lane)
        return ready[0] if ready and (blocker is None or ready[0].key < blocker.key) else None

    def blocked_by(self, lane: str) -> int | None:
        blocker, head = self.blocker(lane), self.head(lane)
        return blocker.key if blocker is not None and head is None else None

    def is_kept(self, lane: str) -> bool:
        """Whether the lane is there at all: somebody works on it, something of it may run, or something stops it."""
        return (
            self.leased(lane) or lane in self.parked or self.head(lane) is not None or self.blocked_by(lane) is not None
        )

    def reason(self, m: Message) -> Reason:
        """Why it is where it is."""
        if m.status in (Status.IN_PROCESS, Status.IN_TRANSPORT):
            return Reason.RUNNING
        if m.status is not Status.READY:
            return m.held
        if m.waits:
            return Reason.BACKOFF if m.direction is Direction.IN else Reason.ADDRESS_UNAVAILABLE
        if m.lane is None or (not self.leased(m.lane) and self.head(m.lane) is m):
            return Reason.READY
        return Reason.BEHIND_IN_LANE

    def put(self, messages: Iterable[Message]) -> None:
        for m in messages:
            self.messages[m.key] = m
            if m.lane in self.parked:
                self._hold(m, Reason.LANE_PARKED)

    def claimable(self, limit: int) -> list[Message]:
        """What a claim takes now: the kind with the older message first, then the other one."""
        heads = [h.key for lane in self.lanes if not self.leased(lane) and (h := self.head(lane)) and not h.waits]
        free = [m for m in self.queue if m.direction is Direction.IN and m.lane is None and m.status is Status.READY
                and not m.waits]  # fmt: skip
        if free and (not heads or free[0].key < min(heads)):
            taken = free[:limit]
            return taken + (self._in_lanes(limit - len(taken)) if len(taken) < limit else [])
        taken = self._in_lanes(limit)
        return taken + free[: max(0, limit - len(taken))]

    def _in_lanes(self, limit: int) -> list[Message]:
        """What a claim takes of lanes: by their heads, of each twice its share."""
        heads = [head for lane in self.lanes if not self.leased(lane) and (head := self.head(lane)) is not None]
        heads = sorted((h for h in heads if not h.waits), key=lambda h: h.key)[: min(limit, LANES_PER_CLAIM)]
        share = 1 + 2 * limit // len(heads) if heads else 0
        fronts = [(head, self._front(head, share)) for head in heads]
        taken: list[Message] = []
        place = 0
        for head, front in fronts:
            fitting = front[: max(0, limit - place)]
            taken += front if fitting and head.policy is Policy.ROLLBACK else fitting
            place += len(front)
        return taken

    def _front(self, head: Message, share: int) -> list[Message]:
        """What of a lane may run without a break: a set that is undone as a whole comes alone."""
        assert head.lane is not None
        blocker = self.blocker(head.lane)
        if head.policy is Policy.ROLLBACK:
            return [m for m in self.in_lane(head.lane, Status.READY) if m.set_key == head.set_key]
        front: list[Message] = []
        for m in self.in_lane(head.lane, Status.READY)[:share]:
            if m.policy is Policy.ROLLBACK or (blocker is not None and m.key > blocker.key):
                break
            front.append(m)
        return front

    def claim(self, fence: int, taken: Sequence[Message]) -> None:
        running = Status.IN_TRANSPORT if taken[0].direction is Direction.OUT else Status.IN_PROCESS
        for m in taken:
            m.status, m.waits, m.due, m.attempts = running, False, False, m.attempts + 1
        self.claims[fence] = sorted(taken, key=lambda m: m.key)
        self.rules_at_claim[fence] = {m.lane: self.rule(m.lane) for m in taken if m.lane is not None}

    def perform(self, fence: int, endings: Mapping[int, Ending]) -> ChunkResult:
        """What a worker makes of its claim, when each message ends as told."""
        result, claimed = ChunkResult(), self.claims[fence]
        endings = {m.key: m.refused or endings[m.key] for m in claimed}
        for m in (m for m in claimed if m.lane is None):
            {Ending.GOOD: result.done, Ending.LATER: result.again}.get(endings[m.key], result.failed).append(m)
        for lane, rule in self.rules_at_claim[fence].items():
            self._perform_lane([m for m in claimed if m.lane == lane], rule, endings, result)
        result.answered = [m.key for m in result.done]
        for m in result.failed:  # one fault for one cause
            if endings[m.key] not in m.told:
                result.answered.append(m.key)
            m.told.add(endings[m.key])
        return result

    def _perform_lane(
        self, items: list[Message], rule: LaneRule, endings: Mapping[int, Ending], result: ChunkResult
    ) -> None:
        if items[0].policy is Policy.ROLLBACK:
            bad = next((m for m in items if m.refused), None)  # known before anything runs
            bad = bad or next((m for m in items if endings[m.key] is not Ending.GOOD), None)
            if bad is None:
                result.done += items
            elif endings[bad.key] is not Ending.LATER:
                assert bad.set_key is not None
                result.failed.append(bad)
                result.rolled_back[bad.set_key] = bad.key
            else:  # it waits as a whole
                result.again += items
            return
        for place, m in enumerate(items):
            if m.set_key is not None and m.set_key in result.halted:
                continue
            ending = endings[m.key]
            if ending is Ending.GOOD:
                result.done.append(m)
                continue
            if ending is not Ending.LATER:
                result.failed.append(m)
                if m.policy is Policy.HALT and m.set_key is not None:
                    result.halted[m.set_key] = m.key
                if rule is LaneRule.CONTINUE:
                    continue
            else:
                result.again.append(m)
            result.released += [o for o in items[place + 1 :] if o.set_key is None or o.set_key not in result.halted]
            return

    def record(self, fence: int, result: ChunkResult) -> None:
        claimed = self.claims.pop(fence)
        for m in claimed:
            m.judge_anew = False
        for m in result.done:
            m.outcome = Outcome.PROCESSED
            if m.set_key is not None:
                found = self.sets[m.set_key]
                found.processed += 1
        self._complete()
        for m in result.failed:
            m.status, m.held = Status.ERROR, Reason.POISON if m.crashes >= MOST_CRASHES else Reason.FAILED
            if m.set_key is not None:
                found = self.sets[m.set_key]
                found.failed += 1
                found.status = "rolled_back" if m.set_key in result.rolled_back else "error"
        for m in result.again:
            m.status, m.waits, m.held_loop = Status.READY, True, False
        for m in result.released:
            self._give_back(m)
        for set_key, failed in (*result.halted.items(), *result.rolled_back.items()):
            whole = set_key in result.rolled_back
            for m in self._members(set_key):
                mine = m in claimed and m.status is Status.IN_PROCESS
                if m.key != failed and (whole or m.key > failed) and (m.status is Status.READY or mine):
                    m.attempts -= mine
                    self._hold(m, Reason.SET_ROLLED_BACK if whole else Reason.SET_HALTED)
        for m in result.failed:
            if m.lane is not None and self.rule(m.lane) is LaneRule.PARK:
                self.parked[m.lane] = min(o.key for o in result.failed if o.lane == m.lane)
                for other in self.in_lane(m.lane, Status.READY):
                    self._hold(other, Reason.LANE_PARKED)

    def take_back(self, fence: int) -> None:
        for m in self.claims.pop(fence):
            self._give_back(m)

    def blame(self, crashed: Iterable[int], held_by: int | None) -> None:
        """A crash is a try, whatever takes the claim back; who holds the loop in a try that is not judged crashes."""
        for m in (self.messages[key] for key in crashed):
            m.attempts, m.crashes = m.attempts + 1, m.crashes + 1
        if held_by is not None:
            m = self.messages[held_by]
            m.crashes, m.held_loop = m.crashes + m.held_loop, True

    def hold(self, keys: Iterable[int]) -> None:
        for m in self._with_bound(keys):
            if m.status is Status.READY:
                self._hold(m, Reason.HELD_BY_OPERATOR)

    def release(self, keys: Iterable[int]) -> None:
        released = [m for m in self._with_bound(keys) if m.status in STANDING]
        for m in released:
            m.status, m.attempts, m.waits, m.judge_anew = Status.READY, 0, False, m.direction is Direction.IN
            m.crashes, m.held_loop = 0, False
        for m in released:
            if m.set_key is not None and m.direction is Direction.IN:
                found = self.sets[m.set_key]
                found.failed = 0
                if not any(other.status is Status.ERROR for other in self._members(m.set_key)):
                    found.status = "ready"

    def delete(self, keys: Iterable[int]) -> None:
        for key in keys:
            m = self.messages[key]
            if m.outcome is None and m.status in STANDING:
                m.outcome = Outcome.DELETED
                if m.set_key is not None and m.direction is Direction.IN:
                    self.sets[m.set_key].deleted += 1
        self._complete()

    def release_lane(self, lane: str) -> None:
        """What was put aside goes on; else the one that blocks is tried again."""
        if self.parked.pop(lane, None) is not None:
            for m in self.in_lane(lane, Status.HOLD):
                if m.held is Reason.LANE_PARKED:
                    m.status, m.judge_anew = Status.READY, True
        if not self.leased(lane) and (blocker := self.blocked_by(lane)) is not None:
            self.release([blocker])

    def pass_time(self) -> None:
        for m in self.queue:
            m.due = m.waits

    def wake(self) -> None:
        """What is due is ready; of a lane its head, when nobody works on it."""
        heads = [self.head(lane) for lane in self.lanes if not self.leased(lane)]
        for m in self.queue:
            if m.due and (m.lane is None or m in heads):
                m.waits = m.due = False

    def _members(self, set_key: int) -> list[Message]:
        return [m for m in self.queue if m.set_key == set_key and m.direction is Direction.IN]

    def _with_bound(self, keys: Iterable[int]) -> list[Message]:
        """What is named, and the rest of its set where that waits together."""
        named = [m for key in keys if (m := self.messages[key]).outcome is None]
        sets = {m.set_key for m in named if m.direction is Direction.IN and m.policy in (Policy.HALT, Policy.ROLLBACK)}
        return [m for m in self.queue if m in named or (m.direction is Direction.IN and m.set_key in sets)]

    def _complete(self) -> None:
        for found in self.sets.values():
            if found.processed + found.deleted == found.members:
                found.status = "completed"

    @staticmethod
    def _hold(m: Message, why: Reason) -> None:
        m.status, m.held, m.waits, m.due = Status.HOLD, why, False, False

    @staticmethod
    def _give_back(m: Message) -> None:
        m.status, m.attempts = Status.READY, max(0, m.attempts - 1)
