"""All rows of the catalogue sent to one gateway, good files in between; and how each must have ended."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from asyncpg import Connection, Record, connect
from lxml import etree

from gateway.kernel.ids import parse_message_id
from gateway.kernel.namespaces import kept_of
from tests.crash.process_factory import ProcessFactory
from tests.documents import envelope, guid, single
from tests.e2e.rows import PORTS, Answered, Fails, Held, Left, Message, Refused, Row, fill
from tests.memory import held_by
from tests.site import Site, until

SECRET = "the-secret-of-this-run-4711"
_NEXT_IDS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A row whose file was sent: its name, the digest of its bytes, the id of the good file behind it."""

    row: Row
    name: bytes
    digest: bytes
    next_id: UUID


@dataclass
class Memory:
    """The most memory that all processes of a gateway held together, in bytes."""

    most: int = 0

    def look(self, pid: int) -> None:
        self.most = max(self.most, held_by(pid))


@dataclass
class Load:
    """A running gateway, what was sent to it, and a connection to its database."""

    site: Site
    connection: Connection
    trap: socket.socket
    sent: dict[str, Sent] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)

    async def send(self, number: int, row: Row) -> None:
        """Drop the file of a row, with what has to come before it and a good file behind it."""
        stem = f"r{row.number:03}-{number:03}"
        name = row.name or f"{stem}.1.xml".encode()
        if row.before is not None:
            first = name if row.same_name else f"{stem}.0.xml".encode()
            self.site.drop(first, row.before, row.port)
            place = os.fsencode(self.site.inbound(row.port)) + b"/" + first

            async def taken(place: bytes = place) -> bool:
                return not os.path.lexists(place)

            await self._until(taken, f"{first!r} is taken")
        trap = f"127.0.0.1:{self.trap.getsockname()[1]}"
        content = fill(row.make(), trap, self.site.folder / "secret.txt")
        if row.sparse_bytes:
            self._drop_sparse(name, row)
        else:
            await asyncio.to_thread(self.site.drop, name, content, row.port)
        self.site.drop(f"{stem}.2.xml", single(envelope(message_id=guid(_NEXT_IDS + number))), self._next_port(row))
        self.sent[row.id] = Sent(
            row=row, name=name, digest=sha256(content).digest(), next_id=UUID(int=_NEXT_IDS + number)
        )

    def _next_port(self, row: Row) -> str:
        """Return where the good file behind a row goes: the same port, unless that one takes nothing from us."""
        return "orders" if row.port == "users" else row.port

    def _drop_sparse(self, name: bytes, row: Row) -> None:
        hidden = self.site.inbound(row.port) / ".sparse.part"
        hidden.touch()
        os.truncate(hidden, row.sparse_bytes)
        hidden.rename(self.site.inbound(row.port) / os.fsdecode(name))

    async def check(self, row: Row) -> None:
        """Wait until a row has ended and compare how with how it must."""
        sent = self.sent[row.id]
        match row.ends:
            case Left(code=code):
                await self._check_left(sent, code)
            case Refused(code=code):
                await self._check_refused(sent, await self._delivery(sent), code)
            case messages:
                await self._check_messages(sent, await self._delivery(sent), messages)
        await self._check_next(sent)

    async def _delivery(self, sent: Sent) -> Record:
        found: list[Record] = []
        expected = 2 if sent.row.same_name else 1

        async def recorded() -> bool:
            sql = "SELECT * FROM delivery WHERE port = $1 AND name = $2 ORDER BY received_at"
            found[:] = await self.connection.fetch(sql, sent.row.port, sent.name)
            return len(found) >= expected

        await self._until(recorded, f"{sent.name!r} is received")
        assert len(found) == expected
        delivery = found[-1]
        assert delivery["display"] == (sent.row.shown or sent.name.decode())
        assert delivery["owner_uid"] == os.geteuid()
        return delivery

    async def _check_left(self, sent: Sent, code: str) -> None:
        async def told() -> bool:
            sql = "SELECT left_in_place::text AS entries FROM port_status WHERE port = $1"
            rows = await self.connection.fetch(sql, sent.row.port)
            entries = json.loads(rows[0]["entries"]) if rows else []
            return any(entry["name"] == sent.name.decode() and entry["code"] == code for entry in entries)

        await self._until(told, f"the port says that {sent.name!r} is left in place: {code}")
        assert (self.site.inbound(sent.row.port) / os.fsdecode(sent.name)).exists()
        sql = "SELECT 1 FROM delivery WHERE port = $1 AND name = $2"
        assert await self.connection.fetch(sql, sent.row.port, sent.name) == []

    async def _check_refused(self, sent: Sent, delivery: Record, code: str) -> None:
        assert (delivery["outcome"], delivery["code"], delivery["settlement"]) == ("refused", code, "quarantine")
        file = await self._settled("error", sent, delivery)
        reason = file.with_name(file.name + ".txt").read_text()
        assert code in reason and delivery["reason"] in reason and delivery["display"] in reason
        await self._same_bytes(file, sent, delivery)
        (row,) = await self.connection.fetch(
            """SELECT q.status, q.reason, e.code, e.text, e.file, e.port, e.severity,
                      e.message_id = m.message_id AS same
               FROM message m JOIN queue q ON q.message_id = m.id JOIN exception e ON e.message_key = m.id
               WHERE m.claim_id = $1 AND e.claim_id = $1""",
            delivery["claim_id"],
        )
        assert (row["status"], row["reason"], row["severity"]) == ("malformed", "malformed", "error")
        assert (row["code"], row["text"], row["same"]) == (code, delivery["reason"], True)
        assert (row["file"], row["port"]) == (delivery["display"], sent.row.port)
        assert await self._answers(delivery) == []

    async def _check_messages(self, sent: Sent, delivery: Record, ends: Sequence[Message]) -> None:
        assert (delivery["outcome"], delivery["code"]) == ("ingested", None)
        await self._same_bytes(await self._settled("archive", sent, delivery), sent, delivery)
        expected = [number for number, end in enumerate(ends, start=1) if not isinstance(end, Held)]

        async def answered() -> bool:
            rows = await self._answers(delivery)
            return len([row for row in rows if row["outcome"] == "sent"]) >= len(expected)

        await self._until(answered, f"{len(expected)} answers to {sent.name!r}")
        answers = await self._answers(delivery)
        assert [answer["position"] for answer in answers] == expected
        messages = await self.connection.fetch(
            """SELECT m.*, q.status, q.reason FROM message m LEFT JOIN queue q ON q.message_id = m.id
               WHERE m.claim_id = $1 ORDER BY position""",
            delivery["claim_id"],
        )
        assert len(messages) == len(ends)
        by_position = {answer["position"]: answer for answer in answers}
        for message, end in zip(messages, ends, strict=True):
            match end:
                case Answered():
                    assert (message["outcome"], message["status"]) == ("processed", None)
                    self._check_answer(message, by_position[message["position"]], sent.row, None)
                case Fails(fault=fault):
                    assert (message["outcome"], message["status"]) == (None, "error")
                    text = self._check_answer(message, by_position[message["position"]], sent.row, fault)
                    await self._check_exception(message, delivery, end, text)
                case Held(reason=reason):
                    assert (message["status"], message["reason"]) == ("hold", reason)
        if sent.row.stores is not None:
            sql = "SELECT convert_from(content, 'UTF8') FROM entity WHERE request_id = $1"
            assert sent.row.stores in await self.connection.fetchval(sql, messages[0]["id"])
        if sent.row.warns is not None:
            sql = "SELECT code FROM exception WHERE claim_id = $1 AND severity = 'warning'"
            assert [row["code"] for row in await self.connection.fetch(sql, delivery["claim_id"])] == [sent.row.warns]

    def _check_answer(self, message: Record, answer: Record, row: Row, fault: str | None) -> str:
        """Read the answer's file as the partner does; return the text of a fault."""
        content = (self.site.outbound(row.port) / answer["file_name"]).read_bytes()
        root = etree.fromstring(content)
        assert kept_of(etree.QName(root).namespace or "") == message["namespace"]
        answered = root.findtext("{*}Header/{*}RequestMessageId") or ""
        assert answered == message["message_id_sent"] or parse_message_id(answered) == message["message_id"]
        assert parse_message_id(root.findtext("{*}Header/{*}MessageId") or "") == answer["message_id"]
        assert root.findtext(".//{*}Fault/{*}Code") == fault
        assert answer["is_fault"] == (fault is not None) == answer["file_name"].endswith(".fault.xml")
        return root.findtext(".//{*}Fault/{*}Reason/{*}Text") or ""

    async def _check_exception(self, message: Record, delivery: Record, end: Fails, fault_text: str) -> None:
        (row,) = await self.connection.fetch("SELECT * FROM exception WHERE message_key = $1", message["id"])
        assert (row["severity"], row["code"], row["port"]) == ("error", end.code, delivery["port"])
        assert (row["message_id"], row["file"]) == (message["message_id"], delivery["display"])
        assert row["text"] == fault_text != ""

    async def _answers(self, delivery: Record) -> list[Record]:
        sql = """SELECT a.* FROM message m JOIN message a ON a.request_id = m.id WHERE m.claim_id = $1
                 ORDER BY a.position"""
        return await self.connection.fetch(sql, delivery["claim_id"])

    async def _settled(self, kind: str, sent: Sent, delivery: Record) -> Path:
        """Wait until the claimed file lies where it ends, and nowhere else."""
        prefix, found = f"{delivery['claim_id']}~", list[Path]()

        async def there() -> bool:
            folder = self.site.data / kind / sent.row.port
            found[:] = [path for path in folder.rglob(f"{prefix}*") if path.suffix != ".txt"]
            return bool(found)

        await self._until(there, f"{sent.name!r} is in {kind}")
        work = self.site.data / "work" / sent.row.port
        assert [path for path in work.iterdir() if path.name.startswith(prefix)] == []
        (path,) = found
        return path

    async def _same_bytes(self, file: Path, sent: Sent, delivery: Record) -> None:
        if sent.row.sparse_bytes:
            assert file.stat().st_size == sent.row.sparse_bytes == delivery["size_bytes"]
            return
        content = await asyncio.to_thread(file.read_bytes)
        assert sha256(content).digest() == sent.digest
        assert delivery["size_bytes"] == len(content)
        if delivery["code"] not in ("file.too-large", "entry.hardlink"):
            assert delivery["sha256"] == sent.digest

    async def _check_next(self, sent: Sent) -> None:
        """The good file behind the bad one is answered."""
        sql = """SELECT a.file_name FROM message m JOIN message a ON a.request_id = m.id
                 WHERE m.message_id = $1 AND NOT a.is_fault AND a.outcome = 'sent'"""

        async def answered() -> bool:
            return len(await self.connection.fetch(sql, sent.next_id)) == 1

        await self._until(answered, f"the good file behind {sent.name!r} is answered")

    async def holding(self, text: str) -> list[str]:
        """Return where *text* stands: answers, reasons, log, or any column of the database."""
        found = []
        files = [*self.site.folder.glob("*/out/*"), *self.site.data.glob("error/**/*.txt"), self.site.log_file]
        for file in files:
            if text.encode() in await asyncio.to_thread(file.read_bytes):
                found.append(str(file))
        columns = await self.connection.fetch(
            """SELECT table_name AS table, column_name AS column, data_type = 'bytea' AS bytes
               FROM information_schema.columns WHERE table_schema = current_schema()"""
        )
        for table, column, is_bytes in columns:
            place = f"position(convert_to($1, 'UTF8') IN {column})" if is_bytes else f"strpos({column}::text, $1)"
            sql = f'SELECT 1 FROM "{table}" WHERE {place} > 0 LIMIT 1'
            if await self.connection.fetch(sql, text):
                found.append(f"{table}.{column}")
        return found

    async def _until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        await until(condition, what, seconds=100, tell=self.site.tail)


@asynccontextmanager
async def load(
    folder: Path, database_url: str, process_factory: ProcessFactory, rows: Sequence[Row]
) -> AsyncIterator[Load]:
    """Start a gateway with a port for every kind of row and send it all *rows* at once."""
    site = Site(folder, database_url, process_factory)
    for name, options in PORTS.items():
        waits = {"grace_seconds": 0.5, "settle_seconds": 0.1}
        receive = {**waits, **options.get("receive", {})}
        site.add_port(name, **{**options, "receive": receive})
    site.extra["users"] = {"somebody-else": "alice"}
    (folder / "secret.txt").write_text(SECRET)
    connection: Connection = await connect(database_url)
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        running = Load(site=site, connection=connection, trap=trap)
        try:
            await site.start()
            assert site.process is not None
            watching = asyncio.create_task(_watch(running.memory, site.process.pid))
            for number, row in enumerate(rows, start=1):
                await running.send(number, row)
            yield running
            watching.cancel()
            assert await site.stop() == 0
        finally:
            await site.close()
            await connection.close()


async def _watch(memory: Memory, pid: int) -> None:
    while True:
        await asyncio.to_thread(memory.look, pid)
        await asyncio.sleep(0.5)
