"""What the end of a run makes of its entry, in the transaction that ends the run.

Source: batch reference, sections 19.2 (Q8, Q10 to Q12, Q14 to Q16), 19.3, 20.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

import structlog
from asyncpg import Connection, Record

from gateway.batch.rules.job import JobStatus
from gateway.db.open import Store
from gateway.kernel.ids import RunId
from gateway.queues.changes import Became, EntryChange, change_of
from gateway.queues.follow import tell
from gateway.queues.rules.entry import TIMING, EntryStatus, Outcome, Step, come_back
from gateway.queues.starting import timing_of

log = structlog.get_logger()

TIMEOUT: Final = "task.timeout"
CANCELED: Final = "task.canceled"


def follow_runs(store: Store) -> None:
    """Let entries follow their runs in this process: to be called once for each store that ends runs."""
    store.entry_runs_ended = partial(_end_entries, store)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    row: Record
    outcome: Outcome
    step: Step
    code: str | None
    error: str | None


async def _end_entries(store: Store, connection: Connection, runs: Sequence[RunId], now: datetime) -> None:
    """Move the entries of *runs*, free their places, wake who waits for these."""
    sql = store.queries
    await connection.execute(sql.take_entry_turn)
    rows = await connection.fetch(sql.ended_entry_runs, list(runs))
    ends = [_end(row, now) for row in rows]
    stay = [
        (end.row["id"], end.step.status, end.step.earliest, end.step.attempts, end.step.interruptions, end.code,
         end.error)
        for end in ends
        if end.step.status is not None
    ]  # fmt: skip
    await connection.execute(sql.release_slots, [row["id"] for row in rows])
    if stay:
        await connection.execute(sql.change_entries, now, *map(list, zip(*stay, strict=True)))
    if gone := [end.row["id"] for end in ends if end.step.status is None]:
        await connection.execute(sql.delete_entries, gone)
    if categories := sorted({row["category"] for row in rows if row["category"]}):
        await connection.execute(sql.wake_waiting, categories, now)
    for end in ends:
        if end.step.row == "Q15":
            log.error("entry.failed", entry=end.row["id"], code=end.code, error=end.error, run_id=end.row["run_id"])
    await tell(store, connection, [_change(end) for end in ends], now)


def _end(row: Record, now: datetime) -> _End:
    outcome = _outcome(row)
    code, error = (None, None) if outcome is Outcome.WELL else (row["error_code"], row["error"])
    if outcome is Outcome.CANCELED:
        code, error = CANCELED, f"its run was cancelled by {row['canceled_by']}"
    step = come_back(
        outcome, timing=timing_of(row), attempts=row["attempts"], max_attempts=row["max_attempts"],
        rerun_delay_seconds=row["rerun_delay_seconds"], interruptions=row["interruptions"], idle=row["idle"],
        inactivity_minutes=row["inactivity_minutes"], keeps=row["source"] == "config", started=row["started_at"],
        now=now,
    )  # fmt: skip
    if step.error is not None:
        code, error = TIMING, step.error
    if row["retired"]:
        step = Step(row=step.row, status=None)
    elif row["once_from"] is not None and (outcome is not Outcome.WELL or step.row != "Q10"):
        step = Step(
            row=step.row, status=EntryStatus(row["once_from"]), attempts=row["attempts"],
            interruptions=row["interruptions"],
        )  # fmt: skip
    elif row["hold_after"] and step.status is not None:
        step = Step(row=step.row, status=EntryStatus.ON_HOLD, attempts=step.attempts)
    return _End(row=row, outcome=outcome, step=step, code=code, error=error)


def _outcome(row: Record) -> Outcome:
    match JobStatus(row["outcome"]):
        case JobStatus.ENDED:
            return Outcome.WELL
        case JobStatus.CANCELED:
            return Outcome.CANCELED
    if row["is_lost"]:
        return Outcome.LOST
    no_more = row["is_hopeless"] or (row["error_code"] == TIMEOUT and not row["retries_timeout"])
    return Outcome.HOPELESS if no_more else Outcome.FAILED


def _change(end: _End) -> EntryChange:
    became = {"Q14": Became.RETRIED, "Q16": Became.RETRIED, "Q15": Became.FAILED}.get(end.step.row, Became.SUCCEEDED)
    if became is Became.FAILED and end.step.status in {EntryStatus.READY, EntryStatus.WAITING}:
        became = Became.RETRIED  # only a try failed: it runs when it is due
    return change_of(end.row, became, run=RunId(end.row["run_id"]), code=end.code, error=end.error)
