"""Job queues: entries that run once or again and again, one of a category at a time, as the user who let them.

An entry says what runs and when, as a task of a job does. When it comes due and may start, it becomes a run of the
batch framework, which claims, carries out, times out, cancels and logs it as any other; the end of the run moves the
entry in the same transaction. Promised: never more of a category in process than its width, the best priority first,
then the lower number; an entry that is added in a transaction is there exactly when that is committed; a kill at any
point loses nothing. Read first: `rules.entry` (the life of an entry), `starting`, `ending`, `adding`.
"""

from gateway.queues.adding import UnitQueue, check_entries, enqueue
from gateway.queues.ending import follow_runs
from gateway.queues.entries import (
    Entry,
    add_entry,
    change_entry,
    edit_entry,
    in_words,
    list_entries,
    read_entry,
    run_once,
)
from gateway.queues.log import EntryRun, entry_log
from gateway.queues.rules.entry import EntryAction, EntryStatus, KeptBy, standing
from gateway.queues.starting import next_entry_moment, start_entries
from gateway.queues.sync import (
    Category,
    ConfiguredEntry,
    Queue,
    list_categories,
    list_queues,
    start_queue,
    sync_queues,
)

__all__ = [
    "Category",
    "ConfiguredEntry",
    "Entry",
    "EntryAction",
    "EntryRun",
    "EntryStatus",
    "KeptBy",
    "Queue",
    "UnitQueue",
    "add_entry",
    "change_entry",
    "check_entries",
    "edit_entry",
    "enqueue",
    "entry_log",
    "follow_runs",
    "in_words",
    "list_categories",
    "list_entries",
    "list_queues",
    "next_entry_moment",
    "read_entry",
    "run_once",
    "standing",
    "start_entries",
    "start_queue",
    "sync_queues",
]
