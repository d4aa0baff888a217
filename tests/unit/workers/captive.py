"""A reader that runs the code in a file instead of reading it, as one would that a file has taken over.

Everything else is the real reader: how it is started, its limits, its cage. Shape: the refusal that comes back carries
as its text what became of each line of the code, as JSON: None when it worked, else the name of the exception.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

from gateway.kernel.errors import FileRefused
from gateway.workers import cage, seccomp
from gateway.xml import reader
from gateway.xml.limits import ReadRules

_LIBRARY = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library. Raises: OSError when it says that it failed."""
    result: int = getattr(_LIBRARY, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def main(*without: str) -> int:
    """Be a reader on a system that lacks what is named."""
    for name in without:
        match name:
            case "Landlock":
                cage.forbid_files = lambda: False
            case "seccomp":
                seccomp.forbid_calls = lambda: False
    reader.read_envelopes = _run  # type: ignore[assignment]  # never returns
    return reader.main()


def _run(fd: int, rules: ReadRules, *judges: object) -> Iterator[NoReturn]:
    known = {"call": call, "os": os, "socket": socket, "subprocess": subprocess, "sys": sys}
    outcomes: dict[str, str | None] = {}
    for line in os.pread(fd, 100_000, 0).decode().splitlines():
        try:
            exec(line, known)
            outcomes[line] = None
        except BaseException as error:
            outcomes[line] = traceback.format_exception_only(error)[-1].strip()
    raise FileRefused(json.dumps(outcomes), code="captive")
    yield
