"""How long sessions and their messages are kept: days; 0 for ever, -1 not at all.

Beware: for the number of tries 0 means without end. Source: batch reference, section 22.2.
"""

from datetime import datetime, timedelta
from typing import Final

FOR_EVER: Final = 0
AT_ONCE: Final = -1


def expires_before(days: int, now: datetime) -> datetime | None:
    """Return the moment before which things go, None when nothing goes.

    Rule: what is exactly *days* old stays; with AT_ONCE everything up to *now* goes.
    """
    if days == FOR_EVER:
        return None
    return now if days == AT_ONCE else now - timedelta(days=days)


def gives_up(tries: int, try_count: int) -> bool:
    """Tell whether nothing is tried any more after so many failed tries: the first and *try_count* repetitions.

    0: it is tried without end.
    """
    return try_count != 0 and tries > try_count


def in_words(days: int) -> str:
    """Say a retention to people."""
    if days == FOR_EVER:
        return "kept for ever"
    if days == AT_ONCE:
        return "removed at once"
    return f"kept for {days} day{'s' if days != 1 else ''}"
