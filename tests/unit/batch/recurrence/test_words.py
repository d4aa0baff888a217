"""Recurrences as people write and read them."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from gateway.batch.rules.recurrence import RecurrenceError, describe, from_dict
from gateway.kernel.errors import JobRefused

START = datetime(2026, 1, 31, 1, tzinfo=UTC)

DESCRIBED = [
    ({"every": "minute"}, "every minute"),
    ({"every": "10 minutes", "end_by": "2026-12-31"}, "every 10 minutes, until 2026-12-31"),
    ({"every": "1 hour"}, "every hour"),
    ({"every": "day"}, "every day at 02:00 Europe/Copenhagen"),
    ({"every": "11 days"}, "every 11th day at 02:00 Europe/Copenhagen"),
    ({"every": "week", "end_after": 1}, "every week on Saturday at 02:00 Europe/Copenhagen, once"),
    (
        {"every": "2 weeks", "on": ["wednesday", "tuesday"], "end_after": 10},
        "every second week on Tuesday and Wednesday at 02:00 Europe/Copenhagen, 10 times",
    ),
    ({"every": "month"}, "every month on day 31 or the last of a shorter month at 02:00 Europe/Copenhagen"),
    ({"every": "month", "day": 5}, "every month on day 5 at 02:00 Europe/Copenhagen"),
    ({"every": "3 months", "day": "last"}, "every third month on the last day at 02:00 Europe/Copenhagen"),
    ({"every": "month", "on": "last friday"}, "every month on the last Friday at 02:00 Europe/Copenhagen"),
    (
        {"every": "year", "month": "march", "on": "first weekend day"},
        "every year on the first weekend day of March at 02:00 Europe/Copenhagen",
    ),
    ({"every": "2 years"}, "every second year on 31 January at 02:00 Europe/Copenhagen"),
    ({"cron": "0 2 * * 1-5"}, "by cron 0 2 * * 1-5 in Europe/Copenhagen"),
    (
        {"rrule": "FREQ=DAILY;COUNT=2"},
        "by rrule FREQ=DAILY from 2026-01-31 02:00 Europe/Copenhagen, 2 times",
    ),
]


@pytest.mark.parametrize(("plain", "text"), DESCRIBED)
def test_a_recurrence_is_told_in_plain_english(plain: Mapping[str, object], text: str) -> None:
    assert describe(from_dict(plain, start=START, zone="Europe/Copenhagen")) == text


REFUSED = [
    ({}, "needs one of every, cron, rrule, and has none of them"),
    ({"every": "day", "cron": "@daily"}, "has every and cron"),
    ({"every": "fortnight"}, "cannot be read: 'fortnights' is not a valid Unit"),
    ({"every": "0 days"}, "the number must be 1 or more"),
    ({"every": "day", "on": "monday"}, "Weekdays go with weeks, not with days"),
    ({"every": "week", "on": "wensday"}, "cannot be read: 'wensday' is not a valid Place"),
    ({"every": "week", "on": "last friday"}, "goes with months and years, not with weeks"),
    ({"every": "week", "day": 3}, "goes with months and years, not with weeks"),
    ({"every": "month", "day": 32}, "no day 32 of a month: use 1 to 31"),
    ({"every": "month", "day": 3, "on": "last friday"}, "both day and on"),
    ({"every": "month", "on": ["last friday", "first friday"]}, "more of them want rrule"),
    ({"every": "month", "month": "march"}, "A month goes with years"),
    ({"every": "year", "month": "mars"}, "cannot be read"),
    ({"every": "day", "end_after": 0}, "end_after must be 1 or more"),
    ({"every": "day", "end_by": "31.12.2026"}, "cannot be read"),
    ({"every": 5}, "cannot be read"),
    ({"cron": "@daily", "on": "monday"}, "on goes with every; cron says it all by itself"),
    ({"cron": "* * *"}, "has 3 fields and needs five"),
    ({"cron": "60 * * * *"}, "'60' is no minute: use 0 to 59"),
    ({"cron": "* * * foo *"}, "'foo' is no month: use 1 to 12, or jan to dec"),
    ({"cron": "* 1- * * *"}, "'1-' cannot be read as the hour"),
    ({"cron": "5/15 * * * *"}, "write 5-59/15"),
    ({"cron": "*/0 * * * *"}, "must be 1 or more"),
    ({"cron": "*/90 * * * *"}, "for longer ones write every, such as {every: 90 minutes}"),
    ({"cron": "0 */24 * * *"}, "longer than the hour has values .0 to 23."),
    ({"cron": "0 0 1 * 5-2"}, "runs backwards: write it as two, such as 5-7,0-2"),
    ({"cron": "0 0 31 4,6 *"}, "no such month has a day 31"),
    ({"cron": "@reboot"}, "use one of @yearly"),
    ({"rrule": "EVERY DAY"}, "is not known here"),
    ({"rrule": "FREQ=SECONDLY"}, "FREQ must be one of YEARLY"),
    ({"rrule": "FREQ=DAILY;DTSTART=20260101"}, "The start is that of the job"),
    ({"rrule": "FREQ=DAILY;BYDAY=XX"}, "cannot be read"),
    ({"rrule": "FREQ=DAILY;INTERVAL=0"}, "INTERVAL=0: use a whole number from 1"),
    ({"rrule": "FREQ=DAILY;INTERVAL=2;INTERVAL=3"}, "INTERVAL is there twice"),
    ({"rrule": "FREQ=DAILY;UNTIL=soon"}, "is no moment"),
    ({"rrule": "FREQ=DAILY;COUNT=2;UNTIL=20270101"}, "exclude one another"),
    ({"rrule": "FREQ=DAILY;COUNT=2", "end_after": 3}, "mean the same"),
    ({"rrule": "FREQ=MINUTELY;INTERVAL=60;BYMINUTE=5"}, "generates an empty set"),
]


@pytest.mark.parametrize(("plain", "text"), REFUSED)
def test_a_mistake_is_told_with_what_is_allowed(plain: Mapping[str, object], text: str) -> None:
    with pytest.raises(RecurrenceError, match=text):
        from_dict(plain, start=START)


@pytest.mark.parametrize("zone", ["Europe", "Mars/Olympus", "../UTC", "", "localtime", "posixrules", "right/UTC"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(JobRefused, match="no time zone"):
        from_dict({"every": "day", "zone": zone}, start=START)
