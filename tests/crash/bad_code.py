"""Services as people write them on a bad day; each misbehaves in one way, always."""

import asyncio
import os
import re
import sys
import time

from gateway.contracts.service import Reply, Request, ServiceContext


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


def sleeps(_: Request, __: ServiceContext) -> Reply:
    while True:
        time.sleep(1000)


async def waits(_: Request, __: ServiceContext) -> Reply:
    await asyncio.Event().wait()
    return Reply()


async def exits(_: Request, __: ServiceContext) -> Reply:
    sys.exit(3)


def answers_nonsense(_: Request, __: ServiceContext) -> Reply:
    return Reply(entity_keys=[[("Key", "\x00")]])
