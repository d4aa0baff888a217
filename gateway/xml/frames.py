"""The language between the pool and its workers: length-prefixed frames, JSON beside raw bodies, no pickle.

    kind (1 byte)  JSON length (4)  body length (4)  JSON  body

A worker reads bytes of strangers, so nothing it says can make the parent run or build anything but records.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import cast

from gateway.kernel.errors import FileRefused
from gateway.kernel.problem import Problem
from gateway.messaging.rules.envelope import FileEnd, FileHead, Header, ReadEnvelope, Root

PREFIX = struct.Struct("!BII")
MAX_FRAME_BYTES = 512_000_000
READER = "reader"
"""The role of workers in the eyes of their launcher."""


class Kind(IntEnum):
    """What a frame says."""

    READY = 1  # the first frame of a worker; JSON is what its cage lacks on this system
    READ = 2  # parent: read the file whose descriptor comes along; JSON is the rules
    HEAD = 3
    ENVELOPES = 4
    END = 5  # the last frame of a good file
    REFUSED = 6  # the last frame of a refused file
    CRASHED = 7  # the last frame of a worker: a traceback


def pack(kind: Kind, fields: object, body: bytes = b"") -> bytes:
    """Return one frame."""
    text = json.dumps(fields, separators=(",", ":")).encode()
    return PREFIX.pack(kind, len(text), len(body)) + text + body


def head_fields(head: FileHead) -> object:
    """Return a head as JSON."""
    return [head.root.value, head.namespace, head.encoding, head.batch_id, head.conversation_id]


def head_from(fields: Sequence[object]) -> FileHead:
    """Read back a head."""
    root, namespace, encoding, batch_id, conversation_id = cast(Sequence[str], fields)
    return FileHead(
        root=Root(root),
        namespace=namespace,
        encoding=encoding,
        batch_id=batch_id,
        conversation_id=conversation_id,
    )


def envelope_fields(envelope: ReadEnvelope) -> object:
    """Return an envelope as JSON, with the length of its content in place of the content."""
    header = envelope.header
    return [
        envelope.position,
        envelope.namespace,
        [
            header.message_id,
            header.logon_as_user,
            header.company,
            header.action,
            header.conversation_id,
            header.request_message_id,
            header.partition_key,
        ],
        envelope.parts,
        len(envelope.content),
        [_problem_fields(problem) for problem in envelope.header_problems],
        [_problem_fields(problem) for problem in envelope.body_problems],
        envelope.schema,
    ]


def envelopes_from(rows: Sequence[Sequence[object]], body: bytes) -> Iterator[ReadEnvelope]:
    """Read back the envelopes of one frame."""
    start = 0
    for position, namespace, header, parts, length, header_problems, body_problems, schema in rows:
        yield ReadEnvelope(
            position=position,  # type: ignore[arg-type]  # written by envelope_fields
            namespace=namespace,  # type: ignore[arg-type]
            header=_header(*header),  # type: ignore[misc]
            parts=tuple(parts),  # type: ignore[arg-type]
            content=body[start : start + length],  # type: ignore[operator]
            header_problems=_problems(header_problems) if header_problems else (),  # type: ignore[arg-type]
            body_problems=_problems(body_problems) if body_problems else (),  # type: ignore[arg-type]
            schema=schema,  # type: ignore[arg-type]
        )
        start += length  # type: ignore[operator]


def end_fields(end: FileEnd) -> list[object]:
    """Return an end as JSON."""
    return [end.envelopes, end.size, end.sha256.hex()]


def end_from(fields: Sequence[object]) -> FileEnd:
    """Read back an end."""
    envelopes, size, sha256 = fields
    assert isinstance(envelopes, int) and isinstance(size, int) and isinstance(sha256, str)
    return FileEnd(envelopes=envelopes, size=size, sha256=bytes.fromhex(sha256))


def refused_fields(error: FileRefused) -> list[object]:
    """Return a refusal as JSON."""
    return [error.message, error.code, error.line, error.column, dict(error.context)]


def refused_from(fields: Sequence[object]) -> FileRefused:
    """Read back a refusal."""
    message, code, line, column, context = fields
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
    return Header(
        message_id=message_id,
        logon_as_user=logon_as_user,
        company=company,
        action=action,
        conversation_id=conversation_id,
        request_message_id=request_message_id,
        partition_key=partition_key,
    )


def _problem_fields(problem: Problem) -> object:
    return [
        problem.code,
        problem.text,
        problem.line,
        problem.column,
        problem.path,
        problem.found,
        problem.expected,
    ]


def _problems(rows: Sequence[Sequence[object]]) -> tuple[Problem, ...]:
    names = ("code", "text", "line", "column", "path", "found", "expected")
    return tuple(Problem(**dict(zip(names, row, strict=True))) for row in rows)  # type: ignore[arg-type]
