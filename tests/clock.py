"""A database whose clock can be moved, as by a wrong time server or an operator."""

from asyncpg import connect

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
    EXECUTE format('ALTER DATABASE %I SET search_path = moved, pg_catalog, public', current_database());
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
