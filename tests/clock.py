"""Clocks that can be moved, as by a wrong time server or an operator: that of a database, that of a process."""

import sys
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from asyncpg import connect

OURS = ("gateway", "adapters", "pipelines")

_SHADOW = """
CREATE SCHEMA moved;
CREATE TABLE moved.clock (ahead interval NOT NULL);
INSERT INTO moved.clock VALUES ('0');
CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    $$ SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM moved.clock) $$;
CREATE FUNCTION moved.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT pg_catalog.statement_timestamp() + (SELECT ahead FROM moved.clock) $$;
CREATE FUNCTION moved.now() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT pg_catalog.now() + (SELECT ahead FROM moved.clock) $$;
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET search_path = moved, pg_catalog, gateway, public', current_database());
END $$;
"""


class DatabaseClock:
    """Shadows the clock of one database for connections that are opened later."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def take_over(self) -> None:
        """Put the shadow before the real clock."""
        await self._execute(_SHADOW)

    async def jump(self, seconds: float) -> None:
        """Set the clock so many seconds ahead of the real one, or behind it; counts at once, for everybody."""
        await self._execute(f"UPDATE moved.clock SET ahead = interval '1 second' * {seconds}")

    async def _execute(self, statements: str) -> None:
        connection = await connect(self._url)
        try:
            await connection.execute(statements)
        finally:
            await connection.close()


class NodeClock:
    """The time of day of a process that called `move_this_process` with the same sign; its steady clock never moves."""

    def __init__(self, sign: Path) -> None:
        self._sign = sign

    def jump(self, seconds: float) -> None:
        """Set the clock so many seconds ahead of the real one, or behind it; counts at once."""
        temporary = self._sign.with_suffix(".new")
        temporary.write_text(str(seconds))
        temporary.rename(self._sign)


def move_this_process(sign: Path) -> None:
    """Take the time of day from a clock that is as many seconds ahead as the file *sign* says."""
    real_time, real_now = time.time, datetime.now

    def ahead() -> float:
        return float(sign.read_text()) if sign.exists() else 0.0

    class AnyDatetime(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Moved(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return real_now(tz) + timedelta(seconds=ahead())

    time.time = lambda: real_time() + ahead()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OURS and "datetime.now(" in Path(str(module.__file__)).read_text():
            module.datetime = Moved  # type: ignore[attr-defined]
