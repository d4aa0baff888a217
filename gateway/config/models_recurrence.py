"""How a job repeats, in words: `every: 2 weeks`, `on: [tuesday]`, or as cron text, or as RRULE text."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.batch.rules.recurrence import RecurrenceError, from_dict
from gateway.config.models_base import Count, Date, Section, Text, reread
from gateway.config.models_batch import Weekday, as_list
from gateway.config.suggest import did_you_mean

_ANY_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""For asking whether a rule makes sense whenever it starts."""
UNITS: Final = ("minute", "hour", "day", "week", "month", "year")
ORDINALS: Final = ("first", "second", "third", "fourth", "last")
KINDS_OF_DAY: Final = ("day", "weekday", "weekend day")
MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_EVERY = re.compile(r"(?:(?P<count>[1-9][0-9]{0,5}) )?(?P<unit>[a-z]+?)s?")
_WEEKDAYS: Final = tuple(day.value for day in Weekday)


def _every(value: str) -> str:
    match = _EVERY.fullmatch(value)
    if match is None or match["unit"] not in UNITS:
        word = match["unit"] if match else ""
        hint = did_you_mean(word, UNITS) or "; write a number and a unit: minutes, hours, days, weeks, months or years"
        raise ValueError(f"{value!a} is no interval such as 15 minutes or 2 weeks{hint}")
    return value


def _on(value: tuple[str, ...]) -> tuple[str, ...]:
    for words in value:
        first, _, rest = words.partition(" ")
        if words in _WEEKDAYS or (first in ORDINALS and rest in {*_WEEKDAYS, *KINDS_OF_DAY}):
            continue
        known = [*_WEEKDAYS, *(f"{ordinal} {day}" for ordinal in ORDINALS for day in (*_WEEKDAYS, *KINDS_OF_DAY))]
        hint = did_you_mean(words, known) or "; write a weekday, or a place and a day such as last friday"
        raise ValueError(f"{words!a} is no day{hint}")
    return value


def _month(value: object) -> object:
    value = reread(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(MONTHS):
        return MONTHS[value - 1]
    if value in MONTHS:
        return value
    hint = did_you_mean(value, MONTHS) if isinstance(value, str) else ""
    raise ValueError(f"must be the name of a month, or its number from 1 to 12{hint}")


def _day(value: object) -> object:
    value = reread(value)
    if value == "last" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 31):
        return value
    raise ValueError("must be a day of the month from 1 to 31, or last")


class Recurrence(Section):
    """When a job starts again. One of every, cron and rrule says how."""

    every: Annotated[Text, AfterValidator(_every)] | None = Field(
        default=None, description="A number and a unit from minutes to years, such as 15 minutes, day or 2 weeks."
    )
    on: Annotated[
        tuple[Text, ...],
        BeforeValidator(as_list),
        AfterValidator(_on),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(default=(), description="Weeks: weekdays. Months and years: a day such as last friday or first weekday.")
    day: Annotated[int | Literal["last"] | None, BeforeValidator(lambda x: None if x is None else _day(x))] = Field(
        default=None, description="Months and years: day of the month, 1 to 31, or last. Default: that of the start."
    )
    month: Annotated[Text | None, BeforeValidator(lambda x: None if x is None else _month(x))] = Field(
        default=None, description="Years: the month. Default: that of the start."
    )
    cron: Text | None = Field(default=None, description="Minute, hour, day, month, weekday; such as 0 2 * * 1-5.")
    rrule: Text | None = Field(default=None, description="RRULE of RFC 5545, such as FREQ=MONTHLY;BYMONTHDAY=-1.")
    end_after: Count | None = Field(default=None, ge=1, description="Occurrences after which it ends. Default: never.")
    end_by: Date | None = Field(
        default=None, description="Last day on which it may start, in the zone of the job. Default: none."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            from_dict(self.plain(), start=_ANY_START)
        except RecurrenceError as error:
            raise ValueError(error.message.removeprefix("recurrence: ").rstrip(".")) from None
        return self

    def plain(self) -> dict[str, object]:
        """Return what is said, as `gateway.batch.rules.recurrence.from_dict` takes it."""
        return self.model_dump(mode="json", exclude_defaults=True)
