"""What a name that nobody knows was probably meant for."""

import difflib
from collections.abc import Sequence


def likely_names(name: str, known: Sequence[str]) -> Sequence[str]:
    """Return the names that *name* may have been meant for, the likeliest first."""
    same = [each for each in known if each.casefold() == name.casefold()]
    return same or difflib.get_close_matches(name, known, n=2, cutoff=0.75)


def meant(name: str, known: Sequence[str]) -> str:
    """Return the rest of a sentence: a question what was meant, or that only upper and lower case differ."""
    likely = likely_names(name, known)
    if not likely:
        return ""
    if likely[0].casefold() == name.casefold():
        return f"; upper and lower case count, write {likely[0]}."
    return f"; did you mean {' or '.join(likely)}?"
