"""The samples of the demonstration and the judge of their answers."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway.cli.demo_samples import FOLDER, SAMPLES, Sample, message_ids, renewed, verify
from gateway.kernel.ids import format_message_id
from gateway.operations.submit import Answer

REQUEST_ID = UUID("722b196b-4acb-4048-8ed3-36915a7dd269")
ORDER = next(sample for sample in SAMPLES if sample.file == "order-single.xml")
BROKEN = next(sample for sample in SAMPLES if sample.fault)
ENVELOPE = """<Envelope xmlns="http://schemas.microsoft.com/dynamics/2011/01/documents/Message"><Header>
<MessageId>{id}</MessageId>
<Action>http://schemas.microsoft.com/dynamics/2008/01/services/SalesOrderService/create</Action>
<RequestMessageId>{request}</RequestMessageId></Header><Body><MessageParts>{body}</MessageParts></Body></Envelope>"""
KEY = "<Field>SalesId</Field><Value>SO-100021</Value>"


def answer(body: str = KEY, *, request: UUID = REQUEST_ID, own: UUID | None = None, is_fault: bool = False) -> Answer:
    text = ENVELOPE.format(id=format_message_id(own or uuid4()), request=format_message_id(request), body=body)
    return Answer(
        position=1, request_message_id=REQUEST_ID, message_id=uuid4(), is_fault=is_fault, outcome="sent",
        path=Path("out/a.xml"), text=text,
    )  # fmt: skip


def test_good_answer_has_nothing_wrong() -> None:
    assert verify(ORDER, [answer()]) == []
    assert verify(BROKEN, [answer("<Code>SchemaValidation</Code>", is_fault=True)]) == []


@pytest.mark.parametrize(
    ("sample", "answers", "problem"),
    [
        (ORDER, [], "0 answers instead of 1"),
        (ORDER, [answer(), answer()], "2 answers instead of 1"),
        (ORDER, [answer("<Field>SalesId</Field><Value>17</Value>")], "names no SalesId"),
        (ORDER, [answer("<Code>RequestFailed</Code>", is_fault=True)], "names no SalesId"),
        (ORDER, [answer(request=uuid4())], "RequestMessageId"),
        (ORDER, [answer(own=REQUEST_ID)], "not a new one"),
        (ORDER, [replace(answer(), path=None)], "not delivered"),
        (replace(ORDER, operation="read"), [answer()], "its Action"),
        (BROKEN, [answer()], "no fault with the code SchemaValidation"),
    ],
)
def test_wrong_answer_is_noticed(sample: Sample, answers: list[Answer], problem: str) -> None:
    assert any(problem in found for found in verify(sample, answers))


def test_every_sample_file_is_used_and_ids_are_unique() -> None:
    assert sorted(sample.file for sample in SAMPLES) == sorted(path.name for path in FOLDER.iterdir())
    ids = [message_id for sample in SAMPLES for message_id in message_ids((FOLDER / sample.file).read_bytes())]
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize("name", ["orders-batch.xml", "order-utf16.xml"])
def test_renewed_sample_differs_in_its_ids_only(name: str) -> None:
    original = (FOLDER / name).read_bytes()
    copy = renewed(original)
    assert len(copy) == len(original)
    assert copy[:2] == original[:2]
    assert message_ids(copy).isdisjoint(message_ids(original))
    assert len(message_ids(copy)) == len(message_ids(original)) > 0
