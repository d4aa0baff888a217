"""What happens while it happens: what comes in, goes out and fails, port by port."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from gateway.cli.common import load_site, perform
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from gateway.cli.render import cell, console, plain, shown_clock, shown_time, table
from gateway.config.models import Settings
from gateway.db.data_folder import Use
from gateway.db.errors import StoreRefused
from gateway.db.open import Store, open_store
from gateway.db.postmaster import running
from gateway.kernel.errors import StoreUnavailable
from gateway.operations.reads.gateway import read_activity
from gateway.operations.statements.admin_sql import Activity, LatestEvent, QueueCount
from gateway.runtime.visible import visible

REFRESH_SECONDS = 0.5


@dataclass(slots=True)
class Scene:
    """What is shown now; `note` stands below the tables."""

    settings: Settings
    since: datetime
    counts: Sequence[Activity] = ()
    waiting: Sequence[QueueCount] = ()
    happenings: Sequence[LatestEvent] = ()
    note: str = ""
    told: set[tuple[datetime, str, str]] = field(default_factory=set)

    async def look(self, store: Store, *, latest: int = 12) -> list[LatestEvent]:
        """Read anew; returns what was not there at the look before, the oldest first.

        Raises: StoreUnavailable, the scene stays as it was.
        """
        self.counts, self.waiting, self.happenings = await read_activity(store, self.since, latest=latest)
        fresh = [one for one in self.happenings if (one.at, one.kind, one.what) not in self.told]
        self.told |= {(one.at, one.kind, one.what) for one in fresh}
        return fresh[::-1]

    async def try_look(self, store: Store) -> None:
        """Read anew, or say below the tables that the database is away."""
        try:
            await self.look(store)
        except StoreUnavailable as error:
            self.note = error.message

    def __rich__(self) -> RenderableType:
        """Draw the tables."""
        counted = {one.port: one for one in self.counts}
        rows: list[tuple[object, ...]] = []
        for name in self.settings.ports:
            one = counted.get(name) or Activity(port=name, files=0, refused=0, messages=0, responses=0, faults=0)
            unfinished = self._unfinished(name, "ready", "in_process", "in_transport")
            stuck = self._unfinished(name, "error", "hold", "malformed")
            rows.append((name, one.files, one.refused, one.messages, unfinished, one.responses, one.faults, stuck))
        columns = ("port", "files", "refused", "messages", "in work", "responses", "faults", "need attention")
        parts: list[RenderableType] = [table(columns, rows, title=f"Since {shown_time(self.since)}")]
        if self.happenings:
            lines = [(shown_clock(h.at), h.kind, h.port, h.what, h.text) for h in self.happenings]
            parts.append(table(("at", "", "port", "file", "what"), lines, title="Latest", cut=("what",)))
        if self.note:
            parts.append(Text(visible(self.note), style="dim"))
        return Group(*parts)

    def _unfinished(self, port: str, *statuses: str) -> int:
        return sum(count.messages for count in self.waiting if count.port == port and count.status in statuses)


def line_of(happening: LatestEvent) -> Text:
    """Return one thing that happened as a line of text, for output that is not a terminal."""
    return Text("  ").join(
        cell(part) for part in (happening.at, happening.kind, happening.port, happening.what, happening.text) if part
    )


def watch(
    minutes: Annotated[int, typer.Option("--last", min=0, help="Begin this many minutes ago.")] = 60,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show what happens on each port, until Ctrl-C: files, messages, responses, faults, the latest events.

    Without a terminal, or with --json, each event is one line.
    """
    perform(_watch(config, datetime.now(UTC) - timedelta(minutes=minutes), as_json=as_json))


async def _watch(config: Path, since: datetime, *, as_json: bool) -> None:
    settings = (await asyncio.to_thread(load_site, config)).settings
    out = console()
    scene = Scene(settings, since, note="Ctrl-C ends this table; the gateway goes on.")

    def tell(happening: LatestEvent) -> None:
        if as_json:
            sys.stdout.write(json.dumps(plain(happening)) + "\n")
        else:
            out.print(line_of(happening))
        sys.stdout.flush()

    if out.is_terminal and not as_json:
        with Live(scene, console=out, screen=False, auto_refresh=False) as live:
            await _follow(settings, scene, lambda _: None, live.refresh)
    else:
        await _follow(settings, scene, tell, lambda: None)


async def _follow(
    settings: Settings, scene: Scene, tell: Callable[[LatestEvent], None], refresh: Callable[[], None]
) -> None:
    """Look again and again; a gateway that is not running is waited for, its database is never started by us."""
    while True:
        if settings.embedded and running(settings.postgres_folder) is None:
            scene.note = "The gateway is not running; waiting for it. Ctrl-C ends this table."
            refresh()
            await asyncio.sleep(REFRESH_SECONDS)
            continue
        try:
            async with open_store(settings.store, settings.data, pool_size=1, use=Use.VISIT) as store:
                scene.note = "Ctrl-C ends this table; the gateway goes on."
                await _look_on(store, scene, tell, refresh)
        except (StoreUnavailable, StoreRefused) as error:
            if not settings.embedded and isinstance(error, StoreRefused):
                raise
            await asyncio.sleep(REFRESH_SECONDS)  # it is just starting or just stopped


async def _look_on(
    store: Store, scene: Scene, tell: Callable[[LatestEvent], None], refresh: Callable[[], None]
) -> None:
    while True:
        for happening in await scene.look(store):
            tell(happening)
        refresh()
        await asyncio.sleep(REFRESH_SECONDS)
