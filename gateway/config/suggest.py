"""Find the name somebody probably meant."""

from collections.abc import Iterable
from difflib import SequenceMatcher

_LIKENESS = 0.7
_SHORTEST_BEGINNING = 4


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like *name*, or None when none is near.

    Rule: case, '-' and '_' do not count; otherwise seven tenths must agree, or four letters that a known name
    begins with. Among equals the first in alphabetical order wins.
    """
    wanted = _plain(name)
    matcher = SequenceMatcher(b=wanted, autojunk=False)
    best: tuple[float, str] | None = None
    for candidate in sorted(known):
        plain = _plain(candidate)
        matcher.set_seq1(plain)
        ratio = matcher.ratio() if matcher.quick_ratio() >= _LIKENESS else 0.0
        if len(wanted) >= _SHORTEST_BEGINNING and plain.startswith(wanted):
            ratio = max(ratio, _LIKENESS)
        if ratio >= _LIKENESS and (best is None or ratio > best[0]):
            best = (ratio, candidate)
    return best[1] if best else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or nothing when no known name is near."""
    name = name[:200]
    found = nearest(name, known)
    return f"; did you mean '{found}'?" if found is not None and found != name else ""
