"""Posted documents that outbound ports offer: each is asked for in the transaction that makes it."""

from collections.abc import Iterator, Sequence
from uuid import uuid4

from asyncpg import Connection

from gateway.config.models import DocumentService, OutboundPort, Settings
from gateway.db.sql import Queries
from gateway.kernel.ids import PortName
from gateway.messaging.queue.requests import add_send_requests
from gateway.messaging.rules.outbound import NewSendRequest
from gateway.queues.posting.form import qualified
from gateway.queues.posting.posting import DocumentName, PostedAs

READ = "read"


async def send_posted(
    connection: Connection, sql: Queries, settings: Settings, name: DocumentName, made: Sequence[PostedAs], user: str
) -> None:
    """Ask for what was made of a document to be sent, through every active outbound port that offers it."""
    offered = [(one, *offer) for one in made for offer in _offers(settings, one.document)]
    requests = [
        NewSendRequest(
            port=port, message_id=uuid4(), service=service, operation=READ, keys=(((key, one.number),),),
            company=name.company, partition_key=name.partition, conversation_id=None, submitter=user,
        )
        for one, port, service, key in offered
    ]  # fmt: skip
    if messages := await add_send_requests(connection, requests):
        await connection.execute(
            sql.put_posted_messages, name.partition, name.company, [one.document for one, *_ in offered],
            [one.number for one, *_ in offered], messages,
        )  # fmt: skip


def _offers(settings: Settings, document: str) -> Iterator[tuple[PortName, str, str]]:
    """Yield port, service and key field of each offer of a document."""
    for name, port in settings.ports.items():
        if not isinstance(port, OutboundPort) or not port.active:
            continue
        for service, operation in settings.exposed(name):
            kept = settings.services[service]
            if operation == READ and isinstance(kept, DocumentService) and kept.document == qualified(document):
                yield PortName(name), service, kept.key
