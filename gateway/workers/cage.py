"""The cage: what a process gives up for good before it touches a byte of a stranger.

Three walls, each behind the other: an account that owns nothing (only root can take one), no files (Landlock), hardly
any system call (seccomp). A process in it cannot open, write, start, connect to, trace or signal anything; it has the
descriptors it holds and those that its parent passes.
"""

import ctypes
import os
import signal
import sys

from gateway.workers import landlock, limits, seccomp
from gateway.workers.account import NAMELESS, nameless

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def end_with(parent: int) -> None:
    """Let the kernel end this process when *parent* does; ends it now when that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def close(parent: int) -> tuple[str, ...]:
    """Close the cage around this process, which ends with *parent*; return what this system cannot take from it.

    Shape: names for people: `account`, `Landlock`, `seccomp`; empty when the cage is whole.
    Before: all this process will ever need is imported and in memory.
    """
    limits.keep_memory_report()
    lacking = []
    root = os.geteuid() == 0
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        # a network with nothing in it, where the system allows that; it counts where there is no seccomp
        library.unshare(_CLONE_NEWNET if root else _CLONE_NEWUSER | _CLONE_NEWNET)
        if root and not _leave_root():
            lacking.append("account")
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    end_with(parent)  # again: a change of the account makes the kernel forget it
    if not landlock.forbid_files():
        lacking.append("Landlock")
    if not seccomp.forbid_calls():
        lacking.append("seccomp")
    return tuple(lacking)


def _leave_root() -> bool:
    """Go on under a number that no account has, another than that of the embedded database."""
    number = nameless(reversed(NAMELESS))
    try:
        os.setgroups([])
        os.setresgid(number, number, number)
        os.setresuid(number, number, number)
    except OSError:
        return False
    return True
