"""Intake: which process takes the files of a port.

One at a time, so that files are read, and their messages numbered, in the order of their names. The others stand by:
they take over when it stops, is lost, or cannot use the folder.
"""

from asyncpg import Connection

from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.kernel.errors import LeaseLost
from gateway.kernel.ids import PortName
from gateway.messaging.rules.states import Stage


async def take_intake(store: Store, incarnation: int, port: PortName, *, asking: bool = False) -> bool:
    """Tell whether this process takes the files of a port now.

    Rule: *asking*, it has claimed files that nobody else may be able to read; the owner then ends its turn, after what
    it has in hand.
    """
    sql = store.queries
    async with store.transaction() as connection:
        seen = await connection.fetchrow(sql.read_intake, port)
        if seen is None:
            return await connection.fetchval(sql.begin_intake, port, incarnation) is not None
        if seen["owner"] == incarnation:
            if seen["asking"] in (None, incarnation):
                return True
            await connection.execute(sql.end_intake, port, incarnation)
            await connection.fetchval(sql.hint, CHANNEL, Stage.RECEIVE)
            return False
        if not seen["owner_lives"]:
            return await connection.fetchval(sql.inherit_intake, port, seen["owner"], incarnation) is not None
        if asking and seen["asking"] is None:
            await connection.execute(sql.ask_for_intake, port, incarnation)
            await connection.fetchval(sql.hint, CHANNEL, Stage.RECEIVE)
        return False


async def end_intake(store: Store, incarnation: int, port: PortName) -> None:
    """Let another process take the files of a port: this one cannot, or shall not any more."""
    async with store.transaction() as connection:
        await connection.execute(store.queries.end_intake, port, incarnation)


async def hold_intake(store: Store, connection: Connection, incarnation: int, port: PortName) -> None:
    """Guard an ingestion, just before its commit.

    Raises: LeaseLost when another process takes the files of the port by now; the transaction must be rolled back.
    """
    if await connection.fetchval(store.queries.hold_intake, port, incarnation) is None:
        raise LeaseLost(f"another node takes the files of the port '{port}' by now", port=port)
