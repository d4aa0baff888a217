"""How one message is shown, in the queue and in the history."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.common import open_site, perform
from gateway.cli.render import console, operation_of, plain, print_document, print_fields, print_json, table
from gateway.operations import messages as operations
from gateway.operations.reads.messages import MessageReport, MessageRow

MessageArgument = Annotated[
    str, typer.Argument(metavar="MESSAGE", help="A number, or a MessageId: any case, with or without braces.")
]
XmlOption = Annotated[bool, typer.Option("--xml", help="Print the document alone, as it is.")]
DETAILS = ("line", "column", "path", "text", "found", "expected")
"""What is told of each thing wrong in a document."""


def show_message(message: str, *, queued: bool, xml: bool, config: Path, as_json: bool) -> None:
    """Print everything about one message."""
    report = perform(_read(config, message, queued))
    document = operations.document_text(report.document)
    if xml:
        print_document(document or "", whole=True)
    elif as_json:
        record = plain(report)
        assert isinstance(record, dict)
        print_json({**record, "document": document})
    else:
        _print(report, document)


async def _read(config: Path, message: str, queued: bool) -> MessageReport:
    async with open_site(config) as site:
        return await operations.message(site.store, message, queued=queued)


def _print(report: MessageReport, document: str | None) -> None:
    out = console()
    m = report.message
    print_fields(
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
        print_fields(
            [("batch id", s.batch_id), ("conversation", s.conversation_id), ("policy", s.policy), ("status", s.status),
             ("processed", f"{s.processed} of {s.members}"), ("failed", s.failed), ("most failures", s.max_failed),
             ("deleted", s.deleted)],
            title=f"\nMessage set {s.key}",
        )  # fmt: skip
    if m.problems:
        rows = [(p.get("code"), p.get("text"), p.get("line"), p.get("column"), p.get("path")) for p in m.problems]
        out.print(table(("code", "text", "line", "column", "path"), rows, title="\nFound while reading"))
    if report.correlated:
        other = "Answers" if m.direction == "in" else "Answers to"
        rows = [
            (c.key, c.message_id, "fault" if c.is_fault else "response" if c.direction == "out" else "request",
             c.outcome or c.status, c.file_name)
            for c in report.correlated
        ]  # fmt: skip
        out.print(table(("number", "message id", "kind", "state", "file"), rows, title=f"\n{other}"))
    if report.exceptions:
        entries = [(e.id, e.at, e.severity, e.code, e.text, e.line, e.path) for e in report.exceptions]
        out.print(table(("number", "at", "severity", "code", "text", "line", "path"), entries, title="\nExceptions"))
        details = [[detail.get(name) for name in DETAILS] for e in report.exceptions for detail in e.details]
        if details:
            out.print(table(DETAILS, details, title="\nWhat is wrong in the document"))
    if report.versions:
        versions = [(v.version, v.step, v.size_bytes) for v in report.versions]
        out.print(table(("version", "step", "bytes"), versions, title="\nDocument"))
    if document:
        print_document(document)
    else:
        out.print(Text(_why_no_document(m), style="dim"))


def _is_send_request(m: MessageRow) -> bool:
    """Tell whether it is no message yet: its document is still to be read."""
    return m.direction == "out" and not m.namespace


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
