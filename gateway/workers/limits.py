"""What a process may use: memory, processor, files; and what it leaves behind when it crashes."""

import errno
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_OPEN_FILES: Final = 32
_TOO_MANY_PROCESSES: Final = (
    "no more processes or threads may be started; raise the limit of the account (ulimit -u) or of its container (pids)"
)
_TOO_LITTLE_MEMORY: Final = "there is not enough memory; give the account or its container more"
_NICE: Final = 5
"""Reading gives way: where processors are few, a large file must not slow the loop that everything else waits for."""


def forbid_core_dumps() -> None:
    """Let neither this process nor those it starts leave its memory on the disk: documents and secrets are in it."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    # 1, not 0: a program that the system hands dumps to gets them whatever the limit is, but for this one number
    limit = 0 if most == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def limit_reached(error: BaseException) -> str | None:
    """Return which limit of the machine or the account an error tells of, and what to do; None for any other error."""
    if isinstance(error, RuntimeError):  # Python has no class for it
        return _TOO_MANY_PROCESSES if error.args == ("can't start new thread",) else None
    if isinstance(error, MemoryError):
        return _TOO_LITTLE_MEMORY
    match error.errno if isinstance(error, OSError) else None:
        case errno.EMFILE:
            most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            return f"this process may not open more than {most} files; raise the limit of the account (ulimit -n)"
        case errno.ENFILE:
            return "the machine may not open more files; raise its limit (fs.file-max)"
        case errno.EAGAIN:
            return _TOO_MANY_PROCESSES
        case errno.ENOMEM:
            return _TOO_LITTLE_MEMORY
        case _:
            return None


def set_limits() -> None:
    """Limit this process for as long as it lives: it writes no file, opens few, and gives way to others."""
    os.chdir("/")
    os.nice(_NICE)
    forbid_core_dumps()
    for kind, limit in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, _OPEN_FILES)):
        resource.setrlimit(kind, (limit, limit))


def give_way() -> None:
    """Let the new session of this process give way as well: systems may share the processor by sessions (sched(7))."""
    with suppress(OSError):  # there is no such sharing, or too many asked for it at this moment
        Path("/proc/self/autogroup").write_text(str(_NICE), encoding="ascii")


def renew_limits(cpu_seconds: float, memory_bytes: int) -> None:
    """Set the limits of memory and processor time for the next file, above what is used already."""
    times = resource.getrusage(resource.RUSAGE_SELF)
    seconds = times.ru_utime + times.ru_stime + cpu_seconds
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, most))
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_pages(0) + memory_bytes, most))


def limit_memory(most_bytes: int) -> None:
    """Let this process, and each that it starts, hold so much data more than it does now; then Python has MemoryError.

    Memory that is only reserved, and files that are mapped, do not count.
    """
    if sys.platform == "linux":
        limit = _pages(5) + most_bytes
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def resident_bytes() -> int:
    """Return the memory this process holds."""
    return _pages(1) if sys.platform == "linux" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def keep_memory_report() -> None:
    """Let this process ask for its memory also when it can open nothing more. A fork of it has to do the same."""
    if sys.platform == "linux":
        _report.append(os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC))


def _pages(column: int) -> int:
    text = os.pread(_report[-1], 200, 0) if _report else Path("/proc/self/statm").read_bytes()
    return int(text.split()[column]) * resource.getpagesize()


_report: Final[list[int]] = []
"""The descriptor of the report of the system on this process, when it is kept open; it is read anew each time."""
