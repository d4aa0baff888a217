"""Copying status messages against a model: random messages, passes that are killed at any statement or step of a file.

Whatever is killed when: each message is stored once, a session has the status of its greatest message, and everything
that cannot be copied is set aside once.
"""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.db.open import open_store
from gateway.exchange.rules.statuses import FAILED, RANKS, SAID, SessionDirection, SessionStatus, parse_status
from gateway.kernel.faultpoints import InjectedFault, switched_on
from tests.conftest import Databases
from tests.integration.exchange.world import DatabaseStation, ExchangeWorld, FolderStation, Message

HISTORIES = range(6)
NOW = datetime.now(UTC)
FILE_POINTS = ("claim.renamed", "settle.move", "settle.moved", "settle.unlinked", "settle.reason_written")
WORDS = {status: status.replace("_", " ").title().replace(" ", "") for status in SessionStatus}


class Killed(Exception):
    """The process ends here."""


@contextmanager
def killed_at(number: int, *, after: bool) -> Iterator[None]:
    """End the process at its statement of that number, before or after the server has carried it out."""
    seen = 0
    real = {name: getattr(asyncpg.Connection, name) for name in ("execute", "fetch", "fetchrow", "fetchval")}

    def wrapped(method: Any) -> Any:
        async def call(self: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            mine = seen
            if mine == number and not after:
                raise Killed
            result = await method(self, *arguments, **options)
            if mine == number:
                raise Killed
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name, method in real.items():
            patch.setattr(asyncpg.Connection, name, wrapped(method))
        yield


class Model:
    """What must come of everything that was written."""

    def __init__(self) -> None:
        self.stored: dict[UUID, Message] = {}
        self.refused = 0

    def write(self, message: Message) -> None:
        status = parse_status(message.status)
        direction = SessionDirection(message.direction.lower())
        first = self.stored.get(message.message_id)
        if status not in SAID[direction] or (first is not None and first != message):
            self.refused += 1
        else:
            self.stored.setdefault(message.message_id, message)

    def sessions(self) -> dict[tuple[str, int], tuple[str, datetime, int]]:
        """Return status, time and failures of each session that has begun."""
        found: dict[tuple[str, int], list[Message]] = {}
        for message in self.stored.values():
            found.setdefault((message.direction.lower(), message.number), []).append(message)
        return {
            name: (self._greatest(its)[0], self._greatest(its)[1], sum(_status(m) in FAILED for m in its))
            for name, its in found.items()
            if any(_status(message) is SessionStatus.STARTED for message in its)
        }

    @staticmethod
    def _greatest(its: list[Message]) -> tuple[str, datetime]:
        last = max(its, key=lambda m: (RANKS[_status(m)], m.at, m.message_id.bytes))
        return _status(last), last.at


def _status(message: Message) -> SessionStatus:
    status = parse_status(message.status)
    assert status is not None
    return status


def a_message(chance: random.Random, model: Model) -> Message:
    if model.stored and chance.random() < 0.15:
        again = chance.choice(list(model.stored.values()))
        return again if chance.random() < 0.7 else Message(**{**vars(again), "number": again.number + 1})
    direction = chance.choice(list(SessionDirection))
    status = chance.choice([*SAID[direction], SessionStatus.STARTED, *chance.sample(list(SessionStatus), 1)])
    return Message(
        status=WORDS[status], direction=direction.title(), number=chance.randint(1, 6),
        at=NOW - timedelta(seconds=chance.randint(1, 9)), message_id=UUID(int=chance.getrandbits(128), version=4),
    )  # fmt: skip


async def one_pass(world: ExchangeWorld, chance: random.Random, kind: str) -> None:
    """Make a pass that may be killed somewhere; then another process goes on."""
    match chance.choice(["whole", "statement", "statement", "statement", "file" if kind == "folder" else "statement"]):
        case "whole":
            await world.run()
        case "statement":
            with suppress(Killed), killed_at(chance.randint(1, 45), after=chance.random() < 0.5):
                await world.run()
        case _:
            with suppress(InjectedFault), switched_on(f"{chance.choice(FILE_POINTS)}:{chance.randint(1, 9)}:raise"):
                await world.run()
    if chance.random() < 0.7:
        world.new_process()


@pytest.mark.parametrize("kind", ["database", "folder"])
async def test_each_message_is_stored_once_and_sessions_are_those_of_the_model(
    kind: str, database_url: str, databases: Databases, tmp_path: Path
) -> None:
    name = databases.create_empty()
    database = DatabaseStation(databases.url(name))
    (tmp_path / "status").mkdir()
    with ThreadPoolExecutor(1) as threads:
        async with open_store(database_url, tmp_path / "store") as store:
            for history in HISTORIES:
                chance = random.Random(f"{kind} {history}")
                root = tmp_path / str(history)
                (root / "status").mkdir(parents=True)
                folder = FolderStation(root / "status", root)
                station: Any = database if kind == "database" else folder
                of_store = {"database": database.url} if kind == "database" else {
                    "folder": str(folder.folder), "settle_seconds": 0.0,
                }  # fmt: skip
                world = ExchangeWorld(store, station, of_store, root, threads)
                world.options = {"download_session_days": 0, "upload_session_days": 0}
                await _empty(store, database if kind == "database" else None)
                model = Model()
                for _ in range(chance.randint(2, 5)):
                    for _ in range(chance.randint(0, 25)):
                        message = a_message(chance, model)
                        model.write(message)
                        await station.write(message)
                    await one_pass(world, chance, kind)
                world.new_process()
                await world.run()
                await _compare(world, model, f"{kind} {history}")
    await database.close()
    databases.drop(name)


async def _compare(world: ExchangeWorld, model: Model, history: str) -> None:
    stored = [message.message_id for message in await world.messages()]
    assert sorted(stored, key=str) == sorted(model.stored, key=str), history
    found = {(one.direction, one.number): (one.status, one.status_at, one.failures) for one in await world.sessions()}
    assert found == model.sessions(), history
    held = await world.station.held()
    assert (held.waiting, held.uploaded, held.refused) == (0, len(model.stored), model.refused), history
    assert len(await world.troubles()) == model.refused, history


async def _empty(store: Any, database: DatabaseStation | None) -> None:
    async with store.transaction() as connection:
        await connection.execute("DELETE FROM status_message")
        await connection.execute("DELETE FROM exchange_session")
        await connection.execute("DELETE FROM status_message_trouble")
    if database is not None:
        await (await database.connection()).execute("TRUNCATE exchange.status_message, exchange.session")
