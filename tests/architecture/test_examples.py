"""How examples are drawn for the tests that hold for all of them."""

from hypothesis import HealthCheck, settings


def test_examples_are_the_same_in_each_run_and_none_fails_because_the_machine_is_slow() -> None:
    used = settings()
    assert used.derandomize
    assert used.deadline is None
    assert HealthCheck.too_slow in used.suppress_health_check
