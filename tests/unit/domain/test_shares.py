"""Turns are shared by weight and spread over the round."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.shares import one_round


def test_equal_ports_take_turns_in_their_order() -> None:
    assert one_round({"a": 1, "b": 1, "c": 1}) == ["a", "b", "c"]


def test_heavier_port_has_its_turns_between_those_of_others() -> None:
    assert one_round({"a": 1, "b": 3, "c": 2}) == ["a", "b", "c", "b", "c", "b"]


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 100), max_size=6))
def test_everybody_has_as_many_turns_as_the_weight_says(weights: dict[str, int]) -> None:
    assert Counter(one_round(weights)) == Counter(weights)


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 20), min_size=2, max_size=6))
def test_nobody_is_far_ahead_of_their_share(weights: dict[str, int]) -> None:
    had: Counter[str] = Counter()
    for one in one_round(weights):
        had[one] += 1
        shares = [had[other] / weight for other, weight in weights.items()]
        assert max(shares) - min(shares) <= 1
