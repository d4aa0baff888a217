"""What a handler does to the transaction it is lent stays its own affair."""

import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from asyncpg import PostgresError
from lxml import etree

import schemas
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.db.open import Store
from gateway.messaging.processing.decide import GENERIC
from gateway.messaging.services.answers import Answers
from gateway.messaging.services.in_flight import InFlightJournal
from gateway.messaging.services.python import PythonOperation
from gateway.messaging.services.usercode import UserCode
from gateway.xml.catalog import Catalog
from tests.inbound_bench import InboundBench, Scripted
from tests.integration.messaging.test_compensation import time_passes

ANSWERS = Answers(lambda: Catalog([schemas.FOLDER]))
Misdeed = Callable[[Any], Awaitable[object]]


async def goes_on_after_an_error(connection: Any) -> None:
    with suppress(PostgresError):
        await connection.execute("SELECT 1 / 0")


async def commits(connection: Any) -> None:
    await connection.execute("COMMIT")


async def rolls_back_in_passing(connection: Any) -> None:
    await connection.fetch(" insert into number_sequence values ('x', 1);\n -- done \n RollBack;")


async def begins_anew(connection: Any) -> None:
    await connection.execute("/* mine */ begin")


async def closes(connection: Any) -> None:
    await connection.close()


@pytest.fixture
def journal() -> Iterator[InFlightJournal]:
    page = InFlightJournal.make()
    yield InFlightJournal(page)
    os.close(page)


@pytest.mark.parametrize(
    "misdeed",
    [goes_on_after_an_error, commits, rolls_back_in_passing, begins_anew, closes],
    ids=lambda misdeed: misdeed.__name__,
)
async def test_misuse_of_the_transaction_fails_its_message_and_no_other(
    store: Store, misdeed: Misdeed, journal: InFlightJournal
) -> None:
    async def handle(request: Request, context: ServiceContext) -> Reply:
        mark = str(request.parts[0].findtext(".//{*}PurchOrderFormNum"))
        await context.connection.execute("INSERT INTO number_sequence VALUES ($1, 1)", mark)
        if mark == "bad":
            await misdeed(context.connection)
        return Reply()

    with ThreadPoolExecutor(1) as executor:
        operation = PythonOperation(
            handle, code=UserCode(journal), answers=ANSWERS, expects=None, undoable=True,
            idempotent=False, timeout_seconds=60.0,
        )  # fmt: skip
        bench = InboundBench(store, executor, operation)
        await bench.put(["before", "bad", "after"])
        await bench.run()
    assert await bench.rows("SELECT status FROM queue WHERE direction = 'in'") == [("error",)]
    assert await bench.rows("SELECT name FROM number_sequence ORDER BY name") == [("after",), ("before",)]


async def test_code_that_held_its_loop_until_its_process_was_ended_has_timed_out(store: Store) -> None:
    operation = Scripted()
    with ThreadPoolExecutor(1) as executor:
        bench = InboundBench(store, executor, operation)
        _, (held, _) = await bench.put(["held", "good"])
        for _ in range(2):
            await bench.rows("UPDATE queue SET held_loop = true WHERE message_id = $1", held)
            await bench.run(retries=2)
            await time_passes(bench)
    assert operation.calls == ["good"], "its tries are over: it does not run for them once more"
    assert await bench.rows("SELECT message_id, status, attempts FROM queue WHERE direction = 'in'") == [
        (held, "error", 2)
    ]
    ((code, text),) = await bench.rows("SELECT code, text FROM exception WHERE severity = 'error'")
    assert code == "operation.timeout" and "held the event loop for 10 seconds" in text and "Tried 2 times." in text
    ((fault,),) = await bench.rows(
        "SELECT convert_from(content, 'UTF8') FROM document d JOIN message m ON m.id = d.message_id WHERE is_fault"
    )
    assert "Timeout" in fault


async def test_what_is_left_open_is_closed(store: Store, journal: InFlightJournal) -> None:
    async def handle(_: Request, context: ServiceContext) -> Reply:
        await context.connection.transaction().start()
        with suppress(PostgresError):
            async with context.connection.transaction():
                await context.connection.execute("SELECT 1 / 0")
        return Reply()

    with ThreadPoolExecutor(1) as executor:
        operation = PythonOperation(
            handle, code=UserCode(journal), answers=ANSWERS, expects=None, undoable=True,
            idempotent=False, timeout_seconds=60.0,
        )  # fmt: skip
        bench = InboundBench(store, executor, operation)
        await bench.put(["one", "two"])
        await bench.run()
    assert await bench.rows("SELECT count(*) FROM queue WHERE direction = 'in'") == [(0,)]


async def test_answer_that_breaks_its_schema_fails_for_the_operator_and_says_little_to_the_partner(
    store: Store, journal: InFlightJournal
) -> None:
    async def handle(request: Request, context: ServiceContext) -> Reply:
        await context.connection.execute("INSERT INTO number_sequence VALUES ('x', 1) ON CONFLICT DO NOTHING")
        (order,) = request.parts
        order[0].append(etree.Element("Invented"))
        return Reply(parts=[order])

    with ThreadPoolExecutor(1) as executor:
        operation = PythonOperation(
            handle, code=UserCode(journal), answers=ANSWERS, expects=None, undoable=True,
            idempotent=False, timeout_seconds=60.0,
        )  # fmt: skip
        bench = InboundBench(store, executor, operation)
        await bench.put(["one"])
        await bench.run()
    ((code, text),) = await bench.rows("SELECT code, text FROM exception WHERE severity = 'error'")
    assert code == "handler.answer-invalid" and "does not follow its schema" in text and "Invented" in text
    ((fault,),) = await bench.rows(
        "SELECT convert_from(content, 'UTF8') FROM document d JOIN message m ON m.id = d.message_id WHERE is_fault"
    )
    assert GENERIC in fault and "Invented" not in fault
    assert await bench.rows("SELECT 1 FROM number_sequence") == [], "what the handler did is undone"
