"""S10: a server dies with tasks in work; another one takes over what it may, and late results are refused."""

from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest

from gateway.batch.store.runs import RunDetails, read_run
from gateway.db.open import Use, open_store
from gateway.kernel.ids import RunId
from tests.crash.cluster import Cluster
from tests.crash.proof import calm
from tests.crash.site import CrashSite
from tests.site import until

HANGS_ONCE = "if [ -e {0} ]; then exit 0; fi; touch {0}; while [ ! -e {1} ]; do sleep 0.1; done"
"""Hangs the first time until it is let go, and goes through the second time."""


def tasks(cluster: Cluster) -> dict[str, Any]:
    def hangs(name: str, **options: Any) -> dict[str, Any]:
        script = HANGS_ONCE.format(cluster.folder / f"{name}.began", cluster.folder / "go")
        return {"run": "command", "with": {"command": ["sh", "-c", script]}, **options}

    return {"T": hangs("T", retries=1), "U": hangs("U")}


async def begin(cluster: Cluster, build: str = "") -> tuple[CrashSite, CrashSite]:
    """Let the first node, alone, begin a job; then start the other one."""
    for node in cluster.nodes:
        node.extra["jobs"] = {"lost": {"tasks": tasks(cluster)}}
        node.extra["server"] = node.folder.name
    first, second = cluster.nodes
    await first.run(build=f"short_leases {build}")

    async def began() -> bool:
        return all((cluster.folder / f"{name}.began").exists() for name in "TU")

    await until(began, "both tasks are in work", tell=cluster.tail)
    await second.run(build=f"short_leases {build}")
    return first, second


async def ended(cluster: Cluster, seconds: float = 60.0) -> RunDetails:
    """Wait for the end of the run and return it."""
    run: list[int] = []

    async def over() -> bool:
        rows = await cluster.query("SELECT id FROM run WHERE job = 'lost' AND ended_at IS NOT NULL")
        run[:] = [row["id"] for row in rows]
        return bool(run)

    await until(over, "the run ends", seconds=seconds, tell=cluster.tail)
    async with open_store(cluster.store, cluster.folder / "visitor", use=Use.VISIT) as store:
        return await read_run(store, RunId(run[0]))


def story(details: RunDetails) -> dict[str, list[tuple[str, str | None]]]:
    """Where each task was tried, and how that ended."""
    name = {task.id: task.name for task in details.tasks}
    attempts: dict[str, list[tuple[str, str | None]]] = {task.name: [] for task in details.tasks}
    for attempt in details.attempts:
        attempts[name[attempt.run_task_id]].append((attempt.server, attempt.outcome))
    return attempts


def check(details: RunDetails) -> None:
    assert story(details) == {"T": [("node-1", "lost"), ("node-2", "ended")], "U": [("node-1", "lost")]}
    assert {task.name: (task.status, task.error_code) for task in details.tasks} == {
        "T": ("ended", None), "U": ("error", "task.server_lost"),
    }  # fmt: skip
    assert details.run.status == "error"


async def test_s10_what_a_killed_server_had_in_work_is_tried_again_elsewhere_or_has_failed(cluster: Cluster) -> None:
    first, _ = await begin(cluster)
    await first.kill()
    check(await ended(cluster))
    (cluster.folder / "go").touch()
    await calm(cluster)


async def test_s10_late_results_of_a_frozen_server_change_nothing(cluster: Cluster) -> None:
    first, _ = await begin(cluster)
    assert first.process is not None
    first.process.send_signal(SIGSTOP)
    try:
        check(await ended(cluster))
    finally:
        (cluster.folder / "go").touch()
        first.process.send_signal(SIGCONT)

    async def refused() -> bool:
        return len(first.happened("lease.lost")) == 2

    await until(refused, "both late results are refused", tell=cluster.tail)
    check(await ended(cluster))
    await calm(cluster)


async def test_tasks_that_nobody_takes_from_a_lost_server_are_seen(cluster: Cluster) -> None:
    """The proof can fail: they stay in work, although the server is known to be lost."""
    first, second = await begin(cluster, "no_taking_back")
    await first.kill()
    (cluster.folder / "go").touch()

    async def lost() -> bool:
        return second.told("node.lost")

    await until(lost, "the server is lost", tell=cluster.tail)
    with pytest.raises(AssertionError, match="the run ends"):
        await ended(cluster, seconds=1.0)
    rows = await cluster.query("SELECT name FROM run_task WHERE fence IS NOT NULL ORDER BY name")
    assert [row["name"] for row in rows] == ["T", "U"]
