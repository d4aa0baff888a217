"""Become the database server: a script of its own, run between fork and exec.

It gives up the rights of root, asks the kernel to end the server when the gateway dies, and turns into the
server. The order matters: changing the user forgets the request to the kernel, exec keeps it.
Arguments: the gateway's process id, user id and group id to run as (-1: stay), the command and its own.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, uid: int, gid: int, command: list[str]) -> None:
    """Never returns: this process is the server afterwards, or has ended."""
    os.umask(0o077)
    if uid != -1:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # SIGINT is PostgreSQL's fast shutdown: clients are cut off, nothing committed is lost.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:  # the gateway died before it could be watched
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 (our own binary, our own arguments)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
