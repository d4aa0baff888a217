"""When a job starts again."""

from gateway.batch.rules.recurrence.every import WEEKDAYS, Every, Kind, Place, Unit
from gateway.batch.rules.recurrence.plain import from_dict
from gateway.batch.rules.recurrence.rule import Recurrence, first, next_after, overran, plan_next, preview
from gateway.batch.rules.recurrence.words import MONTHS, describe
from gateway.kernel.errors import RecurrenceError

__all__ = [
    "MONTHS",
    "WEEKDAYS",
    "Every",
    "Kind",
    "Place",
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
]
