"""The live table: what comes in, what goes out, what fails, port by port."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from gateway.cli.render import cell, shown_clock, shown_time, table
from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.kernel.errors import StoreUnavailable
from gateway.operations.reads.gateway import Activity, Happening, QueueCount, read_activity
from gateway.runtime.visible import visible

REFRESH_SECONDS = 0.5


@dataclass(slots=True)
class Scene:
    """What is shown now; `note` stands below the tables."""

    settings: Settings
    since: datetime
    counts: Sequence[Activity] = ()
    waiting: Sequence[QueueCount] = ()
    happenings: Sequence[Happening] = ()
    note: str = ""
    told: set[tuple[datetime, str, str]] = field(default_factory=set)

    async def look(self, store: Store, *, latest: int = 12) -> list[Happening]:
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


def line_of(happening: Happening) -> Text:
    """Return one thing that happened as a line of text, for output that is not a terminal."""
    return Text("  ").join(
        cell(part) for part in (happening.at, happening.kind, happening.port, happening.what, happening.text) if part
    )
