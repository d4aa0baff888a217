"""Landlock: a Linux kernel's promise that a process opens no more files, whoever owns them. Since 5.13.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import sys
from typing import Final

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights on files each version of Landlock knows, bit by bit; others know as many as the one before."""
_ALL_NETWORK, _SINCE_NETWORK = 0b11, 4  # TCP: bind and connect
_ALL_SCOPES, _SINCE_SCOPES = 0b11, 6  # sockets without a path, and signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def forbid_files() -> bool:
    """Give up every right on files that this kernel can take, for good; False when it has no Landlock.

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
