"""The cage a worker puts itself into before it touches a byte of a stranger.

Source: reliability reference, section 4.5.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from gateway.workers.limits import forbid_core_dumps

CPU_SECONDS = 60
CPU_BYTES_PER_SECOND = 200_000
"""A file may take a minute, and a second more for each of these: one in which every message has to be explained."""

_OPEN_FILES = 32
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


_NICE = 5
"""Reading gives way: where processors are few, a large file must not slow the loop that everything else waits for."""


def confine(parent: int) -> None:
    """Give up everything that reading a descriptor does not need; ends the process when *parent* has gone."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(0)  # it died before the kernel was told to tell us
        # an empty network namespace where the system allows it; the parser has no network client either way
        library.unshare(_CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET)
    os.chdir("/")
    os.nice(_NICE)
    forbid_core_dumps()
    for kind, limit in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, _OPEN_FILES)):
        resource.setrlimit(kind, (limit, limit))


def renew_limits(file_bytes: int, memory_bytes: int) -> None:
    """Set the limits of memory and processor time for the next file, above what is used already."""
    times = resource.getrusage(resource.RUSAGE_SELF)
    seconds = times.ru_utime + times.ru_stime + CPU_SECONDS + file_bytes / CPU_BYTES_PER_SECOND
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, most))
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_pages(0) + memory_bytes, most))


def resident_bytes() -> int:
    """Return the memory this process holds."""
    return _pages(1) if sys.platform == "linux" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _pages(column: int) -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[column]) * resource.getpagesize()
