"""The send API: ask for documents to be sent through outbound ports, and see what becomes of it.

Source: AIF reference, section 29.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from gateway.config.models import OutboundPort, Settings
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import MessageKey, PortName
from gateway.messaging.queue.requests import RequestProgress, progress_of_requests, put_send_requests
from gateway.messaging.rules.outbound import NewSendRequest, RecordKey
from gateway.messaging.rules.states import Outcome, Status
from gateway.operations.audit import recorded
from gateway.operations.principal import OperatorSession
from gateway.operations.references import require_port

POLL_SECONDS: Final = 0.1
_LONGEST_CONVERSATION: Final = 256


class NotSendable(GatewayError):
    """What was asked for cannot be sent; nothing was."""

    code = "send.refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What became of send requests; `done` is False when the time was over first."""

    requests: Sequence[RequestProgress]
    done: bool

    @property
    def good(self) -> bool:
        """True when the file of every request was published."""
        return self.done and all(request.outcome is Outcome.SENT for request in self.requests)


async def send(
    session: OperatorSession,
    *,
    port: str | None,
    service_operation: str,
    keys: Sequence[RecordKey],
    company: str | None = None,
    partition: str | None = None,
    conversation: str | None = None,
) -> list[MessageKey]:
    """Ask for the documents with these keys to be sent, in one message per port; returns the number of each message.

    Rule: without *port* the message goes through every active outbound port that offers the operation. Company and
    partition default to those of the gateway; named ones also stand in the header of the message.
    Raises: NotSendable; NotFound for an unknown port.
    """
    async with recorded(session, "send", service_operation) as note:
        if not keys or any(not key or not all(field and value for field, value in key) for key in keys):
            raise NotSendable("name the documents to send by their keys: field and value, none of them empty")
        if conversation is not None and len(conversation) > _LONGEST_CONVERSATION:
            raise NotSendable(f"a ConversationId has at most {_LONGEST_CONVERSATION} characters")
        requests = [
            NewSendRequest(
                port=name,
                message_id=uuid4(),
                service=service,
                operation=operation,
                keys=keys,
                company=company,
                partition_key=partition,
                conversation_id=conversation,
                submitter=session.actor,
            )
            for name, service, operation in eligible_ports(session.settings, service_operation, port)
        ]
        numbers = await put_send_requests(session.store, requests)
        note.text = f"messages {', '.join(map(str, numbers))}"
        return numbers


def eligible_ports(
    settings: Settings, service_operation: str, port: str | None = None
) -> list[tuple[PortName, str, str]]:
    """Return the active outbound ports that offer an operation, each with service and operation as configured.

    Raises: NotSendable saying why there is none; NotFound for an unknown port.
    """
    names = list(settings.ports) if port is None else [require_port(settings, port)]
    found = [(PortName(name), *pair) for name in names if (pair := _offered(settings, name, service_operation))]
    if not found:
        raise NotSendable(_why_none(settings, service_operation, port))
    return found


async def progress(session: OperatorSession, keys: Sequence[MessageKey]) -> Progress:
    """Return how far requests are now."""
    return Progress(requests=await progress_of_requests(session.store, keys), done=False)


async def wait_until_sent(session: OperatorSession, keys: Sequence[MessageKey], *, seconds: float) -> Progress:
    """Wait until every request is published or needs an operator, at most *seconds*."""
    requests: Sequence[RequestProgress] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                requests = await progress_of_requests(session.store, keys)
                if all(_settled(request) for request in requests):
                    return Progress(requests=requests, done=True)
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        return Progress(requests=requests, done=False)


def _settled(request: RequestProgress) -> bool:
    return request.outcome is not None or request.status in {Status.ERROR, Status.HOLD}


def _offered(settings: Settings, name: str, service_operation: str) -> tuple[str, str] | None:
    """Return what the port sends under this name, the operation without regard to case."""
    port = settings.ports[name]
    if not isinstance(port, OutboundPort) or not port.active:
        return None
    service, _, operation = service_operation.partition(".")
    for offered in settings.exposed(name):
        if offered[0] == service and offered[1].lower() == operation.lower():
            return offered
    return None


def _why_none(settings: Settings, service_operation: str, port: str | None) -> str:
    if port is not None:
        found = settings.ports[port]
        if not isinstance(found, OutboundPort):
            return f"the port {port} is inbound: it only answers requests"
        if not found.active:
            return f"the port {port} is not active"
        return f"the port {port} does not send {service_operation!a}; it sends {_listed(settings, [port])}"
    active = [name for name, each in settings.ports.items() if isinstance(each, OutboundPort) and each.active]
    if not active:
        return "no active port is outbound, so nothing can be sent: add one with `direction: outbound`"
    return f"no active outbound port sends {service_operation!a}; they send {_listed(settings, active)}"


def _listed(settings: Settings, ports: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(".".join(pair) for port in ports for pair in settings.exposed(port)))
