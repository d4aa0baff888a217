"""What became of entries, for those who follow."""

from dataclasses import dataclass
from enum import StrEnum

from asyncpg import Record

from gateway.kernel.ids import EntryId, RunId


class Became(StrEnum):
    """What became of an entry."""

    READIED = "readied"  # a person lets it run
    STARTED = "started"  # a run of it begins
    SUCCEEDED = "succeeded"  # its run went well
    RETRIED = "retried"  # its run failed or was lost, and it is tried again
    FAILED = "failed"  # its attempts are used up
    REMOVED = "removed"  # it is gone without having run: expired, or taken out by a person


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryChange:
    """One entry and what became of it.

    `record` is what it is about, `user` whom it runs as. `code` and `error` say why it failed.
    """

    entry: EntryId
    became: Became
    name: str
    record: str | None
    category: str | None
    user: str
    partition: str
    company: str
    notify_on_success: bool
    run: RunId | None = None
    code: str | None = None
    error: str | None = None


def change_of(
    row: Record, became: Became, *, run: RunId | None = None, code: str | None = None, error: str | None = None
) -> EntryChange:
    """Return what became of an entry, from its row."""
    return EntryChange(
        entry=EntryId(row["id"]), became=became, name=row["name"] or f"entry {row['id']}", record=row["record"],
        category=row["category"], user=row["user_name"], partition=row["partition_key"], company=row["company"],
        notify_on_success=row["notify_on_success"], run=run, code=code, error=error,
    )  # fmt: skip
