"""Operations that take their time, for measurements."""

import asyncio

from gateway.contracts.service import Reply, Request, ServiceContext


async def waits_two_seconds(_: Request, __: ServiceContext) -> Reply:
    """Wait for another system, as most slow operations do; ask the database nothing."""
    await asyncio.sleep(2.0)
    return Reply()


async def waits_a_second(_: Request, __: ServiceContext) -> Reply:
    await asyncio.sleep(1.0)
    return Reply()
