"""How many failures a set may have."""

import pytest

from gateway.messaging.rules.message_set import most_failures, parse_max_failed
from gateway.messaging.rules.states import Outcome, Reason, SetStatus, set_status


@pytest.mark.parametrize(
    ("max_failed", "members", "most"),
    [
        (3, 100, 3),
        (None, 100, None),
        ("10%", 100, 10),
        ("10%", 101, 11),
        ("10%", 5, 1),
        ("0.5 %", 100, 1),
        ("100%", 7, 7),
    ],
)
def test_limit_is_a_number_or_a_part_of_the_set(max_failed: int | str | None, members: int, most: int | None) -> None:
    assert most_failures(max_failed, members) == most


@pytest.mark.parametrize("wrong", [0, -1, "0%", "101%", "ten", "10", "1e1%", "-5%", "%"])
def test_anything_else_is_refused(wrong: int | str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_max_failed(wrong)


@pytest.mark.parametrize("reason", Reason)
def test_status_within_the_set_follows_from_the_reason(reason: Reason) -> None:
    special = {
        Reason.FAILED: SetStatus.ERROR, Reason.POISON: SetStatus.ERROR, Reason.SET_HALTED: SetStatus.SKIPPED,
        Reason.SET_ROLLED_BACK: SetStatus.ROLLED_BACK,
    }  # fmt: skip
    assert set_status(member=True, reason=reason, outcome=None) is special.get(reason, SetStatus.READY)
    assert set_status(member=False, reason=reason, outcome=None) is SetStatus.NONE


def test_finished_member_is_completed_and_a_deleted_one_was_skipped() -> None:
    assert set_status(member=True, reason=None, outcome=Outcome.PROCESSED) is SetStatus.COMPLETED
    assert set_status(member=True, reason=None, outcome=Outcome.DELETED) is SetStatus.SKIPPED
