"""How one message is shown, in the queue and in the history."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from gateway.cli.commands import Answer
from gateway.cli.options import FileOption, MessageArgument, PortOption, SinceOption, UntilOption
from gateway.cli.render import Document, Fields, Part, Rows, dim, operation_of, print_document, record
from gateway.messaging.rules.states import Direction
from gateway.operations import messages as operations
from gateway.operations.messages import Asked
from gateway.operations.principal import OperatorSession
from gateway.operations.reads.messages import MessageReport, MessageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOptions(Asked):
    """The options by which messages are chosen."""

    port: PortOption = None
    direction: Annotated[
        Direction | None, typer.Option("--direction", "-d", help="Only requests (in) or answers (out).")
    ] = None
    code: Annotated[
        str | None, typer.Option("--code", help="Only messages that failed with this code; * for any text.")
    ] = None
    file: FileOption = None
    user: Annotated[str | None, typer.Option("--user", help="Only messages that this account submitted.")] = None
    since: SinceOption = None
    until: UntilOption = None


XmlOption = Annotated[bool, typer.Option("--xml", help="Print the document alone, as it is.")]
_DETAILS: Final = ("line", "column", "path", "text", "found", "expected")
"""What is told of each thing wrong in a document."""


async def show_message(session: OperatorSession, message: MessageArgument, *, queued: bool, xml: bool) -> Answer | None:
    """Return everything about one message, or print its document alone."""
    report = await operations.message(session, message, queued=queued)
    document = operations.document_text(report.document)
    if xml:
        print_document(document or "", whole=True)
        return None
    return Answer(record(report, document=document), *_parts(report, document))


def wrong_in_document(details: Iterable[Mapping[str, object]]) -> list[Part]:
    """Return a table of what is wrong in a document; nothing when there are no details."""
    rows = [[detail.get(name) for name in _DETAILS] for detail in details]
    return [Rows(_DETAILS, rows, title="\nWhat is wrong in the document")] if rows else []


def _parts(report: MessageReport, document: str | None) -> Iterator[Part]:
    m = report.message
    yield Fields(
        [
            ("message id", m.message_id), ("as sent", m.message_id_sent), ("port", m.port), ("direction", m.direction),
            ("status", m.status), ("reason", m.reason), ("error", m.error), ("attempts", m.attempts),
            ("ended the process", f"{m.crashes} times" if m.crashes else None),
            ("set status", None if m.set_key is None else m.set_status),
            ("tried again", m.not_before), ("since", m.since), ("lane", m.lane), ("outcome", m.outcome),
            ("action", m.action), ("operation", operation_of(m.service, m.operation)), ("company", m.company),
            ("partition", m.partition_key), ("conversation", m.conversation_id), ("logon as user", m.logon_as_user),
            ("submitter", m.submitter), ("file", m.file), ("position", m.position),
            ("size", None if _is_send_request(m) else f"{m.size_bytes} bytes"),
            ("entity keys", tuple(m.entity_keys or ())), ("received" if m.direction == "in" else "made", m.created_at),
            ("finished", m.finished_at),
        ],
        title=f"{_kind(m)} {m.key}",
    )  # fmt: skip
    if report.message_set is not None:
        s = report.message_set
        yield Fields(
            [("batch id", s.batch_id), ("conversation", s.conversation_id), ("policy", s.policy), ("status", s.status),
             ("processed", f"{s.processed} of {s.members}"), ("failed", s.failed), ("most failures", s.max_failed),
             ("deleted", s.deleted)],
            title=f"\nMessage set {s.key}",
        )  # fmt: skip
    if m.problems:
        rows = [(p.get("code"), p.get("text"), p.get("line"), p.get("column"), p.get("path")) for p in m.problems]
        yield Rows(("code", "text", "line", "column", "path"), rows, title="\nFound while reading")
    if report.correlated:
        other = "Answers" if m.direction == "in" else "Answers to"
        found = [
            (c.key, c.message_id, "fault" if c.is_fault else "response" if c.direction == "out" else "request",
             c.outcome or c.status, c.file_name)
            for c in report.correlated
        ]  # fmt: skip
        yield Rows(("number", "message id", "kind", "state", "file"), found, title=f"\n{other}")
    if report.exceptions:
        entries = [(e.id, e.at, e.severity, e.code, e.text, e.line, e.path) for e in report.exceptions]
        yield Rows(("number", "at", "severity", "code", "text", "line", "path"), entries, title="\nExceptions")
        yield from wrong_in_document(detail for e in report.exceptions for detail in e.details)
    if report.versions:
        versions = [(v.version, v.step, v.size_bytes) for v in report.versions]
        yield Rows(("version", "step", "bytes"), versions, title="\nDocument")
    yield Document(document) if document else dim(_why_no_document(m))


def _is_send_request(m: MessageRow) -> bool:
    """Tell whether it is no message yet: its document is still to be read."""
    return m.direction == "out" and m.namespace == ""


def _kind(m: MessageRow) -> str:
    if _is_send_request(m):
        return "Send request"
    if m.direction == "in":
        return "Request"
    return "Fault" if m.is_fault else "Sent document" if m.request_key is None else "Response"


def _why_no_document(m: MessageRow) -> str:
    if not _is_send_request(m) or m.outcome is not None:
        return "No document is kept."
    if m.status != "error":
        return "There is no document yet: it is read when the request is processed."
    return (
        "There is no document: it could not be read, so nothing was sent. The request waits here; "
        f"`gateway queue release {m.key}` reads it anew."
    )
