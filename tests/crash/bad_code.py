"""Services as people write them on a bad day; each misbehaves in one way, always."""

import asyncio
import ctypes
import os
import re
import signal
import sys
import time
from pathlib import Path

from gateway.contracts.service import Reply, Request, ServiceContext

SIGN = "go on"


async def good(request: Request, context: ServiceContext) -> Reply:
    """Answer, with an effect that can be counted."""
    await context.connection.execute(
        "INSERT INTO number_sequence VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET next = number_sequence.next + 1",
        str(request.message_id),
    )
    return Reply()


async def raises(_: Request, __: ServiceContext) -> Reply:
    raise ValueError("a text with a \x00 in it \ud800")


class Unspeakable(Exception):
    """An error that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


def raises_the_unspeakable(_: Request, __: ServiceContext) -> Reply:
    raise Unspeakable


async def loops(_: Request, __: ServiceContext) -> Reply:
    while True:
        pass


def loops_in_a_thread(_: Request, __: ServiceContext) -> Reply:
    print(loops_in_a_thread.__name__, file=sys.stderr, flush=True)
    while True:
        pass


async def matches_for_ever(_: Request, __: ServiceContext) -> Reply:
    re.match(r"(a|aa)+$", "a" * 80 + "b")
    return Reply()


def allocates(_: Request, __: ServiceContext) -> Reply:
    hoard = []
    while True:
        hoard.append(bytes(10_000_000))


def aborts(_: Request, __: ServiceContext) -> Reply:
    os.abort()


async def segfaults(_: Request, __: ServiceContext) -> Reply:
    ctypes.string_at(0)
    return Reply()


def leaves(_: Request, __: ServiceContext) -> Reply:
    os._exit(0)


async def leaves_a_child_behind(_: Request, __: ServiceContext) -> Reply:
    """End the process, but not all that has its descriptors."""
    if os.fork() == 0:
        time.sleep(60)
    os._exit(3)


def is_killed(_: Request, __: ServiceContext) -> Reply:
    os.kill(os.getpid(), signal.SIGKILL)
    return Reply()


def hoards(_: Request, __: ServiceContext) -> Reply:
    """Take memory, and use it."""
    hoard = []
    while True:
        hoard.append(b"x" * 10_000_000)
        time.sleep(0.02)


def holds_everything(_request: Request, _context: ServiceContext) -> Reply:
    """Hold the interpreter itself, as a library in C may: the loop stands, though not for code that is on it."""
    mutex = ctypes.create_string_buffer(64)
    for _ in ("taken", "waited for"):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)
    return Reply()


async def blocks(_: Request, __: ServiceContext) -> Reply:
    """Hold the event loop for as long as it is let."""
    print(blocks.__name__, file=sys.stderr, flush=True)
    while True:
        time.sleep(1000)


def sleeps(_: Request, __: ServiceContext) -> Reply:
    print(sleeps.__name__, file=sys.stderr, flush=True)
    while True:
        time.sleep(1000)


def waits_for_a_sign(_: Request, __: ServiceContext) -> Reply:
    """Take as long as the test wants: until a file lies beside the log of the gateway."""
    print(waits_for_a_sign.__name__, file=sys.stderr, flush=True)
    while not Path(f"/proc/self/fd/{sys.stderr.fileno()}").readlink().with_name(SIGN).exists():
        time.sleep(0.01)
    return Reply()


def naps(_: Request, __: ServiceContext) -> Reply:
    """Take a while, as any call of another system may."""
    print(naps.__name__, file=sys.stderr, flush=True)
    time.sleep(2.0)
    return Reply()


async def waits(_: Request, __: ServiceContext) -> Reply:
    print(waits.__name__, file=sys.stderr, flush=True)
    await asyncio.Event().wait()
    return Reply()


async def exits(_: Request, __: ServiceContext) -> Reply:
    sys.exit(3)


def answers_nonsense(_: Request, __: ServiceContext) -> Reply:
    return Reply(entity_keys=[[("Key", "\x00")]])
