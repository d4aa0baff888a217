"""What the commands on batch jobs share: who asks, for which partition, at which moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from gateway.cli.common import ConfigOption, account_of, open_site, zone_of
from gateway.cli.render import SHOWN_ZONE
from gateway.config.models import Settings
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.operations.person import Principal, person

PartitionOption = Annotated[
    str | None, typer.Option("--partition", help="The partition to look at. Default: `default_partition`.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why you do it; `gateway audit` shows it.")]
MineOption = Annotated[bool, typer.Option("--mine", "-m", help="Only your own.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The name of a job.")]
RunArgument = Annotated[int, typer.Argument(metavar="RUN", min=1, help="The number of a run.")]


@dataclass(frozen=True, slots=True)
class OperatorSession:
    """A person at an open site. `now` is the moment of opening, by the database's clock."""

    settings: Settings
    store: Store
    who: Principal
    now: datetime

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which this person types times and is shown them: that of the account, else UTC."""
        return zone_of(self.settings, self.who.name)


@asynccontextmanager
async def open_session(
    config: ConfigOption, partition: str | None = None, mine: bool = False, reason: str | None = None
) -> AsyncIterator[OperatorSession]:
    """Open the store for a short visit of the person at the terminal.

    Raises: ConfigError, StoreRefused, StoreUnavailable; NotAllowed for a partition that is closed to them.
    """
    async with open_site(config) as site:
        name = await asyncio.to_thread(account_of, site.settings)
        who = person(site.settings, name, partition=partition, mine=mine, reason=reason)
        SHOWN_ZONE.set(zone_of(site.settings, name))
        yield OperatorSession(site.settings, site.store, who, await database_clock(site.store))


@asynccontextmanager
async def open_shared_desk(config: ConfigOption, reason: str | None = None) -> AsyncIterator[OperatorSession]:
    """As `open_session`, for what all partitions share: the queue, its lanes, the history, the exception log."""
    async with open_site(config) as site:
        name = await asyncio.to_thread(account_of, site.settings)
        SHOWN_ZONE.set(zone_of(site.settings, name))
        who = Principal(name=name, partition=site.settings.default_partition, reason=reason)
        yield OperatorSession(site.settings, site.store, who, await database_clock(site.store))
