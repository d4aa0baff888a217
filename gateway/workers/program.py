"""Programs of the site: each ends with the process that started it, whatever ends that, and may have limits.

This file is also the script that is run between fork and exec. It bounds what the program may use, asks the kernel to
end it when its parent dies, and becomes the program. It is run by path, without the packages of the site, so that it
takes a few milliseconds: it imports nothing of ours.
Arguments: its parent's process id; the limits, each `name=number`, in one argument; the program and its own.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_LIMITS = {
    "memory": resource.RLIMIT_AS,
    "cpu": resource.RLIMIT_CPU,
    "processes": resource.RLIMIT_NPROC,
    "file": resource.RLIMIT_FSIZE,
}
NOT_STARTED = 127
"""Exit code when the command cannot be started; the reason stands in its output."""


def arguments(command: Sequence[str], limits: str = "") -> list[str]:
    """Return the arguments that start a program so; *limits* as the script takes them.

    Rule: the thread that starts it must live as long as its process does; to the kernel that is the parent.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), limits, *command]


def main(parent: int, limits: str, command: list[str]) -> None:
    """Never returns: this process is the command afterwards, or has ended."""
    for limit in filter(None, limits.split(",")):
        name, _, number = limit.partition("=")
        resource.setrlimit(_LIMITS[name], (int(number), int(number)))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # the gateway died before it could be watched
            sys.exit(NOT_STARTED)
    try:
        os.execvp(command[0], command)  # noqa: S606 (an argument list of the configuration, no shell)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
