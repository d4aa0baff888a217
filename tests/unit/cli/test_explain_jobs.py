"""`gateway explain` on jobs, runs and tasks, and on names that nothing has."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from asyncpg import connect

from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_explain import codes, explained


def execute(database_url: str, *statements: str) -> None:
    async def run() -> None:
        connection = await connect(database_url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


ALIVE = "INSERT INTO incarnation (node, host, pid, version) VALUES (gen_random_uuid(), 'elsewhere', 1, '1')"


def test_job_on_hold_says_how_to_release_it(nightly: Cli) -> None:
    (one,) = explained(nightly, "nightly")
    assert one["code"] == "job.on-hold" and one["wrong"]
    assert "`gateway jobs release nightly`" in one["way_out"] and one["remedy"]["action"] == "release_job"


def test_job_on_hold_says_who_held_it_when_and_why(nightly: Cli) -> None:
    nightly.run("jobs", "release", "nightly")
    assert nightly.run("jobs", "hold", "nightly", "--reason", "Stocktaking").exit_code == 0
    (one,) = explained(nightly, "nightly")
    assert "It is on hold, put there by ann at 2" in one["why"] and "(Stocktaking)" in one["why"]


def test_task_of_a_job_without_runs_is_known(nightly: Cli) -> None:
    assert codes(nightly, "nightly/export") == ["task.no-run"]
    assert codes(nightly, "nightly/exprot") == ["file.never-seen"]


def test_waiting_job_says_when_it_starts_and_that_no_gateway_runs(nightly: Cli, database_url: str) -> None:
    nightly.run("jobs", "release", "nightly")
    assert codes(nightly, "nightly") == ["gateway.not-running"]
    execute(database_url, ALIVE)
    (one,) = explained(nightly, "nightly")
    assert one["code"] == "job.waiting" and not one["wrong"] and "UTC" in one["why"] and one["until"]


@pytest.fixture
def run(nightly: Cli, database_url: str) -> Cli:
    """A run of the job under way: the first task failed, the second waits for it, the third is ready."""
    execute(
        database_url,
        ALIVE,
        "INSERT INTO run (id, job_id, job, partition_key, company, created_by, run_as, cause, planned_at, started_at,"
        " status) OVERRIDING SYSTEM VALUE SELECT 900, id, name, partition_key, company, created_by, created_by,"
        " 'operator', now(), now(), 'executing' FROM job WHERE name = 'nightly'",
        "UPDATE job SET status = 'executing', run_id = 900 WHERE name = 'nightly'",
        *[_task(number, name, status, more) for number, (name, status, more) in enumerate(TASKS)],
        "INSERT INTO run_condition (run_task_id, parent_id, wanted) SELECT t.id, p.id, 'ended'"
        " FROM run_task t, run_task p WHERE t.name = 'tell' AND p.name = 'export'",
    )
    return nightly


TASKS: Sequence[tuple[str, str, dict[str, str]]] = (
    ("export", "error", {"error": "'The share is away.'", "ended_at": "now()", "started_at": "now()"}),
    ("tell", "waiting", {}),
    ("undo", "ready", {"ready_at": "now() - interval '1 minute'"}),
)


def _task(position: int, name: str, status: str, more: dict[str, Any]) -> str:
    columns = {
        "run_id": "900", "position": str(position), "name": f"'{name}'", "handler": "'command'", "company": "'DAT'",
        "batch_group": "''", "priority": "'normal'", "location": "'server'", "is_private": "false", "owner": "'ann'",
        "condition_type": "'all'", "ignore_failure": "false", "max_retries": "0", "retry_seconds": "0",
        "wait_for_children": "true", "status": f"'{status}'", **more,
    }  # fmt: skip
    return f"INSERT INTO run_task ({', '.join(columns)}) VALUES ({', '.join(columns.values())})"


def test_run_under_way_is_explained_with_the_tasks_that_matter(run: Cli) -> None:
    for what in ("run:900", "900"):
        found = explained(run, what)
        assert [one["code"] for one in found] == ["run.executing", "task.failed", "task.no-server"]
    assert "1 waiting, 1 ready, 1 error" in found[0]["why"] and "an operator" in found[0]["why"]
    assert "The share is away" in found[1]["why"] and "gateway runs rerun 900 --failed" in found[1]["way_out"]
    assert codes(run, "nightly")[:2] == ["job.executing", "run.executing"]


@pytest.mark.parametrize("what", ["nightly/tell", "run:900/tell"])
def test_waiting_task_names_what_it_waits_for(run: Cli, what: str) -> None:
    (one,) = explained(run, what)
    assert one["code"] == "task.waiting" and "export" in one["why"] and "error" in one["why"]


@pytest.mark.parametrize(
    ("harm", "code", "words"),
    [
        ("UPDATE run_task SET status = 'executing', server = 'one', started_at = now(), waits_for_children = true",
         "executing", "one works on it"),
        ("UPDATE run_task SET location = 'operator'", "waits-for-person", "gateway tasks run"),
        ("UPDATE run_task SET ready_at = now() + interval '1 hour', attempts = 2, error = 'Busy.'", "retried", "Busy"),
        ("UPDATE batch_group SET concurrency = -1", "group-paused", "--concurrency 0"),
        ("UPDATE run_task SET status = 'not_run', ended_at = now()", "not-run", "did not come true"),
        ("UPDATE incarnation SET stopped_at = now()", "no-gateway", "gateway run"),
    ],
)  # fmt: skip
def test_every_state_of_a_task_has_its_words(run: Cli, database_url: str, harm: str, code: str, words: str) -> None:
    execute(database_url, harm + (" WHERE name = 'undo'" if "run_task" in harm else ""))
    (one,) = explained(run, "nightly/undo")
    assert one["code"] == f"task.{code}" and words in one["why"] + one["way_out"], one


def test_failed_run_says_why_and_how_to_run_it_again(run: Cli, database_url: str) -> None:
    execute(
        database_url,
        "UPDATE run SET status = 'error', ended_at = now()",
        "UPDATE run_task SET status = 'not_run', ended_at = now() WHERE ended_at IS NULL",
        "UPDATE job SET status = 'error', run_id = NULL, last_run_id = 900, last_outcome = 'error'",
    )
    assert codes(run, "run:900") == ["run.failed", "task.failed"]
    (job,) = explained(run, "nightly")
    assert job["code"] == "job.failed" and "Its last run 900 failed" in job["why"]


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(("asked", "meant"), [("ordres", "orders"), ("batch.xm", "batch.xml"), ("nightli", "nightly")])
def test_similar_name_is_offered(nightly: Cli, asked: str, meant: str) -> None:
    (one,) = explained(nightly, asked)
    assert one["code"] == "file.never-seen" and f"Did you mean '{meant}'?" in one["way_out"] and one["wrong"]


def test_file_that_lies_there_under_a_similar_name_is_offered(cli: Cli) -> None:
    (cli.config.parent / "in" / "Order-17.xml").write_text("<Envelope/>")
    (one,) = explained(cli, "order-17.xml")
    assert "Did you mean 'Order-17.xml'?" in one["way_out"]


def test_jobs_of_a_closed_partition_do_not_exist_for_a_person(nightly: Cli) -> None:
    nightly.config.write_text(nightly.config.read_text() + "accounts: {ann: {partitions: []}}\n")
    assert codes(nightly, "nightly") == ["file.never-seen"]
    assert codes(nightly, "orders") == ["gateway.not-running"], "the queue is everybody's"
    assert "no access to the partition" in nightly.run("explain", "nightly", "--partition", "initial").stderr
