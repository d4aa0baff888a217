"""What of the batch framework waits too long is found, each by its own code; what waits its turn is not."""

from datetime import UTC, datetime, time

from gateway.batch.rules.definition import GroupDefinition, HoursDefinition, ServerDefinition
from gateway.batch.rules.job import Priority
from gateway.batch.store.servers import put_group, put_server, register_server, set_draining
from gateway.db.open import Store
from gateway.messaging.queue.leases import start_incarnation
from gateway.operations.attention import find_untaken
from gateway.operations.reads.doctor_jobs import find_stuck_jobs

NOW = datetime.now(UTC)
LONG_AGO = "clock_timestamp() - interval '11 minutes'"
JOB = f"""
INSERT INTO active_period (name, start_time, end_time, weekdays)
VALUES ('never', '08:00', '18:00', '{{}}'), ('always', '00:00', '00:00', DEFAULT);
INSERT INTO job (partition_key, name, description, status, company, created_by, original_start, next_start)
VALUES ('initial', 'nightly', '', 'waiting', 'DAT', 'me', now(), {LONG_AGO})
"""
RUN = f"""
INSERT INTO run (job, partition_key, company, created_by, run_as, cause, planned_at, started_at, status)
VALUES ('nightly', 'initial', 'DAT', 'ann', 'ann', 'schedule', now(), {LONG_AGO}, 'executing');
INSERT INTO run_task (run_id, position, name, handler, company, batch_group, priority, location, is_private, owner,
    condition_type, ignore_failure, max_retries, retry_seconds, wait_for_children, status, ready_at)
SELECT id, n, CASE n WHEN 1 THEN 'export' ELSE 'tell' END, 'command', 'DAT', '', 'normal', 'server', false, 'ann',
       'all', false, 0, 0, true, 'ready', {LONG_AGO} FROM run, generate_series(1, 2) AS n
"""
ENTRY = f"""
INSERT INTO queue_entry (name, status, handler, partition_key, company, created_by, user_name, category, earliest,
    source, changed_at)
VALUES ('post', 'ready', 'work', 'initial', 'DAT', 'ann', 'ann', 'SalesPost', {LONG_AGO}, 'code', {LONG_AGO})
"""
ALERT = f"""
INSERT INTO alert (event_key, event, user_name, channel, subject, body, created_at)
VALUES ('run:1', 'error', 'ann', 'email', 's', 'b', {LONG_AGO}), ('run:2', 'error', 'ann', 'email', 's', 'b', now())
"""


async def execute(store: Store, *statements: str) -> None:
    async with store.transaction() as connection:
        for statement in statements:
            await connection.execute(statement)


async def stuck(store: Store) -> list[tuple[str, str]]:
    return [(place.code, place.what.split(",")[0]) for place in await find_stuck_jobs(store, datetime.now(UTC))]


async def test_a_job_that_is_due_and_kept_by_nothing_is_told(store: Store) -> None:
    overdue = [("start-overdue", "job nightly")]
    await execute(store, JOB)
    assert await stuck(store) == overdue
    for change, found in (
        ("active_period = 'never'", []),
        ("active_period = 'always'", overdue),
        ("status = 'withhold'", []),
        ("status = 'waiting', mode = 'event'", []),
        ("mode = 'timed', next_start = now()", []),
    ):
        await execute(store, f"UPDATE job SET {change}")
        assert await stuck(store) == found, change


async def test_a_job_that_waits_for_another_is_not_told(store: Store) -> None:
    await execute(store, JOB, "UPDATE job SET status = 'ended'", JOB.split(";")[1].replace("nightly", "after it"))
    await execute(store, "INSERT INTO job_dependency (job_id, parent_id, wanted) VALUES (2, 1, 'ended')")
    assert await stuck(store) == []
    await execute(store, "UPDATE job_dependency SET satisfied_by = 7")
    assert await stuck(store) == [("start-overdue", "job after it")]


async def test_an_entry_that_is_due_and_kept_by_nothing_is_told(store: Store) -> None:
    await execute(store, "INSERT INTO entry_category (name) VALUES ('SalesPost')", ENTRY)
    told = [("entry-overdue", "post of the job queue")]
    assert await stuck(store) == told
    await execute(store, "UPDATE queue_entry SET status = 'waiting'")
    assert await stuck(store) == told, "a place is free, and nobody woke it"
    await execute(store, "INSERT INTO entry_slot (category, slot, entry_id) SELECT 'SalesPost', 1, id FROM queue_entry")
    assert await stuck(store) == []
    await execute(
        store,
        "DELETE FROM entry_slot",
        "INSERT INTO job_queue (name, categories, is_started) VALUES ('Q', NULL, false)",
    )
    assert await stuck(store) == [], "its queue is stopped"


async def test_a_run_that_should_have_ended_is_told(store: Store) -> None:
    await execute(store, RUN)
    assert await stuck(store) == []
    await execute(store, "UPDATE run_task SET status = 'ended', ended_at = now()")
    assert await stuck(store) == [], "it is just about to end"
    await execute(store, f"UPDATE run_task SET ended_at = {LONG_AGO}")
    assert await stuck(store) == [("run-not-ended", "run 1 of the job nightly")]
    incarnation = await start_incarnation(store, "node", "1")
    await execute(store, f"UPDATE run SET incarnation = {incarnation}")
    assert await stuck(store) == [], "an event run goes on as long as its process"
    await execute(store, f"UPDATE incarnation SET lost_at = {LONG_AGO}")
    assert await stuck(store) == [("run-not-ended", "run 1 of the job nightly")]


async def test_an_alert_that_is_not_delivered_is_told(store: Store) -> None:
    await execute(store, ALERT)
    assert await stuck(store) == [("alert-not-delivered", "email alert 1 to ann")]
    await execute(store, "UPDATE alert SET status = 'failed', reason = 'no address'")
    assert await stuck(store) == []


async def test_a_task_that_nobody_takes_is_told_with_what_keeps_it(store: Store) -> None:
    async def codes(*, wanted_too: bool = True) -> list[str]:
        found = await find_untaken(store, NOW, wanted_too=wanted_too)
        assert {place.what for place in found} <= {"task export of run 1 (job nightly, group default)"}
        return [place.code for place in found]

    def hours(threads: int) -> tuple[HoursDefinition, ...]:
        return (HoursDefinition(threads=threads, start=time(), end=time(), zone="UTC"),)

    await execute(store, RUN)
    assert await codes() == ["task-no-server"]
    incarnation = await start_incarnation(store, "node", "1")
    await register_server(store, "app-1", incarnation, NOW)
    assert await codes() == ["task-not-taken"]
    await set_draining(store, "app-1", True, now=NOW)
    assert await codes(wanted_too=False) == ["task-no-server"]
    await set_draining(store, "app-1", False, now=NOW)
    await put_server(store, ServerDefinition(name="app-1", hours=hours(0)), now=NOW)
    assert (await codes(), await codes(wanted_too=False)) == (["task-no-threads"], [])
    await put_server(store, ServerDefinition(name="app-1", hours=hours(1)), now=NOW)
    assert await codes() == ["task-not-taken"]
    await put_group(store, GroupDefinition(name="", priority=Priority.NORMAL, concurrency=-1), now=NOW)
    assert (await codes(), await codes(wanted_too=False)) == (["task-group-paused"], [])
    await put_group(store, GroupDefinition(name="", priority=Priority.NORMAL, concurrency=0), now=NOW)
    await execute(
        store,
        f"INSERT INTO lease (fence, owner, stage, port) VALUES (9, {incarnation}, 'task', '')",
        "UPDATE run_task SET status = 'executing', fence = 9 WHERE name = 'tell'",
    )
    assert await codes() == [], "it waits its turn"
