"""Message sets: what is said of all messages of one batch file."""

import re
from fractions import Fraction

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?) ?%")


def parse_max_failed(value: int | str) -> int | Fraction:
    """Read a number of messages, or a part of a set written as a percentage, such as `10%`.

    Raises: ValueError when it is neither.
    """
    if isinstance(value, int):
        if value < 1:
            raise ValueError("must be 1 or more")
        return value
    match = _PERCENT.fullmatch(value.strip())
    part = Fraction(match[1]) / 100 if match else Fraction(0)
    if not 0 < part <= 1:
        raise ValueError("must be a number of messages, or a percentage above 0% and up to 100%, such as 10%")
    return part


def most_failures(max_failed: int | str | None, members: int) -> int | None:
    """Return from how many failures on the rest of a set is held, None for no limit; at least one failure counts."""
    if max_failed is None:
        return None
    limit = parse_max_failed(max_failed)
    return limit if isinstance(limit, int) else max(1, -(-limit * members // 1))
