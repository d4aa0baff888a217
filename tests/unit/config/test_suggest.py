"""The name somebody probably meant."""

import pytest

from gateway.config.suggest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("settle_second", "settle_seconds"),
        ("settle-seconds", "settle_seconds"),
        ("SettleSeconds", "settle_seconds"),
        ("patern", "pattern"),
        ("sett", "settle_seconds"),
        ("xyz", None),
        ("", None),
    ],
)
def test_nearest_name_is_found(name: str, expected: str | None) -> None:
    assert nearest(name, ["pattern", "settle_seconds", "sweep_seconds"]) == expected


def test_first_in_alphabetical_order_wins_among_equals() -> None:
    assert nearest("port", ["portb", "porta"]) == "porta"


def test_the_name_itself_is_no_suggestion() -> None:
    assert did_you_mean("a", ["a"]) == ""
