"""What lies in an inbound folder and is no plain file, who owns it, what its partner does to it meanwhile.

Rows 118 to 133 and 135 of the catalogue of bad inputs, and the waiting of row 66, against one real process; a
full disk (134) is in `tests.crash`. Root is bound by fewer rights than others: each test asserts what holds for
the account that runs it.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import stat
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from asyncpg import Record

from tests.crash.process_factory import ProcessFactory
from tests.documents import envelope, guid, single
from tests.e2e.rows import ME
from tests.site import Site, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = os.geteuid() == 0
STRANGER, ALICE = 54_321, 54_322
"""Accounts that do not exist; the second one is mapped to a user."""
PORTS = (
    "links", "hard", "special", "folders", "unreadable", "locked", "flagged", "owners", "sheltered", "moving",
    "swapped", "short", "crowded", "patient", "held", "good",
)  # fmt: skip


PATIENT = ("patient", "locked", "flagged", "short")


class Entries:
    """The running gateway and questions to it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._numbers = iter(range(7_000_000, 8_000_000))

    def order(self, name: str, port: str) -> str:
        """Drop a good file and return its MessageId."""
        message_id = guid(next(self._numbers))
        self.site.drop(name, single(envelope(message_id=message_id)), port)
        return message_id

    async def left(self, port: str, name: str, code: str) -> str:
        """Wait until the port says that an entry is not taken, and return why."""
        found: list[str] = []

        async def told() -> bool:
            sql = "SELECT left_in_place::text AS entries FROM port_status WHERE port = $1"
            rows = await self.site.query(sql, port)
            entries = json.loads(rows[0]["entries"]) if rows else []
            found[:] = [entry["text"] for entry in entries if (entry["name"], entry["code"]) == (name, code)]
            return bool(found)

        await until(told, f"{port} says that it leaves {name!r}: {code}", tell=self.site.tail)
        return found[0]

    async def state(self, port: str, state: str) -> str | None:
        """Wait until a port is in a state and return its reason."""
        rows: list[Record] = []

        async def reached() -> bool:
            rows[:] = await self.site.query("SELECT state, reason FROM port_status WHERE port = $1", port)
            return bool(rows) and rows[0]["state"] == state

        await until(reached, f"{port} is {state}", tell=self.site.tail)
        reason: str | None = rows[0]["reason"]
        return reason

    async def answered(self, message_id: str) -> Record:
        """Wait for the answer to a request; return what is known of the request and of the answer."""
        rows: list[Record] = []

        async def there() -> bool:
            rows[:] = await self.site.query(
                """SELECT m.submitter, m.claim_id, a.is_fault, a.file_name, a.port, e.code, e.text
                   FROM message m JOIN message a ON a.request_id = m.id LEFT JOIN exception e ON e.message_key = m.id
                   WHERE m.message_id = $1 AND a.outcome = 'sent'""",
                message_id.strip("{}"),
            )
            return bool(rows)

        await until(there, f"{message_id} is answered", tell=self.site.tail)
        (row,) = rows
        return row

    async def begin(self, name: str, port: str, message_id: str) -> Callable[[], None]:
        """Put the beginning of a file into the inbound folder, wait until it is seen to wait; return what ends it."""
        path = self.site.inbound(port) / name
        content = single(envelope(message_id=message_id))
        self.site.drop(name, content[:-50], port)
        await self.left(port, name, "file.incomplete")

        def end() -> None:
            with path.open("ab") as file:
                file.write(content[-50:])

        return end

    async def goes_on(self, port: str) -> None:
        """Send a good file and wait for its answer."""
        assert not (await self.answered(self.order("good.xml", port)))["is_fault"]

    async def refused(self, port: str, name: str) -> Record:
        """Wait until a file is refused and lies in the error folder; return its delivery."""
        rows: list[Record] = []

        async def recorded() -> bool:
            rows[:] = await self.site.query(
                "SELECT * FROM delivery WHERE port = $1 AND display = $2 AND outcome = 'refused'", port, name
            )
            # its reason lies there before it
            return bool(rows) and len(list((self.site.data / "error" / port).glob(f"{rows[0]['claim_id']}~*"))) == 2

        await until(recorded, f"{name!r} is refused", tell=self.site.tail)
        return rows[0]

    def kept(self, kind: str, port: str, delivery: Record) -> bytes:
        """Return the bytes of a file that was settled."""
        paths = (self.site.data / kind / port).rglob(f"{delivery['claim_id']}~*")
        (path,) = [path for path in paths if path.suffix != ".txt"]
        return path.read_bytes()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def entries(
    tmp_path_factory: pytest.TempPathFactory, module_database_url: str, process_factory: ProcessFactory
) -> AsyncIterator[Entries]:
    site = Site(tmp_path_factory.mktemp("entries"), module_database_url, process_factory)
    for name in PORTS:
        receive = {"grace_seconds": 600.0 if name in PATIENT else 0.5, "settle_seconds": 0.1}
        security = {"default_user": "somebody"} if name == "sheltered" else {}
        site.add_port(name, receive=receive, security=security)
    site.extra["users"] = {ALICE: "alice"}
    try:
        await site.start()
        yield Entries(site)
        assert await site.stop() == 0
    finally:
        await site.close()


@pytest.mark.parametrize("target", ["/etc/passwd", "good", "/nowhere", "loop", "/dev/zero"])
async def test_118_symbolic_link_is_never_followed(entries: Entries, target: str) -> None:
    inbound = entries.site.inbound("links")
    name = f"link-to-{Path(target).name}.xml"
    if target == "good":
        good = entries.site.folder / "good.xml"
        good.write_bytes(single(envelope()))
        target = str(good)
    elif target == "loop":
        target = name
    (inbound / name).symlink_to(target)
    assert "never followed" in await entries.left("links", name, "entry.symlink")
    await entries.goes_on("links")
    assert os.readlink(inbound / name) == target
    assert await entries.site.query("SELECT 1 FROM delivery WHERE port = 'links' AND display = $1", name) == []


async def test_119_hard_link_is_refused_because_its_owner_need_not_be_its_sender(entries: Entries) -> None:
    mine = entries.site.folder / "mine.xml"
    mine.write_bytes(single(envelope()))
    os.link(mine, entries.site.inbound("hard") / "linked.xml")
    delivery = await entries.refused("hard", "linked.xml")
    assert delivery["code"] == "entry.hardlink" and "Copy it instead" in delivery["reason"]
    assert entries.kept("error", "hard", delivery) == mine.read_bytes()
    await entries.goes_on("hard")


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
async def test_120_special_file_is_never_opened(entries: Entries, kind: str) -> None:
    path = entries.site.inbound("special") / f"{kind}.xml"
    with contextlib.ExitStack() as stack:
        match kind:
            case "fifo":
                os.mkfifo(path)
            case "socket":
                sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                sock.bind(os.path.relpath(path))
            case _ if ROOT:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
            case _:  # nobody but root can put one there
                with pytest.raises(PermissionError):
                    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
                return
        assert "never followed" in await entries.left("special", path.name, f"entry.{kind}")
        await entries.goes_on("special")
        assert path.exists()


async def test_121_folder_is_left_alone(entries: Entries) -> None:
    inner = entries.site.inbound("folders") / "orders.xml"
    inner.mkdir()
    (inner / "inside.xml").write_bytes(single(envelope()))
    assert "not a regular file" in await entries.left("folders", "orders.xml", "entry.folder")
    await entries.goes_on("folders")
    assert (inner / "inside.xml").exists()


async def test_122_unreadable_file_waits_until_it_can_be_read(entries: Entries) -> None:
    inbound = entries.site.inbound("unreadable")
    hidden, message_id = inbound / ".secret.part", guid(122)
    hidden.write_bytes(single(envelope(message_id=message_id)))
    hidden.chmod(0)
    hidden.rename(inbound / "secret.xml")
    if not ROOT:  # root reads everything, so there is nothing to wait for
        assert "Give read permission" in await entries.left("unreadable", "secret.xml", "entry.unreadable")
        await entries.goes_on("unreadable")
        (inbound / "secret.xml").chmod(0o600)
    assert not (await entries.answered(message_id))["is_fault"]


async def test_123_folder_that_lets_nothing_go_makes_its_port_red(entries: Entries) -> None:
    inbound, message_id = entries.site.inbound("locked"), guid(123)
    rest = await entries.begin("waiting.xml", "locked", message_id)
    with shut(inbound) as binding:
        rest()
        if binding:
            reason = await entries.state("locked", "degraded")
            assert reason is not None and str(inbound) in reason and "Give it these rights" in reason
            assert "cannot be moved" in await entries.left("locked", "waiting.xml", "entry.cannot-claim")
            await entries.goes_on("good")
            assert (inbound / "waiting.xml").exists()
    assert not (await entries.answered(message_id))["is_fault"]
    await entries.state("locked", "open")


async def test_133_append_only_file_stays_until_the_flag_goes(entries: Entries) -> None:
    inbound, message_id = entries.site.inbound("flagged"), guid(133)
    rest = await entries.begin("flagged.xml", "flagged", message_id)
    with flagged(inbound / "flagged.xml", APPEND_ONLY) as binding:
        rest()
        if binding:
            reason = await entries.state("flagged", "degraded")
            assert reason is not None and "append-only" in reason
            assert "cannot be moved" in await entries.left("flagged", "flagged.xml", "entry.cannot-claim")
            await entries.goes_on("good")
    assert not (await entries.answered(message_id))["is_fault"]


async def test_128_129_owner_of_the_file_is_the_sender(entries: Entries) -> None:
    """The account's own name counts unless it is mapped; one without a name needs a default user."""
    mine = await entries.answered(entries.order("mine.xml", "owners"))
    assert (mine["is_fault"], mine["submitter"]) == (False, ME)
    expected: list[tuple[int, str, bool, str | None]] = [
        (STRANGER, "owners", True, None),
        (STRANGER, "sheltered", False, "somebody"),
        (ALICE, "owners", False, "alice"),
    ]
    for number, (owner, port, is_fault, submitter) in enumerate(expected):
        message_id = guid(129_000 + number)
        path = entries.site.inbound(port) / f".{owner}.part"
        path.write_bytes(single(envelope(message_id=message_id)))
        if not ROOT:  # nobody else can give a file away, so nobody can send in another's name
            with pytest.raises(PermissionError):
                os.chown(path, owner, -1)
            path.unlink()
            continue
        os.chown(path, owner, -1)
        path.rename(path.with_name(f"{owner}.xml"))
        answer = await entries.answered(message_id)
        assert (answer["is_fault"], answer["submitter"]) == (is_fault, submitter)
        if is_fault:
            assert answer["code"] == "owner.unknown" and "security.default_user" in answer["text"]


async def test_126_file_replaced_meanwhile_is_taken_as_it_is_then(entries: Entries) -> None:
    """Every version that was claimed is answered as it was claimed, once; the last one is always among them."""
    ids = [guid(126_000 + number) for number in range(40)]
    versions = [single(envelope(message_id=message_id)) for message_id in ids]
    for version in versions:
        await asyncio.to_thread(entries.site.drop, "order.xml", version, "swapped")
    await entries.answered(ids[-1])
    site = entries.site

    async def idle() -> bool:
        waiting = await site.query("SELECT 1 FROM queue WHERE port = 'swapped'")
        return not waiting and not os.listdir(site.data / "work" / "swapped")

    await until(idle, "everything that was claimed is done", tell=site.tail)
    deliveries = await site.query("SELECT * FROM delivery WHERE port = 'swapped'")
    archived = [entries.kept("archive", "swapped", delivery) for delivery in deliveries]
    assert [sha256(content).digest() for content in archived] == [delivery["sha256"] for delivery in deliveries]
    assert len(set(archived)) == len(archived) and set(archived) <= set(versions)
    answers = await site.query("SELECT 1 FROM message WHERE port = 'swapped' AND outcome = 'sent' AND NOT is_fault")
    assert len(answers) == len(deliveries) == len(site.answers("swapped"))


async def test_127_file_that_is_gone_again_is_no_error(entries: Entries) -> None:
    position = entries.site.log_file.stat().st_size
    for number in range(100):
        path = entries.site.inbound("short") / f"short-{number}.xml"
        path.write_bytes(b"<Envelope")
        await asyncio.sleep(0)
        path.unlink(missing_ok=True)
    await entries.goes_on("short")
    assert [event for event in entries.site.events(position) if event.get("level") == "error"] == []
    assert await entries.site.query("SELECT 1 FROM delivery WHERE port = 'short' AND outcome = 'refused'") == []


async def test_131_folder_that_goes_away_makes_its_port_red_and_the_others_go_on(entries: Entries) -> None:
    inbound = entries.site.inbound("moving")
    away = inbound.with_name("away")
    inbound.rename(away)
    reason = await entries.state("moving", "degraded")
    assert reason is not None and str(inbound) in reason and "does not exist" in reason
    await entries.goes_on("good")
    message_id = guid(131)
    (away / "order.xml").write_bytes(single(envelope(message_id=message_id)))
    away.rename(inbound)
    assert not (await entries.answered(message_id))["is_fault"]
    assert await entries.state("moving", "open") is None


async def test_132_order_holds_in_a_crowded_folder(entries: Entries) -> None:
    site = entries.site
    hidden = site.folder / "crowded" / "hidden"
    hidden.mkdir()
    for number in range(3_000):
        (hidden / f"note-{number}.txt").touch()
    names = [f"order-{number:03}.xml" for number in range(50)]
    ids = {name: guid(132_000 + number) for number, name in enumerate(names)}
    for name in reversed(names):
        (hidden / name).write_bytes(single(envelope(message_id=ids[name])))
    inbound = site.inbound("crowded")
    inbound.rename(hidden.with_name("before"))
    hidden.rename(inbound)
    for message_id in ids.values():
        await entries.answered(message_id)
    rows = await site.query("SELECT display FROM delivery WHERE port = 'crowded' ORDER BY claim_id")
    assert [row["display"] for row in rows] == names
    rows = await site.query("SELECT id FROM message WHERE port = 'crowded' AND direction = 'in' ORDER BY claim_id")
    keys = [row["id"] for row in rows]
    assert keys == sorted(keys)


async def test_66_incomplete_file_waits_for_its_end_and_holds_nobody_up(entries: Entries) -> None:
    message_id = guid(66)
    rest = await entries.begin("long.xml", "patient", message_id)
    await entries.goes_on("patient")
    assert await entries.site.query("SELECT 1 FROM delivery WHERE port = 'patient' AND display = 'long.xml'") == []
    rest()
    assert not (await entries.answered(message_id))["is_fault"]


@pytest.mark.parametrize("change", ["cut", "longer", "rewritten"])
async def test_135_change_after_the_claim_is_told(entries: Entries, change: str) -> None:
    """A partner that kept the file open can still write to it; what counts is what was read, all of it or nothing."""
    site, message_id = entries.site, guid(135_000 + len(change))
    content = single(envelope(message_id=message_id))
    name = f"{change}.xml"
    with readers_stopped(site), (site.folder / f"{change}.part").open("wb+") as file:
        file.write(content)
        file.flush()
        os.rename(file.name, site.inbound("held") / name)
        inbound, work = site.inbound("held"), site.data / "work" / "held"

        async def being_read() -> bool:
            names = open_names(site)  # of the folders: while it claims both, while files are read that of claimed ones
            claimed = any(each.name.endswith(f"~{name}") for each in work.iterdir())
            return claimed and str(work) in names and str(inbound) not in names

        await until(being_read, f"{name} is claimed and waits for its reader", tell=site.tail)
        if change == "cut":
            file.truncate(len(content) - 100)
        elif change == "longer":
            file.write(b"<!-- more -->")
            file.flush()
        else:
            file.seek(content.index(b"<SalesQty>10<") + len(b"<SalesQty>"))
            file.write(b"77")
            file.flush()
        file.seek(0)
        changed = file.read()
    if change == "cut":
        delivery = await entries.refused("held", name)
        assert delivery["code"] == "xml.incomplete"
        assert entries.kept("error", "held", delivery) == changed
    else:
        assert not (await entries.answered(message_id))["is_fault"]
        (delivery,) = await site.query("SELECT * FROM delivery WHERE display = $1", name)

        async def archived() -> bool:
            return any((site.data / "archive" / "held").rglob(f"*~{name}"))

        await until(archived, f"{name} is archived", tell=site.tail)
        assert entries.kept("archive", "held", delivery) == changed
        told = [event for event in site.events() if event["event"] == "file.changed_after_claim"]
        assert name in [event["file"] for event in told]
    assert (delivery["size_bytes"], delivery["sha256"]) == (len(changed), sha256(changed).digest())
    await entries.goes_on("held")


IMMUTABLE, APPEND_ONLY = 0x10, 0x20
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602


@contextlib.contextmanager
def flagged(path: Path, flag: int) -> Iterator[bool]:
    """Set a flag of the file system on a file or folder; False where this account or file system cannot."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            (before,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(4)))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", before | flag))
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", before))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def shut(folder: Path) -> Iterator[bool]:
    """Keep the gateway from moving anything out of a folder; False where nothing can keep it from that."""
    if ROOT:
        with flagged(folder, IMMUTABLE) as binding:
            yield binding
        return
    folder.chmod(0o500)
    try:
        yield True
    finally:
        folder.chmod(0o700)


def open_names(site: Site) -> set[str]:
    """Return what the gateway holds open, by name."""
    assert site.process is not None
    names = set()
    for descriptor in Path(f"/proc/{site.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.add(str(descriptor.readlink()))
    return names


@contextlib.contextmanager
def readers_stopped(site: Site) -> Iterator[None]:
    """Stop the processes that read files for as long as the context lasts."""
    assert site.process is not None
    children = psutil.Process(site.process.pid).children()
    (launcher,) = [process for process in children if process.name() == "gateway-readers"]
    launcher.suspend()
    while launcher.status() != psutil.STATUS_STOPPED:  # then there are no more of them than those we see
        time.sleep(0.001)
    readers = launcher.children()
    for reader in readers:
        reader.suspend()
    try:
        yield
    finally:
        for process in (*readers, launcher):
            process.resume()
