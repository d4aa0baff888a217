"""The sample files of `gateway demo`: what each shows, and the answers it must get."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from lxml import etree

from gateway.kernel.errors import FileRefused
from gateway.kernel.ids import format_message_id, parse_message_id
from gateway.kernel.namespaces import ENVELOPE_NAMESPACES, canonical
from gateway.operations.submit import Answer
from gateway.xml.encoding import PREFIX_BYTES, detect
from gateway.xml.parse import parse_checked

FOLDER: Final = Path(__file__).with_name("samples")
_GUID: Final = re.compile(r"\{[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A file to drop: where it goes by what it calls, and what must come back.

    Shape: `key` is the field of the entity key in each response, `pattern` the form of its value; with `fault`
    every answer must be a fault of that code instead.
    """

    file: str
    shows: str
    service: str
    operation: str
    answers: int
    key: str = "SalesId"
    pattern: str = r"SO-\d{6}"
    fault: str | None = None


def _order(file: str, shows: str, answers: int = 1, fault: str | None = None) -> Sample:
    return Sample(file=file, shows=shows, service="SalesOrderService", operation="create", answers=answers, fault=fault)


SAMPLES: Final[Sequence[Sample]] = (
    _order("orders-batch.xml", "the documented batch of two sales orders", 2),
    _order("orders-batch-http.xml", "the same with http:// namespaces, as installations write it", 2),
    _order("order-single.xml", "one envelope, no batch"),
    _order("orders-plain-batch.xml", "a batch without attributes, requests without MessageId", 2),
    _order("order-utf16.xml", "UTF-16 with byte order mark"),
    _order("order-comment-cdata.xml", "comments and CDATA"),
    _order("order-prefixes.xml", "prefixed namespaces"),
    Sample(
        file="customer.xml",
        shows="another port, another document",
        service="CustomerService",
        operation="create",
        answers=1,
        key="AccountNum",
        pattern=r"\d{6}",
    ),
    _order("order-broken.xml", "a quantity that is no number: a fault says where", fault="SchemaValidation"),
)


def message_ids(content: bytes) -> set[UUID]:
    """Return the MessageIds of a sample."""
    text, _ = _decoded(content)
    return {found for match in _GUID.findall(text) if (found := parse_message_id(match)) is not None}


def renewed(content: bytes) -> bytes:
    """Return a sample with other MessageIds: an id that was processed before would be answered as a duplicate."""
    text, codec = _decoded(content)
    return _GUID.sub(lambda _: format_message_id(uuid4()), text).encode(codec)


def verify(sample: Sample, answers: Sequence[Answer]) -> list[str]:
    """Return what is wrong with the answers to a sample; nothing when they are as they must be."""
    problems = []
    if len(answers) != sample.answers:
        problems.append(f"{len(answers)} answers instead of {sample.answers}")
    for answer in answers:
        try:
            problems += [f"answer {answer.position}: {text}" for text in _wrong(sample, answer)]
        except FileRefused as error:
            problems.append(f"answer {answer.position}: {error.message}")
    return problems


def _wrong(sample: Sample, answer: Answer) -> list[str]:
    if answer.path is None or answer.text is None:
        return ["it was not delivered"]
    root = parse_checked(answer.text.encode())
    values = {etree.QName(element).localname: (element.text or "") for element in root.iter(etree.Element)}
    problems = []
    if canonical(etree.QName(root).namespace or "") not in ENVELOPE_NAMESPACES:
        problems.append("it is no Envelope")
    if not values.get("Action", "").endswith(f"/{sample.service}/{sample.operation}"):
        problems.append(f"its Action is {values.get('Action')!a}")
    if parse_message_id(values.get("RequestMessageId", "")) != answer.request_message_id:
        problems.append("its RequestMessageId is not the request's MessageId")
    if parse_message_id(values.get("MessageId", "")) in (None, answer.request_message_id):
        problems.append("its MessageId is not a new one")
    if sample.fault is not None:
        if not answer.is_fault or sample.fault not in answer.text:
            problems.append(f"it is no fault with the code {sample.fault}")
    elif values.get("Field") != sample.key or not re.fullmatch(sample.pattern, values.get("Value", "")):
        problems.append(f"it names no {sample.key}: {values.get('Value')!a}")
    return problems


def _decoded(content: bytes) -> tuple[str, str]:
    codec = detect(content[:PREFIX_BYTES]).codec
    return content.decode(codec), codec
