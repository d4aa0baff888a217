"""Whatever code of other people does, its call comes back and the gateway goes on."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.kernel.errors import GatewayError, OperationTimeout
from gateway.kernel.ids import MessageKey, PortName
from gateway.kernel.namespaces import Scheme
from gateway.messaging.services import usercode
from gateway.messaging.services.answers import Answers
from gateway.messaging.services.in_flight import Held, InFlightJournal
from gateway.messaging.services.python import CompensatedPythonOperation
from gateway.messaging.services.usercode import CodeEnded, UserCode
from gateway.xml.catalog import Catalog

ANSWERS = Answers(lambda: Catalog([]))
LONG = 60.0
SHORT = 0.1
KEY = MessageKey(7)


class Connection:
    """Stands for a database connection; its closing would be noticed."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def fetchval(self, statement: str) -> int:
        self.asked.append(statement)
        return 1

    async def close(self) -> None:
        raise AssertionError("the connection is not the handler's")


@pytest.fixture
def journal() -> Iterator[InFlightJournal]:
    page = InFlightJournal.make()
    yield InFlightJournal(page)
    os.close(page)


@pytest.fixture
def missed() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def code(journal: InFlightJournal, missed: asyncio.Event) -> UserCode:
    return UserCode(journal, missed.set)


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def call(code: UserCode, connection: Connection) -> Callable[..., Any]:
    request = Request(
        key=KEY, port=PortName("p"), message_id=uuid4(), service="S", operation="o", parts=(), scheme=Scheme.HTTP,
        company="c", partition="p", user="u", received_at=datetime.now(UTC),
    )  # fmt: skip
    context = ServiceContext(connection=connection, numbers=Any, job_queue=Any, now=datetime.now(UTC), log=None)

    async def call(function: Callable[..., object], seconds: float = LONG) -> object:
        async with asyncio.timeout(LONG):
            return await code.call(function, request, context, seconds)

    return call


async def test_async_function_may_use_its_context(call: Callable[..., Any], connection: Connection) -> None:
    async def handle(request: Request, context: ServiceContext) -> Reply:
        await context.connection.fetchval("SELECT 1")
        return Reply()

    assert await call(handle) == Reply()
    assert connection.asked == ["SELECT 1"]


async def test_plain_function_runs_in_another_thread(call: Callable[..., Any]) -> None:
    assert await call(lambda *_: threading.current_thread()) is not threading.current_thread()


class Strange(BaseException):
    """Ends what it likes."""


@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt(), Strange("at large"), asyncio.CancelledError()])
@pytest.mark.parametrize("on_loop", [True, False], ids=["async", "plain"])
async def test_what_would_end_the_gateway_ends_only_the_call(
    ending: BaseException, on_loop: bool, call: Callable[..., Any]
) -> None:
    def plain(*_: object) -> None:
        raise ending

    async def on_the_loop(*_: object) -> None:
        raise ending

    with pytest.raises(CodeEnded):
        await call(on_the_loop if on_loop else plain)


@pytest.mark.parametrize("error", [RuntimeError(), ValueError("no"), MemoryError()])
async def test_plain_function_may_raise_anything(error: Exception, call: Callable[..., Any]) -> None:
    def handle(*_: object) -> None:
        raise error

    with pytest.raises(type(error)):
        await call(handle)


async def test_plain_function_may_raise_what_a_future_cannot_hold(call: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await call(lambda *_: next(iter(())))


async def test_endless_wait_is_cut_and_really_ends(call: Callable[..., Any], journal: InFlightJournal) -> None:
    ended = asyncio.Event()

    async def handle(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(OperationTimeout, match=r"S\.o took longer than 0\.1 seconds"):
        await call(handle, SHORT)
    assert ended.is_set()
    assert not journal.read().held


async def test_code_that_refuses_to_be_cancelled_is_left_behind_without_its_connection(
    call: Callable[..., Any], connection: Connection, journal: InFlightJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usercode, "_INSIST_SECONDS", 0.01)
    over = asyncio.Event()
    said: list[str] = []

    async def handle(_: Request, context: ServiceContext) -> None:
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()
        try:
            await context.connection.fetchval("too late")
        except GatewayError as error:
            said.append(error.message)

    with pytest.raises(OperationTimeout):
        await call(handle, SHORT)
    assert set(journal.read().suspects()) == {KEY}, "it may still end the process"
    over.set()
    while journal.read().held:
        await asyncio.sleep(0)
    assert said == ["the call is over: its 'fetchval' cannot be used any more"]
    assert connection.asked == []


async def test_endless_loop_in_a_thread_is_left_behind_and_ends(
    call: Callable[..., Any], journal: InFlightJournal
) -> None:
    def handle(*_: object) -> None:
        while True:
            pass

    with pytest.raises(OperationTimeout):
        await call(handle, SHORT)
    async with asyncio.timeout(LONG):
        while journal.read().held or any(thread.name == "S.o" for thread in threading.enumerate()):
            await asyncio.sleep(0.01)


async def test_handler_cannot_take_the_connection_away(call: Callable[..., Any]) -> None:
    async def handle(_: Request, context: ServiceContext) -> None:
        await context.connection.close()

    with pytest.raises(GatewayError, match="belongs to the gateway"):
        await call(handle)


async def test_code_that_does_not_come_back_is_missed(
    call: Callable[..., Any], journal: InFlightJournal, missed: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usercode, "ABANDONED_SECONDS", 0.01)
    wake = threading.Event()
    with pytest.raises(OperationTimeout):
        await call(lambda *_: wake.wait(), SHORT)
    async with asyncio.timeout(LONG):
        await missed.wait()
    assert dict(journal.read().held) == {KEY: Held.ABANDONED}
    wake.set()
    async with asyncio.timeout(LONG):
        while journal.read().held:
            await asyncio.sleep(0.01)


async def test_message_is_in_flight_while_its_code_runs(call: Callable[..., Any], journal: InFlightJournal) -> None:
    seen = await call(lambda *_: dict(journal.read().held))
    assert seen == {KEY: Held.THREAD}
    assert not journal.read().held


async def test_compensation_is_called_with_the_key_of_the_call(code: UserCode, call: Callable[..., Any]) -> None:
    keys: list[str] = []

    def book(request: Request, _: ServiceContext) -> Reply:
        keys.append(request.idempotency_key)
        return Reply()

    async def cancel(request: Request, _: ServiceContext) -> None:
        keys.append(request.idempotency_key)

    operation = CompensatedPythonOperation(
        book, cancel, code=code, answers=ANSWERS, expects=None, undoable=False, idempotent=False, timeout_seconds=LONG
    )
    for handle in (operation.call, operation.compensate):
        await call(handle)
    assert keys == ["p/7", "p/7"]


async def test_compensation_that_takes_too_long_is_told_as_such(code: UserCode, call: Callable[..., Any]) -> None:
    async def waits(*_: object) -> None:
        await asyncio.Event().wait()

    operation = CompensatedPythonOperation(
        waits, waits, code=code, answers=ANSWERS, expects=None, undoable=False, idempotent=False, timeout_seconds=SHORT
    )
    with pytest.raises(OperationTimeout, match=r"the compensation of S\.o took longer"):
        await call(operation.compensate)
