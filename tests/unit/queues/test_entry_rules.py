"""The life of a job queue entry: every row of the table, and every action in every status."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from gateway.kernel.errors import IllegalTransition
from gateway.queues.rules.entry import (
    EXTRA_DELAY,
    FREE_INTERRUPTIONS,
    MOVES,
    EntryAction,
    EntryStatus,
    Outcome,
    Step,
    act,
    come_back,
    come_due,
)
from gateway.queues.rules.timing import Timing

S = EntryStatus
FRIDAY = datetime(2026, 3, 6, 16, 5, tzinfo=UTC)
DAILY = Timing(weekdays=tuple(range(7)), minutes=30)
NIGHT = Timing(weekdays=tuple(range(5)), minutes=30, starting=time(22), ending=time(2))


def due(**facts: Any) -> Step:
    return come_due(**{"timing": Timing(), "expires": None, "has_place": True, "now": FRIDAY, **facts})


def back(outcome: Outcome, **facts: Any) -> Step:
    usual: dict[str, Any] = {
        "timing": Timing(), "attempts": 0, "max_attempts": 0, "rerun_delay_seconds": 0.0, "interruptions": 0,
        "idle": False, "inactivity_minutes": 0, "keeps": False, "started": FRIDAY, "now": FRIDAY,
    }  # fmt: skip
    return come_back(outcome, **{**usual, **facts})


@pytest.mark.parametrize(
    ("step", "row", "status", "earliest"),
    [
        (due(expires=FRIDAY - timedelta(seconds=1)), "Q5", None, None),
        (due(timing=NIGHT), "Q6", S.READY, datetime(2026, 3, 6, 22, tzinfo=UTC)),
        (due(has_place=False), "Q7", S.WAITING, None),
        (due(expires=FRIDAY), "Q9", S.IN_PROCESS, None),
        (back(Outcome.WELL), "Q10", None, None),
        (back(Outcome.WELL, keeps=True), "Q10", S.FINISHED, None),
        (back(Outcome.WELL, timing=DAILY, attempts=2, idle=True), "Q11", S.READY, FRIDAY + timedelta(minutes=30)),
        (
            back(Outcome.WELL, timing=DAILY, idle=True, inactivity_minutes=30), "Q12", S.INACTIVE,
            FRIDAY + timedelta(minutes=30),
        ),
        (
            back(Outcome.WELL, timing=NIGHT, idle=True, inactivity_minutes=30), "Q12", S.INACTIVE,
            datetime(2026, 3, 6, 22, tzinfo=UTC),
        ),
        (
            back(Outcome.FAILED, max_attempts=3, rerun_delay_seconds=60), "Q14", S.READY,
            FRIDAY + timedelta(seconds=60.01),
        ),
        (back(Outcome.FAILED, max_attempts=3, attempts=3), "Q15", S.ERROR, None),
        (back(Outcome.HOPELESS, max_attempts=3), "Q15", S.ERROR, None),
        (back(Outcome.CANCELED, max_attempts=3), "Q15", S.ERROR, None),
        (back(Outcome.LOST), "Q16", S.READY, FRIDAY),
        (back(Outcome.LOST, interruptions=FREE_INTERRUPTIONS), "Q15", S.ERROR, None),
    ],
)  # fmt: skip
def test_rows_of_the_table(step: Step, row: str, status: EntryStatus | None, earliest: datetime | None) -> None:
    assert (step.row, step.status, step.earliest) == (row, status, earliest)
    sources, target = MOVES[row]
    assert sources in ({S.READY}, {S.IN_PROCESS})
    assert step.status in {target, S.FINISHED if row == "Q10" else target}


@pytest.mark.parametrize("row", ["Q3", "Q4"])
def test_people_may_do_what_the_table_says(row: str) -> None:
    action = EntryAction.READY if row == "Q3" else EntryAction.HOLD
    sources, target = MOVES[row]
    assert {act(action, status, name="7") for status in sources if status is not None} == {target}


def test_success_clears_the_attempts_and_a_lost_server_costs_none() -> None:
    assert back(Outcome.WELL, timing=DAILY, attempts=3).attempts == 0
    lost = back(Outcome.LOST, attempts=2, interruptions=1)
    assert (lost.attempts, lost.interruptions) == (2, 2)


@pytest.mark.parametrize("maximum", [0, 3, 10])
def test_a_maximum_of_attempts_comes_after_the_first(maximum: int) -> None:
    executions, attempts = 1, 0
    while (step := back(Outcome.FAILED, attempts=attempts, max_attempts=maximum)).row == "Q14":
        executions, attempts = executions + 1, step.attempts
    assert executions == maximum + 1


def test_waits_grow_tenfold_and_end_at_six_hours() -> None:
    assert EXTRA_DELAY.delay(1) == 0.01
    assert 16 * 60 < EXTRA_DELAY.delay(6) < 17 * 60
    assert 2.7 * 3600 < EXTRA_DELAY.delay(7) < 2.8 * 3600
    assert EXTRA_DELAY.delay(8) == EXTRA_DELAY.delay(10) == 6 * 3600


@pytest.mark.parametrize("status", EntryStatus)
@pytest.mark.parametrize("action", EntryAction)
def test_a_refusal_says_where_it_stands_and_what_is_possible(action: EntryAction, status: EntryStatus) -> None:
    try:
        act(action, status, name="7")
    except IllegalTransition as error:
        possible = error.message.rpartition("Possible now: ")[2].rstrip(".").split(", ")
        for word in possible:
            act(EntryAction(word), status, name="7")
        assert action.value not in possible


def test_one_in_process_is_neither_deleted_nor_changed() -> None:
    for action in (EntryAction.DELETE, EntryAction.EDIT, EntryAction.READY, EntryAction.RUN_ONCE):
        with pytest.raises(IllegalTransition, match="Entry 7 is in process"):
            act(action, S.IN_PROCESS, name="7")
    assert act(EntryAction.HOLD, S.IN_PROCESS, name="7") is S.IN_PROCESS


def test_only_one_on_hold_is_changed() -> None:
    for status in set(S) - {S.ON_HOLD}:
        with pytest.raises(IllegalTransition, match="on hold"):
            act(EntryAction.EDIT, status, name="7")
