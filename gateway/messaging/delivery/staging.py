"""Staging folders: which one belongs to whom, and what in it is still needed.

A promised file lies in one folder, named by its identity. Only a node that uses this very folder can publish it. An
operator may give up what is promised in a folder that is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.db.listen import CHANNEL
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.kernel.ids import Fence, MessageKey, PortName
from gateway.kernel.retry import SEND
from gateway.messaging.delivery.promises import record_sent
from gateway.messaging.queue.exceptions import Entry, insert_exceptions
from gateway.messaging.rules.delivery import StagingPlace, prepared_where
from gateway.messaging.rules.states import LoggingMode
from gateway.messaging.statements import staging_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An answer that is promised; `reachable` says that a living process uses its staging folder."""

    key: MessageKey
    port: PortName
    file: str
    is_fault: bool
    folder: str | None
    host: str | None
    reachable: bool

    @property
    def where(self) -> str:
        """Say to people where it is prepared."""
        return prepared_where(self.folder, self.host)


async def register_staging(store: Store, incarnation: int, port: PortName, place: StagingPlace) -> None:
    """Say that this process publishes what is promised in *place*; what waited for that is ready again."""
    async with store.transaction() as connection:
        await staging_sql.register_staging(connection, incarnation, port, place.id, place.where)


async def known_staging(store: Store, incarnation: int, port: PortName) -> UUID | None:
    """Return the identity of the folder that this node last used for a port."""
    async with store.transaction() as connection:
        found: UUID | None = await staging_sql.known_staging(connection, incarnation, port)
    return found


async def needed_staged(store: Store, port: PortName, found: Mapping[str, Fence | None]) -> set[str]:
    """Return which staged files of a port must stay: promised ones, and those of attempts under way.

    Shape: *found* maps the name of each file to the claim it was made under, None when its name tells of none.
    """
    async with store.transaction() as connection:
        rows = await staging_sql.needed_staged(connection, port, list(found), list(found.values()))
    return set(rows)


async def reclaim_put_off(store: Store, port: PortName, staging: UUID) -> None:
    """Make ready what was put off because the address of a port could not be used: it can be again."""
    async with store.transaction() as connection:
        await staging_sql.reclaim_put_off(connection, port, staging)


async def is_put_off(store: Store, port: PortName) -> bool:
    """Tell whether anything of a port waits for its address."""
    async with store.transaction() as connection:
        return bool(await staging_sql.is_put_off(connection, port))


async def put_off_unreachable(store: Store, port: PortName) -> int:
    """Let promised files wait whose staging folder no living process uses; they say where they are.

    Returns the number of such folders.
    """
    async with store.transaction() as connection:
        folders = await staging_sql.unreachable_staging(connection, port)
        for row in folders:
            text = (
                f"The file is prepared {prepared_where(row.folder, row.host)}, and no gateway that runs uses "
                "that folder. Start that gateway again, or let another one use the folder for staging."
            )
            await staging_sql.put_off_promised(connection, port, row.staged_in, text, SEND.most_seconds)
    return len(folders)


async def prepared_beside(store: Store, keys: Sequence[MessageKey]) -> list[Prepared]:
    """Return everything that is promised in the staging folders of the messages named, in order."""
    async with store.transaction() as connection:
        rows = await staging_sql.promised_beside(connection, list(keys))
    return [Prepared(**row._asdict()) for row in rows]


async def lost_staging(store: Store, key: MessageKey) -> str | None:
    """Say where the file of a message is prepared when no living process uses that folder, else None."""
    async with store.transaction() as connection:
        row = await staging_sql.lost_staging(connection, key)
    return None if row is None else prepared_where(row.folder, row.host)


async def give_up_promises(
    store: Store, lost: Sequence[Prepared], *, published: Mapping[MessageKey, LoggingMode], by: str
) -> list[MessageKey]:
    """Give up what is promised in lost folders, so that it is staged anew; returns what was given up or is sent.

    Rule: those in *published*, with what is kept of them, are recorded as sent. What a living process can reach by now
    stays promised. Who did it stands in the exception log of each message.
    """
    sql = store.queries
    async with store.transaction() as connection:
        rows = await staging_sql.lock_lost_promises(connection, [one.key for one in lost])
        still = set(rows)
        await staging_sql.give_up_promises(connection, sorted(still - published.keys()))
        for mode in sorted({published[key] for key in still & published.keys()}):
            await record_sent(connection, sql, [key for key in still if published.get(key) is mode], mode)
        await insert_exceptions(
            connection, [_given_up(one, by, sent=one.key in published) for one in lost if one.key in still]
        )
        await session_sql.hint(connection, CHANNEL, "queue")
    return sorted(still)


def _given_up(one: Prepared, by: str, *, sent: bool) -> Entry:
    then = (
        "It lies in the outbound folder and counts as sent."
        if sent
        else "It is prepared anew; if it had been published, the partner gets it a second time."
    )
    return Entry(
        code="promise.given-up", severity="warning", port=one.port, message_key=one.key, file=one.file,
        text=f"{by} gave up the file prepared {one.where}, because that folder is lost. {then}",
    )  # fmt: skip
