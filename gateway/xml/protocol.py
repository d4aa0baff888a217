"""What the pool and its readers say to one another: the messages between them, and records as JSON.

A reader reads bytes of strangers, so nothing it says can make the parent run or build anything but records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from enum import StrEnum
from operator import attrgetter
from typing import Any

from gateway.kernel.errors import FileRefused
from gateway.kernel.problem import Problem
from gateway.messaging.rules.envelope import FileEnd, FileHead, Header, ReadEnvelope, Root

READER = "reader"
"""The role of readers in the eyes of their launcher."""

_HEAD, _HEADER, _PROBLEM = ([field.name for field in fields(kind)] for kind in (FileHead, Header, Problem))
_head_values, _header_values, _problem_values = (attrgetter(*names) for names in (_HEAD, _HEADER, _PROBLEM))
"""The records travel as the values of their fields, in order."""


class MessageKind(StrEnum):
    """What a message says."""

    READY = "ready"  # the first of a reader: what its cage lacks on this system
    READ = "read"  # parent: read the file whose descriptor comes along, by these rules
    HEAD = "head"
    ENVELOPES = "envelopes"  # rows, with their contents as the body
    END = "end"  # the last of a good file, with the memory that its reader holds
    REFUSED = "refused"  # the last of a refused file, with the same
    CRASHED = "crashed"  # the last of a reader: a traceback


def head_fields(head: FileHead) -> Sequence[object]:
    """Return a head as JSON."""
    values: Sequence[object] = _head_values(head)
    return values


def head_from(values: Sequence[object]) -> FileHead:
    """Read back a head."""
    named: dict[str, Any] = dict(zip(_HEAD, values, strict=True))
    return FileHead(**{**named, "root": Root(named["root"])})


def envelope_fields(envelope: ReadEnvelope) -> object:
    """Return an envelope as JSON, with the length of its content in place of the content."""
    return [
        envelope.position,
        envelope.namespace,
        _header_values(envelope.header),
        envelope.parts,
        len(envelope.content),
        [_problem_values(problem) for problem in envelope.header_problems],
        [_problem_values(problem) for problem in envelope.body_problems],
        envelope.schema,
    ]


def envelopes_from(rows: Sequence[Sequence[Any]], body: bytes) -> Iterator[ReadEnvelope]:
    """Read back the envelopes of one message."""
    start = 0
    for position, namespace, header, parts, length, header_problems, body_problems, schema in rows:
        yield ReadEnvelope(
            position=position,
            namespace=namespace,
            header=_header(*header),
            parts=tuple(parts),
            content=body[start : start + length],
            header_problems=_problems(header_problems) if header_problems else (),
            body_problems=_problems(body_problems) if body_problems else (),
            schema=schema,
        )
        start += length


def end_fields(end: FileEnd) -> list[object]:
    """Return an end as JSON."""
    return [end.envelopes, end.size, end.sha256.hex()]


def end_from(values: Sequence[object]) -> FileEnd:
    """Read back an end."""
    envelopes, size, sha256 = values
    assert isinstance(envelopes, int) and isinstance(size, int) and isinstance(sha256, str)
    return FileEnd(envelopes=envelopes, size=size, sha256=bytes.fromhex(sha256))


def refused_fields(error: FileRefused) -> list[object]:
    """Return a refusal as JSON."""
    return [error.message, error.code, error.line, error.column, dict(error.context)]


def refused_from(values: Sequence[object]) -> FileRefused:
    """Read back a refusal."""
    message, code, line, column, context = values
    assert isinstance(message, str) and isinstance(code, str) and isinstance(context, dict)
    assert isinstance(line, int | None) and isinstance(column, int | None)
    return FileRefused(message, code=code, line=line, column=column, **context)


def _header(
    message_id: str | None,
    logon_as_user: str | None,
    company: str | None,
    action: str | None,
    conversation_id: str | None,
    request_message_id: str | None,
    partition_key: str | None,
) -> Header:
    # written out, because it is done for each message: by the names of the fields it takes twice as long
    return Header(
        message_id=message_id,
        logon_as_user=logon_as_user,
        company=company,
        action=action,
        conversation_id=conversation_id,
        request_message_id=request_message_id,
        partition_key=partition_key,
    )


def _problems(rows: Sequence[Sequence[Any]]) -> tuple[Problem, ...]:
    return tuple(Problem(**dict(zip(_PROBLEM, row, strict=True))) for row in rows)
