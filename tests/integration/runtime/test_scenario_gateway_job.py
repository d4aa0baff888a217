"""Acceptance scenario S22: the job of the four services, by the minute, on a clock that the test moves.

The gateway is the real one, with its folders, readers and database; only the clock by which its jobs start is not.
Each minute a job that watches runs, too: when it has come to its end, the gateway has seen that minute.
Source: batch reference, sections 21 and 27.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from asyncpg import Record

from gateway.batch.rules.job import JobStatus
from gateway.batch.rules.transitions import JobAction
from gateway.batch.store.jobs import change_status, read_job
from gateway.config.load import load
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store, open_store
from gateway.db.statements import session_sql
from gateway.runtime import app
from gateway.runtime.in_use import KeptConfig
from gateway.runtime.jobs import runnables_to_check
from gateway.runtime.roles import ROLES
from gateway.workers.launcher import Launcher
from gateway.xml.pool import XmlPool
from tests.documents import SERVICES, envelope, guid, single
from tests.fakes import FakeClock
from tests.site import Site, until

MINUTE = timedelta(minutes=1)
TIMED = {"mode": "timed", "status": "withhold", "history": "always"}
WATCH = {
    "mode": "timed", "recurrence": {"every": "1 minute"},
    "tasks": {"look": {"run": "sql", "with": {"statements": "SELECT 1"}}},
}  # fmt: skip
FOUR = ("receive", "inbound", "outbound", "send")


async def hold(_: Request, __: ServiceContext) -> Reply:
    """Answer as soon as the file is there that the test names."""
    while not Path(os.environ["HELD_UNTIL"]).exists():
        await asyncio.sleep(0.01)
    return Reply(parts=[])


class Minutes:
    """A gateway in this process, and the minutes of its jobs."""

    def __init__(self, site: Site, store: Store, clock: FakeClock) -> None:
        self.site = site
        self.store = store
        self.clock = clock

    async def pass_(self, count: int = 1, *, but: str = "") -> None:
        """Let so many minutes pass, each seen by the gateway; what began in one has ended in it, *but* for one job."""
        for _ in range(count):
            before = len(await self.runs("watch"))
            self.clock.move_to(self.clock.now() + MINUTE)
            async with self.store.transaction() as connection:  # it may just have worked out how long to sleep
                await session_sql.hint(connection, CHANNEL, JOBS_HINT)
            await self.until_runs("watch", before + 1)

            async def over() -> bool:
                return not await self.site.query("SELECT 1 FROM run WHERE ended_at IS NULL AND job <> $1", but)

            await until(over, "what began has ended")

    async def runs(self, job: str, *, ended: bool = True) -> Sequence[Record]:
        return await self.site.query(
            "SELECT * FROM run WHERE job = $1 AND (NOT $2 OR ended_at IS NOT NULL) ORDER BY id", job, ended
        )

    async def until_runs(self, job: str, count: int) -> Sequence[Record]:
        """Wait until so many occurrences of a job have ended."""

        async def enough() -> bool:
            return len(await self.runs(job)) >= count

        await until(enough, f"{count} runs of {job}")
        return await self.runs(job)

    async def ask(self, action: JobAction, *jobs: str) -> None:
        for name in jobs:
            job = await read_job(self.store, name)
            assert job is not None
            await change_status(self.store, job.id, action, by="ann", now=self.clock.now())

    async def status(self, name: str) -> JobStatus:
        job = await read_job(self.store, name)
        assert job is not None
        return job.status


@asynccontextmanager
async def gateway(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Minutes]:
    """Run a gateway whose jobs go by a clock that stands still; their first planned start has come already."""
    site.write_config()
    known = runnables_to_check(site.config)
    settings = await asyncio.to_thread(load, site.config, os.environ, runnables=known)
    clock = FakeClock(datetime.now(UTC) + timedelta(seconds=30))
    monkeypatch.setattr(app, "DatabaseClock", lambda _: clock)
    stopping, ready = asyncio.Event(), asyncio.Event()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings.store, settings.data))
        pool = await stack.enter_async_context(XmlPool(size=1))
        launcher = stack.enter_context(closing(Launcher.start(ROLES)))
        running = asyncio.create_task(
            app.Gateway(
                settings, site.config, KeptConfig(settings.data, site.config, site.config.read_bytes()),
                store=store, pool=pool, launcher=launcher, stopping=stopping,
            ).run(ready)
        )  # fmt: skip
        await asyncio.wait([running, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        try:
            yield Minutes(site, store, clock)
        finally:
            stopping.set()
            await running


async def test_s22_one_job_by_the_minute(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add_port()
    site.extra["jobs"] = {"gateway": {**TIMED, "recurrence": {"every": "1 minute"}}, "watch": WATCH}
    site.drop("a.xml", single(envelope(message_id=guid(1))))
    async with gateway(site, monkeypatch) as minutes:
        await minutes.pass_(5)
        assert (site.inbound() / "a.xml").exists() and await minutes.runs("gateway", ended=False) == []

        await minutes.ask(JobAction.ARM, "gateway")
        (first,) = await minutes.until_runs("gateway", 1)
        assert len(site.answers()) == 1 and not (site.inbound() / "a.xml").exists()
        tasks = await site.query("SELECT name, status FROM run_task WHERE run_id = $1 ORDER BY position", first["id"])
        assert [tuple(task) for task in tasks] == [(name, "ended") for name in FOUR]
        (way,) = await site.query(
            """SELECT d.received_at, request.finished_at AS processed_at, response.created_at AS answered_at,
                      response.finished_at AS written_at
               FROM delivery d JOIN message request ON request.claim_id = d.claim_id
               JOIN message response ON response.request_id = request.id"""
        )
        assert way["received_at"] <= way["processed_at"] and way["answered_at"] <= way["written_at"]
        assert way["received_at"] <= way["answered_at"] and way["processed_at"] <= way["written_at"]

        await minutes.pass_(3)  # with nothing to do
        runs = await minutes.runs("gateway")
        planned = [run["planned_at"] for run in runs]
        assert [later - earlier for earlier, later in pairwise(planned[1:])] == [MINUTE, MINUTE]
        assert {run["status"] for run in runs} == {"ended"}

        await minutes.ask(JobAction.WITHHOLD, "gateway")
        assert await minutes.status("gateway") is JobStatus.WITHHOLD
        site.drop("b.xml", single(envelope(message_id=guid(2))))
        await minutes.pass_(5)
        assert len(await minutes.runs("gateway", ended=False)) == 4
        assert (site.inbound() / "b.xml").exists() and len(site.answers()) == 1


async def test_s22_two_jobs_by_one_and_by_five_minutes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.services["Held"] = {"kind": "python", "operations": {"hold": f"{__name__}:hold"}}
    site.add_port(operations=["SalesOrderService.*", "Held.hold"])
    site.extra["jobs"] = {
        "gateway": {"active": False},
        "in": {
            **TIMED, "recurrence": {"every": "1 minute"},
            "tasks": {"receive": {"run": "receive"}, "inbound": {"run": "inbound", "after": "receive"}},
        },
        "out": {
            **TIMED, "recurrence": {"every": "5 minutes"},
            "tasks": {"outbound": {"run": "outbound"}, "send": {"run": "send", "after": "outbound"}},
        },
        "watch": WATCH,
    }  # fmt: skip
    go = site.folder / "go"
    monkeypatch.setenv("HELD_UNTIL", str(go))
    site.drop("00.xml", single(envelope(message_id=guid(100), action=f"{SERVICES}/Held/hold")))
    async with gateway(site, monkeypatch) as minutes:
        await minutes.ask(JobAction.ARM, "in", "out")
        await minutes.until_runs("out", 1)  # nothing to send yet

        async def working() -> bool:
            return bool(await site.query("SELECT 1 FROM queue WHERE direction = 'in' AND status = 'in_process'"))

        await until(working, "the first request is in work")
        await minutes.pass_(5, but="in")
        assert len(await minutes.runs("out")) == 2
        assert await minutes.runs("in") == [] and len(await minutes.runs("in", ended=False)) == 1  # side by side
        go.touch()
        await minutes.until_runs("in", 1)
        for number in range(1, 13):
            site.drop(f"{number:02}.xml", single(envelope(message_id=guid(number))))
            await minutes.pass_()
        await minutes.pass_(3)
        assert len(site.answers()) == 13
        for job, every, count in (("in", MINUTE, 15), ("out", 5 * MINUTE, 4)):
            planned = [run["planned_at"] for run in await minutes.runs(job)][1:]
            assert [later - earlier for earlier, later in pairwise(planned)] == [every] * (count - 1)
        (row,) = await site.query(
            """SELECT count(*) FILTER (WHERE direction = 'in') AS requests, count(DISTINCT request_id) AS answered,
                      count(*) FILTER (WHERE direction = 'out') AS responses, (SELECT count(*) FROM entity) AS orders
               FROM message"""
        )
        assert tuple(row) == (13, 13, 13, 12)
        assert {run["status"] for job in ("in", "out") for run in await minutes.runs(job)} == {"ended"}
