"""seccomp: the few system calls that a caged process may still make. All others fail with EPERM.

What is left is memory, the clock, reading and answering on what is open, and the end. There is no call among them
that opens, starts, connects, traces or signals anything.
Source: https://docs.kernel.org/userspace-api/seccomp_filter.html; numbers from the kernel's unistd.h.
"""

import ctypes
import platform
import struct
import sys
from collections.abc import Mapping
from typing import Final

_CALLS: Final[Mapping[str, tuple[int, int]]] = {
    "pread64": (17, 67),
    "brk": (12, 214),
    "sendto": (44, 206),
    "newfstatat": (262, 79),
    "fstat": (5, 80),
    "read": (0, 63),
    "recvmsg": (47, 212),
    "recvfrom": (45, 207),
    "close": (3, 57),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "setrlimit": (160, 164),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrandom": (318, 278),
    "clock_gettime": (228, 113),
    "gettimeofday": (96, 169),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""The most frequent first; each with its number on x86_64 and on aarch64."""
_ONLY_WITH: Final[Mapping[str, tuple[int, int, int]]] = {
    "write": (1, 64, 2),  # to standard error alone
    "prlimit64": (302, 261, 0),  # the limits of this process alone
}
"""Calls whose first argument must be a certain number, which stands last."""
_MACHINES: Final = ("x86_64", "aarch64")
_ARCHITECTURES: Final = (0xC000003E, 0xC00000B7)
_SECCOMP: Final = (317, 277)
_SET_FILTER, _NO_SLOWDOWN = 1, 4

_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT = 0, 4, 16
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def forbid_calls() -> bool:
    """Give up all system calls but those above, for good; False when this kernel or machine cannot.

    Before: the process cannot gain privileges (`PR_SET_NO_NEW_PRIVS`).
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES or sys.maxsize < 2**32:
        return False  # a 32-bit program has other numbers, also on these machines
    instructions = program(machine)
    wanted = _Program(length=len(instructions) // 8, instructions=instructions)
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    number = ctypes.c_long(_SECCOMP[_MACHINES.index(machine)])
    # old kernels slow a filtered process down, against attacks on its own memory that do not matter here; very old
    # ones do not know how to be told
    return any(
        call(number, ctypes.c_uint(_SET_FILTER), ctypes.c_uint(flags), ctypes.byref(wanted)) == 0
        for flags in (_NO_SLOWDOWN, 0)
    )


def program(machine: str) -> bytes:
    """Return the filter as a program of the kernel's packet filter, for `x86_64` or `aarch64`."""
    column = _MACHINES.index(machine)
    steps: list[tuple[int, int, int, int]] = [(_LOAD, 0, 0, _ARCHITECTURE_AT)]
    checks = len(_CALLS) + 3 * len(_ONLY_WITH)
    steps.append((_IF_EQUAL, 0, checks + 1, _ARCHITECTURES[column]))
    steps.append((_LOAD, 0, 0, _NUMBER_AT))
    end = len(steps) + checks  # of all checks: there it is refused, one further allowed
    for numbers in _CALLS.values():
        steps.append((_IF_EQUAL, end - len(steps), 0, numbers[column]))
    for x86_64, aarch64, argument in _ONLY_WITH.values():
        steps.append((_IF_EQUAL, 0, 2, (x86_64, aarch64)[column]))
        steps.append((_LOAD, 0, 0, _ARGUMENT_AT))
        steps.append((_IF_EQUAL, end - len(steps), end - len(steps) - 1, argument))
    steps += [(_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
