"""The command that shows the gateway at work: a real process, real files, real answers."""

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from gateway.cli.common import KNOWN_ERROR, load_settings, perform
from gateway.cli.demo_process import Running, running_gateway
from gateway.cli.demo_samples import FOLDER, SAMPLES, Sample, message_ids, renewed, verify
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, TextOption
from gateway.cli.render import console, print_document, table
from gateway.cli.watch import REFRESH_SECONDS, Scene
from gateway.config.models import InboundPort, Settings
from gateway.db.clock import database_clock
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import PortName
from gateway.operations.reads.messages import known_message_ids
from gateway.operations.submit import Reception, Submission, check_target, place_file, wait_for_answers
from gateway.runtime.visible import visible

ANSWER_SECONDS: Final = 60.0


class NotForDemo(GatewayError):
    """The configuration offers nothing that the samples could call."""

    code = "demo.configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A sample that was dropped and what came of it; `problems` is empty when it got the answers it must get."""

    sample: Sample
    reception: Reception
    seconds: float
    problems: Sequence[str]


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep running, with a live table, until Ctrl-C.")] = False,
    text: TextOption = True,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Start the gateway, drop sample files, show the answers, stop it.

    The exit code is 1 when a sample does not get the answers it must get. Use the configuration that comes with
    the project, or one that offers SalesOrderService.create and CustomerService.create.
    """
    if not perform(_demo(config, keep=keep, text=text)):
        raise typer.Exit(KNOWN_ERROR)


async def _demo(config: Path, *, keep: bool, text: bool) -> bool:
    settings = await asyncio.to_thread(load_settings, config)
    plan = [(sample, _port_for(sample, settings)) for sample in SAMPLES]
    out = console()
    stopping = _stop_on_signals()
    await asyncio.to_thread(_make_folders, settings)
    out.print(Text(f"Starting the gateway on {config} (its log: {settings.data / 'gateway.log'}) …"))
    async with running_gateway(config, settings) as gateway:
        out.print(Text(f"It runs as process {gateway.process.pid}. Dropping {len(plan)} sample files …\n"))
        since = await database_clock(gateway.store)
        scene = Scene(settings, since)
        async with _shown(scene, gateway, out):
            trying = asyncio.create_task(_try_all(plan, settings, gateway, since), name="samples")
            await asyncio.wait([trying, asyncio.create_task(stopping.wait())], return_when=asyncio.FIRST_COMPLETED)
            if not trying.done():
                trying.cancel()
                return False
            tried = trying.result()
        _print(tried, out, text=text)
        if keep:
            await _stay(scene, gateway, settings, stopping, out)
    out.print(Text("The gateway has stopped."))
    return all(not one.problems for one in tried)


def _port_for(sample: Sample, settings: Settings) -> PortName:
    for name in settings.active_ports():
        port = settings.ports[name]
        answers = isinstance(port, InboundPort) and port.respond is not None
        if answers and (sample.service, sample.operation) in settings.exposed(name):
            return name
    raise NotForDemo(
        f"no active port with responses offers {sample.service}.{sample.operation}, which {sample.file} calls: "
        "use the config.yaml that comes with the project"
    )


async def _try_all(
    plan: Sequence[tuple[Sample, PortName]], settings: Settings, gateway: Running, since: datetime
) -> list[Tried]:
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder:
        dropped: list[tuple[Sample, Submission, float]] = []
        for sample, port in plan:
            source = await _prepared(sample, gateway, Path(folder))
            name, receive = check_target(settings, port)
            dropped.append((sample, await asyncio.to_thread(place_file, name, receive, source), time.monotonic()))
        waits = [_wait(sample, submission, began, settings, gateway, since) for sample, submission, began in dropped]
        return list(await asyncio.gather(*waits))


async def _prepared(sample: Sample, gateway: Running, folder: Path) -> Path:
    """Return the file to drop: the sample as it is, or with new MessageIds when these were processed before."""
    original = FOLDER / sample.file
    content = await asyncio.to_thread(original.read_bytes)
    if not await known_message_ids(gateway.store, sorted(message_ids(content))):
        return original
    copy = folder / sample.file
    await asyncio.to_thread(copy.write_bytes, renewed(content))
    return copy


def _make_folders(settings: Settings) -> None:
    """Make the partners' folders: here nobody else does."""
    for name in settings.active_ports():
        folders = settings.port_folders(name)
        partners = [folders.receive.inbound] if folders.receive else []
        partners += [folders.send.outbound, folders.send.faults] if folders.send else []
        for folder in partners:
            folder.mkdir(parents=True, exist_ok=True)


async def _wait(
    sample: Sample, submission: Submission, began: float, settings: Settings, gateway: Running, since: datetime
) -> Tried:
    reception = await wait_for_answers(gateway.store, settings, submission, since=since, seconds=ANSWER_SECONDS)
    seconds = time.monotonic() - began
    problems = verify(sample, reception.answers)
    if reception.delivery is None:
        problems = ["the file was not taken"]
    elif reception.delivery.outcome == "refused":
        problems = [f"the file was refused: {reception.delivery.reason}"]
    return Tried(sample=sample, reception=reception, seconds=seconds, problems=problems)


@asynccontextmanager
async def _shown(scene: Scene, gateway: Running, out: Console) -> AsyncIterator[None]:
    """Show the live table while the block runs; without a terminal nothing is drawn."""
    if not out.is_terminal:
        yield
        return
    with Live(scene, console=out, auto_refresh=False) as live:

        async def redraw() -> None:
            while True:
                await scene.try_look(gateway.store)
                live.refresh()
                await asyncio.sleep(REFRESH_SECONDS)

        drawing = asyncio.create_task(redraw(), name="live table")
        try:
            yield
            await scene.try_look(gateway.store)
            live.refresh()
        finally:
            drawing.cancel()


def _print(tried: Sequence[Tried], out: Console, *, text: bool) -> None:
    if text:
        for one in tried:
            _print_answers(one, out)
    rows = [
        (one.sample.file, one.sample.shows, len(one.reception.answers), "fault" if one.sample.fault else "response",
         f"{one.seconds:.2f} s", "; ".join(one.problems) or "ok")
        for one in tried
    ]  # fmt: skip
    out.print(table(("sample", "shows", "answers", "expected", "after", "result"), rows))
    good = sum(not one.problems for one in tried)
    style = "bold green" if good == len(tried) else "bold red"
    out.print(Text(f"{good} of {len(tried)} samples got the answers they must get.", style=style))


def _print_answers(one: Tried, out: Console) -> None:
    for answer in one.reception.answers:
        kind = "fault" if answer.is_fault else "response"
        place = "not delivered" if answer.path is None else str(answer.path)
        out.print(Text.assemble((f"{one.sample.file} → {kind} ", "bold"), visible(place)), soft_wrap=True)
        if answer.text:
            print_document(answer.text)
        out.print()


async def _stay(scene: Scene, gateway: Running, settings: Settings, stopping: asyncio.Event, out: Console) -> None:
    """Keep the gateway running until Ctrl-C, or until it ends by itself."""
    for name in settings.active_ports():
        folders = settings.port_folders(name).receive
        if folders is not None:
            out.print(Text(f"Drop your own files into {folders.inbound}"), soft_wrap=True)
    scene.note = "Ctrl-C stops the gateway."
    out.print(Text(f"{scene.note}\n"))
    ended = asyncio.create_task(gateway.process.wait(), name="gateway")
    stop = asyncio.create_task(stopping.wait(), name="stop")
    async with _shown(scene, gateway, out):
        await asyncio.wait([ended, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    out.print(Text("Stopping …"))


def _stop_on_signals() -> asyncio.Event:
    """Return an event that is set by Ctrl-C, a closing terminal or SIGTERM, so that the gateway is always stopped."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    return stopping
