"""Numbers that no account of the machine has: a gateway that is root runs other processes under them.

An account that exists may belong to others too: to another database server, to a web server, to a person. Whoever
runs under it reaches the files and the processes of all of them.
"""

import pwd
from collections.abc import Iterable
from typing import Final

NAMELESS: Final = range(65_520, 65_534)
"""Given to nobody: below `nobody`, above what systemd gives away, and reserved by Debian."""


def nameless(numbers: Iterable[int] = NAMELESS) -> int:
    """Return the first of *numbers* that no account has."""
    return next(number for number in numbers if not has_name(number))


def has_name(number: int) -> bool:
    """Tell whether an account of this machine has this number."""
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True
