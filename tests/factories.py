"""Records in any state, with sensible values for what a test does not care about."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.kernel.ids import ClaimId, LaneName, PortName
from gateway.kernel.namespaces import BATCH, MESSAGE_2011
from gateway.kernel.problem import Problem
from gateway.messaging.rules.delivery import Claim, Settlement
from gateway.messaging.rules.envelope import FileEnd, FileHead, Header, Root
from gateway.messaging.rules.message import NewFile, NewMessage
from gateway.messaging.rules.outbound import NewSendRequest
from gateway.messaging.rules.states import Policy
from gateway.operations.principal import OperatorSession, Principal

ORDERS = PortName("orders")
COPIES = PortName("order-copies")
CREATE = "http://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create"


def a_claim(name: str = "order.xml", *, port: PortName = ORDERS, size: int = 100) -> Claim:
    claim_id = ClaimId(uuid4())
    return Claim(
        id=claim_id,
        port=port,
        name=name.encode(),
        display=name,
        handle=f"{claim_id}~{name}".encode(),
        size=size,
        modified_at=datetime(2031, 2, 3, tzinfo=UTC),
        owner_uid=1000,
        owner="partner",
    )


def a_send_request(*keys: str, port: PortName = COPIES) -> NewSendRequest:
    """Return a request to send the orders with these keys."""
    return NewSendRequest(
        port=port,
        message_id=uuid4(),
        service="SalesOrderService",
        operation="read",
        keys=[[("SalesId", key)] for key in keys or ("SO-1",)],
        company=None,
        partition_key=None,
        conversation_id=None,
        submitter="clerk",
    )


def a_message(
    position: int = 1,
    *,
    message_id: UUID | None = None,
    lane: str | None = None,
    problems: tuple[Problem, ...] = (),
    content: bytes = b"<Envelope/>",
    action: str = CREATE,
) -> NewMessage:
    chosen = message_id or uuid4()
    return NewMessage(
        position=position,
        message_id=chosen,
        message_id_sent=str(chosen) if message_id else None,
        namespace=MESSAGE_2011,
        header=Header(message_id=str(chosen) if message_id else None, action=action),
        service="SalesOrderService",
        operation="create",
        conversation_id=None,
        lane=None if lane is None else LaneName(lane),
        parts=("{http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder}SalesOrder",),
        checked=None,
        problems=problems,
        content=content,
    )


def a_file(claim: Claim, *, members: int | None = None, policy: Policy = Policy.CONTINUE) -> NewFile:
    """Return a good file: a batch of *members*, or a single envelope when there are none."""
    batch = members is not None
    return NewFile(
        claim=claim,
        head=FileHead(
            root=Root.BATCH if batch else Root.ENVELOPE, namespace=BATCH if batch else MESSAGE_2011, encoding="UTF-8"
        ),
        end=FileEnd(envelopes=members or 1, size=claim.size, sha256=uuid4().bytes * 2),
        submitter="partner",
        settlement=Settlement.ARCHIVE,
        batch_id=str(uuid4()) if batch else None,
        policy=policy,
    )


def operator(
    store: Store, *, principal: Principal | None = None, settings: Settings | None = None, now: datetime | None = None
) -> OperatorSession:
    """Return the session of somebody at work on a store; ann, when nobody is named."""
    return OperatorSession(
        store=store,
        settings=settings or Settings.model_construct(),
        principal=principal or Principal(name="ann", partition="initial"),
        now=now or datetime.now(UTC),
    )
