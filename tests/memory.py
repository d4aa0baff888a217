"""How much memory a gateway holds: all its processes together."""

import psutil


def held_by(pid: int) -> int:
    """Return the bytes that a process and all below it hold together; 0 when it is gone.

    Each counts with its own and its part of what it shares: processes that are forked have most in common, and to add
    up what is resident in each would count that again and again.
    """
    try:
        process = psutil.Process(pid)
        return sum(_held(one) for one in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def _held(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:  # only its own account may know
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
