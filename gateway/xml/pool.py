"""A few long-lived reader processes that read files for this one.

Readers start when they are first needed, serve one file at a time, and are replaced when they die, grow too
large, are left in the middle of a file, or have other schemas than a file needs: their cage lets them load no more.
They are forked from a launcher that has loaded the schemas once for all of them, which takes a moment. The gateway
never parses a partner's bytes.
A reader gets a file only after it has said that it is ready: one that dies before is no fault of the file.
Source: architecture, section 7; reliability reference, section 4.5.
"""

import asyncio
import os
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext
from types import TracebackType
from typing import IO, Any

import structlog

from gateway.kernel.errors import FileRefused
from gateway.kernel.ids import PortName
from gateway.messaging.rules.envelope import FileEnd, FileHead, ReadEnvelope
from gateway.workers.link import Message
from gateway.xml import protocol
from gateway.xml.admission import Admission, ReaderTurn
from gateway.xml.limits import ReadRules, SchemaSet
from gateway.xml.process import (
    READY_SECONDS,
    ReaderDied,
    ReaderLauncher,
    ReaderProcess,
    ReadersUnavailable,
    TookTooLong,
)
from gateway.xml.protocol import MessageKind

log = structlog.get_logger()

__all__ = ["SMALL_BYTES", "ReaderDied", "ReadersUnavailable", "TookTooLong", "XmlPool"]

SMALL_BYTES = 1_000_000
"""Up to this size a file is small: it is read in no time."""

_AHEAD, _QUICK_SECONDS = 2, 0.02
"""So many small files lie before a reader at once while each takes no longer: it need not wait for us between them. Of
slow ones each is handed over by itself, because what lies before a reader cannot be taken back when others wait."""

Piece = FileHead | Sequence[ReadEnvelope] | FileEnd
"""What a reader tells of a file, in order."""
PROBE_SECONDS = 1.0
"""So long a large file that may be unfinished is read; what can be said of it by then is enough."""

_NOBODY = PortName("")


class XmlPool:
    """Reads files in reader processes; an async context manager.

    Units: seconds, bytes. A file may take `wall_seconds`, and one more for every `wall_bytes_per_second`, of
    the reader's time: while the caller is busy with what it got, the clock stands. A reader that holds more
    than `max_resident_bytes` after a file is replaced.
    """

    def __init__(
        self,
        size: int = 2,
        *,
        wall_seconds: float = 120,
        wall_bytes_per_second: int = 100_000,
        max_resident_bytes: int = 300_000_000,
    ) -> None:
        self._size = size
        self._wall_seconds = wall_seconds
        self._wall_bytes_per_second = wall_bytes_per_second
        self._max_resident_bytes = max_resident_bytes
        self._admission = Admission(size)
        self._idle: list[ReaderProcess] = []
        self._readers: set[ReaderProcess] = set()
        self._launcher: ReaderLauncher | None = None  # the newest; others live for as long as they have readers
        self._launchers: set[ReaderLauncher] = set()
        self._launching = asyncio.Lock()
        self._unexplained: set[tuple[SchemaSet, str]] = set()  # documents that no launcher gets ready for
        self._suspect = asyncio.Lock()  # one file at a time that ended a reader: it must not take all of them
        self._reading = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._ending: set[asyncio.Task[object]] = set()
        self._lack_reported = False

    async def __aenter__(self) -> "XmlPool":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in list(self._readers):
            self._end(reader)
        self._idle.clear()
        self._launcher = None
        self._end_unused_launchers()
        await asyncio.gather(*self._ending)

    async def begin(self) -> None:
        """Start the process that readers are forked from; it imports what they need while others have their time.

        Raises: ReadersUnavailable.
        """
        async with self._launching:
            if self._launcher is None:
                await self._start_launcher()

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the process ids of the readers, for watching over them."""
        return tuple(reader.pid for reader in self._readers)

    async def warm(self, rules: ReadRules, documents: Sequence[str] = ()) -> None:
        """Start every reader with the schemas of *rules*, get ready to explain faults of *documents*.

        So neither the first file nor the first fault has to wait for that. Shape: documents as `{namespace}local`.
        Rule: one step at a time, and only while no file is being read: a file waits for one step at most. A launcher
        that has grown large gets ready for no more documents. Returns at once when all is done already.
        Raises: ReadersUnavailable.
        """
        while True:
            await self._quiet.wait()
            async with self._admission.place(_NOBODY, large=False):
                if not await self._warm_one(rules.schemas, documents):
                    return

    def is_idle(self, port: PortName) -> bool:
        """Tell whether a reader has nothing to do that a large file of the port could have now."""
        return self._admission.is_idle(port)

    async def read(
        self,
        fd: int,
        rules: ReadRules,
        *,
        port: PortName = _NOBODY,
        weight: int = 1,
        alone: bool = False,
        probe: bool = False,
    ) -> AsyncGenerator[Piece, None]:
        """Yield the head of the file behind *fd*, its envelopes in chunks, its end.

        Shape: *fd* is a regular file or memory, open for reading until the iteration is over; its offset is not
        moved. Nothing counts before the FileEnd. Close the iterator (`contextlib.aclosing`) when leaving early:
        the reader in the middle of the file is then replaced. *port* and *weight* say whose turn is used up; a large
        file may have to rest between two pieces. *alone*: by a new reader, which no file before it can have spoiled,
        and while no other file is read so. *probe*: it is only tried, for a short while and not in the place of a small
        file.
        Raises: FileRefused; TookTooLong; ReaderDied when the reader ended in the middle, by itself or by a limit;
        ReadersUnavailable when none gets as far as to begin.
        """
        size = os.fstat(fd).st_size
        place = self._admission.place(port, weight, large=probe or size > SMALL_BYTES)
        async with (
            self._suspect if alone else nullcontext(),
            self._busy(),
            place as turn,
            self._reader(rules, turn, fresh=alone) as reader,
        ):
            await reader.request(rules, fd)
            seconds = PROBE_SECONDS if probe and size > SMALL_BYTES else self._wall(size)
            async with aclosing(self._pieces(reader, turn, seconds)) as pieces:
                async for piece in pieces:
                    yield piece

    async def read_each(
        self, files: Sequence[AbstractContextManager[int]], rules: ReadRules, *, port: PortName, weight: int
    ) -> AsyncGenerator[Piece | FileRefused, None]:
        """Read small files one after the other by one reader: yield the pieces of each to its end, or to its refusal.

        Shape: each of *files* opens a descriptor, and may raise FileRefused instead. It is closed as soon as the reader
        has it. The reader goes to another port that waits when this one has had it for a while.
        Raises: ReaderDied when the reader ended in the first file whose end was not yielded; otherwise as `read`.
        """
        waiting = deque(files)
        while waiting:
            async with (
                self._busy(),
                self._admission.place(port, weight, large=False) as turn,
                self._reader(rules, turn, fresh=False) as reader,
            ):
                ahead = 1
                asked: deque[FileRefused | float] = deque()
                while asked or waiting:
                    while waiting and len(asked) < ahead and self._goes_on(reader, turn):
                        asked.append(await self._ask(reader, rules, waiting.popleft()))
                    if not asked:
                        break
                    budget = asked.popleft()
                    if isinstance(budget, FileRefused):
                        yield budget
                        continue
                    before = turn.turn_seconds
                    try:
                        async with aclosing(self._pieces(reader, turn, budget)) as pieces:
                            async for piece in pieces:
                                yield piece
                    except FileRefused as refused:
                        yield refused
                    ahead = _AHEAD if turn.turn_seconds - before < _QUICK_SECONDS else 1

    def _goes_on(self, reader: ReaderProcess, turn: ReaderTurn) -> bool:
        """Tell whether a reader is to get another small file in the same place."""
        return not turn.is_over() and reader.resident <= self._max_resident_bytes

    async def _ask(
        self, reader: ReaderProcess, rules: ReadRules, file: AbstractContextManager[int]
    ) -> FileRefused | float:
        """Lay a file before a reader; returns how long it may take, or why it is refused already."""
        try:
            with file as fd:
                await reader.request(rules, fd)
                return self._wall(os.fstat(fd).st_size)
        except FileRefused as refused:
            return refused

    async def _pieces(self, reader: ReaderProcess, turn: ReaderTurn, budget: float) -> AsyncGenerator[Piece, None]:
        """Yield what a reader says of the file that was first laid before it; *budget* is the time it has.

        Raises: FileRefused; TookTooLong; ReaderDied.
        """
        end: FileEnd | None = None
        while end is None:
            before = budget
            message, budget = await self._receive(reader, budget)
            turn.spent(before - budget)
            match message:
                case Message(MessageKind.HEAD, fields):
                    yield protocol.head_from(fields)
                case Message(MessageKind.ENVELOPES, (list(rows),), body):
                    yield tuple(protocol.envelopes_from(rows, body))
                    await turn.give_way()
                case Message(MessageKind.END, (*fields, int(resident))):
                    reader.answered(resident)
                    yield (end := protocol.end_from(fields))
                case Message(MessageKind.REFUSED, (*fields, int(resident))):
                    reader.answered(resident)
                    raise protocol.refused_from(fields)
                case _:
                    raise ReaderDied(f"The reader answered out of turn: {message.kind}.")

    def _wall(self, size: int) -> float:
        return self._wall_seconds + size / self._wall_bytes_per_second

    async def read_bytes(
        self, content: bytes, rules: ReadRules, *, port: PortName = _NOBODY, weight: int = 1, alone: bool = False
    ) -> AsyncGenerator[Piece, None]:
        """Do what `read` does for bytes in memory."""
        with _anonymous_file() as file:
            file.write(content)
            file.flush()
            reading = self.read(file.fileno(), rules, port=port, weight=weight, alone=alone)
            async with aclosing(reading) as pieces:
                async for piece in pieces:
                    yield piece

    @asynccontextmanager
    async def _busy(self) -> AsyncIterator[None]:
        """Let nobody begin to warm a reader meanwhile."""
        self._reading += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._reading -= 1
            if not self._reading:
                self._quiet.set()

    async def _warm_one(self, schemas: SchemaSet, documents: Sequence[str]) -> bool:
        """Do one step of warming; returns False when there is none. First every reader, then document by document."""
        for dead in [reader for reader in self._idle if not reader.alive]:
            self._idle.remove(dead)
            self._end(dead)
        if all(reader.launcher.schemas != schemas for reader in self._readers):
            self._make_room()
        if len(self._readers) < self._most:
            self._idle.append(await self._start(schemas))
            return True
        warm = [reader for reader in self._idle if reader.launcher.schemas == schemas]
        for document in documents:
            if warm and document not in warm[0].launcher.documents and (schemas, document) not in self._unexplained:
                await self._get_ready_for(document, warm[0].launcher, schemas, documents)
                return True
        for reader in warm:
            if reader.explains != reader.launcher.documents:
                self._idle.remove(reader)
                self._end(reader)
                self._idle.append(await self._start(schemas))
                return True
        return False

    async def _get_ready_for(
        self, document: str, launcher: ReaderLauncher, schemas: SchemaSet, documents: Sequence[str]
    ) -> None:
        try:
            held = await launcher.prepare(document)
        except ReadersUnavailable:
            self._unexplained.add((schemas, document))  # what went wrong now would go wrong again
            raise
        if held > self._max_resident_bytes / 2:
            self._unexplained.update((schemas, each) for each in documents)

    @asynccontextmanager
    async def _reader(self, rules: ReadRules, turn: ReaderTurn, *, fresh: bool) -> AsyncIterator[ReaderProcess]:
        """Have a reader that is ready for *rules*; one that is left in the middle of a file ends."""
        reader = await self._take(rules, fresh=fresh, large=turn.large)
        try:
            yield reader
        finally:
            if reader.owes or reader.resident > self._max_resident_bytes or len(self._readers) > self._most:
                self._end(reader)
            else:
                self._idle.append(reader)

    async def _take(self, rules: ReadRules, *, fresh: bool, large: bool) -> ReaderProcess:
        """Return a reader that has loaded the schemas of *rules*: the idle one used last, or a new one.

        Rule: a large file leaves one that is ready to small ones where there may be more, and waits itself until a new
        one is: that takes longer than a small file.
        """
        ready = [each for each in self._idle if each.alive and each.launcher.schemas == rules.schemas]
        kept = large and self._size > 1 and len(self._readers) < self._most
        if not fresh and len(ready) > kept:
            self._idle.remove(ready[-1])
            return ready[-1]
        self._make_room()
        return await self._start(rules.schemas)

    def _make_room(self) -> None:
        """End idle readers until there may be one more, or none is left."""
        while self._idle and len(self._readers) >= self._most:
            self._end(self._idle.pop(0))

    async def _start(self, schemas: SchemaSet) -> ReaderProcess:
        """Return a new reader that is ready. Raises: ReadersUnavailable."""
        async with self._launching:
            launcher = await self._launcher_with(schemas)
            reader = await launcher.fork()
            self._readers.add(reader)
        ready = False
        try:
            message, _ = await self._receive(reader, READY_SECONDS)
            match message:
                case Message(MessageKind.READY, lacking):
                    ready = True
                    self._report(lacking)
                    return reader
            raise ReaderDied(f"The reader answered out of turn: {message.kind}.")
        except ReaderDied as error:
            raise ReadersUnavailable.because(error) from error
        finally:
            if not ready:
                self._end(reader)

    async def _launcher_with(self, schemas: SchemaSet) -> ReaderLauncher:
        """Return a launcher that has loaded schemas, a new one when there is none. Raises: ReadersUnavailable."""
        for launcher in self._launchers:
            if launcher.alive and launcher.schemas == schemas:
                return launcher
        newest = self._launcher
        if newest is None or not newest.alive or newest.schemas is not None:
            newest = await self._start_launcher()
        await newest.load(schemas)
        return newest

    async def _start_launcher(self) -> ReaderLauncher:
        launcher = self._launcher = await ReaderLauncher.start()
        self._launchers.add(launcher)
        self._end_unused_launchers()
        return launcher

    def _end_unused_launchers(self) -> None:
        for launcher in self._launchers.difference({self._launcher}, {reader.launcher for reader in self._readers}):
            self._launchers.discard(launcher)
            launcher.kill()
            self._await_end(launcher.wait())

    @property
    def _most(self) -> int:
        """Return how many readers there may be: those of files that rest come on top."""
        return self._size + self._admission.resting

    async def _receive(self, reader: ReaderProcess, budget: float) -> tuple[Message, float]:
        """Return the next message and what is left of the time."""
        if (here := reader.next_message()) is not None:
            return here, budget
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(budget):
                message = await reader.receive()
        except TimeoutError as error:
            raise TookTooLong("It took longer than it may; the reader was ended.") from error
        return message, budget - (clock() - started)

    def _report(self, lacking: Sequence[str]) -> None:
        """Say once what this system does not have to cage readers."""
        if lacking and not self._lack_reported:
            self._lack_reported = True
            log.warning("reader.cage_incomplete", lacking=list(lacking))

    def _end(self, reader: ReaderProcess) -> None:
        """End a reader now; somebody takes its place when it is needed."""
        if reader not in self._readers:
            return
        self._readers.discard(reader)
        reader.kill()
        self._await_end(reader.wait())
        self._end_unused_launchers()

    def _await_end(self, gone: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(gone, name="a reader ends")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _anonymous_file() -> IO[bytes]:
    """Return a file without a name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("document", os.MFD_CLOEXEC), "w+b")
    return tempfile.TemporaryFile()
