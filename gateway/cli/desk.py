"""What the commands on entries, documents and reports share: who asks, for which partition, at which moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.cli import common
from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.operations import principal


@dataclass(frozen=True, slots=True)
class OperatorSession:
    """A person at an open site. `now` is the moment of opening, by the database's clock."""

    settings: Settings
    store: Store
    who: principal.Principal
    now: datetime
    session: principal.OperatorSession


@asynccontextmanager
async def open_session(
    config: Path, partition: str | None = None, mine: bool = False, reason: str | None = None
) -> AsyncIterator[OperatorSession]:
    """Open the store for a short visit of the person at the terminal."""
    async with common.open_session(config, partition=partition, mine=mine, reason=reason) as session:
        yield OperatorSession(session.settings, session.store, session.principal, session.now, session)
