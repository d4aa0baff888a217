"""The runnable `command`: a program of the machine, by argument list, never by a shell."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from gateway.batch.alerts.channels.outside import PROGRAM_FOLDERS, unusable_program
from gateway.config.models_base import AnyText, ByteSize, Count, Location, Options, Text
from gateway.contracts.task import Runnable, TaskContext
from gateway.db.waiting import uninterrupted
from gateway.kernel.errors import TaskFailed, TaskRefused
from gateway.workers.program import NOT_STARTED, arguments

LOGGED_LINES = 200
FILE = "output.txt"


class TooMuchOutput(Exception):
    """The command wrote more than it may."""


class Output:
    """Takes bytes as they come. Lines longer than the log allows are cut there, and whole in the file."""

    def __init__(self, context: TaskContext, most_bytes: int) -> None:
        self._context = context
        self._most_bytes = most_bytes
        self._all = bytearray()
        self._logged = 0
        self._begun = 0  # where the line begins that is not logged yet

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises: TooMuchOutput."""
        room = self._most_bytes - len(self._all)
        self._all += data[:room]
        while (end := self._all.find(b"\n", self._begun)) != -1:
            self._log(end)
            self._begun = end + 1
        if len(data) > room:
            raise TooMuchOutput

    def _log(self, end: int) -> None:
        if self._logged < LOGGED_LINES:
            self._context.log.info(self._all[self._begun : end].decode(errors="replace").rstrip("\r"))
        self._logged += 1

    async def close(self) -> None:
        """Log the line that no line end came for, and keep the whole when the log does not have it."""
        if self._begun < len(self._all):
            self._log(len(self._all))
            self._begun = len(self._all)
        if self._logged > LOGGED_LINES:
            more = self._logged - LOGGED_LINES
            self._context.log.info(f"… and {more} more lines: the file {FILE} of this run has all of them.")
            whole = self._context.mask(self._all.decode(errors="surrogateescape"))
            await self._context.keep_file(FILE, whole.encode(errors="surrogateescape"))


COMMAND: Final = "command"
_GRACE_SECONDS: Final = 5.0
_LAST_WORDS_SECONDS: Final = 1.0

ExitCode = Annotated[Count, Field(ge=0, le=255)]


class CommandParameters(Options):
    """Which program, and what it may use."""

    command: tuple[AnyText, ...] = Field(min_length=1, description="Program and arguments; no shell reads them.")
    folder: Location | None = Field(default=None, description="Working folder. Default: that of the configuration.")
    environment: Mapping[Text, AnyText] = Field(
        default_factory=dict,
        description="Its environment variables. It has no others but PATH, LANG, HOME and GATEWAY_…",
    )
    input: AnyText = Field(default="", description="Text on its standard input.")
    exit_codes: tuple[ExitCode, ...] = Field(default=(0,), min_length=1, description="Exit codes that mean success.")
    memory_bytes: ByteSize | None = Field(default=None, ge=16_000_000, description="Most memory of each process.")
    cpu_seconds: Count | None = Field(default=None, ge=1, description="Most processor time of each process.")
    processes: Count | None = Field(default=None, ge=1, description="Most processes of the account; not for root.")
    file_bytes: ByteSize | None = Field(default=None, ge=0, description="Most bytes of a file it writes.")
    output_bytes: ByteSize = Field(
        default=10_000_000, ge=1, le=60_000_000, description="Most bytes of output; with more it is ended."
    )

    @property
    def limits(self) -> str:
        """Return the limits as the launcher reads them."""
        limits = {
            "memory": self.memory_bytes, "cpu": self.cpu_seconds, "processes": self.processes, "file": self.file_bytes,
        }  # fmt: skip
        return ",".join(f"{name}={number}" for name, number in limits.items() if number is not None)


class CommandTask:
    """One execution of a command (`gateway.contracts.task.TaskHandler`).

    Output and errors go into the log in the order in which they are written. A command that is interrupted gets
    SIGTERM, and SIGKILL five seconds later, with every process of its group; so does what it leaves behind at its
    end. When the gateway dies, the kernel ends it.
    """

    def __init__(self, parameters: CommandParameters, base: Path) -> None:
        self._parameters = parameters
        self._base = base

    async def run(self, context: TaskContext) -> None:
        """Run the command to its end.

        Raises: TaskFailed when its exit code is not one of those that mean success, or it writes too much;
        TaskRefused when its folder does not exist.
        """
        wanted = self._parameters
        folder = wanted.folder or self._base
        if not folder.is_dir():
            raise TaskRefused(f"The working folder {folder} does not exist.", code="command.folder")
        output = Output(context, wanted.output_bytes)
        async with _pipe() as (reader, writing):
            process = await asyncio.create_subprocess_exec(
                *arguments(wanted.command, wanted.limits), cwd=folder, env=self._environment(context),
                stdin=asyncio.subprocess.PIPE, stdout=writing, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            writing.close()
            try:
                code = await self._watch(process, reader, output)
            except TooMuchOutput:
                raise TaskFailed(
                    f"The command wrote more than {wanted.output_bytes:,} bytes and was ended.", code="command.output"
                ) from None
            finally:
                await uninterrupted(_end(process))
                await uninterrupted(output.close())
        self._judge(code, context)

    async def _watch(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, output: Output) -> int:
        feeding = asyncio.create_task(_give_input(process, self._parameters.input.encode()), name="command:input")
        reading = asyncio.create_task(_read_output(reader, output), name="command:output")
        ending = asyncio.create_task(process.wait(), name="command:end")
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done() and reading.exception() is None:
                await ending
            # a process that the command left behind may hold the output open
            await asyncio.wait({reading}, timeout=_LAST_WORDS_SECONDS)
            if reading.done():
                reading.result()
            return ending.result()
        finally:
            for task in (feeding, reading, ending):
                task.cancel()
            await asyncio.wait({feeding, reading, ending})

    def _environment(self, context: TaskContext) -> Mapping[str, str]:
        planned = "" if context.planned_at is None else context.planned_at.isoformat()
        return {
            "PATH": PROGRAM_FOLDERS,
            "LANG": "C.UTF-8",
            "HOME": str(Path.home()),
            "GATEWAY_JOB": context.job,
            "GATEWAY_TASK": context.task,
            "GATEWAY_RUN_ID": str(context.run_id),
            "GATEWAY_ATTEMPT": str(context.attempt),
            "GATEWAY_PLANNED_AT": planned,
            "GATEWAY_COMPANY": context.company,
            "GATEWAY_PARTITION": context.partition,
            "GATEWAY_USER": context.user,
            "GATEWAY_IDEMPOTENCY_KEY": context.idempotency_key(),
            **self._parameters.environment,
        }

    def _judge(self, code: int, context: TaskContext) -> None:
        name = self._parameters.command[0]
        if code in self._parameters.exit_codes:
            context.log.info(f"{name} ended with exit code {code}.")
            return
        if code < 0:
            with suppress(ValueError):
                raise TaskFailed(
                    f"{name} was ended by {signal.Signals(-code).name}{_HINTS.get(-code, '')}.", code="command.signal"
                )
        if code == NOT_STARTED:
            raise TaskFailed(
                f"{name} could not be started, or found no command: see the log of the run.", code="command.start"
            )
        wanted = ", ".join(map(str, self._parameters.exit_codes))
        raise TaskFailed(f"{name} ended with exit code {code}; success is {wanted}.", code="command.exit")


_HINTS: Final[Mapping[int, str]] = {
    signal.SIGXCPU: ": it used up its processor time",
    signal.SIGXFSZ: ": it wrote a larger file than it may",
    signal.SIGKILL: ": perhaps the machine had no memory left, or it used up its processor time",
}


async def _give_input(process: asyncio.subprocess.Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # it need not read it
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _read_output(reader: asyncio.StreamReader, output: Output) -> None:
    while data := await reader.read(65_536):
        output.feed(data)


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, FileIO]]:
    """Open a pipe for the output: a reader, and the end that is written to."""
    reading, writing = os.pipe()
    reader = asyncio.StreamReader()
    with FileIO(writing, "wb") as end:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), FileIO(reading, "rb")
        )
        try:
            yield reader, end
        finally:
            transport.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End whatever is left of the command's process group."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
    _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone, or turned into somebody else's
        os.killpg(process.pid, number)


def command_runnable(base: Path) -> Runnable:
    """Describe it; relative paths are taken from *base*, the folder of the configuration."""
    return Runnable(
        name=COMMAND,
        description="runs a program of the machine",
        parameters=CommandParameters,
        make=lambda parameters: CommandTask(parameters, base),
        examine=lambda parameters: asyncio.to_thread(_examined, parameters, base),
    )


def _examined(parameters: CommandParameters, base: Path) -> list[str]:
    folder = parameters.folder or base
    if not folder.is_dir():
        return [f"the working folder {folder} does not exist"]
    wrong = unusable_program(parameters.command[0], folder)
    return [] if wrong is None else [wrong]
