"""Why tasks that are ready for long are taken by nobody."""

from collections.abc import Sequence
from datetime import datetime

from gateway.batch.rules.capacity import threads_at
from gateway.batch.store.servers import Server, list_servers
from gateway.config.definitions import group_name
from gateway.db.open import Store
from gateway.explanations.finding import Place
from gateway.operations.reads.doctor_jobs import NotTaken, tasks_not_taken

WANTED = frozenset({"task-group-paused", "task-no-threads"})


async def find_untaken(store: Store, now: datetime, *, wanted_too: bool = True) -> list[Place]:
    """Return the task of each group that waits the longest, when too long, by what keeps it.

    Rule: a task behind others that run waits its turn. With *wanted_too* also what somebody wanted so: paused groups,
    and hours without threads.
    """
    tasks, busy = await tasks_not_taken(store)
    if not tasks:
        return []
    servers = await list_servers(store)
    codes = {task: _code(task, servers, busy, now) for task in tasks}
    return [
        Place(
            code, None, f"task {task.task} of run {task.run_id} (job {task.job}, group {group_name(task.batch_group)})"
        )
        for task, code in codes.items()
        if code is not None and (wanted_too or code not in WANTED)
    ]


def _code(task: NotTaken, servers: Sequence[Server], busy: set[str], now: datetime) -> str | None:
    if task.concurrency < 0:
        return "task-group-paused"
    takers = [
        one
        for one in servers
        if one.incarnation is not None
        and one.definition.is_batch
        and not one.draining
        and task.batch_group in one.takes
    ]
    if not takers:
        return "task-no-server"
    if not any(threads_at(one.definition, now) for one in takers):
        return "task-no-threads"
    return None if any(one.definition.name in busy for one in takers) else "task-not-taken"
