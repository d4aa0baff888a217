"""The jobs of the configuration, kept in the store as the file says."""

import os
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from gateway.batch.rules.definition import JobDefinition, PeriodDefinition, TaskDefinition
from gateway.batch.rules.job import HistoryMode, JobStatus
from gateway.batch.store.jobs import list_jobs, sync_jobs
from gateway.batch.store.servers import sync_places
from gateway.config.definitions import (
    category_definitions,
    entry_definition,
    group_definitions,
    job_definitions,
    limits_definition,
    period_definitions,
    queue_definitions,
    server_definitions,
)
from gateway.config.models import Settings
from gateway.config.models_jobs import GATEWAY_JOB
from gateway.contracts.task import Runnable
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.exchange import MessageStores
from gateway.kernel.errors import JobRefused
from gateway.kernel.local_time import zone_named
from gateway.queues import ConfiguredEntry, EntryStatus, sync_queues
from gateway.runtime.ports import SystemClock
from gateway.runtime.runnables import Dependencies, KnownRunnables, shipped, without_gateway
from gateway.workers.launcher import Launcher

log = structlog.get_logger()


def server_name(settings: Settings) -> str:
    """Return the name of this process among the servers."""
    return settings.server or socket.gethostname()


def runnables_to_check(config: Path, environ: Mapping[str, str] = os.environ) -> KnownRunnables:
    """Return everything that tasks may run, for checking a configuration: nothing of it is going to run."""
    base = config.absolute().parent
    return KnownRunnables(shipped(base, without_gateway), environ=environ, base=base)


def shipped_for_operators(
    base: Path, store: Store, settings: Settings, launcher: Launcher | None = None
) -> Sequence[Runnable]:
    """Return what a person may run beside a gateway: everything but the services that move messages."""

    threads = ThreadPoolExecutor(1, thread_name_prefix="stores")  # a thread is made only when there is work for it

    def parts() -> Dependencies:
        return Dependencies(
            store=store,
            stages={},
            settings=lambda: settings,
            archives=dict,
            message_stores=MessageStores(store, lambda: settings, threads=lambda _: threads, clock=SystemClock()),
            launcher=launcher,
        )

    return shipped(base, parts)


async def keep_jobs(store: Store, settings: Settings) -> None:
    """Make jobs, job queues, groups, servers and active periods in the store what the configuration says.

    Rule: what operators made, and the statuses they gave, stay.
    Raises: JobRefused, EntryRefused when something cannot be used as it is; nothing is changed then.
    """
    now = await database_clock(store)
    groups, servers, periods = (
        group_definitions(settings), server_definitions(settings),
        [*period_definitions(settings), *system_periods(settings)],
    )  # fmt: skip
    jobs = [*job_definitions(settings), *system_jobs(settings)]
    async with store.transaction() as connection:
        await sync_places(connection, groups, servers, periods, now=now)
        await sync_queues(
            store, connection, category_definitions(settings), queue_definitions(settings), _entries(settings),
            limits=limits_definition(settings), now=now,
        )  # fmt: skip
        done = await sync_jobs(connection, jobs, by=GATEWAY_JOB, now=now)
        if done.created or done.changed or done.removed:  # what only these jobs named can go now
            await sync_places(connection, groups, servers, periods, now=now)
    if done.created or done.changed or done.removed:
        log.info("jobs.synced", created=list(done.created), changed=list(done.changed), removed=list(done.removed))


def _entries(settings: Settings) -> list[ConfiguredEntry]:
    return [
        ConfiguredEntry(
            definition=entry_definition(settings, entry, name=name, user=entry.user or GATEWAY_JOB),
            status=EntryStatus(entry.status.value), user=entry.user or GATEWAY_JOB,
        )
        for name, entry in settings.job_queues.entries.items()
    ]  # fmt: skip


async def keep_owners(store: Store, old: Settings, new: Settings) -> None:
    """Refuse to forget an account that jobs made by people belong to or run as; those of the file name known ones.

    Where the new configuration has no accounts at all, every name is good.
    Raises: JobRefused naming the jobs. Source: batch reference, section 15, S21.
    """
    gone = set(old.accounts) - set(new.accounts)
    if not gone or not new.accounts:
        return
    made = [job for job in await list_jobs(store) if job.source == "operator"]
    lost = {job.definition.name: gone & {job.created_by, job.definition.run_as or job.created_by} for job in made}
    left = ", ".join(f"{name} ({', '.join(sorted(people))})" for name, people in sorted(lost.items()) if people)
    if left:
        raise JobRefused(
            f"accounts are missing that jobs belong to or run as: {left}. Give these jobs to others, "
            "delete them, or switch the accounts off with `enabled: false`."
        )


HOUSEKEEPING = "housekeeping"
_SYSTEM_PERIOD: Final = "system tasks"
"""No active period of a configuration can have this name."""
_LOCALTIME: Final = Path("/etc/localtime")


def system_periods(settings: Settings) -> list[PeriodDefinition]:
    """Return the active period of the jobs that the gateway brings along, where they have one."""
    window = settings.job_queues.limits.system_tasks
    if window is None:
        return []
    zone = window.zone or _machine_zone()
    return [PeriodDefinition(name=_SYSTEM_PERIOD, start=window.start, end=window.end, zone=zone)]


def _machine_zone() -> str:
    """Return the time zone of this machine, UTC where it has none with a name."""
    names = [os.environ.get("TZ", "").removeprefix(":")]
    with suppress(OSError):
        names.append(str(_LOCALTIME.readlink()).partition("zoneinfo/")[2])
    for name in filter(None, names):
        with suppress(JobRefused):
            return zone_named(name).key
    return "UTC"


def system_jobs(settings: Settings) -> list[tuple[JobDefinition, JobStatus]]:
    """Return them with the status each is born with.

    Rule: a job of the configuration that has the name of one stands in its place.
    """
    if HOUSEKEEPING in settings.jobs:
        return []
    house = JobDefinition(
        name=HOUSEKEEPING,
        description="Removes what was kept long enough",
        partition=settings.default_partition,
        company=settings.default_company,
        recurrence={"every": "1 hour"},
        active_period=next((period.name for period in system_periods(settings)), None),
        history=HistoryMode.ERRORS,
        is_system=True,
        tasks=(TaskDefinition(name=HOUSEKEEPING, handler=HOUSEKEEPING),),
    )
    return [(house, JobStatus.WAITING)]
