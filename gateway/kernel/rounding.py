"""How an amount is rounded: a rule of a currency, and what the configuration says of it."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from enum import StrEnum


class RoundingDirection(StrEnum):
    """Where a rounded amount goes: up and down are meant for an invoice, a credit memo mirrors them."""

    NEAREST = "nearest"
    UP = "up"
    DOWN = "down"

    @property
    def opposite(self) -> "RoundingDirection":
        """Return where the rest of an amount goes when a part of it goes here."""
        return _OPPOSITES[self]


_MODES = {"nearest": ROUND_HALF_UP, "up": ROUND_CEILING, "down": ROUND_FLOOR}
_OPPOSITES = {
    RoundingDirection.NEAREST: RoundingDirection.NEAREST,
    RoundingDirection.UP: RoundingDirection.DOWN,
    RoundingDirection.DOWN: RoundingDirection.UP,
}


def rounded(value: Decimal, step: Decimal, direction: RoundingDirection = RoundingDirection.NEAREST) -> Decimal:
    """Return the multiple of *step* that is nearest to *value*, or the next one away from or towards zero."""
    size = (abs(value) / step).quantize(Decimal(1), rounding=_MODES[direction]) * step
    return size.copy_sign(value) if size else Decimal(0) * step
