"""The command that puts files into an inbound folder and shows what comes back."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import Progress
from rich.text import Text

from gateway.cli.commands import Answer, tell
from gateway.cli.common import load_site, perform
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, TextOption, TimeoutOption, WaitOption
from gateway.cli.render import Document, Part, Rows, console
from gateway.config.models import Settings
from gateway.db.clock import database_clock
from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.db.postmaster import running
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import format_message_id
from gateway.operations.submit import Reception, Submission, check_target, place_file, wait_for_answers
from gateway.runtime.visible import visible

_BAR_FROM: Final = 5


class NotRunning(GatewayError):
    """Nobody would take the files, so nobody can be waited for."""

    code = "submit.not-running"


def submit(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files to submit.", exists=True, dir_okay=False)],
    port: Annotated[str, typer.Option("--port", "-p", help="The port to submit to.")],
    wait: WaitOption = False,
    timeout: TimeoutOption = 60.0,
    text: TextOption = True,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Put files into the inbound folder of a port, each complete before it is visible.

    With --wait it shows the answers. The exit code is then 1 when a request failed or the time ran out.
    """
    if not wait:
        placed = perform(_load_and_place(config, port, files))
        table = Rows(("file", "submitted as"), [(one.source, one.target) for one in placed])
        tell(Answer({"submitted": placed}, table), as_json=as_json)
        return
    receptions = perform(_exchange(config, port, files, timeout))
    parts = [part for one in receptions for part in _received(one, timeout=timeout, text=text)]
    failed = not all(one.good for one in receptions)
    tell(Answer({"submitted": receptions}, *parts, failed=failed), as_json=as_json)


def _received(reception: Reception, *, timeout: float, text: bool) -> Iterator[Part]:
    """Say what became of a submitted file: its answers, or why there are none."""
    delivery, progress = reception.delivery, reception.progress
    yield Text(visible(str(reception.submission.target)), style="bold")
    if delivery is None:
        yield Text(f"  not taken within {timeout:g} seconds; the file stays in the folder", style="red")
        return
    if delivery.outcome == "refused":
        yield Text(f"  refused, {delivery.code}: {visible(delivery.reason or '')}", style="red")
        return
    assert progress is not None
    state = f"{progress.finished} of {progress.messages} requests done"
    if progress.stuck:
        state += f", {progress.stuck} need attention (gateway queue list)"
    if not reception.done:
        state += f"; not finished within {timeout:g} seconds"
    yield Text(f"  {state}", style="green" if reception.good else "red")
    for answer in reception.answers:
        kind = Text("fault", style="red") if answer.is_fault else Text("response", style="green")
        place = "not delivered yet" if answer.path is None else str(answer.path)
        yield Text.assemble(
            "  ", kind, f" to {answer.position} {format_message_id(answer.request_message_id)}: ", place
        )
        if text and answer.text:
            yield Document(answer.text)


async def _load_and_place(config: Path, port: str, files: Sequence[Path]) -> list[Submission]:
    return await _place((await asyncio.to_thread(load_site, config)).settings, port, files)


async def _place(settings: Settings, port: str, files: Sequence[Path]) -> list[Submission]:
    name, receive = check_target(settings, port)
    done: list[Submission] = []
    with Progress(console=console(error=True), transient=True, disable=len(files) < _BAR_FROM) as progress:
        for file in progress.track(files, description="Submitting"):
            taken = [one.target.name for one in done]
            done.append(await asyncio.to_thread(place_file, name, receive, file, avoid=taken))
    return done


async def _exchange(config: Path, port: str, files: Sequence[Path], timeout: float) -> list[Reception]:  # noqa: ASYNC109 (for all files together)
    settings = (await asyncio.to_thread(load_site, config)).settings
    check_target(settings, port)
    _require_running(settings)
    async with open_store(settings.store, settings.data, pool_size=3, use=Use.VISIT) as store:
        since: datetime = await database_clock(store)
        submissions = await _place(settings, port, files)
        deadline = asyncio.get_running_loop().time() + timeout
        done: list[Reception] = []
        with Progress(console=console(error=True), transient=True, disable=len(files) < _BAR_FROM) as progress:
            for submission in progress.track(submissions, description="Waiting for answers"):
                left = max(0.1, deadline - asyncio.get_running_loop().time())
                done.append(await wait_for_answers(store, settings, submission, since=since, seconds=left))
    return done


def _require_running(settings: Settings) -> None:
    """Refuse to wait where nobody works: an embedded database runs exactly while its gateway does."""
    if settings.embedded and running(settings.postgres_folder) is None:
        raise NotRunning("no gateway is running here: start one with `gateway run`, or submit without --wait")
