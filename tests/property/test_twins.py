"""Messages of the same MessageId or content side by side: one of them is processed, whatever becomes of the others.

Real store and real stage; handlers wait until the history says how they end, workers are killed or freeze meanwhile,
operators hold and release.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import Tally, TaskContext
from gateway.db.open import Store, open_store
from gateway.kernel.errors import LeaseLost, OperationRejected, TransientError
from gateway.kernel.ids import MessageKey
from gateway.messaging.processing.claims import claim_inbound
from gateway.messaging.queue.leases import read_beats, start_incarnation, take_back, wake_due
from gateway.messaging.queue.operate import hold, release
from gateway.messaging.rules.message import Claimed, Work
from gateway.operations.reads.doctor import find_wrong
from tests.factories import ORDERS
from tests.inbound_bench import InboundBench, NothingComes
from tests.property.queue_machine import EMPTY, PASS_TIME
from tests.statements import replaced, text_of

EMPTY_TOO = "DELETE FROM processed_id; DELETE FROM processed_content; DELETE FROM number_sequence"
UNFINISHED = "SELECT message_id FROM queue WHERE direction = 'in' AND status <> 'error'"
MOST_ROUNDS = 20
SECONDS = 60.0
DEADLINE_SECONDS = 100.0


class Ending(StrEnum):
    GOOD = "good"
    BAD = "bad"
    LATER = "later"


class Step(StrEnum):
    PUT = "put"
    CLAIM = "claim"
    CLAIM_TWO = "claim two"
    END = "end"
    KILL = "kill"
    FREEZE = "freeze"
    HOLD = "hold"
    RELEASE = "release"
    TIME = "time"


@dataclass
class Run:
    """A unit at work: `ends` says how its handler ends; `frozen`: its lease was taken back, and it does not know."""

    claimed: Claimed[Work]
    task: asyncio.Task[int]
    ends: asyncio.Future[Ending]
    frozen: bool = False


@dataclass
class Gated:
    """An operation that waits inside until it is told how it ends; then it has its effect."""

    expects: tuple[str, ...] | None = None
    undoable: bool = True
    idempotent: bool = True
    timeout_seconds: float = 60.0
    inside: dict[int, asyncio.Future[Ending]] = field(default_factory=dict)
    at_once: Ending | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        if self.at_once is None:
            ending = self.inside[request.key] = asyncio.get_running_loop().create_future()
            self.entered.set()
            chosen = await ending
        else:
            chosen = self.at_once
        mark = str(request.parts[0].findtext(".//{*}PurchOrderFormNum"))
        await context.connection.execute(
            "INSERT INTO number_sequence (name, next) VALUES ($1, $2)", f"{mark}/{request.key}", 1
        )
        if chosen is Ending.BAD:
            raise OperationRejected("No.")
        if chosen is Ending.LATER:
            raise TransientError("Not now.")
        return Reply()


class World:
    """What is put and at work, and what may be done about it."""

    def __init__(self, store: Store, threads: ThreadPoolExecutor, incarnation: int, *, by_id: bool) -> None:
        self.store = store
        self.incarnation = incarnation
        self.by_id = by_id
        self.operation = Gated()
        self.bench = InboundBench(store, threads, self.operation)
        self.stage = self.bench.stage(retries=100, same_content_seconds=3600, pause_after_failures=0)
        self.runs: list[Run] = []
        self.marks: dict[int, str] = {}

    async def do(self, step: Step, which: int, ending: Ending) -> None:
        match step:
            case Step.PUT:
                mark = "AB"[which % 2]
                _, (key,) = await self.bench.put([mark], ids=[UUID(int=ord(mark)) if self.by_id else None])
                self.marks[key] = mark
            case Step.CLAIM:
                await self.claim(1, ending)
            case Step.CLAIM_TWO:
                await self.claim(2, ending)
            case Step.HOLD | Step.RELEASE:
                keys = [MessageKey(key) for (key,) in await self.bench.rows("SELECT message_id FROM queue ORDER BY 1")]
                if keys:
                    await (hold if step is Step.HOLD else self.release)(self.store, [keys[which % len(keys)]])
            case Step.TIME:
                await self.bench.rows(PASS_TIME)
                await wake_due(self.store)
            case _ if self.runs:
                run = self.runs[which % len(self.runs)]
                await {Step.END: self.end, Step.KILL: self.kill, Step.FREEZE: self.freeze}[step](run, ending)

    async def release(self, store: Store, keys: list[MessageKey]) -> None:
        await release(store, keys)
        await self.bench.rows("UPDATE queue SET judge_anew = false")  # no reader is needed here

    async def claim(self, limit: int, ending: Ending) -> None:
        """Claim and begin; what is claimed together ends at once, because it holds its ids in its transaction."""
        claimed = await claim_inbound(self.store, self.incarnation, ORDERS, limit)
        if claimed is None:
            return
        self.operation.at_once = ending if len(claimed.items) > 1 else None
        self.operation.entered.clear()
        port = self.stage._ports.inbound[ORDERS]
        context = TaskContext(task="inbound", feed=NothingComes(), stopping=asyncio.Event(), tally=Tally())
        task = asyncio.create_task(self.stage._process(port, claimed, context))
        entered = asyncio.create_task(self.operation.entered.wait())
        await asyncio.wait({task, entered}, return_when=asyncio.FIRST_COMPLETED, timeout=SECONDS)
        entered.cancel()
        if task.done():
            task.result()
            return
        # of its own: while it is frozen the same message may be at work once more
        self.runs.append(Run(claimed, task, self.operation.inside.pop(claimed.items[0].key)))
        alive = [self.marks[run.claimed.items[0].key] for run in self.runs if not run.frozen]
        assert len(alive) == len(set(alive)), "two of the same at work"

    async def end(self, run: Run, ending: Ending) -> None:
        self.runs.remove(run)
        run.ends.set_result(ending)
        with suppress(*[LeaseLost] if run.frozen else []):
            await run.task

    async def kill(self, run: Run, _: Ending) -> None:
        self.runs.remove(run)
        run.task.cancel()
        with suppress(asyncio.CancelledError):
            await run.task
        if not run.frozen:
            await self.lose(run)

    async def freeze(self, run: Run, _: Ending) -> None:
        if not run.frozen:
            run.frozen = True
            await self.lose(run)

    async def lose(self, run: Run) -> None:
        beats = await read_beats(self.store, self.incarnation)
        assert await take_back(self.store, {run.claimed.fence: beats.leases[run.claimed.fence]}) == 1

    async def look(self) -> None:
        """At most one of the same has had its effect, and nobody is refused for one that has none."""
        effects = [name for (name,) in await self.bench.rows("SELECT name FROM number_sequence")]
        marks = [name.partition("/")[0] for name in effects]
        assert len(marks) == len(set(marks)), effects
        refused = await self.bench.rows("SELECT message_key FROM exception WHERE code = 'message.duplicate'")
        assert {self.marks[key] for (key,) in refused} <= set(marks)
        assert await find_wrong(self.store, [ORDERS]) == []

    async def finish(self) -> None:
        """Let everything end well: nobody waits for ever, and of each kind that did not fail one was processed."""
        keys = [MessageKey(key) for (key,) in await self.bench.rows("SELECT message_id FROM queue WHERE status='hold'")]
        if keys:
            await self.release(self.store, keys)
        for round_ in range(MOST_ROUNDS):
            while self.runs:
                run = self.runs[-1]
                await (self.kill if run.frozen else self.end)(run, Ending.GOOD)
            if not (unfinished := await self.bench.rows(UNFINISHED)):
                break
            await self.do(Step.TIME, 0, Ending.GOOD)
            for _ in unfinished:  # who waits for a younger one lets it be claimed before time passes again
                await self.claim(1 + round_ % 2, Ending.GOOD)
            await self.look()
        assert await self.bench.rows(UNFINISHED) == []
        tried_again = await self.bench.rows("SELECT id FROM message WHERE direction = 'in' AND outcome = 'processed'")
        effects = await self.bench.rows("SELECT name FROM number_sequence")
        assert len(tried_again) == len(effects)


@pytest.fixture(scope="module")
def play(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., None]]:
    """Give what plays a history on an empty store."""
    stack = AsyncExitStack()
    with asyncio.Runner() as runner, ThreadPoolExecutor(1) as threads:
        data = tmp_path_factory.mktemp("twins") / "data"
        store = runner.run(stack.enter_async_context(open_store(module_database_url, data)))
        incarnation = runner.run(start_incarnation(store, "node", "1"))

        async def history(steps: list[tuple[Step, int, Ending]], by_id: bool) -> None:
            async with store.transaction() as connection:
                await connection.execute(EMPTY)
                await connection.execute(EMPTY_TOO)
            world = World(store, threads, incarnation, by_id=by_id)
            try:
                for step in steps:
                    await world.do(*step)
                    await world.look()
                await world.finish()
            finally:
                for run in world.runs:
                    run.task.cancel()
                await asyncio.gather(*(run.task for run in world.runs), return_exceptions=True)

        # a deadline of its own: the run's would end this history, and not its replay
        yield lambda steps, by_id: runner.run(asyncio.wait_for(history(steps, by_id), DEADLINE_SECONDS))
        runner.run(stack.aclose())


STEPS = st.lists(
    st.tuples(
        st.sampled_from([Step.PUT, Step.PUT, Step.CLAIM, Step.CLAIM, *Step]), st.integers(0, 3), st.sampled_from(Ending)
    ),
    min_size=4, max_size=20,
)  # fmt: skip


def explore(play: Callable[..., None], examples: int) -> None:
    @settings(
        max_examples=examples, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(steps=STEPS, by_id=st.booleans())
    def histories(steps: list[tuple[Step, int, Ending]], by_id: bool) -> None:
        play([(Step.PUT, 0, Ending.GOOD), (Step.PUT, 0, Ending.GOOD), *steps], by_id)

    histories()


def test_one_of_the_same_is_processed(play: Callable[..., None]) -> None:
    explore(play, 30)


TWO_AT_ONCE = [(Step.CLAIM, 0, Ending.GOOD), (Step.CLAIM, 0, Ending.GOOD), (Step.END, 0, Ending.BAD)]


@pytest.mark.parametrize("wrong", ["given_up", "processed"])
def test_holder_that_is_not_waited_for_is_seen(play: Callable[..., None], wrong: str) -> None:
    """The proof can fail: both run, or the second is refused though the first fails."""
    broken = text_of("first_processed").replace("THEN 'at_work'", f"THEN '{wrong}'")
    assert broken != text_of("first_processed")
    with replaced(first_processed=broken), pytest.raises(AssertionError):
        play([(Step.PUT, 0, Ending.GOOD), (Step.PUT, 0, Ending.GOOD), *TWO_AT_ONCE], True)
