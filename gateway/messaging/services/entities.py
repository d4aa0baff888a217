"""Records of the document service, and running numbers; all inside the transaction of the caller."""

from collections.abc import Sequence
from dataclasses import dataclass

from asyncpg import Connection

from gateway.db.listen import CHANNEL, JOBS_HINT
from gateway.db.open import Store
from gateway.db.statements import session_sql
from gateway.db.unit import UnitTransaction
from gateway.kernel.ids import MessageKey
from gateway.kernel.meter import METER
from gateway.messaging.statements import entities_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntity:
    """A root entity to be kept. `size` counts the entity elements in it, itself included."""

    key: str
    partition: str
    company: str
    content: bytes
    size: int
    request: MessageKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A root entity as it is kept: record number of the root, version, the element in UTF-8."""

    rec_id: int
    key: str
    rec_version: int
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredNumbers:
    """Number sequences of the store; a rollback of the unit's transaction gives numbers of continuous ones back."""

    unit: UnitTransaction
    store: Store

    async def take(
        self, name: str, count: int = 1, *, first: int = 1, step: int = 1, continuous: bool = True
    ) -> Sequence[int]:
        """Return the next *count* numbers, in order; a new sequence starts at *first*."""

        async def draw(number: int) -> int:
            async with self.unit.apart() as connection:
                return await self._draw(connection, name, number, first, step)

        with METER.get().with_us():
            if not continuous:
                return await self.store.numbers.ahead(name, count, step, draw)
            async with self.unit.holding_numbers(name) as connection:
                start = await self._draw(connection, name, count, first, step)
        return [start + index * step for index in range(count)]

    async def _draw(self, connection: Connection, name: str, count: int, first: int, step: int) -> int:
        return await entities_sql.take_numbers(connection, name, count, first, step)


async def next_numbers(store: Store) -> dict[str, int]:
    """Return the next number of each sequence that was ever used."""
    async with store.transaction() as connection:
        return {row.name: row.next for row in await entities_sql.next_numbers(connection)}


async def insert_entities(connection: Connection, document: str, entities: Sequence[NewEntity]) -> None:
    """Keep new root entities.

    Raises: asyncpg.UniqueViolationError when a key exists in the same partition and company.
    """
    taken = await entities_sql.take_rec_ids(connection, sum(entity.size for entity in entities), document)
    numbers = taken.numbers
    starts, used = [], 0
    for entity in entities:
        starts.append(numbers[used])
        used += entity.size
    await entities_sql.insert_entities(connection, starts, [document] * len(entities), [e.partition for e in entities],
        [e.company for e in entities], [e.key for e in entities], [e.content for e in entities],
        [e.request for e in entities],
    )  # fmt: skip
    if taken.is_awaited:
        await session_sql.hint(connection, CHANNEL, JOBS_HINT)


async def read_entities(
    connection: Connection, document: str, partition: str, company: str, keys: Sequence[str]
) -> dict[str, Entity]:
    """Return the entities with these keys; keys that do not exist are missing."""
    rows = await entities_sql.read_entities(connection, document, partition, company, list(keys))
    return {
        row.key: Entity(rec_id=row.rec_id, key=row.key, rec_version=row.rec_version, content=row.content)
        for row in rows
    }
