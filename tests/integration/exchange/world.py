"""Stations that write status messages into a database or a folder, and the passes that copy them."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Protocol
from uuid import UUID, uuid4

from asyncpg import Connection, connect

from gateway.config.models import Settings
from gateway.contracts.task import Tally
from gateway.db.open import Store
from gateway.exchange import MessageStores, SessionFilter, SessionRow, StatusMessageRow, TroubleRow, records
from gateway.exchange.database import TABLES

STORE = "shops"


class Clock:
    def monotonic(self) -> float:
        return monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a station writes; as texts, so that anything can be wrong with it."""

    status: str = "Started"
    number: int = 7
    direction: str = "Download"
    station: str = "STORE-12"
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    message_id: UUID = field(default_factory=uuid4)
    text: str | None = None
    rows: int | None = None
    path: str | None = None

    def xml(self) -> bytes:
        more = "".join(
            f"<{name}>{value}</{name}>"
            for name, value in (("Rows", self.rows), ("Path", self.path), ("Text", self.text))
            if value is not None
        )
        return (
            '<StatusMessage xmlns="urn:gateway:exchange:status-message">'
            f"<MessageId>{self.message_id}</MessageId><Station>{self.station}</Station>"
            f"<Direction>{self.direction}</Direction><Session>{self.number}</Session><Status>{self.status}</Status>"
            f"<At>{self.at.isoformat()}</At>{more}</StatusMessage>"
        ).encode()


@dataclass(frozen=True)
class Held:
    """What a message store holds: numbers of messages."""

    waiting: int
    uploaded: int
    refused: int


class Station(Protocol):
    async def write(self, *messages: Message) -> None: ...
    async def held(self) -> Held: ...
    async def told(self) -> Mapping[int, str]: ...


class DatabaseStation:
    """Writes rows, as a program of a station would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Connection | None = None

    async def write(self, *messages: Message) -> None:
        connection = await self.connection()
        await connection.executemany(
            "INSERT INTO exchange.status_message "
            "(message_id, station, direction, session, status, at, text, rows, path) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            [
                (m.message_id, m.station, m.direction, m.number, m.status, m.at, m.text, m.rows, m.path)
                for m in messages
            ],
        )

    async def held(self) -> Held:
        row = await (await self.connection()).fetchrow(
            "SELECT count(*) FILTER (WHERE uploaded_at IS NULL AND refused_at IS NULL) AS waiting, "
            "count(uploaded_at) AS uploaded, count(refused_at) AS refused FROM exchange.status_message"
        )
        assert row is not None
        return Held(**row)

    async def told(self) -> Mapping[int, str]:
        rows = await (await self.connection()).fetch("SELECT session, status FROM exchange.session")
        return {row["session"]: row["status"] for row in rows}

    async def connection(self) -> Connection:
        if self._connection is None:
            self._connection = await connect(self.url)
            await self._connection.execute(TABLES.read_text(encoding="utf-8"))
        return self._connection

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


class FolderStation:
    """Puts files, as a careful program would: under another name, then renamed."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.own = root / "data" / "exchange" / STORE
        self._number = 0

    async def write(self, *messages: Message) -> None:
        for message in messages:
            self.put(message.xml())

    def put(self, content: bytes, name: str | None = None) -> str:
        self._number += 1
        name = name or f"{self._number:06}.xml"
        part = self.folder / f".{name}.part"
        part.write_bytes(content)
        os.rename(part, self.folder / name)
        return name

    async def held(self) -> Held:
        return Held(
            waiting=len([*self.folder.glob("*.xml"), *self.own.glob("work/*~*.xml")]),
            uploaded=len([*self.own.glob("uploaded/*/*.xml")]),
            refused=len([*self.own.glob("refused/*.xml")]),
        )

    async def told(self) -> Mapping[int, str]:
        return {}


class ExchangeWorld:
    """A gateway's database with a message store, and a station that writes into it."""

    def __init__(
        self, store: Store, station: Any, of_store: Mapping[str, Any], root: Path, threads: ThreadPoolExecutor
    ) -> None:
        self.store = store
        self.station = station
        self.root = root
        self.of_store = dict(of_store)
        self.options: dict[str, Any] = {}
        self.ports: dict[str, Any] = {}
        self.tally = Tally()
        self.said: list[str] = []
        self.threads = threads
        self.chunk = 10
        self.stores = self.new_process()

    def new_process(self) -> MessageStores:
        """Return the stores as a process knows them that was just started."""
        self.stores = MessageStores(
            self.store, self.settings, threads=lambda _: self.threads, clock=Clock(), chunk=self.chunk
        )
        return self.stores

    def settings(self) -> Settings:
        exchange = {**self.options, "stores": {STORE: self.of_store}}
        services = {"S": {"kind": "document", "document": "Customer", "entity": "CustTable", "key": "AccountNum"}}
        return Settings.model_validate(
            {"data_exchange": exchange, "ports": self.ports, "services": services, "data": str(self.root / "data")},
            context={"base": self.root},
        )

    async def run(self) -> Mapping[str, int]:
        """Make one pass; returns what it counted."""
        self.tally = Tally()
        await self.stores.make_pass(STORE, tally=self.tally, lines=self, stopping=asyncio.Event())
        return self.tally.counts

    def info(self, text: str) -> None:
        self.said.append(text)

    warning = error = info

    async def session(self, number: int = 7) -> SessionRow:
        (found,) = await records.find_sessions(self.store, None, number)
        return found

    async def sessions(self, *, everything: bool = True) -> list[SessionRow]:
        return await records.list_sessions(self.store, SessionFilter(everything=everything), limit=1000)

    async def messages(self, *, waiting: bool = False) -> list[StatusMessageRow]:
        return await records.list_messages(self.store, waiting=waiting, limit=100_000)

    async def troubles(self) -> Sequence[TroubleRow]:
        return await records.list_troubles(self.store)

    async def age(self, days: float, *, message: UUID | None = None) -> None:
        """Make uploaded messages, or one of them, so many days older, and what is known of sessions."""
        for table, columns in (
            ("status_message", ("uploaded_at",)),
            ("exchange_session", ("changed_at", "status_at")),
        ):
            if message is not None and table != "status_message":
                continue
            changes = ", ".join(f"{column} = {column} - $1::interval" for column in columns)
            where = "" if message is None else " WHERE message_id = $2"
            async with self.store.transaction() as connection:
                await connection.execute(
                    f"UPDATE {table} SET {changes}{where}",
                    timedelta(days=days),
                    *(() if message is None else (message,)),
                )
