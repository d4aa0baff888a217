"""Would the gateway run with this configuration? Everything that can be known without starting it, all at once."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import schemas
from adapters.file import check as folders
from gateway.config.checks.folders import one_folder_by_two_paths
from gateway.config.document import Document
from gateway.config.models import PythonService, Settings
from gateway.config.models_ports import STATUS_MESSAGES
from gateway.db.data_folder import Use
from gateway.db.installation import find_installation
from gateway.db.open import Schema, open_store
from gateway.exchange import store_settings
from gateway.kernel.errors import ConfigProblem, GatewayError
from gateway.kernel.ids import PortName
from gateway.messaging.services.python import load_handler
from gateway.runtime.addresses import receive_settings, send_settings
from gateway.runtime.check_jobs import check_alert_command, check_jobs, check_servers
from gateway.runtime.check_outside import check_outside, check_statements
from gateway.runtime.check_posting import check_posting, count_documents
from gateway.runtime.check_services import check_services
from gateway.runtime.checked import Finding, Verdict
from gateway.xml.catalog import Catalog
from gateway.xml.parse import parse_checked
from gateway.xml.verdict import Checker

SAMPLES: Final = "*.sample.xml"


async def check(settings: Settings, site: Path, written: Document) -> list[Finding]:
    """Check folders, schemas, samples, services, jobs and the store; nothing that is not there yet is made.

    *site* is the folder of the configuration file, *written* the file as it stands.
    Rule: an embedded database that exists is started for a moment, unless a running gateway has it open.
    """
    findings: list[Finding] = []
    for part in (
        partial(_folders, site=site),
        partial(check_exchange, site=site),
        _one_folder_by_two_paths,
        _documents,
        _handlers,
        check_posting,
        partial(check_jobs, now=datetime.now(UTC)),
    ):
        findings += await asyncio.to_thread(_all, part, settings)
    findings += check_alert_command(written)
    findings += await check_outside(settings, site)
    return [*findings, *await _store(settings, site)]


def _all(part: Callable[[Settings], Iterator[Finding]], settings: Settings) -> list[Finding]:
    return list(part(settings))


def _folders(settings: Settings, site: Path) -> Iterator[Finding]:
    for name in settings.ports:
        if not settings.ports[name].active:
            yield Finding(subject=f"port {name}", verdict=Verdict.OK, text="not active: its folders are left alone")
            continue
        port = PortName(name)
        receiving, sending = receive_settings(port, settings), send_settings(port, settings)
        reach = (site, settings.data)
        found = [] if receiving is None else list(folders.check_receive(receiving, reach=reach))
        found += [] if sending is None else folders.check_send(sending, reach=reach)
        for one in dict.fromkeys(found):
            yield Finding(
                subject=f"port {name}",
                verdict=Verdict.ERROR if one.fatal else Verdict.WARNING,
                text=one.text,
                path=tuple(one.setting.split(".")),
            )
        if not found:
            text = "its folders can be used"
            if alone := _own_only(settings, port):
                text += (
                    f"; {' and '.join(alone)} in this node's data folder, so what is there when the node fails waits "
                    "for its return. Nodes that are to stand in for one another name folders on the share"
                )
            yield Finding(subject=f"port {name}", verdict=Verdict.OK, text=text)


def _one_folder_by_two_paths(settings: Settings) -> Iterator[Finding]:
    for found in one_folder_by_two_paths(settings):
        subject = f"port {found.path[1]}" if len(found.path) > 1 else "data"
        yield Finding(subject=subject, verdict=Verdict.ERROR, text=found.text, path=found.path)


def _own_only(settings: Settings, port: PortName) -> list[str]:
    """Return which folders with unfinished files other nodes of the same database cannot have in common with us."""
    if settings.embedded:
        return []
    folders = settings.port_folders(port)
    found = {"work": folders.receive.work if folders.receive else None,
             "staging": folders.send.staging if folders.send else None}  # fmt: skip
    return [kind for kind, path in found.items() if path is not None and path.is_relative_to(settings.data)]


def _documents(settings: Settings) -> Iterator[Finding]:
    """Schemas compile, samples pass, and document services fit their schemas."""
    missing = [folder for folder in settings.schemas if not folder.is_dir()]
    for folder in missing:
        yield Finding(
            subject="schemas", verdict=Verdict.ERROR, text=f"the folder {folder} does not exist", path=("schemas",)
        )
    places = [schemas.FOLDER, *(folder for folder in settings.schemas if folder not in missing)]
    catalog = Catalog(places)
    problems = catalog.problems()
    yield from (_schema_finding(problem, Verdict.ERROR) for problem in problems)
    yield from (_schema_finding(problem, Verdict.WARNING) for problem in catalog.warnings())
    if not problems:
        text = f"{len(catalog.names())} documents in {len(places)} folders"
        yield Finding(subject="schemas", verdict=Verdict.OK, text=text)
    yield from check_services(settings, catalog)
    yield from _samples(places[1:], catalog)  # ours are tested with the product; a site may declare their names anew


def _schema_finding(problem: ConfigProblem, verdict: Verdict) -> Finding:
    return Finding(subject="schemas", verdict=verdict, text=problem.text, file=problem.file, line=problem.line)


def _samples(places: Sequence[Path], catalog: Catalog) -> Iterator[Finding]:
    checker = Checker(catalog)
    for sample in (path for folder in places for path in sorted(folder.rglob(SAMPLES)) if path.is_file()):
        try:
            problems = checker.check(parse_checked(sample.read_bytes()))
        except (GatewayError, OSError) as error:
            yield Finding(subject="samples", verdict=Verdict.ERROR, text=str(error), file=str(sample))
            continue
        for problem in problems:
            place = f"{problem.path}: " if problem.path else ""
            text = f"{place}{problem.text}"
            yield Finding(subject="samples", verdict=Verdict.ERROR, text=text, file=str(sample), line=problem.line)
        if not problems:
            yield Finding(subject="samples", verdict=Verdict.OK, text="passes its schema", file=str(sample))


def _handlers(settings: Settings) -> Iterator[Finding]:
    for name, service in settings.services.items():
        if not isinstance(service, PythonService):
            continue
        for operation, entry in service.operations.items():
            path = ("services", name, "operations", operation)
            subject = f"service {name}"
            try:
                load_handler(entry.handler)
                if entry.compensate is not None:
                    load_handler(entry.compensate)
            except GatewayError as error:
                yield Finding(subject=subject, verdict=Verdict.ERROR, text=error.message, path=path)
            else:
                yield Finding(subject=subject, verdict=Verdict.OK, text=f"{operation}: {entry.handler}")


async def _store(settings: Settings, site: Path) -> list[Finding]:
    found: list[Finding] = []
    try:
        if settings.embedded and not settings.postgres_folder.exists():
            await asyncio.to_thread(find_installation)
            text = "embedded: will be made at the first start"
            found += await count_documents(settings, None, site)
        else:
            schema = Schema.IGNORE if settings.embedded else Schema.REQUIRE
            async with open_store(settings.store, settings.data, pool_size=2, use=Use.VISIT, schema=schema) as store:
                text = f"{settings.store_shown}: answers"
                found += await check_statements(settings, store, site)
                found += await check_servers(settings, store)
                found += await count_documents(settings, store, site)
    except GatewayError as error:
        return [*found, Finding(subject="store", verdict=Verdict.ERROR, text=error.message, path=("store",))]
    return [*found, Finding(subject="store", verdict=Verdict.OK, text=text)]


_HOW: Final = f"write a job with a task `run: {STATUS_MESSAGES}`, as docs/status-messages.md shows"


def check_exchange(settings: Settings, *, site: Path) -> Iterator[Finding]:
    """Yield what keeps the messages of a store from being copied; each store at least once.

    A database is not asked: the first run makes its tables.
    """
    copied = _copied(settings)
    for name, store in settings.data_exchange.stores.items():
        subject, path = f"store {name}", ("data_exchange", "stores", name)
        found: list[Finding] = []
        places = settings.store_folders(name)
        if places is not None:
            wrong = folders.check_receive(store_settings(name, store, places), reach=(site, settings.data))
            found += [
                Finding(
                    subject=subject, verdict=Verdict.ERROR if one.fatal else Verdict.WARNING, text=one.text,
                    path=tuple(one.setting.split(".")),
                )
                for one in dict.fromkeys(wrong)
            ]  # fmt: skip
        if None not in copied and name not in copied:
            text = f"no job copies its status messages: {_HOW}"
            found.append(Finding(subject=subject, verdict=Verdict.WARNING, text=text, path=path))
        text = "a database" if places is None else "its folders can be used"
        yield from found or [Finding(subject=subject, verdict=Verdict.OK, text=text)]


def _copied(settings: Settings) -> set[object]:
    """Return the stores that active jobs copy; None: all of them."""
    found: set[object] = set()
    for job in settings.jobs.values():
        for task in job.tasks.values():
            if job.active and task.run == STATUS_MESSAGES:
                named = task.parameters.get("stores")
                found |= set(named) if isinstance(named, list | tuple) and named else {None}
    return found
