"""The cage: what a process gives up for good before it touches a byte of a stranger.

Three walls, each behind the other: an account that owns nothing (only root can take one), no files (Landlock), hardly
any system call (seccomp). A process in it cannot open, write, start, connect to, trace or signal anything; it has the
descriptors it holds and those that its parent passes.
Source: https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Iterable
from typing import Final

from gateway.workers import limits, seccomp

NAMELESS: Final = range(65_520, 65_534)
"""Numbers of accounts, given to nobody: below `nobody`, above what systemd gives away, and reserved by Debian."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights on files each version of Landlock knows, bit by bit; others know as many as the one before."""
_ALL_NETWORK, _SINCE_NETWORK = 0b11, 4  # TCP: bind and connect
_ALL_SCOPES, _SINCE_SCOPES = 0b11, 6  # sockets without a path, and signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


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
    if not forbid_files():
        lacking.append("Landlock")
    if not seccomp.forbid_calls():
        lacking.append("seccomp")
    return tuple(lacking)


def nameless(numbers: Iterable[int] = NAMELESS) -> int:
    """Return the first of *numbers* that no account has.

    An account that exists may belong to others too: to another database server, to a web server, to a person. Whoever
    runs under it reaches the files and the processes of all of them.
    """
    return next(number for number in numbers if not has_name(number))


def has_name(number: int) -> bool:
    """Tell whether an account of this machine has this number."""
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True


def forbid_files() -> bool:
    """Give up every right on files that this kernel can take, for good; False when it has no Landlock (Linux 5.13).

    Also tracing processes outside, and where the kernel can: TCP, sockets without a path, signals to others.
    Descriptors that are open stay open, and those that are passed may be used.
    Before: the process cannot gain privileges (`PR_SET_NO_NEW_PRIVS`).
    """
    if sys.platform != "linux":
        return False
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    version = call(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    if version < 1:
        return False
    wanted = _Ruleset(
        files=(1 << max(bits for since, bits in _FILE_RIGHTS.items() if since <= version)) - 1,
        network=_ALL_NETWORK if version >= _SINCE_NETWORK else 0,
        scopes=_ALL_SCOPES if version >= _SINCE_SCOPES else 0,
    )
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    ruleset = call(ctypes.c_long(_CREATE_RULESET), ctypes.byref(wanted), size, ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        return bool(call(ctypes.c_long(_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


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
