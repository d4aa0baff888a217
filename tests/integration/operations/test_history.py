"""What a search in the history of runs finds, where, and how much it reads for that."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncpg import Connection

from gateway.batch.rules.job import JobStatus, TaskStatus
from gateway.db.open import Store
from gateway.kernel.errors import NoSuchJob
from gateway.kernel.ids import JobId, RunId
from gateway.operations.reads import history
from gateway.operations.reads.history import By, Search, search_runs
from gateway.operations.statements import history_sql

EVERYTHING = Search(partition="initial")
DAY = datetime(2031, 5, 6, tzinfo=UTC)
RUN = """
INSERT INTO run (job_id, job, description, partition_key, company, created_by, run_as, cause, planned_at, started_at,
                 ended_at, status, error, canceled_by)
VALUES (1, $1, $2, 'initial', 'DAT', 'ann', 'service', 'schedule', $3, $4, $5, $6, $7, $8) RETURNING id
"""
TASK = """
INSERT INTO run_task (run_id, position, name, description, handler, company, batch_group, priority, location,
    is_private, owner, condition_type, ignore_failure, max_retries, retry_seconds, wait_for_children, status, server,
    run_by, error, started_at, ended_at)
VALUES ($1, 1, $2, $3, 'command', 'DAT', '', 'normal', 'server', false, 'ann', 'all', false, 0, 0, true, $4, $5, $6, $7,
        now(), now())
RETURNING id
"""
ATTEMPT = """
INSERT INTO attempt (run_task_id, number, server, started_at, ended_at, outcome, error)
VALUES ($1, $2, $3, now(), now(), 'error', $4)
"""
LINE = "INSERT INTO run_log (run_id, run_task_id, attempt, at, severity, text) VALUES ($1, $2, $3, $4, 'info', $5)"
FILE = """
INSERT INTO run_file (run_id, run_task_id, name, size_bytes, sha256, content) VALUES ($1, $2, $3, 1, 'x', 'x')
"""


async def a_run(
    store: Store,
    hour: int,
    *,
    job: str = "nightly",
    description: str = "Orders to the warehouse",
    task: str = "export",
    task_description: str = "Writes the list",
    status: str = "ended",
    task_status: str = "ended",
    server: str = "app-1",
    run_by: str | None = None,
    error: str | None = None,
    run_error: str | None = None,
    tries: Sequence[str] = (),
    lines: Sequence[str] = (),
    files: Sequence[str] = (),
    late: timedelta = timedelta(),
    canceled_by: str | None = None,
) -> RunId:
    start = DAY + timedelta(hours=hour)
    async with store.transaction() as connection:
        run: int = await connection.fetchval(
            RUN, job, description, start - late, start, start + timedelta(minutes=90), status, run_error, canceled_by
        )
        one = await connection.fetchval(TASK, run, task, task_description, task_status, server, run_by, error)
        for number, text in enumerate(tries, start=1):
            await connection.execute(ATTEMPT, one, number, f"tried-{number}", text)
        for text in lines:
            await connection.execute(LINE, run, one, 2, start, text)
        for name in files:
            await connection.execute(FILE, run, one, name)
    return RunId(run)


async def found(store: Store, search: Search) -> list[RunId]:
    return [hit.run.id for hit in (await search_runs(store, search)).hits]


async def places(store: Store, *text: str) -> list[tuple[str, str | None, int | None, str]]:
    page = await search_runs(store, Search(partition="initial", text=text))
    return [(one.place, one.task, one.attempt, one.text) for hit in page.hits for one in hit.matches]


async def test_text_is_found_wherever_a_run_has_it(store: Store) -> None:
    await a_run(
        store, 1, job="stock", task="count", tries=["no route to host", "gone"], error="gone", files=["stock.csv"]
    )
    await a_run(store, 2, status="error", task_status="error", error="gone astray", run_error="export: gone astray")
    await a_run(store, 3, status="error", run_error="its server was lost", lines=["Copied ABC_77.xml to /srv/out"])
    assert await places(store, "STOCK") == [("job", None, None, "stock"), ("file", "count", None, "stock.csv")]
    assert await places(store, "orders", "ware")
    assert (await places(store, "count"))[0] == ("task", "count", None, "count")
    assert (await places(store, "writes"))[0] == ("description", "export", None, "Writes the list")
    assert await places(store, "route") == [("error", "count", 1, "no route to host")]
    assert await places(store, "gone", "astray") == [("error", "export", None, "gone astray")]
    assert await places(store, "server") == [("error", None, None, "its server was lost")]
    assert await places(store, "copied") == [("log", "export", 2, "Copied ABC_77.xml to /srv/out")]


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("Copied order SO-1234/ABC_77.xml", ["abc_77.xml"]),
        ("Copied order SO-1234/ABC_77.xml", ["so-12"]),
        ("deadlock detected (SQLSTATE 40P01)", ["40p01", "DEAD"]),
        ("https://erp.example.com/a?b=1 answered 503", ["example.com/a?b=1", "503"]),
        ("Straße von ÄRÖ: 100% done, a_b", ["straße", "ärö:", "100%", "a_b"]),
        ("value 12e5abc 1e5 0x1F v1.2.3-rc4 007", ["12e5ab", "1e5", "0x1f", "v1.2.3-rc", "007"]),
        ("raised FileNotFoundError(2)", ["filenot"]),
        ("--- begin ---", ["---", "begin"]),
    ],
)
async def test_a_piece_is_found_from_the_beginning_of_a_word_on(store: Store, line: str, pieces: list[str]) -> None:
    run = await a_run(store, 1, lines=["something else", line])
    await a_run(store, 2, lines=[word for word in line.split() if word not in pieces][:1])
    assert await found(store, Search(partition="initial", text=pieces)) == [run]


@pytest.mark.parametrize("text", ["100_", "a%b", "\\", "rows'", "-- x & | ! ( :*"])
async def test_signs_mean_themselves(store: Store, text: str) -> None:
    await a_run(store, 1, lines=["100% of axb were done, x and rows"])
    assert await found(store, Search(partition="initial", text=text.split())) == []


async def test_all_pieces_stand_in_one_place(store: Store) -> None:
    await a_run(store, 1, lines=["one thing", "another"])
    assert await places(store, "one", "another") == []


@pytest.mark.parametrize(
    ("search", "hours"),
    [
        ({"since": DAY + timedelta(hours=2)}, [3, 2]),
        ({"until": DAY + timedelta(hours=2)}, [2, 1]),
        ({"since": DAY + timedelta(hours=4), "by": By.ENDED}, [3]),
        ({"until": DAY + timedelta(hours=3, minutes=30), "by": By.ENDED}, [2, 1]),
        ({"until": DAY, "by": By.PLANNED}, [1]),
        ({"statuses": [JobStatus.ERROR, JobStatus.CANCELED]}, [3, 2]),
        ({"user": "ben"}, [3]),
        ({"user": "carl"}, [2]),
        ({"user": "ann"}, [3, 2, 1]),
        ({"owner": "ben"}, []),
        ({"server": "app-2"}, [2]),
        ({"server": "tried-1"}, [1]),
        ({"task_status": TaskStatus.ERROR}, [2]),
        ({"file": "*.CSV"}, [1]),
        ({"file": "list"}, []),
        ({"job": JobId(2)}, []),
        ({"text": ["export"], "server": "app-1", "task_status": TaskStatus.CANCELED}, [3]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_filters_hold_together(store: Store, search: Mapping[str, Any], hours: list[int]) -> None:
    numbers = {
        await a_run(store, 1, tries=["away"], files=["list.csv"], late=timedelta(hours=2)): 1,
        await a_run(store, 2, status="error", task_status="error", server="app-2", run_by="carl"): 2,
        await a_run(store, 3, status="canceled", task_status="canceled", canceled_by="ben"): 3,
    }
    assert [numbers[run] for run in await found(store, Search(partition="initial", **search))] == hours


async def test_pages_join_without_gap_or_repetition(store: Store) -> None:
    runs = [await a_run(store, hour, lines=["hello"]) for hour in (4, 2, 6, 1, 5, 3)]  # not in the order of numbers
    order = [runs[place] for place in (2, 4, 0, 5, 1, 3)]
    seen: list[RunId] = []
    before: RunId | None = None
    while True:
        page = await search_runs(store, Search(partition="initial", text=["hello"]), before=before, limit=2)
        seen += [hit.run.id for hit in page.hits]
        before = page.before
        if before is None:
            break
    assert seen == order


async def test_a_page_says_where_to_go_on_when_it_has_looked_at_enough(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_LOOKED", 4)
    monkeypatch.setattr(history, "_FIRST_STEP", 2)
    runs = [await a_run(store, hour, lines=["rare"] if hour == 0 else []) for hour in range(6)]
    rare = Search(partition="initial", text=["rare"])
    page = await search_runs(store, rare)
    assert (page.hits, page.before, page.looked_back_to) == ([], runs[2], DAY + timedelta(hours=2))
    page = await search_runs(store, rare, before=page.before)
    assert ([hit.run.id for hit in page.hits], page.before) == ([runs[0]], None)


async def test_a_run_that_is_gone_is_no_place_to_go_on_from(store: Store) -> None:
    with pytest.raises(NoSuchJob, match=r"no run 7 to go on from.*until"):
        await search_runs(store, EVERYTHING, before=RunId(7))


RUNS, LINES = 2_000, 14  # ANALYZE reads all of up to 30,000 lines, and so finds the same each time
FILL = f"""
INSERT INTO run (job, partition_key, company, created_by, run_as, cause, planned_at, started_at, ended_at, status)
SELECT 'many', 'initial', 'DAT', 'ann', 'ann', 'schedule', at, at, at, 'ended'
FROM (SELECT '2031-01-01'::timestamptz + i * interval '1 minute' AS at FROM generate_series(1, {RUNS}) AS i) AS moments;
INSERT INTO run_log (run_id, run_task_id, attempt, at, severity, text)
SELECT 1 + i / {LINES}, 1, 1, now(), 'info',
       'copied list_' || i || '.csv with many rows' || CASE i WHEN 99 THEN ' rarely' ELSE '' END
FROM generate_series(0, {RUNS * LINES} - 1) AS i;
"""


async def test_a_search_reads_the_lines_that_match_and_not_the_log(store: Store) -> None:
    """The runs looked at are the 128 newest, or the 128 oldest; their lines lie in two or three times 64 runs."""
    newest, oldest = range(RUNS - 127, RUNS + 1), range(1, 129)
    async with store.transaction(long=True) as connection:
        await connection.execute(FILL)
        await connection.execute("ANALYZE run, run_log, run_task")
        await history_sql.plan_for_values(connection)
        await connection.execute(f"PREPARE asked AS {history_sql.FIND_TEXT}")
        assert await _lines_read(connection, "rarely", newest) == 0
        assert await _lines_read(connection, "rarely", oldest) == 1
        assert 128 * LINES - 1 <= await _lines_read(connection, "rows", newest) <= 3 * 64 * LINES
        assert 127 * LINES <= await _lines_read(connection, "csv", oldest) <= 3 * 64 * LINES


async def _lines_read(connection: Connection, text: str, runs: Sequence[int]) -> int:
    """Return how many lines were read through the index of words to find *text* in *runs*, thrown away or not."""
    values = f"ARRAY{list(runs)}, ARRAY['%{text}%'], ARRAY['{text}'], 3"
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE asked({values})")
    (step,) = (step for step in _steps(json.loads(plan)[0]["Plan"]) if step.get("Relation Name") == "run_log")
    assert step["Node Type"] == "Bitmap Heap Scan"
    return int(step["Actual Rows"] + step["Rows Removed by Filter"] + step["Rows Removed by Index Recheck"])


def _steps(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _steps(below)
