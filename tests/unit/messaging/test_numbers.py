"""Number sequences end where what they write no longer fits into its field."""

import pytest

from gateway.messaging.rules.numbers import grows_soon, last_number, near_its_end, numbers_left


@pytest.mark.parametrize(
    ("form", "longest", "last"),
    [
        ("SO-{number:06}", 9, 999_999), ("SO-{number:06}", 8, 0), ("SO-{number:06}", 10, 9_999_999),
        ("{number}", 3, 999), ("{number}/{number}", 5, 99), ("A{number}", 40, None),
    ],
)  # fmt: skip
def test_last_number_that_fits(form: str, longest: int, last: int | None) -> None:
    assert last_number(form, longest) == last


def test_numbers_are_counted_by_their_step() -> None:
    assert numbers_left("{number}", 3, following=990, step=1) == 10
    assert numbers_left("{number}", 3, following=990, step=5) == 2
    assert numbers_left("{number}", 3, following=1000, step=1) == 0
    assert numbers_left("{number}", 40, following=1, step=1) is None


@pytest.mark.parametrize(
    ("following", "left"), [(1, None), (899, None), (901, 99), (999, 1), (1000, 0), (5000, 0)]
)  # fmt: skip
def test_somebody_is_told_when_less_than_a_tenth_is_left(following: int, left: int | None) -> None:
    assert near_its_end("{number}", 3, following=following, step=1) == left


def test_nobody_is_told_while_ten_thousand_are_left() -> None:
    assert near_its_end("{number}", 7, following=9_989_999, step=1) is None
    assert near_its_end("{number}", 7, following=9_990_001, step=1) == 9_999
    assert near_its_end("{number}", 40, following=10**12, step=1) is None


def test_field_matters_only_where_numbers_grow() -> None:
    assert not grows_soon("SO-{number:06}", following=17, step=1)
    assert grows_soon("SO-{number:06}", following=995_000, step=1)
    assert grows_soon("SO-{number:06}", following=1_000_000, step=1), "the last one failed already"
    assert grows_soon("SO-{number:06}", following=500_000, step=100)
