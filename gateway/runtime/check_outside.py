"""What the configuration names outside of the gateway: accounts, programs, mail server, webhook, addresses, statements.

A thing that is away now may be there when it is needed, and a task may run on another machine: these are warnings.
"""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Final

from gateway.batch.alerts.channels.outside import unreachable_address, unreachable_host, unusable_program
from gateway.config.models import InboundPort, Settings, Task
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError
from gateway.runtime.checked import Finding, Verdict
from gateway.runtime.jobs import runnables_to_check, shipped_for_operators
from gateway.runtime.runnables import KnownRunnables
from gateway.workers.cage import has_name

_SQL: Final = "sql"


async def check_outside(settings: Settings, site: Path) -> list[Finding]:
    """Return what cannot be used now of what alerts and tasks need; all are looked at side by side."""
    looks = [
        *_channels(settings, site),
        *_printing(settings),
        *_tasks(settings, runnables_to_check(site / "config.yaml"), sql=False),
    ]
    found = await asyncio.gather(*(look for _, _, look in looks))
    owners = await asyncio.to_thread(lambda: list(_owners(settings)))
    return [
        *owners,
        *_findings([(subject, path, texts) for (subject, path, _), texts in zip(looks, found, strict=True)]),
    ]


async def check_statements(settings: Settings, store: Store, site: Path) -> list[Finding]:
    """Return the statements of tasks that the database does not understand; *store* is the gateway's own."""
    runnables = KnownRunnables(shipped_for_operators(site, store, settings), environ=os.environ, base=site)
    looks = _tasks(settings, runnables, sql=True)
    return _findings([(subject, path, await look) for subject, path, look in looks])


_Path = tuple[str | int, ...]
_Look = tuple[str, _Path, Awaitable[list[str]]]


def _findings(found: list[tuple[str, _Path, list[str]]]) -> list[Finding]:
    return [
        Finding(subject=subject, verdict=Verdict.WARNING, text=text, path=path)
        for subject, path, texts in found
        for text in texts
    ]


def _channels(settings: Settings, site: Path) -> Iterator[_Look]:
    mail, alerts = settings.mail, settings.alerts
    if mail.host is not None:
        yield "mail", ("mail", "host"), _listed(unreachable_host(mail.host, mail.port))
    if alerts.webhook.url is not None:
        yield "alerts", ("alerts", "webhook", "url"), _listed(unreachable_address(alerts.webhook.url))
    if alerts.command:
        look = asyncio.to_thread(unusable_program, alerts.command[0], site)
        yield "alerts", ("alerts", "command"), _listed(look)


def _printing(settings: Settings) -> Iterator[_Look]:
    printing = None if settings.posting is None else settings.posting.print
    if printing is None:
        return
    at = ("posting", "print")
    for name, printer in printing.printers.items():
        if printer.command is not None:
            look = asyncio.to_thread(unusable_program, printer.command[0], Path("/"))
            yield f"printer {name}", (*at, "printers", name, "command"), _listed(look)
    for path in printing.fonts:
        yield "printing", (*at, "fonts"), _listed(asyncio.to_thread(_missing, path))
    if printing.letterhead.logo is not None:
        look = asyncio.to_thread(_missing, printing.letterhead.logo)
        yield "printing", (*at, "letterhead", "logo"), _listed(look)


def _missing(path: Path) -> str | None:
    return None if path.is_file() else f"there is no file {path}"


def _tasks(settings: Settings, runnables: KnownRunnables, *, sql: bool) -> list[_Look]:
    return [
        (f"job {job_name}", ("jobs", job_name, "tasks", name, "with"), _examined(runnables, name, task))
        for job_name, job in settings.jobs.items()
        if job.active
        for name, task in job.tasks.items()
        if (task.run == _SQL) is sql
    ]


async def _listed(look: Awaitable[str | None]) -> list[str]:
    text = await look
    return [] if text is None else [text]


async def _examined(runnables: KnownRunnables, name: str, task: Task) -> list[str]:
    try:
        found = await runnables.examine(task.run, task.parameters)
    except GatewayError as error:
        found = [error.message]
    return [f"task {name}: {text}" for text in found]


def _owners(settings: Settings) -> Iterator[Finding]:
    """Yield owners of files that have no name here: who they are decides what they may do."""
    for owner in settings.users:
        if isinstance(owner, str) and not _is_account(owner):
            text = f"there is no account {owner!a} on this machine, so this name counts for no file"
            yield Finding(subject="users", verdict=Verdict.WARNING, text=text, path=("users", owner))
    for name, port in settings.ports.items():
        if not isinstance(port, InboundPort) or not port.active or port.security.default_user is not None:
            continue
        try:
            owner_id = port.receive.folder.stat().st_uid
        except OSError:  # told elsewhere
            continue
        if owner_id not in settings.users and not has_name(owner_id):
            text = (
                f"the folder belongs to the account number {owner_id}, which has no name here: files of that account "
                f"are refused; name it in `users: {{{owner_id}: …}}`, or set `security.default_user`"
            )
            path = ("ports", name, "receive", "folder")
            yield Finding(subject=f"port {name}", verdict=Verdict.WARNING, text=text, path=path)


def _is_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
