"""What the released version leaves behind, to be upgraded: a database of schema 0001, the files around it, a memory.

The dumps in `tests/data/released_0001` were made by the released code; their headers say how.
"""

import lzma
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from asyncpg import Connection, connect

from gateway.db.migrate import load_migrations
from gateway.db.statements import schema_sql
from tests.crash.partner import Partner, left_behind
from tests.crash.site import CrashSite

DUMPS = Path(__file__).parents[1] / "data" / "released_0001"
STOPPED = ("error", "hold", "malformed")
_PAUSE_SECONDS = 0.02
_NO_REQUEST = str(None)
_MOVE_TIMES = """
DO $$ DECLARE col record; BEGIN
    FOR col IN SELECT table_name AS t, column_name AS c FROM information_schema.columns
               WHERE table_schema = 'public' AND table_name <> 'schema_version'
                 AND data_type = 'timestamp with time zone'
    LOOP EXECUTE format('UPDATE %I SET %I = %I + (SELECT now() - at FROM fixture.dumped)', col.t, col.c, col.c);
    END LOOP;
END $$
"""
_UNFINISHED = """
SELECT (SELECT count(*) FROM queue WHERE status <> ALL($1)) AS queue, (SELECT count(*) FROM lease) AS leases,
       (SELECT count(*) FROM send_request WHERE status <> 'error') AS requests
"""
_OF_REQUESTS = """
SELECT DISTINCT asked.message_id_sent AS id FROM queue q JOIN message m ON m.id = q.message_id
JOIN message asked ON asked.id = coalesce(m.request_id, m.id)
WHERE q.status = ANY($1) AND asked.message_id_sent IS NOT NULL
"""


@dataclass
class Partners(Partner):
    """All partners of a site in one: each answer is taken away from whatever folder it shows in.

    `sent` are the MessageIds of documents that nobody had requested.
    """

    sent: list[str] = field(default_factory=list)

    def _take_away(self) -> None:
        while not self._stop.is_set():
            if not self._take_everywhere():
                self._stop.wait(_PAUSE_SECONDS)
        self._take_everywhere()

    def _take_everywhere(self) -> bool:
        found = [self._take_once(self.site.outbound(port)) for port in self.site.ports]
        return any(found)

    def _take(self, path: Path) -> None:
        super()._take(path)
        self.sent += self.answered.pop(_NO_REQUEST, [])
        self.values.pop(_NO_REQUEST, None)
        self.faults = [one for one in self.faults if not one.startswith(f"{_NO_REQUEST}:")]


@dataclass(frozen=True)
class Released:
    """The memory of the partners: what they had dropped, and what they had taken away.

    `answered` are requests with what came back; `asked` is how many documents are still to be sent unasked.
    """

    submitted: Sequence[str]
    answered: Sequence[tuple[str, str]]
    asked: int

    @property
    def done(self) -> set[str]:
        """Requests that had their response."""
        return {request for request, what in self.answered if what == "done"}


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Connect to a database of whatever schema."""
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def migrate_as_released(connection: Connection, version: int) -> None:
    """Run the first migrations as programs did before there was a schema of our own: where the search path leads."""
    for step in load_migrations()[:version]:
        async with connection.transaction():
            if step.version == 1:
                await schema_sql.create_schema_version(connection)
            await schema_sql.insert_schema_version(connection, step.version, step.name, step.sha256)
            await connection.execute(step.sql)


async def settle_in(site: CrashSite, url: str, size: str) -> Released:
    """Make a database and a site what the released version left behind a moment ago, and name them as the site's."""
    script = lzma.decompress((DUMPS / f"{size}.sql.xz").read_bytes()).decode()
    async with connected(url) as connection:
        await migrate_as_released(connection, 1)
        await connection.execute(script)
        await connection.execute(_MOVE_TIMES)
        files = await connection.fetch("SELECT path, content FROM fixture.file")
        submitted = await connection.fetch("SELECT request FROM fixture.submitted")
        answered = await connection.fetch("SELECT request, what FROM fixture.answered")
        asked = await connection.fetchval("SELECT count(*) FROM send_request WHERE status <> 'error'")
        await connection.execute("DROP SCHEMA fixture CASCADE")
    site.store = url
    for file in files:
        path = site.folder / file["path"]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(file["content"])
    config = yaml.safe_load(site.config.read_text())
    site.services = config["services"]
    site.services["Counted"]["operations"]["create"]["handler"] = "tests.crash.counted:create"
    site.services["Counted"]["operations"]["read"] = "tests.crash.counted:read"
    site.ports = config["ports"]
    for name in site.ports:
        for side in ("in", "out"):
            (site.folder / name / side).mkdir(parents=True, exist_ok=True)
    return Released(
        submitted=[row["request"] for row in submitted],
        answered=[(row["request"], row["what"]) for row in answered],
        asked=asked,
    )


async def stopped(site: CrashSite) -> list[tuple[object, ...]]:
    """Everything that waits for an operator, with all that is said of it."""
    messages = await site.query(
        "SELECT message_id, port, direction, status, reason, lane, set_id, policy, version, error FROM queue"
        " WHERE status = ANY($1) ORDER BY 1", STOPPED,
    )  # fmt: skip
    requests = await site.query(
        "SELECT id, port, status, reason, error FROM send_request WHERE status = 'error' ORDER BY 1"
    )
    return [tuple(row) for row in (*messages, *requests)]


async def requests_stopped(site: CrashSite) -> set[str]:
    """The requests that, or whose answers, wait for an operator."""
    return {row["id"] for row in await site.query(_OF_REQUESTS, STOPPED)}


async def history(site: CrashSite) -> Mapping[str, set[tuple[object, ...]]]:
    """What is over, and must stay as it is."""
    statements = {
        "messages": "SELECT id, port, message_id, outcome, finished_at FROM message WHERE outcome IS NOT NULL",
        "files": "SELECT claim_id, port, display, outcome, settlement FROM delivery",
        "exceptions": "SELECT id, at, code, text, message_key FROM exception",
        "runs": "SELECT id, job, status, started_at, ended_at FROM run",
        "processed": "SELECT port, service, operation, message_id, request_id FROM processed_id",
        "entities": "SELECT rec_id, document, key, request_id FROM entity",
    }
    return {name: {tuple(row) for row in await site.query(statement)} for name, statement in statements.items()}


async def at_rest(site: CrashSite) -> bool:
    """Tell whether nothing is left to do, but for what waits for an operator."""
    (row,) = await site.query(_UNFINISHED, STOPPED)
    return not any(row) and not await left_over(site)


async def left_over(site: CrashSite) -> set[str]:
    """The files of all ports that should be gone; an answer that was given up keeps its prepared file."""
    left = {name for port in site.ports for names in left_behind(site, port).values() for name in names}
    return left - {row["staged_name"] for row in await site.query("SELECT staged_name FROM queue")}


def times_answered(released: Released, partner: Partner) -> Counter[str]:
    """How often each request got its response, before and after; faults do not count."""
    before = Counter(request for request, what in released.answered if what == "done")
    after = Counter({request: len(ids) for request, ids in partner.answered.items() if request in partner.values})
    return before + after


def once(requests: Collection[str]) -> Counter[str]:
    """Each of them, once."""
    return Counter(dict.fromkeys(requests, 1))
