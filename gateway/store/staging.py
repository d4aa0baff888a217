"""Staging folders: which one belongs to whom, and what in it is still needed.

A promised file lies in one folder, named by its identity. Only a node that uses this very folder can publish it.
"""

from collections.abc import Mapping
from uuid import UUID

from gateway.domain.delivery import StagingPlace
from gateway.domain.ids import Fence, PortName
from gateway.domain.retry import SEND
from gateway.store.open import Store


async def register_staging(store: Store, incarnation: int, port: PortName, place: StagingPlace) -> None:
    """Say that this process publishes what is promised in *place*; what waited for that is ready again."""
    async with store.transaction() as connection:
        await connection.execute(store.queries.register_staging, incarnation, port, place.id, place.folder)


async def known_staging(store: Store, incarnation: int, port: PortName) -> UUID | None:
    """Return the identity of the folder that this node last used for a port."""
    async with store.transaction() as connection:
        found: UUID | None = await connection.fetchval(store.queries.known_staging, incarnation, port)
    return found


async def needed_staged(store: Store, port: PortName, found: Mapping[str, Fence | None]) -> set[str]:
    """Return which staged files of a port must stay: promised ones, and those of attempts under way.

    Shape: *found* maps the name of each file to the claim it was made under, None when its name tells of none.
    """
    async with store.transaction() as connection:
        rows = await connection.fetch(store.queries.needed_staged, port, list(found), list(found.values()))
    return {row["name"] for row in rows}


async def put_off_unreachable(store: Store, port: PortName) -> int:
    """Let promised files wait whose staging folder no living process uses; they say where they are.

    Returns the number of such folders.
    """
    async with store.transaction() as connection:
        folders = await connection.fetch(store.queries.unreachable_staging, port)
        for row in folders:
            place = "in a staging folder that no gateway of this database has used"
            if row["folder"] is not None:
                place = f"in {row['folder']} on {row['host']}"
            text = (
                f"The file is prepared {place}, and no gateway that runs uses that folder. Start that gateway again, "
                "or let another one use the folder for staging."
            )
            await connection.execute(store.queries.put_off_promised, port, row["staged_in"], text, SEND.most_seconds)
    return len(folders)
