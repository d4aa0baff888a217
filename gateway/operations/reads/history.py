"""Searching the history of runs: what is asked, where it was found, and pages of bounded cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from asyncpg import Connection

from gateway.batch.rules.job import JobStatus, TaskStatus
from gateway.batch.statements import runs_sql
from gateway.batch.statements.runs_sql import Run
from gateway.db.open import Store
from gateway.kernel.errors import NoSuchJob
from gateway.kernel.ids import JobId, RunId
from gateway.operations.statements import history_sql
from gateway.operations.statements.history_sql import WalkedRun

MOST_LOOKED: Final = 50_000
"""Runs that one page looks at; a search that found less so far says where to go on."""
MOST_MATCHES: Final = 3
"""Places of one run that are told."""
_FIRST_STEP: Final = 128
_LARGEST_STEP: Final = 4_096


class By(StrEnum):
    """The time of a run that a window is about."""

    STARTED = "started"
    PLANNED = "planned"
    ENDED = "ended"  # a run that is under way has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What runs are looked for; None does not narrow.

    Shape: `text` are pieces that all stand in one place of the run, case ignored, each from the beginning of a word
    on; `since` and `until` bound the time `by`, both included; `user` owned, ran or cancelled it, or ran a task of it;
    `server` worked on it; `task_status` is that of some task; `file` is the name of a file that a task made, `*` for
    anything; `owner` is whose runs alone are seen.
    """

    partition: str
    job: JobId | None = None
    text: Sequence[str] = ()
    by: By = By.STARTED
    since: datetime | None = None
    until: datetime | None = None
    statuses: Sequence[JobStatus] | None = None
    user: str | None = None
    server: str | None = None
    task_status: TaskStatus | None = None
    file: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Where the text stands: `place` is job, description, task, error, file or log; the rest as far as it fits."""

    place: str
    task: str | None
    attempt: int | None
    at: datetime | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A run that was looked for, and where its text stands: the first few places."""

    run: Run
    matches: Sequence[Match]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Hits, the newest first. `before` is the run to go on from, None when there is nothing further back.

    `looked_back_to` is the start of the oldest run that was looked at.
    """

    hits: Sequence[Hit]
    before: RunId | None
    looked_back_to: datetime | None


async def search_runs(store: Store, search: Search, *, before: RunId | None = None, limit: int = 50) -> Page:
    """Return up to *limit* runs, the newest start first, from behind the run *before* on.

    Rule: a page looks at so many runs at most, whatever is kept, and of the log reads the lines that match.
    Raises: NoSuchJob when the run *before* is gone.
    """
    found: dict[RunId, Sequence[Match]] = {}
    async with store.transaction() as connection:
        await history_sql.plan_for_values(connection)
        place = await _place_of(connection, before)
        looked, step, full, over = 0, min(_FIRST_STEP, MOST_LOOKED), False, False
        while not full and not over and looked < MOST_LOOKED:
            walked = await _walk(connection, search, place, step)
            matches = await _matches(connection, search, [one.id for one in walked if one.passes])
            over = len(walked) < step
            for one in walked:
                place = (one.started_at, one.id)
                if one.id in matches:
                    found[one.id] = matches[one.id]
                if len(found) == limit:
                    full = True
                    break
            looked += len(walked)
            step = min(2 * step, _LARGEST_STEP, MOST_LOOKED - looked)
        runs = await runs_sql.find_runs(connection, list(found))
    return Page(
        hits=[Hit(run=run, matches=found[run.id]) for run in runs],
        before=place[1] if place is not None and (full or not over) else None,
        looked_back_to=None if place is None else place[0],
    )


async def _place_of(connection: Connection, run: RunId | None) -> tuple[datetime, RunId] | None:
    if run is None:
        return None
    row = await history_sql.start_of_run(connection, run)
    if row is None:
        raise NoSuchJob(f"there is no run {run} to go on from: it may have been removed; say until when", run=run)
    return row.started_at, row.id


async def _walk(
    connection: Connection, search: Search, place: tuple[datetime, RunId] | None, step: int
) -> list[WalkedRun]:
    """Return the next runs. What ended before a moment started before it, so that the index serves that as well."""
    started = search.by is By.STARTED
    file = None if search.file is None else like(search.file, wildcards=True)
    behind, behind_run = place or (None, None)
    return await history_sql.walk_runs(
        connection, search.partition, search.job, search.since if started else None,
        None if search.by is By.PLANNED else search.until, behind, behind_run, step,
        None if started else search.by, search.since, search.until, search.statuses, search.owner, search.user,
        search.server, search.task_status, file,
    )  # fmt: skip


async def _matches(connection: Connection, search: Search, runs: Sequence[RunId]) -> Mapping[RunId, Sequence[Match]]:
    """Return which of the runs have the text, and where; all of them when none is asked for."""
    if not search.text or not runs:
        return dict.fromkeys(runs, ())
    patterns = [f"%{like(piece)}%" for piece in search.text]
    matches: dict[RunId, list[Match]] = {}
    for row in await history_sql.find_text(connection, runs, patterns, search.text, MOST_MATCHES):
        match = Match(place=row.place, task=row.task, attempt=row.attempt, at=row.at, text=row.text)
        matches.setdefault(row.run_id, []).append(match)
    return matches


def like(text: str, *, wildcards: bool = False) -> str:
    """Return the pattern of LIKE that means *text* itself; with *wildcards*, `*` and `?` are such."""
    for character in ("\\", "%", "_"):
        text = text.replace(character, "\\" + character)
    return text.replace("*", "%").replace("?", "_") if wildcards else text
