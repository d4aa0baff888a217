"""Long lists in short steps: the event loop must never stand still for long."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

SLICE = 100
"""Records made at a time; a hundred take two to five milliseconds of Python."""


async def cooperative_map(make: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Return `make` of every item, in order; others get their turn after each slice."""
    made: list[B] = []
    for start in range(0, len(items), SLICE):
        if start:
            await asyncio.sleep(0)
        made += [make(item) for item in items[start : start + SLICE]]
    return made
