"""How many messages of a port may be claimed, by what is known of its services."""

import pytest

from gateway.kernel.ids import PortName
from gateway.messaging.rules.health import Findings, ServiceHealth

MOST = 3
MANY = 100


def room(
    failures: int | None, in_work: int = 0, *, most: int = MOST, at_once: int | None = None, due: bool | None = None
) -> int:
    """Ask for many messages; `due` is given for a port that is paused."""
    health = ServiceHealth(most=most, failures=failures, is_paused=due is not None, is_due=bool(due), in_work=in_work)
    return health.room(MANY, at_once)


@pytest.mark.parametrize("failures", [None, 0, 1, 50])
def test_as_many_as_fit_where_nothing_pauses_the_port(failures: int | None) -> None:
    assert room(failures, 50, most=0) == MANY


def test_as_many_as_fit_when_the_services_work() -> None:
    assert room(0, 50) == MANY


def test_no_more_run_side_by_side_than_may_fail_until_one_succeeds() -> None:
    assert [room(None, in_work) for in_work in (0, 2, 3, 4)] == [3, 1, 0, 0]
    assert [room(1, in_work) for in_work in (0, 1, 2, 50)] == [2, 1, 0, 0]
    assert room(5) == 1, "failures under another setting"


def test_paused_port_yields_one_when_its_try_is_due() -> None:
    assert (room(MOST, due=False), room(MOST, due=True)) == (0, 1)
    assert room(MOST, 50, due=True) == 1, "what was claimed before the pause does not hinder it"


def test_port_has_no_more_in_work_than_it_may() -> None:
    assert [room(failures, 4, at_once=6, due=due) for failures, due in ((0, None), (None, None), (MOST, True))] == [
        2, 0, 1,
    ]  # fmt: skip
    assert room(0, 7, at_once=6) == 0


def test_only_failures_in_a_row_count() -> None:
    found = Findings(port=PortName("orders"), most=MOST)
    for _ in range(10 * MOST):
        found.failed("away")
        found.failed("away")
        found.succeeded()
    assert (found.works, found.failures, found.is_enough) == (True, 0, False)
    for _ in range(MOST):
        found.failed("away")
    assert found.is_enough


def test_none_are_too_many_for_a_port_that_never_pauses() -> None:
    found = Findings(port=PortName("orders"), most=0)
    for _ in range(1000):
        found.failed("away")
    assert not found.is_enough
