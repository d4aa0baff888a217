"""Outbound processing: send requests become messages in the queue, in one transaction per chunk.

A document is read by a service operation and wrapped like a response that answers nobody. Quick reads go in sets, slow
ones one by one: a document is on its way when it is read, and whoever waits for another system holds no connection.
Source: AIF reference, sections 3.2 and 29.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime

import structlog
from lxml import etree

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.db.unit import UnitConnection, UnitTransaction
from gateway.kernel.errors import MalformedMessage, StoreBusy, UnknownAction
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import PortName
from gateway.kernel.namespaces import MESSAGE_2011, Scheme
from gateway.messaging.flow.port import Served, ServedOutbound
from gateway.messaging.flow.port_state import Health, why_busy
from gateway.messaging.flow.runner import PortRunner
from gateway.messaging.processing.decide import judge, pass_on
from gateway.messaging.processing.suspects import HandOver, has_crash_suspect, keep
from gateway.messaging.queue.leases import give_back
from gateway.messaging.queue.requests import RequestResult, claim_requests, record_requests
from gateway.messaging.rules.message import Claimed, Retry
from gateway.messaging.rules.outbound import NewSending, RequestFailure, SendRequest
from gateway.messaging.rules.pace import Pace
from gateway.messaging.rules.poison import why_not
from gateway.messaging.rules.states import Stage
from gateway.messaging.services.entities import StoredNumbers
from gateway.messaging.services.registry import Registry
from gateway.queues import UnitQueue
from gateway.xml.answer import AnswerHeader, response
from gateway.xml.keys import build_keys

log = structlog.get_logger()

_PLACES = 4
"""Ports at work at the same time. Each may hold a connection while its handlers run; inbound processing needs some."""


class OutboundStage:
    """The task that reads the documents which were asked to be sent."""

    def __init__(
        self, *, store: Store, incarnation: int, ports: Served, registry: Registry, executor: Executor,
        trouble: Health, chunk: int, hand_over: HandOver = keep,
    ) -> None:  # fmt: skip
        self._store = store
        self._ports = ports
        self.registry = registry
        self._executor = executor
        self._hand_over = hand_over
        self._trouble = trouble
        self._paces: defaultdict[PortName, Pace] = defaultdict(lambda: Pace(chunk))
        self._runner: PortRunner[ServedOutbound, SendRequest] = PortRunner(
            stage=Stage.OUTBOUND, store=store, ports=lambda: ports.outbound,
            claim=lambda port: claim_requests(store, incarnation, port, self._paces[port].next(others_wait=False)),
            work=self._process, places=_PLACES, trouble=trouble,
        )  # fmt: skip

    async def run(self, context: TaskContext) -> None:
        """Process send requests until none is left and none can come."""
        await self._runner.run(context)

    async def _process(self, port: ServedOutbound, chunk: Claimed[SendRequest], context: TaskContext) -> None:
        if has_crash_suspect(chunk) and self._hand_over(port.name):
            await give_back(self._store, chunk.fence)
            return
        await self._execute(port, chunk, context)

    async def _execute(self, port: ServedOutbound, chunk: Claimed[SendRequest], context: TaskContext) -> None:
        """Read the documents of a chunk and record them, all in one transaction."""
        result, began = RequestResult(), time.monotonic()
        busy: StoreBusy | None = None
        found = (self.registry.operation(request.service, request.operation) for request in chunk.items)
        slowest = max((one.operation.timeout_seconds for one in found if one is not None), default=0.0)
        async with UnitTransaction(self._store, port.name, silent_seconds=slowest, weight=port.weight) as unit:
            if len(chunk.items) > 1:
                await unit.open_at_once()
            for request in chunk.items:
                try:
                    async with unit.attempt():
                        result.done.append(await self._message(port, request, unit))
                except Exception as error:
                    pass_on(error, unit)
                    busy = error if isinstance(error, StoreBusy) and error.everywhere else busy
                    _file(result, request, error, port.settings.process.retries)
            await record_requests(self._store, await unit.open(), chunk.fence, result)
            reach("outbound.before_commit")
        reach("outbound.after_commit")
        self._paces[port.name].took(len(chunk.items), time.monotonic() - began)
        await self._trouble.stopped(port.name, None if busy is None else why_busy(busy))
        _tell(port, result, context)

    async def _message(self, port: ServedOutbound, request: SendRequest, unit: UnitTransaction) -> NewSending:
        """Read the documents of one request and make their message."""
        operation = f"{request.service}.{request.operation}"
        refused = why_not(request.key, operation, crashes=request.crashes, held_loop=request.held_loop)
        if refused is not None:
            raise refused
        action = port.actions.get((request.service, request.operation))
        found = self.registry.operation(request.service, request.operation)
        if action is None or found is None:
            raise UnknownAction(f"The port '{port.name}' does not send {request.service}.{request.operation} any more.")
        call = Request(
            key=request.key, port=port.name, message_id=request.message_id, service=found.service, operation=found.name,
            parts=[_key_list(request)], scheme=Scheme.HTTP,
            company=request.company or self._ports.settings.default_company,
            partition=request.partition_key or self._ports.settings.default_partition, user=request.submitter,
            received_at=request.requested_at,
        )  # fmt: skip
        reply = await found.operation.call(call, self._context(unit))
        content = await asyncio.get_running_loop().run_in_executor(
            self._executor, _envelope, reply, port, request, action
        )
        return NewSending(
            request=request, action=action, entity_keys=request.keys,
            file_name=port.name_sent(request.message_id), content=content,
        )  # fmt: skip

    def _context(self, unit: UnitTransaction) -> ServiceContext:
        return ServiceContext(
            connection=UnitConnection(unit),
            numbers=StoredNumbers(unit, self._store),
            job_queue=UnitQueue(UnitConnection(unit), self._store.queries),
            now=datetime.now(UTC),
            log=log,
        )


def _key_list(request: SendRequest) -> etree._Element:
    try:
        return build_keys(request.keys)
    except ValueError as error:
        raise MalformedMessage(f"The keys cannot be written as XML: {error}.", code="key.malformed") from error


def _envelope(reply: Reply, port: ServedOutbound, request: SendRequest, action: str) -> bytes:
    """Write the envelope around what the service returned; runs in a thread."""
    parts: Sequence[etree._Element] = [build_keys(reply.entity_keys)] if reply.keys_only else reply.parts
    header = AnswerHeader(
        MESSAGE_2011, request.message_id, action, "", conversation_id=request.conversation_id, company=request.company,
        partition_key=request.partition_key,
    )  # fmt: skip
    return response(header, parts, encoding=port.settings.send.encoding.value)


def _file(result: RequestResult, request: SendRequest, error: Exception, most_tries: int) -> None:
    """Put a request that failed where it belongs."""
    verdict = judge(
        request, error, attempts=request.attempts, store_waits=request.store_waits, most_tries=most_tries,
        chance=random.random(),  # noqa: S311 jitter
    )  # fmt: skip
    if isinstance(verdict, Retry):
        result.again.append(verdict)
        return
    result.failed.append(
        RequestFailure(
            request=request,
            code=verdict.code,
            text=verdict.text,
            problems=verdict.problems,
            traceback=verdict.traceback,
        )
    )


def _tell(port: ServedOutbound, result: RequestResult, context: TaskContext) -> None:
    context.tally.add("requests", len(result.done))
    context.tally.add("failed", len(result.failed))
    context.tally.add("retries", len(result.again))
    if result.done:
        context.feed.produced()
    log.info(
        "requests.processed", port=port.name, stage=Stage.OUTBOUND.value, processed=len(result.done),
        failed=len(result.failed), retried=len(result.again),
    )  # fmt: skip
    for failure in result.failed:
        log.warning(
            "request.failed", port=port.name, stage=Stage.OUTBOUND.value, message_key=failure.request.key,
            code=failure.code, error=failure.text[:500],
        )  # fmt: skip
