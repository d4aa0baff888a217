"""When a job starts again."""

from gateway.batch.rules.recurrence.cron import Cron, read_cron
from gateway.batch.rules.recurrence.every import LAST_DAY, Every, Kind, Nth, Place, Unit
from gateway.batch.rules.recurrence.plain import from_dict, to_dict
from gateway.batch.rules.recurrence.rrule import RRule, read_rrule
from gateway.batch.rules.recurrence.rule import Recurrence, first, next_after, overran, plan_next, preview
from gateway.batch.rules.recurrence.trouble import RecurrenceError
from gateway.batch.rules.recurrence.words import describe

__all__ = [
    "LAST_DAY",
    "Cron",
    "Every",
    "Kind",
    "Nth",
    "Place",
    "RRule",
    "Recurrence",
    "RecurrenceError",
    "Unit",
    "describe",
    "first",
    "from_dict",
    "next_after",
    "overran",
    "plan_next",
    "preview",
    "read_cron",
    "read_rrule",
    "to_dict",
]
