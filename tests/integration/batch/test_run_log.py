"""Log lines and files of runs: complete, bounded, and gone with their run."""

import asyncio
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from gateway.batch.housekeeping.deletes import delete_runs
from gateway.batch.store import run_log
from gateway.batch.store import run_log as run_files
from gateway.batch.store.run_log import StoredLog, flushed_often, keep_file, list_run_files, read_run_file, write_lines
from gateway.db.open import Store
from gateway.kernel.errors import FileNotKept, StoreUnavailable
from gateway.kernel.ids import RunId, RunTaskId

AT = datetime(2031, 5, 6, tzinfo=UTC)


async def rows(store: Store, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    async with store.transaction() as connection:
        return [tuple(row.values()) for row in await connection.fetch(sql, *arguments)]


async def a_run(store: Store, *, ended: str = "clock_timestamp()") -> RunId:
    sql = (
        "INSERT INTO run (job, partition_key, company, created_by, run_as, cause, planned_at, started_at, ended_at,"
        f" status) VALUES ('nightly', 'initial', 'DAT', 'ann', 'ann', 'operator', {ended}, {ended}, {ended}, 'ended')"
        " RETURNING id"
    )
    return RunId((await rows(store, sql))[0][0])


LINES = "SELECT attempt, severity, text FROM run_log ORDER BY id"
TASK = RunTaskId(7)


def a_log(store: Store, run: RunId, attempt: int = 1) -> StoredLog:
    return StoredLog(store, run, TASK, attempt, lambda: AT)


async def finish(store: Store, run: RunId, log: StoredLog, attempt: int = 1) -> None:
    """Write what is left, as the end of an attempt does."""
    async with store.transaction() as connection:
        await write_lines(connection, [((run, TASK, attempt), log.rest())])


async def test_lines_of_every_attempt_are_kept_in_order(store: Store) -> None:
    run = await a_run(store)
    logs = [a_log(store, run, attempt) for attempt in (1, 2)]
    for log in logs:
        log.info("begins")
        log.warning("odd")
    await logs[0].flush()
    for attempt, log in enumerate(logs, start=1):
        await asyncio.to_thread(log.error, "wrong")
        await finish(store, run, log, attempt)
    lines = [("info", "begins"), ("warning", "odd"), ("error", "wrong")]
    assert sorted(await rows(store, LINES)) == sorted((attempt, *line) for attempt in (1, 2) for line in lines)
    assert await rows(store, LINES.replace("ORDER", "WHERE attempt = 1 ORDER")) == [(1, *line) for line in lines]


async def test_lines_are_written_while_the_task_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "_FLUSH_SECONDS", 0.01)
    run = await a_run(store)
    log = a_log(store, run)
    async with flushed_often(log), asyncio.timeout(60):
        log.info("so far")
        while log.rest():
            await asyncio.sleep(0.01)
    assert await rows(store, LINES) == [(1, "info", "so far")]


async def test_too_many_lines_are_counted_and_errors_have_room_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "MOST_LINES", 10)
    run = await a_run(store)
    log = a_log(store, run)
    for number in range(13):
        log.info(str(number))
    log.error("the reason")
    await finish(store, run, log)
    found = await rows(store, LINES)
    assert [text for _, _, text in found[:10]] == [str(number) for number in range(10)]
    assert [text for _, _, text in found[10:]] == [
        "the reason",
        "3 further lines were not kept: an attempt may write 10.",
    ]


async def test_long_and_unprintable_lines_are_made_fit(store: Store) -> None:
    run = await a_run(store)
    log = a_log(store, run)
    log.info("x" * 5000)
    log.info("a\0b\x1b[31m")
    await finish(store, run, log)
    (_, _, long), (_, _, odd) = await rows(store, LINES)
    assert len(long) == run_log.LONGEST_LINE and "\x1b" not in odd and odd.startswith("a")


async def test_lines_wait_for_a_database_that_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "_FLUSH_SECONDS", 0.01)
    tries = 0

    async def away(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise StoreUnavailable("away")

    run = await a_run(store)
    log = a_log(store, run)
    with monkeypatch.context() as outage:
        outage.setattr(run_log, "write_lines", away)
        async with flushed_often(log), asyncio.timeout(60):
            log.info("the last words")
            while tries < 3:
                await asyncio.sleep(0.01)
    await finish(store, run, log)
    assert await rows(store, LINES) == [(1, "info", "the last words")]


async def test_a_file_is_listed_and_read(store: Store) -> None:
    run = await a_run(store)
    await keep_file(store, run, TASK, "list.csv", b"a;b\n")
    (file,) = await list_run_files(store, run)
    assert (file.name, file.size_bytes, file.sha256) == ("list.csv", 4, sha256(b"a;b\n").digest())
    assert await read_run_file(store, file.id) == ("list.csv", b"a;b\n")
    assert await read_run_file(store, file.id + 1) is None


async def test_a_file_of_the_same_name_replaces_the_earlier_one(store: Store) -> None:
    run = await a_run(store)
    for content in (b"first", b"second"):
        await keep_file(store, run, TASK, "list.csv", content)
    (file,) = await list_run_files(store, run)
    assert await read_run_file(store, file.id) == ("list.csv", b"second")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\nb", "x" * 201])
async def test_names_that_are_no_plain_file_name_are_refused(store: Store, name: str) -> None:
    with pytest.raises(FileNotKept, match="cannot be the name"):
        await keep_file(store, await a_run(store), TASK, name, b"")


async def test_files_beyond_the_limits_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_files, "MOST_FILE_BYTES", 6)
    monkeypatch.setattr(run_files, "MOST_RUN_BYTES", 10)
    run = await a_run(store)
    with pytest.raises(FileNotKept, match="up to 6"):
        await keep_file(store, run, TASK, "a", b"1234567")
    await keep_file(store, run, TASK, "a", b"123456")
    with pytest.raises(FileNotKept, match="6 bytes of files already"):
        await keep_file(store, run, TASK, "b", b"12345")
    await keep_file(store, run, TASK, "a", b"654321")
    await keep_file(store, run, TASK, "b", b"1234")


async def test_a_file_of_a_run_that_is_gone_is_refused(store: Store) -> None:
    with pytest.raises(FileNotKept, match="is gone"):
        await keep_file(store, RunId(99), TASK, "a", b"")


async def test_lines_and_files_go_with_their_run(store: Store) -> None:
    old, new = await a_run(store, ended="clock_timestamp() - interval '31 days'"), await a_run(store)
    for run in (old, new):
        await keep_file(store, run, TASK, "a", b"1")
        log = a_log(store, run)
        log.info("done")
        await log.flush()
    assert await delete_runs(store, datetime.now(UTC) - timedelta(days=30), 100) == 1
    assert await rows(store, "SELECT run_id FROM run_file UNION ALL SELECT run_id FROM run_log") == [(new,), (new,)]
