"""How far a number sequence goes before what it writes outgrows its field."""

from typing import Final

_MOST: Final = 10**18
"""Numbers are kept in 64 bits; from here on nobody counts."""
_NEAR_NUMBERS: Final = 10_000
_NEAR_SHARE: Final = 10


def last_number(form: str, longest: int) -> int | None:
    """Return the largest number that *form* (such as `SO-{number:06}`) writes in at most *longest* characters.

    0 when even the first ones are too long; None when no number ever is.
    """
    last = 0
    for digits in range(1, len(str(_MOST)) + 1):
        number = 10**digits - 1
        if len(form.format(number=number)) > longest:
            return last
        last = number
    return None


def numbers_left(form: str, longest: int, *, following: int, step: int) -> int | None:
    """Return how many numbers there are from *following* on that fit; None when there is no end."""
    last = last_number(form, longest)
    return None if last is None else max(0, (last - following) // step + 1)


def near_its_end(form: str, longest: int, *, following: int, step: int) -> int | None:
    """Return how many numbers are left from *following* on when that is little; None while nobody needs to act."""
    left = numbers_left(form, longest, following=following, step=step)
    every = numbers_left(form, longest, following=0, step=step)
    if left is None or every is None or left >= _NEAR_NUMBERS or left * _NEAR_SHARE >= every:
        return None
    return left


def grows_soon(form: str, *, following: int, step: int) -> bool:
    """Tell whether numbers will soon be written longer than the next one; only then their field matters."""
    return len(form.format(number=following + _NEAR_NUMBERS * step)) > len(form.format(number=max(0, following - step)))
