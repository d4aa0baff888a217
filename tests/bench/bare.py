"""The bare loop: the same work with nothing of a gateway around it.

One process reads the same files with the same parser and the same validation, copies the same rows into the same
database, and writes the same response files with the same flushes. No queue, no leases, no lanes, no recovery.
"""

import os
from pathlib import Path
from uuid import uuid4

import asyncpg
from lxml import etree

import schemas
from adapters.file import linux
from gateway.kernel.ids import parse_message_id
from gateway.messaging.rules.action import split_action
from gateway.messaging.rules.envelope import FileEnd, FileHead, ReadEnvelope
from gateway.messaging.services.entity_document import count_entities
from gateway.xml.answer import AnswerHeader, key_answer
from gateway.xml.catalog import Catalog
from gateway.xml.limits import ReadRules
from gateway.xml.parse import document_parser, parse_checked
from gateway.xml.reading import read_envelopes
from gateway.xml.verdict import Checker

CHUNK = 500


async def bare_loop(url: str, files: list[Path], outbound: Path) -> int:
    """Answer every request of *files*; returns the number of responses."""
    staging = outbound.with_name("bare-staging")
    staging.mkdir(parents=True, exist_ok=True)
    outbound.mkdir(parents=True, exist_ok=True)
    checker = Checker(Catalog([schemas.FOLDER]))
    connection = await asyncpg.connect(url)
    answered = 0
    try:
        for path in files:
            chunk: list[ReadEnvelope] = []
            with path.open("rb") as file:
                for piece in read_envelopes(file.fileno(), ReadRules(), checker):
                    match piece:
                        case FileHead() | FileEnd():
                            continue
                    chunk.append(piece)
                    if len(chunk) == CHUNK:
                        answered += await _answer(connection, chunk, staging, outbound)
                        chunk = []
            if chunk:
                answered += await _answer(connection, chunk, staging, outbound)
    finally:
        await connection.close()
    return answered


async def _answer(connection: asyncpg.Connection, chunk: list[ReadEnvelope], staging: Path, outbound: Path) -> int:
    messages, documents, entities, answers = [], [], [], []
    claim, parser = uuid4(), document_parser()
    numbers = await connection.fetchval(
        "SELECT array_agg(nextval('message_key')) FROM generate_series(1, $1::int)", 2 * len(chunk)
    )
    records = await connection.fetchval(
        "SELECT array_agg(nextval('rec_id')) FROM generate_series(1, $1::int)", 2 * len(chunk)
    )
    for index, read in enumerate(chunk):
        key, answer_key = numbers[2 * index], numbers[2 * index + 1]
        header = read.header
        assert not read.header_problems and not read.body_problems and header.message_id and header.action
        action = split_action(header.action)
        guid = parse_message_id(header.message_id)
        assert action is not None and guid is not None
        order = parse_checked(read.content, parser).find(".//{*}SalesTable")
        assert order is not None
        count_entities(order)
        sales_id = f"SO-{records[2 * index]}"
        entities.append((
            records[2 * index], "SalesOrder", "initial", "DAT", sales_id,
            etree.tostring(order, encoding="utf-8", with_tail=False), key,
        ))  # fmt: skip
        answer_id = uuid4()
        content = key_answer(
            AnswerHeader(read.namespace, answer_id, header.action, header.message_id), [[("SalesId", sales_id)]]
        )
        name = f"bare.{read.position:06}.{answer_id}.xml"
        messages.append((key, "in", "bare", claim, read.position, guid, read.namespace, header.action, action.service,
                         action.operation, list(read.parts), len(read.content), None, None))  # fmt: skip
        messages.append((answer_key, "out", "bare", None, read.position, answer_id, read.namespace, header.action,
                         action.service, action.operation, [], len(content), key, name))  # fmt: skip
        documents += [(key, 0, "received", read.content), (answer_key, 0, "response", content)]
        answers.append((name, content))
    async with connection.transaction():
        await connection.copy_records_to_table(
            "message", records=messages,
            columns=("id", "direction", "port", "claim_id", "position", "message_id", "namespace", "action", "service",
                     "operation", "parts", "size_bytes", "request_id", "file_name"),
        )  # fmt: skip
        await connection.copy_records_to_table(
            "document", records=documents, columns=("message_id", "version", "step", "content")
        )
        await connection.copy_records_to_table(
            "entity", records=entities,
            columns=("rec_id", "document", "partition_key", "company", "key", "content", "request_id"),
        )  # fmt: skip
    _write(answers, staging, outbound)
    return len(answers)


def _sync_file_system(folder: Path) -> None:
    """Flush what was written as one group, as the file adapter does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        linux.sync_file_system(descriptor)
    finally:
        os.close(descriptor)


def _write(answers: list[tuple[str, bytes]], staging: Path, outbound: Path) -> None:
    """Stage, flush, publish: what a careful writer of files cannot leave out."""
    for name, content in answers:
        descriptor = os.open(staging / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        os.write(descriptor, content)
        os.close(descriptor)
    _sync_file_system(staging)
    for name, _ in answers:
        (staging / name).rename(outbound / name)
    for folder in (staging, outbound):
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
