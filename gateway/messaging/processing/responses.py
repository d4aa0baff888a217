"""Build the answers of a chunk: responses and faults, as the bytes of their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4

from gateway.contracts.service import Reply
from gateway.kernel.ids import MessageKey, format_message_id
from gateway.kernel.namespaces import MESSAGE_2011
from gateway.messaging.flow.port import ServedInbound
from gateway.messaging.processing.decide import Failed
from gateway.messaging.processing.performed import ChunkResult
from gateway.messaging.rules.message import NewResponse, Work
from gateway.xml.answer import AnswerHeader, fault, key_answer, response


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer that is decided but not written yet."""

    work: Work
    content: Reply | Failed


def drafts_of(performed: ChunkResult, port: ServedInbound) -> list[Draft]:
    """Return what a chunk answers: a response per success, a fault per failure if the port answers errors.

    Rule: a request has one fault for one cause: what fails again as it failed before is not answered again. Source:
    rulings, "Answers to errors"; decision 0014. Under Rollback the failing message alone is answered.
    """
    if port.settings.respond is None:
        return []
    drafts = [Draft(item.work, reply) for item, reply in performed.done]
    if port.answers_errors:
        drafts += [
            Draft(failed.failure.work, failed)
            for failed in performed.failed
            if cause_of(failed) not in failed.failure.work.faults
        ]
    drafts.sort(key=lambda draft: draft.work.key)
    return drafts


def cause_of(failed: Failed) -> bytes:
    """Return what tells one cause of a fault from another: all that its sender is told of it."""
    return sha256(f"{failed.fault_code}\n{failed.fault_text}".encode(errors="surrogatepass")).digest()


def build_responses(drafts: Sequence[Draft], keys: Sequence[MessageKey], port: ServedInbound) -> list[NewResponse]:
    """Write the answers; runs in a thread."""
    return [_build(draft, key, port) for draft, key in zip(drafts, keys, strict=True)]


def _build(draft: Draft, key: MessageKey, port: ServedInbound) -> NewResponse:
    respond = port.settings.respond
    assert respond is not None
    work, message_id, is_fault = draft.work, uuid4(), isinstance(draft.content, Failed)
    header = AnswerHeader(
        work.namespace or MESSAGE_2011,
        message_id,
        work.action or "",
        work.message_id_sent or format_message_id(work.message_id),
        conversation_id=work.conversation_id,
        company=work.company,
        partition_key=work.partition_key,
    )
    encoding = respond.encoding.value
    match draft.content:
        case Failed() as failed:
            details = failed.failure.problems if respond.details else ()
            content = fault(header, failed.fault_code, failed.fault_text, details=details, encoding=encoding)
        case Reply(keys_only=True) as reply:
            content = key_answer(header, reply.entity_keys, encoding=encoding)
        case Reply() as reply:
            content = response(header, reply.parts, encoding=encoding)
    return NewResponse(
        key=key, request=work, port=port.name, message_id=message_id,
        file_name=port.name_response(work, message_id, is_fault), content=content, is_fault=is_fault,
    )  # fmt: skip
