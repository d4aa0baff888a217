"""Keys that a sequence makes beside keys that the partner gives."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
import structlog

from gateway.contracts.service import Request, ServiceContext
from gateway.db.open import Store
from gateway.db.unit import UnitConnection, UnitTransaction
from gateway.kernel.errors import OperationRejected, ServiceBroken
from gateway.kernel.ids import MessageKey
from gateway.kernel.namespaces import Scheme
from gateway.messaging.services.document import Create
from gateway.messaging.services.document_kind import DocumentKind, Numbering
from gateway.messaging.services.entities import StoredNumbers
from gateway.queues import UnitQueue
from tests.documents import envelope
from tests.factories import ORDERS


async def create(store: Store, *keys: str, accept_sent: bool = True, form: str = "L-{number:03}") -> list[str]:
    """Create a document with one record per key ('' for none); return the keys it got."""
    numbering = Numbering(sequence="Loan", format=form, first=7, step=1, accept_sent=accept_sent)
    rows = "".join(f"<Row>{f'<Id>{key}</Id>' if key else ''}</Row>" for key in keys)
    return await create_of(store, envelope(f'<Loan xmlns="urn:loan">{rows}</Loan>'), numbering)


async def create_of(
    store: Store, content: str, numbering: Numbering | None = None, longest: int | None = None
) -> list[str]:
    """Create the records of the document in an envelope; return the keys they got."""
    kind = DocumentKind(document="{urn:loan}Loan", entity="Row", key="Id", numbering=numbering)
    request = Request(
        key=MessageKey(1), port=ORDERS, message_id=uuid4(), service="S", operation="create", parts=[],
        scheme=Scheme.HTTP, company="DAT", partition="initial", user="u", received_at=datetime.now(UTC),
        content=content.encode(),
    )  # fmt: skip
    async with UnitTransaction(store, ORDERS, silent_seconds=0.0) as unit:
        context = ServiceContext(
            connection=UnitConnection(unit), numbers=StoredNumbers(unit, store), now=datetime.now(UTC),
            job_queue=UnitQueue(UnitConnection(unit), store.queries),
            log=structlog.get_logger(),
        )  # fmt: skip
        reply = await Create(kind, lambda: longest).call(request, context)
    return [value for ((_, value),) in reply.entity_keys]


async def test_a_sent_key_stands_beside_numbers_and_uses_none_up(store: Store) -> None:
    assert await create(store, "", "OLD-1", "") == ["L-007", "OLD-1", "L-008"]
    assert await create(store, "OLD-2") == ["OLD-2"]
    assert await create(store, "") == ["L-009"]
    with pytest.raises(OperationRejected, match=r"exists already \(OLD-2\)"):
        await create(store, "OLD-2")


async def test_a_number_that_has_outgrown_its_field_is_refused_for_the_operator_and_uses_none_up(store: Store) -> None:
    numbering = Numbering(sequence="rows", format="R{number}", first=9, step=1)
    row = envelope('<Loan xmlns="urn:loan"><Row/></Loan>')
    assert await create_of(store, row, numbering, longest=2) == ["R9"]
    for _ in range(2):
        with pytest.raises(
            ServiceBroken, match=r"rows has come to R10, 3 characters; Id takes 2 at most\. Give"
        ) as told:
            await create_of(store, row, numbering, longest=2)
        assert told.value.code == "operation.number-too-long"
    assert await create_of(store, row, numbering, longest=3) == ["R10"]


@pytest.mark.parametrize("key", ["L-1", "L-009", "L-99999"])
async def test_a_key_that_a_later_number_may_be_is_refused(store: Store, key: str) -> None:
    with pytest.raises(OperationRejected, match=f"'{key}' has the form of the number sequence"):
        await create(store, key)


@pytest.mark.parametrize(
    ("form", "own", "other"),
    [("{number}", "12", "A12"), ("A1{number}", "A112", "A2"), ("{{{number:4}}}/x", "{  12}/x", "12/x")],
)
async def test_the_form_of_the_sequence_counts_as_it_is_written(store: Store, form: str, own: str, other: str) -> None:
    assert await create(store, other, form=form) == [other]
    with pytest.raises(OperationRejected, match="has the form of the number sequence"):
        await create(store, own, form=form)


async def test_unless_the_sequence_accepts_them_sent_keys_are_refused(store: Store) -> None:
    with pytest.raises(OperationRejected, match="must not be sent"):
        await create(store, "OLD-1", accept_sent=False)


def _declaring(around: str, rows: int, inside: str = "") -> str:
    records = "".join(f"<Row><Id>{row}</Id>{inside}</Row>" for row in range(rows))
    return envelope(f'<Loan xmlns="urn:loan">{records}</Loan>').replace("<Envelope", f"<Envelope {around}")


async def test_records_are_kept_with_the_namespaces_they_use_and_no_others(store: Store) -> None:
    around = " ".join(f'xmlns:n{number}="urn:{number}:{"x" * 1_000}"' for number in range(90))
    assert len(await create_of(store, _declaring(around, 1_500))) == 1_500
    async with store.transaction() as connection:
        kept = await connection.fetchval("SELECT sum(length(content)) FROM entity WHERE document = '{urn:loan}Loan'")
    assert kept < 1_500 * 100


async def test_records_that_namespaces_would_blow_up_are_refused_with_the_reason(store: Store) -> None:
    content = _declaring(f'xmlns:n="urn:{"x" * 10_000}"', 100, "<n:a/>")
    with pytest.raises(OperationRejected, match="namespaces of Loan are too long") as caught:
        await create_of(store, content)
    assert caught.value.code == "document.namespaces"
