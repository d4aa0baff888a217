"""What the next planned start is after overruns, outages and clocks that were set back."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from gateway.batch.rules.capacity import next_opening
from gateway.batch.rules.definition import PeriodDefinition
from gateway.batch.rules.job import Base, Missed
from gateway.batch.rules.recurrence import Recurrence, from_dict, overran, plan_next

TEN_MINUTES: dict[str, object] = {"every": "10 minutes"}


def clock(text: str, day: int = 6) -> datetime:
    return datetime.combine(datetime(2026, 1, day), time.fromisoformat(text), UTC)


def rule(plain: dict[str, object] = TEN_MINUTES) -> Recurrence:
    return from_dict(plain, start=clock("08:00"))


def plan(of: Recurrence, **facts: Any) -> datetime | None:
    defaults: dict[str, Any] = {
        "base": Base.SCHEDULE,
        "missed": Missed.COALESCE,
        "tolerance_seconds": 300.0,
        "occurrences": 1,
        "finished": facts.get("now"),
    }
    return plan_next(of, **{**defaults, **facts})


class Job:
    """A job of the scenario: runs take no time unless said, servers may be away."""

    def __init__(self, missed: Missed, base: Base = Base.SCHEDULE) -> None:
        self.missed, self.base = missed, base
        self.planned: datetime | None = clock("08:00")
        self.history: list[tuple[str, str]] = []

    def live(self, until: datetime, *, lasts: dict[str, timedelta], away: tuple[datetime, datetime]) -> None:
        now = clock("08:00")
        while self.planned is not None:
            now = max(now, self.planned)
            if away[0] <= now < away[1]:
                now = away[1]
            stands = plan(rule(), planned=self.planned, finished=None, now=now, missed=self.missed, base=self.base)
            assert stands is not None
            if stands > now:
                self.planned = stands
                continue
            if now > until:
                return
            self.history.append((f"{self.planned:%H:%M}", f"{now:%H:%M}"))
            now += lasts.get(f"{self.planned:%H:%M}", timedelta())
            self.planned = plan(rule(), planned=self.planned, now=now, missed=self.missed, base=self.base)


SCENARIO = {
    Missed.COALESCE: [
        ("08:10", "08:10"),
        ("08:40", "08:40"),
        ("09:00", "09:00"),
        ("09:10", "09:47"),
        ("09:50", "09:50"),
    ],
    Missed.SKIP: [("08:10", "08:10"), ("08:40", "08:40"), ("09:00", "09:00"), ("09:50", "09:50")],
    Missed.ALL: [
        ("08:10", "08:10"),
        ("08:20", "08:34"),
        ("08:30", "08:34"),
        ("08:40", "08:40"),
        ("09:00", "09:00"),
        ("09:10", "09:47"),
        ("09:20", "09:47"),
        ("09:30", "09:47"),
        ("09:40", "09:47"),
        ("09:50", "09:50"),
    ],
}


@pytest.mark.parametrize("missed", Missed)
def test_an_overrun_and_an_outage_are_met_as_the_policy_says(missed: Missed) -> None:
    job = Job(missed)

    job.live(clock("09:50"), lasts={"08:10": timedelta(minutes=24)}, away=(clock("09:01"), clock("09:47")))

    assert [entry for entry in job.history if entry[0] not in ("08:00", "08:50")] == SCENARIO[missed]


def test_a_queue_entry_counts_from_its_finish() -> None:
    job = Job(Missed.COALESCE, Base.FINISH)

    job.live(clock("10:00"), lasts={"08:10": timedelta(minutes=24)}, away=(clock("09:01"), clock("09:47")))

    assert [real for _, real in job.history] == ["08:00", "08:10", "08:44", "08:54", "09:47", "09:57"]


def test_an_occurrence_that_ends_after_the_next_point_overran() -> None:
    assert overran(rule(), planned=clock("08:10"), finished=clock("08:34"))
    assert not overran(rule(), planned=clock("08:10"), finished=clock("08:20"))


def test_after_the_last_counted_occurrence_nothing_is_planned() -> None:
    counted = rule({**TEN_MINUTES, "end_after": 3})

    assert plan(counted, planned=clock("08:10"), now=clock("08:11"), occurrences=2) == clock("08:20")
    assert plan(counted, planned=clock("08:20"), now=clock("08:21"), occurrences=3) is None


def test_nothing_is_planned_after_the_last_day() -> None:
    bounded = rule({"every": "day", "end_by": "2026-01-07"})

    assert plan(bounded, planned=clock("08:00"), now=clock("09:00")) == clock("08:00", 7)
    assert plan(bounded, planned=clock("08:00", 7), now=clock("09:00", 7)) is None
    assert plan(bounded, planned=clock("08:00", 7), now=clock("09:00", 7), base=Base.FINISH) is None


@pytest.mark.parametrize("base", Base)
def test_a_start_that_is_still_to_come_stands(base: Base) -> None:
    assert plan(rule(), planned=clock("08:00"), finished=None, now=clock("07:00", 1), base=base) == clock("08:00")


@pytest.mark.parametrize(("base", "expected"), [(Base.SCHEDULE, "10:20"), (Base.FINISH, "10:23")])
def test_an_armed_job_does_not_wait_for_the_length_of_a_clock_step_back(base: Base, expected: str) -> None:
    long_since = from_dict(TEN_MINUTES, start=datetime(2025, 1, 1, tzinfo=UTC))

    again = plan(long_since, planned=clock("08:10"), finished=None, now=clock("10:13", 1), base=base)

    assert again == clock(expected, 1)


def test_a_running_job_does_not_wait_for_the_length_of_a_clock_step_back() -> None:
    assert plan(rule(), planned=clock("20:00"), now=clock("10:13")) == clock("10:20")


def test_a_small_step_back_does_not_start_the_same_point_twice() -> None:
    assert plan(rule(), planned=clock("08:10"), now=clock("08:09:59")) == clock("08:20")


def test_with_missed_all_every_point_runs_once_also_after_a_clock_step_back() -> None:
    assert plan(rule(), planned=clock("20:00"), now=clock("10:13"), missed=Missed.ALL) == clock("20:10")
    assert plan(rule(), planned=clock("20:00"), finished=None, now=clock("10:13"), missed=Missed.ALL) == clock("20:00")


def test_within_the_tolerance_a_late_start_stands() -> None:
    facts: dict[str, Any] = {"planned": clock("08:10"), "finished": None, "missed": Missed.SKIP}

    assert plan(rule(), now=clock("08:15"), **facts) == clock("08:10")
    assert plan(rule(), now=clock("08:15:01"), **facts) == clock("08:20")


def test_a_job_with_an_active_period_makes_up_for_the_day_with_one_late_run() -> None:
    night = PeriodDefinition(name="night", start=time(18), end=time(8))
    hourly = from_dict({"every": "hour"}, start=clock("07:30"))
    planned: datetime | None = clock("07:30")
    starts = list[str]()
    while planned is not None and (now := next_opening(night, planned)) is not None and now <= clock("19:30"):
        starts.append(f"{now:%H:%M}")
        planned = plan(hourly, planned=planned, now=now + timedelta(minutes=45 if now.hour == 7 else 1))

    assert starts == ["07:30", "18:00", "18:30", "19:30"]


FROM_FINISH = [
    ({"every": "3 days"}, clock("23:00", 7), clock("08:00", 10)),
    ({"every": "week"}, clock("02:00", 8), clock("08:00", 15)),
    ({"every": "week", "on": "tuesday"}, clock("02:00", 8), clock("08:00", 13)),
    ({"every": "month"}, clock("09:00", 31), datetime(2026, 2, 28, 8, tzinfo=UTC)),
    ({"every": "2 years"}, clock("09:00", 7), datetime(2028, 1, 7, 8, tzinfo=UTC)),
    ({"every": "month", "day": 6}, clock("09:00", 7), datetime(2026, 2, 6, 8, tzinfo=UTC)),
    ({"every": "2 hours"}, clock("09:12"), clock("11:12")),
    ({"cron": "*/30 * * * *"}, clock("09:12"), clock("09:30")),
]


@pytest.mark.parametrize(("plain", "finished", "expected"), FROM_FINISH)
def test_base_finish_counts_from_the_day_of_the_end(
    plain: dict[str, object], finished: datetime, expected: datetime
) -> None:
    assert plan(rule(plain), planned=clock("08:00"), now=finished, base=Base.FINISH) == expected
