"""Acceptance scenarios S15, S16 and S25: who is told of what, what is kept of a run, and what clean-up takes away.

Source: batch reference, section 27.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.batch.alerts.delivery import Dispatcher, Reader
from gateway.batch.alerts.outbox import AlertRule, set_alert_rule
from gateway.batch.housekeeping import deletes as housekeeping
from gateway.batch.housekeeping.task import Housekeeping, HousekeepingParameters, HousekeepingTask
from gateway.batch.rules.alert import AlertEvent, Channel
from gateway.batch.rules.definition import AlertDefinition
from gateway.batch.rules.job import HistoryMode
from gateway.batch.store import settling
from gateway.batch.store.cancel import cancel_job
from gateway.batch.store.run_log import list_run_files, read_run_file
from gateway.config.models import Retention, Settings
from gateway.db.open import Store
from gateway.kernel.ids import JobId
from gateway.operations.reads.alerts import list_alerts
from gateway.runtime.alerts import reader_of, senders
from tests.fakes import World, task
from tests.integration.batch.test_alert_rows import a_job, rows
from tests.mailbox import Mailbox, mail_server
from tests.task_contexts import Occasion


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 2, hour, minute, tzinfo=UTC)


async def test_s15_a_failed_run_of_a_recurring_job_is_mailed_once(world: World, tmp_path: Path) -> None:
    world.clock.move_to(at(9, 30))
    await world.server("A")
    job = await world.job(
        "hourly", [task("T", fails_in=[-1])], start=at(10), recurrence={"every": "1 hour"}, history=HistoryMode.ERRORS,
        alerts=(AlertDefinition(user="U", events=("error",), channels=("email",)),),
    )  # fmt: skip
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        mail = {"host": "127.0.0.1", "port": port, "tls": "none"}
        settings = Settings.model_validate({"mail": mail, "accounts": {"U": {"email": "u@example.com"}}})
        dispatcher = Dispatcher(
            world.store,
            senders=lambda: senders(settings, tmp_path),
            reader=lambda user: reader_of(settings, user, tmp_path),
        )

        async def deliver() -> None:
            while await dispatcher.send_one(Channel.EMAIL):
                pass

        await world.to(at(10, 5))
        await deliver()
        await world.to(at(10, 30))
        await deliver()
        async with world.store.transaction() as connection:
            await connection.execute("""UPDATE task SET parameters = '{"seconds": 60}'""")
        await world.to(at(11, 5))
        await deliver()
    (mailed,) = mailbox.mails
    assert (mailed["To"], mailed["Subject"]) == ("u@example.com", f"[{tmp_path.name}] Job hourly failed")
    assert (await world.read(job)).last_outcome == "ended"
    assert [run["status"] for run in await world.runs(job)] == ["error"]


async def set_rule(world: World, job: JobId, user: str, events: set[str], channel: Channel) -> None:
    async with world.store.transaction() as connection:
        rule = AlertRule(user=user, events=frozenset(map(AlertEvent, events)), channels=frozenset({channel}))
        await set_alert_rule(connection, rule, job_id=job)


FAILURE_AND_CANCEL = {("error", "U"), ("error", "V"), ("canceled", "U")}


@pytest.mark.parametrize(
    ("history", "ax_alerts", "told", "kept"),
    [
        (HistoryMode.ALWAYS, True, FAILURE_AND_CANCEL, ["ended", "error", "canceled"]),
        (HistoryMode.ERRORS, True, FAILURE_AND_CANCEL, ["error", "canceled"]),
        (HistoryMode.NEVER, True, set[tuple[str, str]](), []),
        (HistoryMode.NEVER, False, FAILURE_AND_CANCEL, []),
    ],
)
async def test_s16_alerts_against_history(
    world: World, tmp_path: Path, history: HistoryMode, ax_alerts: bool, told: set[tuple[str, str]], kept: list[str]
) -> None:
    world.store.ax_alerts = ax_alerts
    await world.server("A")
    job = await world.job(
        "J", [task("T", fails_in=[])], start=world.clock.now() + timedelta(hours=1), recurrence={"every": "1 hour"},
        history=history,
    )  # fmt: skip
    await set_rule(world, job, "U", {"ended", "error", "canceled"}, Channel.POPUP)
    await set_rule(world, job, "V", {"error"}, Channel.EMAIL)
    await set_rule(world, job, "U", {"error", "canceled"}, Channel.POPUP)
    assert len(await world.rows("SELECT 1 FROM alert_rule WHERE user_name = 'U'")) == 1

    await world.pass_(minutes=62)  # it goes well
    assert (await world.read(job)).last_outcome == "ended"
    async with world.store.transaction() as connection:
        await connection.execute("""UPDATE task SET parameters = '{"seconds": 60, "fails_in": [-1]}'""")
    await world.pass_(minutes=60)  # it fails
    assert (await world.read(job)).last_outcome == "error"
    await world.pass_(minutes=58, seconds=30)  # it runs
    await cancel_job(world.store, job, by="ann", now=world.clock.now())
    await world.pass_(minutes=2)
    assert (await world.read(job)).last_outcome == "canceled"

    alerts = await list_alerts(world.store)
    assert {(alert.event.value, alert.user) for alert in alerts} == told
    assert len(alerts) == len(told), "each once"
    assert [run["status"] for run in await world.runs(job)] == kept
    dispatcher = Dispatcher(
        world.store, senders=lambda: senders(Settings.model_validate({"mail": {"host": "localhost"}}), tmp_path),
        reader=lambda _: Reader(address=None, zone=ZoneInfo("UTC"), site="shop"),
    )  # fmt: skip
    while await dispatcher.send_one(Channel.EMAIL):
        pass
    reasons = [alert.reason or "" for alert in await list_alerts(world.store, status="failed")]
    assert ["V has no e-mail address" in reason for reason in reasons] == [True] * len(reasons)
    assert len(reasons) == len([1 for _, user in told if user == "V"])


@pytest.mark.parametrize("share", [pytest.param(1, marks=pytest.mark.full, id="all"), pytest.param(20, id="twentieth")])
async def test_s25_a_large_run_keeps_what_tells_most(world: World, monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """4,500 tasks of which 20 fail, of more than 4,000 tasks 1,000 are kept; by default a twentieth of the numbers."""
    monkeypatch.setattr(settling, "LARGE_RUN", settling.LARGE_RUN // share)
    monkeypatch.setattr(settling, "KEPT_TASKS", kept := settling.KEPT_TASKS // share)
    await world.server("A", threads=250)
    names = [f"T{n}" for n in range(4_500 // share)]
    fails = set(names[100 // share :: 220])
    job = await world.job("large", [task(name, seconds=0, fails_in=[-1] if name in fails else []) for name in names])
    await world.settle()
    statuses = await world.tasks(job)
    assert len(fails) == (20 if share == 1 else 1)
    assert Counter(statuses.values()) == {"error": len(fails), "ended": kept - len(fails)}
    assert {name for name, status in statuses.items() if status == "error"} == fails
    (run,) = await world.runs(job)
    assert (run["status"], run["tasks_left_out"]) == ("error", len(names) - kept)
    assert Counter(name for name, what in world.log if what == "returned") == dict.fromkeys(names, 1)


NIGHTLY_RUNS = """
WITH runs AS (
    INSERT INTO run (job_id, job, partition_key, company, created_by, run_as, cause, planned_at, started_at, ended_at,
                     status)
    SELECT $1, 'nightly', 'initial', 'DAT', 'ann', 'ann', 'operator', moment, moment, moment, 'ended'
    FROM (SELECT clock_timestamp() - make_interval(days => n % 60, hours => 1) AS moment
          FROM generate_series(0, $2 - 1) n) days
    RETURNING id, started_at
), tasks AS (
    INSERT INTO run_task (run_id, position, name, handler, company, batch_group, priority, location, is_private, owner,
                          condition_type, ignore_failure, max_retries, retry_seconds, wait_for_children, status,
                          ended_at)
    SELECT id, place, 'T' || place, 'command', 'DAT', '', 'normal', 'server', false, 'ann', 'all', false, 0, 0, true,
           'ended', started_at
    FROM runs, generate_series(1, 2) place RETURNING id, run_id, position
), logs AS (
    INSERT INTO run_log (run_id, run_task_id, attempt, severity, text) SELECT run_id, id, 1, 'info', 'done' FROM tasks
), conditions AS (
    INSERT INTO run_condition (run_task_id, parent_id, wanted)
    SELECT b.id, a.id, 'ended' FROM tasks a JOIN tasks b USING (run_id) WHERE a.position = 1 AND b.position = 2
)
INSERT INTO run_file (run_id, run_task_id, name, size_bytes, sha256, content)
SELECT run_id, id, 'list-' || position, 3, sha256('abc'), 'abc' FROM tasks
"""


class Night:
    """Housekeeping with a limit of 30 days; `chunks` are the runs that each transaction took away."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.chunks: list[int] = []
        monkeypatch.setattr(housekeeping, "_LOOK_SECONDS", 0.05)
        delete_runs = housekeeping.delete_runs

        async def counted(store: Store, before: datetime, limit: int) -> int:
            self.chunks.append(await delete_runs(store, before, limit))
            return self.chunks[-1]

        monkeypatch.setattr("gateway.batch.housekeeping.task.delete_runs", counted)

    async def clean(self, **parameters: Any) -> dict[str, int]:
        occasion = Occasion()
        retention = Retention(history_days=30)
        house = Housekeeping(store=self.store, retention=lambda: retention, archives=dict)
        await HousekeepingTask(self.store, house, HousekeepingParameters(**parameters)).run(occasion.context)
        return occasion.tally.counts

    async def counts(self) -> dict[str, int]:
        tables = ("run", "run_task", "run_condition", "run_log", "run_file")
        return {table: (await rows(self.store, f"SELECT count(*) FROM {table}"))[0][0] for table in tables}


async def test_s25_files_are_listed_saved_and_removed_and_history_goes_as_a_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.batch.housekeeping.task.SWEPT_FROM", 100)
    night = Night(store, monkeypatch)
    job = await a_job(store)
    async with store.transaction() as connection:
        await connection.execute(NIGHTLY_RUNS, job, 360)
    ((newest,),) = await rows(store, "SELECT id FROM run ORDER BY started_at DESC LIMIT 1")
    first, second = await list_run_files(store, newest)
    assert [(file.name, file.size_bytes, file.task) for file in (first, second)] == [
        ("list-1", 3, "T1"), ("list-2", 3, "T2"),
    ]  # fmt: skip
    saved = await read_run_file(store, first.id)
    await rows(store, "DELETE FROM run_file WHERE id = $1", second.id)
    assert saved == ("list-1", b"abc") and await read_run_file(store, first.id) == saved, "the saved one is a copy"

    assert await night.clean() == {"runs": 180}
    assert night.chunks == [100, 80], "at most a hundred in one transaction"
    kept = {"run": 180, "run_task": 360, "run_condition": 180, "run_log": 360, "run_file": 359}
    assert await night.counts() == kept


async def test_s25_a_second_clean_up_waits_for_the_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(store, monkeypatch)
    job = await a_job(store)
    async with store.transaction() as connection:
        await connection.execute(NIGHTLY_RUNS, job, 60)
    async with housekeeping.sole_housekeeper(store, asyncio.Event()) as first:
        assert first is not None
        second = asyncio.create_task(night.clean())
        await asked_for_the_house(store, second.done)
        assert (await night.counts())["run"] == 60
    assert await second == {"runs": 30}


async def asked_for_the_house(store: Store, over: Callable[[], bool]) -> None:
    """Wait until a second session has asked for the right to keep house."""
    async with asyncio.timeout(60):
        while not over():
            found = await rows(
                store,
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%gateway house' || 'keeping%'",
            )
            if found[0][0] >= 2:
                return


async def test_s25_clean_up_takes_only_jobs_that_will_not_run_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = Night(store, monkeypatch)
    old = datetime.now(UTC) - timedelta(days=91)
    for status in ("waiting", "withhold", "error", "ended", "canceled"):
        await a_job(store, status, status=status, created_at=old)
    for status in ("executing", "cancelling"):
        await a_job(store, status, status=status, created_at=old, run_id=1)
    await a_job(store, "young", status="ended")
    await a_job(store, "written", status="ended", created_at=old, source="config")
    await a_job(store, "system", status="ended", created_at=old, is_system=True)
    parent = await a_job(store, "parent", status="ended", created_at=old)
    child = await a_job(store, "child")
    await rows(
        store,
        "INSERT INTO job_dependency (job_id, parent_id, wanted) VALUES ($1, $2, 'ended') RETURNING 1",
        child,
        parent,
    )
    before = {name for (name,) in await rows(store, "SELECT name FROM job")}
    assert await night.clean(job_days=90, job_statuses="ended") == {"jobs": 1}
    assert before - {name for (name,) in await rows(store, "SELECT name FROM job")} == {"ended"}
    assert await night.clean() == {}, "jobs are kept unless somebody asks"
