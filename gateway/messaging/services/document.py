"""The document service: keeps documents of any schema by a key field, without code.

Source: AIF reference, sections 8 and 10.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from asyncpg import UniqueViolationError
from lxml import etree

from gateway.contracts.service import EntityKey, Reply, Request, ServiceContext
from gateway.kernel.errors import OperationRejected, ServiceBroken
from gateway.kernel.namespaces import ENTITY_KEY_LIST
from gateway.messaging.services.document_kind import DocumentKind, Numbering
from gateway.messaging.services.entities import NewEntity, insert_entities, read_entities
from gateway.messaging.services.entity_document import Writer, count_entities, root_entities
from gateway.xml.keys import read_keys
from gateway.xml.parts import Cut, Cutter, parts_of, standalone

_FREE_BYTES = 100_000
_MOST_GROWTH = 20
"""How many times as large as the document its entities may be, each with its own namespaces; in fact two or three."""
_MOST_GROWN_BYTES = 50_000_000
"""By how much all of them may be larger than a large document: they are in memory at once."""


class Create:
    """Keep every root entity of the document under a new key; answer with the keys.

    Rule: without a number sequence the partner must send the key. With one it must not, unless the sequence accepts
    sent keys; then one that the sequence itself can make is refused, because some later number would be it.
    """

    undoable = True
    idempotent = True
    timeout_seconds = 0.0
    takes_content: Literal[True] = True

    def __init__(self, kind: DocumentKind, longest: Callable[[], int | None]) -> None:
        self._kind = kind
        self._longest = longest  # how long a key may be; looks into the schema, for a thread
        self._cutter = Cutter(kind.name, kind.entity, kind.key)
        self._fits = 0  # characters that are known to be allowed
        self.expects: tuple[str, ...] | None = (kind.document,)

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        """Create the documents of one request.

        Raises: OperationRejected when a key is missing, not allowed, or exists already; ServiceBroken when the number
        sequence has outgrown the key.
        """
        return (await self.call_many([request], context))[0]

    async def call_many(self, requests: Sequence[Request], context: ServiceContext) -> Sequence[Reply]:
        """Create the documents of many requests with one statement.

        Raises: as for one; then nothing of the set is kept.
        """
        found = await asyncio.to_thread(self._extract, requests)
        keys = iter(await self._new_keys(sum(not cut.key for _, cuts in found for cut in cuts), context))
        rows: list[NewEntity] = []
        replies: list[Reply] = []
        for request, cuts in found:
            named: list[EntityKey] = []
            for cut in cuts:
                key = cut.key or next(keys)
                rows.append(
                    NewEntity(
                        key=key,
                        partition=request.partition,
                        company=request.company,
                        request=request.key,
                        content=cut.content,
                        size=cut.entities,
                    )
                )
                named.append(((self._kind.key, key),))
            replies.append(Reply(entity_keys=named, keys_only=True))
        try:
            await insert_entities(context.connection, self._kind.document, rows)
        except UniqueViolationError as error:
            keys_sent = ", ".join(row.key for row in rows[:5])
            raise OperationRejected(
                f"A {self._kind.entity} with the {self._kind.key} of this request exists already ({keys_sent}).",
                code="document.exists",
            ) from error
        return replies

    async def _new_keys(self, count: int, context: ServiceContext) -> list[str]:
        numbering = self._kind.numbering
        if numbering is None or not count:
            return []
        numbers = await context.numbers.take(
            numbering.sequence, count, first=numbering.first, step=numbering.step, continuous=numbering.continuous
        )
        keys = [numbering.format.format(number=number) for number in numbers]
        if len(keys[-1]) > self._fits:  # the schema is asked when keys have grown, which is rare
            longest = await asyncio.to_thread(self._longest)
            if longest is not None and len(keys[-1]) > longest:
                raise ServiceBroken(
                    f"The number sequence {numbering.sequence} has come to {keys[-1]}, {len(keys[-1])} characters; "
                    f"{self._kind.key} takes {longest} at most. Give number_sequence.format fewer characters, or the "
                    "service another sequence, then release the message.",
                    code="operation.number-too-long",
                )
            self._fits = len(keys[-1])
        return keys

    def _extract(self, requests: Sequence[Request]) -> list[tuple[Request, list[Cut]]]:
        """Return the root entities of all requests; takes longer than the event loop may stand still."""
        return [(request, list(self._entities(request.content))) for request in requests]

    def _entities(self, content: bytes) -> Iterator[Cut]:
        """Yield the root entities of an envelope; the key is empty where the sequence makes it."""
        kind, entities, size = self._kind, 0, 0
        limit = min(_MOST_GROWTH * len(content), len(content) + _MOST_GROWN_BYTES)
        for cut in self._cutter.cut(content) or _parsed(content, kind):
            entities += 1
            if cut.key and kind.numbering is not None:
                _refuse_sent(kind, kind.numbering, cut.key)
            if kind.numbering is None and not cut.key:
                raise OperationRejected(f"The {kind.entity} has no {kind.key}; it must be sent.", code="key.missing")
            size += len(cut.content)
            if size > _FREE_BYTES and size > limit:
                raise OperationRejected(
                    f"The namespaces of {kind.name} are too long: written out for each {kind.entity}, they make "
                    f"more than {limit} bytes of it. Use shorter namespaces, or send fewer in one message.",
                    code="document.namespaces",
                )
            yield cut
        if not entities:
            raise OperationRejected(f"The document {kind.name} holds no {kind.entity}.", code="document.empty")


class Read:
    """Return the documents with the keys of the request, in the order asked for."""

    undoable = True
    idempotent = False
    timeout_seconds = 0.0
    expects: tuple[str, ...] | None = (f"{{{ENTITY_KEY_LIST}}}EntityKeyList",)

    def __init__(self, kind: DocumentKind, writer: Writer) -> None:
        self._kind = kind
        self._writer = writer

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        """Read the documents of one request.

        Raises: OperationRejected naming the first key that is of another field or does not exist; as `Writer.write`.
        """
        kind = self._kind
        keys = [self._key(key) for key in read_keys(request.parts[0])]
        kept = await read_entities(context.connection, kind.document, request.partition, request.company, keys)
        for key in keys:
            if key not in kept:
                raise OperationRejected(
                    f"There is no {kind.entity} with {kind.key} '{key}' in company '{request.company}'.",
                    code="document.not-found",
                )
        document = await asyncio.to_thread(self._writer.write, [kept[key] for key in keys], request.company)
        return Reply(parts=[document], entity_keys=[((kind.key, key),) for key in keys])

    def _key(self, key: EntityKey) -> str:
        if len(key) != 1 or key[0][0] != self._kind.key:
            fields = ", ".join(field for field, _ in key)
            raise OperationRejected(
                f"A {self._kind.entity} is named by the field {self._kind.key}, not by {fields or 'nothing'}.",
                code="key.unknown",
            )
        return key[0][1]


def _parsed(content: bytes, kind: DocumentKind) -> Iterator[Cut]:
    """Yield what `Cutter.cut` cannot see."""
    (document,) = parts_of(content)
    around = document.nsmap
    for element in root_entities(document, kind.entity):
        yield Cut(standalone(element, around), count_entities(element), _field(element, kind.key))


def _refuse_sent(kind: DocumentKind, numbering: Numbering, key: str) -> None:
    if not numbering.accept_sent:
        text = f"The {kind.key} '{key}' must not be sent: it is given by the number sequence."
    elif numbering.can_make(key):
        text = (
            f"The {kind.key} '{key}' has the form of the number sequence, which may give it to another {kind.entity}. "
            "Send a key of another form, or none."
        )
    else:
        return
    raise OperationRejected(text, code="key.not-allowed")


def _field(entity: etree._Element, name: str) -> str:
    return (entity.findtext(f"{{*}}{name}") or "").strip()
