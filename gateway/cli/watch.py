"""The command that shows what happens while it happens."""

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, load_site, perform
from gateway.cli.live import REFRESH_SECONDS, Scene, line_of
from gateway.cli.render import console, plain
from gateway.config.models import Settings
from gateway.db.data_folder import Use
from gateway.db.errors import StoreRefused
from gateway.db.open import Store, open_store
from gateway.db.postmaster import running
from gateway.kernel.errors import StoreUnavailable
from gateway.operations.reads.gateway import Happening


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

    def tell(happening: Happening) -> None:
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
    settings: Settings, scene: Scene, tell: Callable[[Happening], None], refresh: Callable[[], None]
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


async def _look_on(store: Store, scene: Scene, tell: Callable[[Happening], None], refresh: Callable[[], None]) -> None:
    while True:
        for happening in await scene.look(store):
            tell(happening)
        refresh()
        await asyncio.sleep(REFRESH_SECONDS)
