"""Fair shares: who is next when several wait."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def one_round(weights: Mapping[T, int]) -> list[T]:
    """Return one round in which everybody has as many turns as their weight says, spread over the round.

    Shape: weights from 1; equal ones give the order of the mapping. The k-th turn of a weight w comes at the k/w-th
    part of the round, so nobody is ahead of their share by more than one turn.
    """
    turns = [
        (turn / weight, place, one) for place, (one, weight) in enumerate(weights.items()) for turn in range(weight)
    ]
    return [one for _, _, one in sorted(turns, key=lambda turn: turn[:2])]
