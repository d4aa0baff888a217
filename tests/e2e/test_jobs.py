"""Batch jobs of a running gateway, as operators see and change them."""

import signal
from pathlib import Path
from typing import Any

import pytest
from asyncpg import Record

from tests.documents import envelope, guid, single
from tests.e2e.operator import ask, gateway
from tests.site import Site, until

DONE = {"ended", "error", "canceled"}


def command(*words: str, **options: object) -> dict[str, object]:
    """A task that runs a program."""
    return {"run": "command", "with": {"command": list(words)}, **options}


async def refused(site: Site, *words: str) -> str:
    """Run a command that is refused; returns what it said."""
    code, _, said = await gateway(site, *words)
    assert code == 1
    return " ".join(said.split())


async def run_of(site: Site, job: str, *, statuses: set[str]) -> dict[str, Any]:
    """Wait until the newest run of a job has one of these statuses; returns it with its tasks."""
    newest: list[Record] = []

    async def there() -> bool:
        newest[:] = await site.query("SELECT id, status FROM run WHERE job = $1 ORDER BY id DESC LIMIT 1", job)
        return bool(newest) and newest[0]["status"] in statuses

    await until(there, f"a run of {job} is {' or '.join(sorted(statuses))}", tell=site.tail)
    found: dict[str, Any] = await ask(site, "runs", "show", str(newest[0]["id"]))
    return found


async def test_a_job_of_the_configuration_runs_and_keeps_what_operators_decide(site: Site) -> None:
    site.extra["jobs"] = {
        "three": {
            "tasks": {
                "first": command("true"),
                "second": command("true", after="first"),
                "mend": command("true", after={"first": "error"}),
            }
        }
    }
    await site.start()
    found = await run_of(site, "three", statuses=DONE)
    assert {task["name"]: task["status"] for task in found["tasks"]} == {
        "first": "ended", "second": "ended", "mend": "not_run",
    }  # fmt: skip
    shown = await ask(site, "jobs", "show", "three")
    assert (shown["job"]["status"], shown["job"]["last_outcome"], shown["job"]["runs"]) == ("ended", "ended", 1)

    await ask(site, "jobs", "hold", "three")
    site.extra["jobs"]["three"]["description"] = "Three steps"
    site.write_config()

    async def taken_over() -> bool:
        rows = await site.query("SELECT description FROM job WHERE name = 'three'")
        return rows[0]["description"] == "Three steps"

    await until(taken_over, "the changed section is taken over", tell=site.tail)
    assert (await ask(site, "jobs", "show", "three"))["job"]["status"] == "withhold"
    assert await site.stop() == 0


async def test_a_job_is_made_run_cancelled_and_deleted_while_the_gateway_runs(site: Site) -> None:
    await site.start()
    section = """
        tasks:
          wait: {run: command, with: {command: [sleep, "60"]}}
          after: {run: command, with: {command: ["true"]}, after: wait}
    """
    made = await ask(site, "jobs", "create", "long", "-", text=section)
    assert made["job"]["status"] == "withhold"
    assert "it cannot be put on hold" in await refused(site, "jobs", "hold", "long")
    await ask(site, "jobs", "release", "long")
    await run_of(site, "long", statuses={"executing"})
    assert "it cannot be deleted" in await refused(site, "jobs", "delete", "long", "--yes")
    await ask(site, "jobs", "cancel", "long")
    found = await run_of(site, "long", statuses=DONE)
    assert found["run"]["status"] == "canceled"
    assert {task["name"]: task["status"] for task in found["tasks"]} == {"wait": "canceled", "after": "not_run"}
    await ask(site, "jobs", "delete", "long", "--yes")
    assert "long" not in [job["name"] for job in (await ask(site, "jobs", "list"))["jobs"]]
    assert await site.stop() == 0


async def test_nothing_moves_before_the_job_that_moves_messages_is_waiting(site: Site) -> None:
    site.extra["jobs"] = {
        "gateway": {"status": "withhold"},
        "other": {"tasks": {"a": command("true")}},
    }
    site.add_port()
    site.drop("orders.xml", single(envelope(message_id=guid(1))))
    await site.start()
    await run_of(site, "other", statuses=DONE)
    assert (site.inbound() / "orders.xml").exists()
    await ask(site, "jobs", "release", "gateway")
    await site.wait_answers(1)

    async def recorded() -> bool:  # on a machine that is busy it may have been more than one run
        tasks = await site.query(
            "SELECT t.name FROM run r JOIN run_task t ON t.run_id = r.id WHERE r.job = 'gateway' AND r.status = 'ended'"
        )
        return {"receive", "inbound", "send"} <= {task["name"] for task in tasks}

    await until(recorded, "what it did is in history", tell=site.tail)
    assert await site.stop() == 0


SLEEPS = """
import os, sys, time
from pathlib import Path

def sleeps(context, folder):
    context.log.info("sleeping")
    Path(folder, "writing").write_text(str(os.getpid()))
    Path(folder, "writing").rename(Path(folder, "pid"))
    time.sleep(100_000)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_function_that_does_not_end_ends_with_the_gateway(site: Site, number: signal.Signals) -> None:
    (site.folder / "nights.py").write_text(SLEEPS)
    call = {"call": "nights:sleeps", "arguments": {"folder": str(site.folder)}}
    site.extra["shutdown"] = {"drain_seconds": 0.5}
    site.extra["jobs"] = {"nightly": {"tasks": {"sleeps": {"run": "python", "with": call}}}}
    await site.start()
    file = site.folder / "pid"

    async def runs() -> bool:
        return file.exists()

    await until(runs, "the function runs", tell=site.tail)
    process = Path("/proc", file.read_text())
    assert process.exists()
    assert await site.stop(number) == (0 if number is signal.SIGTERM else -number)

    async def gone() -> bool:
        return not process.exists()

    await until(gone, "its process has ended", tell=site.tail)
    attempts = await site.query(
        "SELECT outcome, a.error_code FROM attempt a JOIN run_task t ON t.id = a.run_task_id WHERE t.name = 'sleeps'"
    )
    ended = ("lost", "task.interrupted") if number is signal.SIGTERM else (None, None)  # the next start knows that
    assert [tuple(row) for row in attempts] == [ended]
