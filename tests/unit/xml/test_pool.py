"""Worker processes: what comes out, what happens when one dies, and what none of them may do."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import schemas
from gateway.kernel.errors import FileRefused, TransientError
from gateway.kernel.ids import PortName
from gateway.kernel.problem import Problem
from gateway.messaging.rules.envelope import FileEnd, FileHead, Header, ReadEnvelope, Root
from gateway.runtime.ports import probe_with
from gateway.workers.link import HEAD
from gateway.xml import admission, process, protocol
from gateway.xml.limits import ReadRules
from gateway.xml.pool import SMALL_BYTES, ReaderDied, ReadersUnavailable, XmlPool
from gateway.xml.process import ReaderLauncher, ReaderProcess
from tests.hostile import batch, endless_envelope, envelope, many_envelopes, order
from tests.unit.xml.reading import file_of

RULES = ReadRules(schema_folders=(str(schemas.FOLDER),))
LOOSE = ReadRules(schema_folders=(str(schemas.FOLDER),), validate=False)
ONE = batch(envelope()).encode()
ORDER = "{http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder}SalesOrder"
LARGE = 4_000
"""So many envelopes are more than a small file, and more than sockets hold: their reader waits for whoever asked."""
DEADLY = "catalog.Catalog.prepare = lambda self, name: reader.os._exit(7) if name == {!r} else None"
CUSTOMER = "{http://schemas.microsoft.com/dynamics/2008/01/documents/Customer}Customer"


@pytest.fixture
async def pool() -> AsyncIterator[XmlPool]:
    async with XmlPool(size=1) as opened:
        yield opened


async def _read(pool: XmlPool, content: bytes, rules: ReadRules = RULES) -> list[object]:
    return [piece async for piece in pool.read_bytes(content, rules)]


def _peak_bytes(pid: int) -> int:
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith("VmHWM:"):
            return int(row.split()[1]) * 1024
    raise AssertionError("no peak")


async def test_small_file_comes_as_head_one_chunk_and_end(pool: XmlPool) -> None:
    head, envelopes, end = await _read(pool, ONE)
    assert isinstance(head, FileHead) and head.root is Root.BATCH
    assert isinstance(envelopes, tuple) and isinstance(envelopes[0], ReadEnvelope)
    assert isinstance(end, FileEnd) and (end.envelopes, end.size) == (1, len(ONE))
    assert envelopes[0].schema is not None


async def test_problems_carry_words_and_their_place_in_the_file(pool: XmlPool) -> None:
    content = batch(envelope(), "\n", envelope(order(date="2011-02-30"), header="\n<Company>x</Company>")).encode()
    _, envelopes, _ = await _read(pool, content)
    assert isinstance(envelopes, tuple)
    good, bad = envelopes
    assert (*good.header_problems, *good.body_problems) == ()
    assert [(each.code, each.line) for each in bad.header_problems] == [("action.missing", 2)]
    (problem,) = bad.body_problems
    assert (problem.code, problem.line, problem.found) == ("schema", 3, "2011-02-30")
    text = content.splitlines()[2]
    assert problem.column == text.index(b"<ReceiptDateRequested>") + 1


async def test_documents_are_not_judged_where_the_port_says_so(pool: XmlPool) -> None:
    _, envelopes, _ = await _read(pool, envelope("<x/>").encode(), LOOSE)
    assert isinstance(envelopes, tuple)
    assert (envelopes[0].body_problems, envelopes[0].schema) == ((), None)


async def test_large_file_comes_in_chunks_in_order(pool: XmlPool) -> None:
    with file_of(many_envelopes(5_000)) as fd:
        chunks = [piece async for piece in pool.read(fd, LOOSE) if isinstance(piece, tuple)]
    assert len(chunks) > 5
    assert [each.position for chunk in chunks for each in chunk] == list(range(1, 5_001))


async def test_refusal_arrives_with_code_place_and_context(pool: XmlPool) -> None:
    with pytest.raises(FileRefused) as caught:
        await _read(pool, b"<!-- -->\n <!DOCTYPE a><a/>")
    assert (caught.value.code, caught.value.line, caught.value.column) == ("dtd.forbidden", 2, 2)
    assert caught.value.context["size"] == 26
    assert (await _read(pool, ONE))[-1] is not None


async def test_envelopes_before_a_break_come_before_the_refusal(pool: XmlPool) -> None:
    positions = []
    with pytest.raises(FileRefused) as caught:
        async for piece in pool.read_bytes(batch(envelope(), envelope(), "<x").encode(), LOOSE):
            if isinstance(piece, tuple):
                positions += [each.position for each in piece]
    assert (positions, caught.value.code) == ([1, 2], "xml.not-wellformed")


async def test_killed_worker_is_told_and_replaced(pool: XmlPool) -> None:
    with file_of(many_envelopes(LARGE)) as fd:
        with pytest.raises(ReaderDied, match="signal 9") as caught:
            async with aclosing(pool.read(fd, LOOSE)) as pieces:
                await anext(pieces)
                (dead,) = pool.pids
                os.kill(dead, signal.SIGKILL)
                async for _ in pieces:
                    pass
        assert isinstance(caught.value, TransientError)
        assert caught.value.code == "worker.crashed"
        pieces_again = [piece async for piece in pool.read(fd, LOOSE)]
    assert isinstance(pieces_again[-1], FileEnd)
    assert pool.pids != (dead,)


async def test_worker_killed_while_idle_is_replaced(pool: XmlPool) -> None:
    await _read(pool, ONE)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGKILL)
    while True:  # whether its end is noticed before or while it is asked
        try:
            assert isinstance((await _read(pool, ONE))[-1], FileEnd)
            break
        except ReaderDied:
            continue
    assert pool.pids != (pid,)


async def test_file_left_in_the_middle_leaves_a_healthy_pool(pool: XmlPool) -> None:
    with file_of(many_envelopes(LARGE)) as fd:
        async with aclosing(pool.read(fd, LOOSE)) as pieces:
            async for piece in pieces:
                assert isinstance(piece, FileHead)
                break
        assert isinstance((await _read(pool, ONE))[-1], FileEnd)


async def test_cancelled_reader_leaves_a_healthy_pool(pool: XmlPool) -> None:
    started = asyncio.Event()

    async def stuck() -> None:
        with file_of(many_envelopes(LARGE)) as fd:
            async for _ in pool.read(fd, LOOSE):
                started.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(stuck())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance((await _read(pool, ONE))[-1], FileEnd)


async def test_slow_consumer_holds_the_worker_back(pool: XmlPool) -> None:
    """Back-pressure is the socket: a worker that nobody listens to stops reading."""
    await _read(pool, ONE, LOOSE)
    (pid,) = pool.pids
    before = int(_io(pid)["rchar"])
    with file_of(many_envelopes(2 * LARGE)) as fd:
        async with aclosing(pool.read(fd, LOOSE)) as pieces:
            await anext(pieces)
            while not _sleeps(pid):
                await asyncio.sleep(0.01)
            read_so_far = int(_io(pid)["rchar"]) - before
        assert read_so_far < os.fstat(fd).st_size / 2


def _sleeps(pid: int) -> bool:
    """Tell whether a process in the middle of a file waits: it can only wait for us."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def _io(pid: int) -> dict[str, str]:
    return dict(row.split(": ") for row in Path(f"/proc/{pid}/io").read_text().splitlines())


def _freeze(pool: XmlPool) -> None:
    """Let the readers do nothing from now on, so that no answer can be there before it is waited for."""
    for pid in pool.pids:
        os.kill(pid, signal.SIGSTOP)


async def test_probe_of_a_file_that_takes_long_is_given_up(pool: XmlPool, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = probe_with(pool, LOOSE, PortName("orders"))
    with file_of(many_envelopes(LARGE)) as fd:
        assert os.fstat(fd).st_size > SMALL_BYTES
        monkeypatch.setattr("gateway.xml.pool.PROBE_SECONDS", 600.0)
        assert await probe(fd) is True, "whole"
        monkeypatch.setattr("gateway.xml.pool.PROBE_SECONDS", 0.0)
        _freeze(pool)
        assert await probe(fd) is False
    assert isinstance((await _read(pool, ONE))[-1], FileEnd)


async def test_probe_is_put_off_while_the_readers_have_other_files(pool: XmlPool) -> None:
    probe = probe_with(pool, LOOSE, PortName("orders"))
    with file_of(many_envelopes(LARGE)) as fd, file_of(ONE[:-5]) as cut_off, file_of(ONE + b"x") as broken:
        async with aclosing(pool.read(fd, LOOSE, port=PortName("other"))) as pieces:
            await anext(pieces)
            assert await probe(cut_off) is None
        assert await probe(cut_off) is False
        assert await probe(broken) is True


async def test_wall_limit_ends_the_reader_and_counts_its_time_alone() -> None:
    async with XmlPool(size=1, wall_seconds=0.0, wall_bytes_per_second=10**15) as pool:
        await pool.warm(RULES)
        _freeze(pool)
        with pytest.raises(ReaderDied, match="longer than it may"):
            await _read(pool, ONE)
        assert pool.pids == ()


async def test_worker_that_has_grown_is_replaced() -> None:
    async with XmlPool(size=1, max_resident_bytes=1) as pool:
        await _read(pool, ONE)
        assert pool.pids == ()
        await _read(pool, ONE)


async def _ends(
    pool: XmlPool, files: Sequence[AbstractContextManager[int]], port: str = "a"
) -> AsyncGenerator[str, None]:
    """Yield how each of several small files ends."""
    reading = pool.read_each(files, LOOSE, port=PortName(port), weight=1)
    async with aclosing(reading) as pieces:
        async for piece in pieces:
            if isinstance(piece, FileRefused):
                yield piece.code
            elif isinstance(piece, FileEnd):
                yield f"{piece.envelopes} envelopes"


async def test_several_small_files_have_a_verdict_each(pool: XmlPool) -> None:
    """They are open here one after the other, and are read by one worker."""
    opened: list[int] = []

    @contextmanager
    def once(content: bytes) -> Iterator[int]:
        assert not opened
        with file_of(content) as fd:
            opened.append(fd)
            yield fd
            opened.clear()

    @contextmanager
    def refused() -> Iterator[int]:
        if not opened:
            raise FileRefused("It has a second name.", code="entry.hardlink")
        yield 0

    two, cut = batch(envelope(), envelope()).encode(), ONE[:-20]
    files = [once(ONE), refused(), once(cut), once(b""), once(two), once(cut), refused(), once(ONE)]
    ends = [end async for end in _ends(pool, files)]
    assert ends == [
        "1 envelopes", "entry.hardlink", "xml.incomplete", "file.empty", "2 envelopes", "xml.incomplete",
        "entry.hardlink", "1 envelopes",
    ]  # fmt: skip
    assert len(pool.pids) == 1


async def test_small_files_before_the_one_whose_reader_dies_have_ended(pool: XmlPool) -> None:
    ends: list[str] = []
    with pytest.raises(ReaderDied, match="signal 9"):
        async with aclosing(
            _ends(pool, [*(file_of(ONE) for _ in range(2)), *(file_of(many_envelopes(2_000)) for _ in range(3))])
        ) as files:
            async for end in files:
                ends.append(end)
                if len(ends) == 2:
                    os.kill(pool.pids[0], signal.SIGKILL)
    assert ends[:2] == ["1 envelopes"] * 2
    assert len(ends) < 5


async def test_port_with_many_small_files_lets_that_of_another_pass(
    pool: XmlPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "SMALL_TURN_SECONDS", 1e-9)
    order: list[str] = []

    async def read(port: str, number: int) -> None:
        async for _ in _ends(pool, [file_of(ONE) for _ in range(number)], port):
            order.append(port)
            if len(order) == 2:
                tasks.append(asyncio.create_task(read("b", 1)))
            await asyncio.sleep(0)  # so that it waits for a place

    tasks = [asyncio.create_task(read("a", 20))]
    for task in tasks:
        await task
    assert sorted(order) == ["a"] * 20 + ["b"]
    assert order.index("b") < 12


async def test_small_files_that_take_long_are_handed_over_one_by_one(
    pool: XmlPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies before a reader cannot be taken back when others wait."""
    request, most = ReaderProcess.request, [0]

    async def noted(self: ReaderProcess, *arguments: Any, **others: Any) -> None:
        await request(self, *arguments, **others)
        most[0] = max(most[0], self.owes)

    monkeypatch.setattr(ReaderProcess, "request", noted)
    for quick, owed in ((0.0, 1), (1000.0, 2)):
        monkeypatch.setattr("gateway.xml.pool._QUICK_SECONDS", quick)
        most[0] = 0
        assert len([end async for end in _ends(pool, [file_of(ONE) for _ in range(10)])]) == 10
        assert most[0] == owed


async def test_files_are_read_side_by_side() -> None:
    async with XmlPool(size=2) as pool:
        with file_of(many_envelopes(LARGE)) as fd:
            async with aclosing(pool.read(fd, LOOSE)) as pieces:
                await anext(pieces)
                assert isinstance((await _read(pool, ONE))[-1], FileEnd)
                assert len(pool.pids) == 2


async def test_a_large_file_that_begins_while_another_rests_takes_no_reader_from_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits itself for the reader that must be started."""
    monkeypatch.setattr(admission, "TURN_SECONDS", 0.0)
    fork, may_fork = ReaderLauncher.fork, asyncio.Event()

    async def held(self: ReaderLauncher) -> ReaderProcess:
        await may_fork.wait()
        return await fork(self)

    async def whole(reading: AsyncGenerator[object, None]) -> object:
        return [piece async for piece in reading][-1]

    async with XmlPool(size=2) as pool:
        await pool.warm(LOOSE)
        monkeypatch.setattr(ReaderLauncher, "fork", held)
        with file_of(many_envelopes(5_000)) as one, file_of(many_envelopes(5_000)) as other:
            first = pool.read(one, LOOSE, port=PortName("a"))
            await anext(first)
            second = asyncio.create_task(whole(pool.read(other, LOOSE, port=PortName("b"))))
            while not pool._admission._waiting:
                await asyncio.sleep(0)
            going_on = asyncio.create_task(whole(first))
            while not pool._admission.resting:
                await asyncio.sleep(0.01)
            async with asyncio.timeout(60):
                assert isinstance((await _read(pool, ONE, LOOSE))[-1], FileEnd)
            assert not second.done()
            may_fork.set()
            assert isinstance(await second, FileEnd)
            assert isinstance(await going_on, FileEnd)


async def test_warm_workers_have_loaded_the_schemas() -> None:
    async with XmlPool(size=2) as pool:
        await pool.warm(RULES)
        assert len(pool.pids) == 2
        assert isinstance((await _read(pool, ONE))[-1], FileEnd)


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents that launchers got ready for, or tried to."""
    documents: list[str] = []
    prepare = ReaderLauncher.prepare

    async def noted(self: ReaderLauncher, document: str) -> int:
        documents.append(document)
        return await prepare(self, document)

    monkeypatch.setattr(ReaderLauncher, "prepare", noted)
    return documents


async def test_what_is_warm_is_not_warmed_again(prepared: list[str]) -> None:
    async with XmlPool(size=2) as pool:
        await pool.warm(RULES, [ORDER, "{urn:nobody}Knows"])
        before = pool.pids
        assert len(before) == 2 and prepared == [ORDER, "{urn:nobody}Knows"]
        await pool.warm(RULES, [ORDER])
        assert pool.pids == before and len(prepared) == 2
        await pool.warm(RULES, [ORDER, CUSTOMER])
        assert prepared[2:] == [CUSTOMER]
        assert len(pool.pids) == 2 and not set(pool.pids) & set(before)
        assert all(reader.explains == {*prepared} for reader in pool._readers)
        _, envelopes, _ = await _read(pool, envelope(order(date="2011-02-30")).encode())
        assert isinstance(envelopes, tuple)
        assert envelopes[0].body_problems[0].found == "2011-02-30"


async def test_launcher_that_has_grown_gets_ready_for_no_more_documents(prepared: list[str]) -> None:
    async with XmlPool(size=1, max_resident_bytes=1) as pool:
        await pool.warm(RULES, [ORDER, CUSTOMER])
        assert prepared == [ORDER]
        assert len(pool.pids) == 1


async def test_document_that_ends_the_launcher_does_so_once(
    monkeypatch: pytest.MonkeyPatch, prepared: list[str]
) -> None:
    """Files are read all the same, and the next time the other documents have their turn."""
    start = f"from gateway.xml import catalog, reader; {DEADLY.format(ORDER)}; reader.main()"
    monkeypatch.setattr(process, "_PROGRAM", ("-c", start))
    async with XmlPool(size=2) as pool:
        with pytest.raises(ReadersUnavailable, match="The process that starts them ended with exit status 7"):
            await pool.warm(RULES, [ORDER, CUSTOMER])
        assert isinstance((await _read(pool, ONE))[-1], FileEnd)
        await pool.warm(RULES, [ORDER, CUSTOMER])
        assert prepared == [ORDER, CUSTOMER]
        assert len(pool.pids) == 2


async def test_warming_waits_while_a_file_is_read(prepared: list[str]) -> None:
    async with XmlPool(size=2) as pool:
        with file_of(many_envelopes(LARGE)) as fd:
            async with aclosing(pool.read(fd, LOOSE)) as pieces:
                await anext(pieces)
                warming = asyncio.create_task(pool.warm(RULES, [ORDER]))
                assert isinstance((await _read(pool, ONE))[-1], FileEnd)
                assert len(pool.pids) == 2
                assert prepared == []
            await warming
            assert prepared == [ORDER]
            assert [reader.explains for reader in pool._readers] == [{ORDER}, {ORDER}]


async def test_readers_of_changed_schemas_are_warm_too() -> None:
    changed = replace(RULES, schema_version="2")
    async with XmlPool(size=1) as pool:
        await pool.warm(RULES)
        before = pool.pids
        await pool.warm(changed)
        assert pool.pids != before
        (reader,) = pool._readers
        assert reader.launcher.schemas == changed.schemas
        assert pool._launchers == {reader.launcher}


async def test_launcher_that_was_ended_costs_no_file_its_good_name(pool: XmlPool) -> None:
    """Its readers end with it in the middle of a file; that is the trouble of the machine, and the next read works."""
    with file_of(many_envelopes(LARGE)) as fd:
        with pytest.raises(ReadersUnavailable, match="The process that starts them was ended by SIGKILL"):
            async with aclosing(pool.read(fd, LOOSE)) as pieces:
                await anext(pieces)
                os.kill(_launcher(pool), signal.SIGKILL)
                async for _ in pieces:
                    pass
        assert isinstance([piece async for piece in pool.read(fd, LOOSE)][-1], FileEnd)
        assert len(pool._launchers) == len(pool.pids) == 1


async def test_readers_are_forked_from_one_that_runs_already() -> None:
    """So no file of the program that was replaced meanwhile is needed."""
    async with XmlPool(size=1) as pool:
        await pool.begin()
        (launcher,) = pool._launchers
        with pytest.MonkeyPatch.context() as upgrade:
            upgrade.setattr(process, "_PACKAGE_ROOT", Path("/nowhere"))
            assert isinstance((await _read(pool, ONE))[-1], FileEnd)
            async for _ in pool.read_bytes(ONE, RULES, alone=True):
                pass
        assert pool._launchers == {launcher}


def _launcher(pool: XmlPool) -> int:
    (launcher,) = pool._launchers
    return launcher.pid


async def test_ports_with_different_schemas_keep_a_reader_each() -> None:
    other = replace(RULES, schema_version="2")
    async with XmlPool(size=2) as pool:
        await _read(pool, ONE, RULES)
        await _read(pool, ONE, other)
        before = pool.pids
        for rules in (RULES, other, RULES):
            assert isinstance((await _read(pool, ONE, rules))[-1], FileEnd)
            await pool.warm(rules)
        assert set(pool.pids) == set(before)


async def test_changed_schemas_are_loaded_anew(pool: XmlPool, tmp_path: Path) -> None:
    schema = tmp_path / "thing.xsd"
    text = (
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t">'
        '<xs:element name="Thing" type="xs:{}"/></xs:schema>'
    )
    document = envelope('<Thing xmlns="urn:t">12</Thing>').encode()
    outcomes = []
    for version, kind in (("1", "date"), ("2", "int")):
        schema.write_text(text.format(kind))
        rules = ReadRules(schema_folders=(str(schemas.FOLDER), str(tmp_path)), schema_version=version)
        _, envelopes, _ = await _read(pool, document, rules)
        assert isinstance(envelopes, tuple)
        outcomes.append(len(envelopes[0].body_problems))
    assert outcomes == [1, 0]


async def test_memory_of_the_worker_does_not_grow_with_the_file(pool: XmlPool) -> None:
    await _read(pool, ONE, LOOSE)
    (pid,) = pool.pids
    before = _peak_bytes(pid)
    with file_of(many_envelopes(6_000, envelope(order("x" * 4_500)))) as fd:
        assert os.fstat(fd).st_size > 25_000_000
        async for piece in pool.read(fd, LOOSE):
            if isinstance(piece, FileEnd):
                assert piece.envelopes == 6_000
    assert _peak_bytes(pid) - before < 10_000_000


async def test_memory_of_an_over_long_envelope_is_bounded(pool: XmlPool) -> None:
    await _read(pool, ONE, LOOSE)
    (pid,) = pool.pids
    before = _peak_bytes(pid)
    rules = replace(LOOSE, max_envelope_bytes=200_000, hard_envelope_bytes=30_000_000)
    end = b"</MessageParts></Body></Envelope>"
    with file_of(piece for piece in (*endless_envelope(20_000_000), end)) as fd:
        pieces = [piece async for piece in pool.read(fd, rules)]
    assert isinstance(pieces[1], tuple)
    assert [problem.code for problem in pieces[1][0].header_problems] == ["message.too-large"]
    assert _peak_bytes(pid) - before < 40_000_000  # the whole of it would take 600 MB


async def test_worker_is_confined(pool: XmlPool) -> None:
    await _read(pool, ONE)
    (pid,) = pool.pids
    limits = {row[:26].strip(): row[26:].split()[0] for row in Path(f"/proc/{pid}/limits").read_text().splitlines()}
    assert (limits["Max file size"], limits["Max core file size"], limits["Max open files"]) == ("0", "1", "32")
    assert 30 < int(limits["Max cpu time"]) < 100
    assert int(limits["Max address space"]) < 3_000_000_000
    status = Path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
    names = {row.partition("=")[0] for row in Path(f"/proc/{pid}/environ").read_text().split("\0") if row}
    assert names <= {"PYTHONPATH", "LANG", "PYTHONDONTWRITEBYTECODE"}
    open_files = {os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()}
    assert not [name for name in open_files if name.startswith("/") and name not in ("/dev/null", f"/proc/{pid}/statm")]
    assert len(open_files) == 4, "the nothing, its last words, its socket, the report on its memory"
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5
    session = Path(f"/proc/{pid}/autogroup")
    if session.exists() and os.geteuid() == 0:  # others may change one session in a tenth of a second, all together
        assert session.read_text().endswith(" nice 5\n")


async def test_worker_ends_when_the_gateway_hangs_up(pool: XmlPool) -> None:
    await _read(pool, ONE)
    (reader,) = pool._readers
    reader._connection.close()
    async with asyncio.timeout(60):
        await reader.wait()
    assert not reader.alive


def test_readers_end_with_the_gateway_however_that_ends() -> None:
    program = """
import asyncio, os, signal, tests.unit.xml.test_pool as it
async def main():
    async with it.XmlPool(size=1) as pool:
        await it._read(pool, it.ONE)
        print(it._launcher(pool), *pool.pids, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(60)


async def test_memory_limit_ends_the_worker_and_not_the_pool(pool: XmlPool) -> None:
    rules = ReadRules(validate=False, max_memory_bytes=50_000_000)
    crowd = envelope("<a/>" * 1_000_000).encode()  # 120 MB as a tree
    with pytest.raises(ReaderDied, match=r"more memory|signal|exit"):
        await _read(pool, crowd, rules)
    assert isinstance((await _read(pool, ONE))[-1], FileEnd)
    assert isinstance((await _read(pool, crowd, LOOSE))[-1], FileEnd)


def test_records_survive_the_journey_between_processes() -> None:
    problem = Problem(code="c", text="t\udc80", line=1, column=2, path="/a", found="f", expected="e")
    sent = ReadEnvelope(
        position=7,
        namespace="urn:n",
        header=Header(message_id="m", logon_as_user="l", company="c", action="a", conversation_id="v",
                      request_message_id="r", partition_key="p"),
        parts=("{urn:x}y",),
        content=b"<x/>",
        header_problems=(problem,),
        body_problems=(problem, problem),
        schema="s",
    )  # fmt: skip
    rows: Sequence[Sequence[object]] = json.loads(json.dumps([protocol.envelope_fields(sent)] * 2))
    assert list(protocol.envelopes_from(rows, b"<x/><x/>")) == [sent, sent]
    head = FileHead(root=Root.BATCH, namespace="n", encoding="UTF-8", batch_id="b", conversation_id=None)
    assert protocol.head_from(json.loads(json.dumps(protocol.head_fields(head)))) == head
    end = FileEnd(envelopes=1, size=2, sha256=b"\xff" * 32)
    assert protocol.end_from(json.loads(json.dumps(protocol.end_fields(end)))) == end
    refused = FileRefused("m", code="c", line=1, column=None, size=3)
    back = protocol.refused_from(json.loads(json.dumps(protocol.refused_fields(refused))))
    assert (back.message, back.code, back.line, back.column, back.context) == ("m", "c", 1, None, {"size": 3})


def test_rules_survive_the_journey() -> None:
    rules = ReadRules(max_attributes=7, strict_header=True, schema_folders=("/a", "/b"), schema_version="v")
    assert ReadRules.from_fields(json.loads(json.dumps(asdict(rules)))) == rules


async def test_message_of_impossible_size_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    launcher = SimpleNamespace(documents=())
    with ours, theirs:
        theirs.sendall(HEAD.pack(0xFFFFFFFF, 0xFFFFFFFF))
        reader = ReaderProcess(SimpleNamespace(), ours, BytesIO(), launcher)  # type: ignore[arg-type]
        with pytest.raises(ReaderDied, match="bytes was announced"):
            await reader.receive()
