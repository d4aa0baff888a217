"""Posting of the site's own documents: by a handler, in a process of its own that posts one document and ends.

The process has a connection of its own and posts in one transaction. Whatever the handler does to it (it hangs, ends
it, eats its memory) costs this posting alone: the database undoes what was not committed.
"""

import asyncio
import faulthandler
import inspect
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from asyncpg import Connection, UniqueViolationError
from lxml import etree

from gateway.config.models import Logging, Settings
from gateway.contracts.posting import DocumentToPost, PostedDocument
from gateway.contracts.service import ServiceContext
from gateway.db.data_folder import Use
from gateway.db.open import Schema, Store, open_store
from gateway.db.sql import Queries
from gateway.db.unit import set_idle_timeout
from gateway.kernel.errors import GatewayError, OperationRejected, TaskFailed
from gateway.kernel.faultpoints import reach
from gateway.kernel.text import clean
from gateway.messaging.services.python import load_handler
from gateway.messaging.services.usercode import RevocableConnection
from gateway.messaging.statements import entities_sql
from gateway.queues.adding import UnitQueue
from gateway.queues.posting.offers import send_posted
from gateway.queues.posting.posting import (
    DocumentName,
    HeldDocument,
    PostedAs,
    Poster,
    PostingRefused,
    Work,
    local_name,
)
from gateway.queues.rules.documents import OwnKind
from gateway.workers.launcher import Launcher, ending, launched
from gateway.workers.limits import limit_memory
from gateway.workers.link import packed, read_message
from gateway.xml.parse import parse_checked

POSTING: Final = "posting"
"""The role of these processes."""
_MOST_BYTES: Final = 1_000_000_000
_LAST_WORDS_SECONDS: Final = 1.0
_LONGEST_TEXT: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the process is told. It travels over the link alone: there are secrets in it."""

    store: str
    settings: Settings
    name: DocumentName
    user: str
    now: datetime
    work: Work | None


async def post_own(
    store: Store, settings: Settings, launcher: Launcher, name: DocumentName, *, user: str, now: datetime,
    work: Work | None,
) -> Sequence[PostedAs]:  # fmt: skip
    """Let a process post a document by its handler; returns what was made.

    Raises: as `Poster.post`; TaskFailed when the handler fails, takes too long, or ends its process; NotLaunched.
    """
    assert settings.posting is not None
    seconds = settings.posting.timeout_seconds
    order = _Order(store=store.url, settings=settings, name=name, user=user, now=now, work=work)
    async with launched(launcher, POSTING) as (child, link):
        link.tell("post", body=pickle.dumps(order))
        try:
            async with asyncio.timeout(seconds):
                message = await link.receive()
        except TimeoutError:
            raise TaskFailed(f"{name.title} was not posted within {seconds:g} seconds.", code="task.timeout") from None
        if message is None:
            status = await child.end(seconds=_LAST_WORDS_SECONDS)
            raise TaskFailed(f"The process that posted {name.title} {ending(status)}.", code="posting.process")
    result = pickle.loads(message.body)  # noqa: S301  # of a process of ours
    if isinstance(result, GatewayError):
        raise result
    made: Sequence[PostedAs] = result
    return made


def be_poster(connection: socket.socket, _: Sequence[int], *, set_up: Callable[[Logging], None]) -> None:
    """Be the process that posts one document; *set_up* is for its log."""
    limit_memory(_MOST_BYTES)
    faulthandler.enable()
    os.dup2(2, 1)  # what the handler prints stands beside the log; standard output belongs to the command that runs
    message = read_message(connection.makefile("rb"))
    if message is None:
        return
    order: _Order = pickle.loads(message.body)  # noqa: S301  # of the gateway itself, over a socket nobody else has
    set_up(order.settings.logging)
    try:
        result: object = asyncio.run(_post(order))
    except GatewayError as error:
        result = error
    except BaseException as error:  # of the handler: it may raise SystemExit as well
        traceback.print_exc()
        text = f"The handler of {order.name.title} failed: {type(error).__name__}: {error}"
        result = TaskFailed(clean(text, _LONGEST_TEXT), code="posting.handler")
    connection.sendall(packed("done", body=pickle.dumps(result)))


async def _post(order: _Order) -> Sequence[PostedAs]:
    settings, name = order.settings, order.name
    assert isinstance(name.kind, OwnKind) and settings.posting is not None
    handler: Callable[..., Any] = load_handler(name.kind.handler)
    async with open_store(order.store, settings.data, pool_size=1, use=Use.VISIT, schema=Schema.IGNORE) as store:
        poster = Poster(store.queries, settings.posting)
        async with store.transaction(long=True) as connection:
            await set_idle_timeout(connection, settings.posting.timeout_seconds)
            held = await poster.lock(connection, name, work=order.work)
            document = DocumentToPost(
                kind=name.kind.name, number=name.number, company=name.company, partition=name.partition,
                user=order.user, entity=parse_checked(held.content),
            )  # fmt: skip
            made = await _keep(connection, poster, held, await _ask(handler, document, store, connection, order), order)
            await poster.end(connection, held, posted_as=made[-1].number)
            await send_posted(connection, store.queries, settings, name, made, order.user)
            reach("posting.before_commit")
    reach("posting.after_commit")
    return made


async def _ask(
    handler: Callable[..., Any], document: DocumentToPost, store: Store, connection: Connection, order: _Order
) -> Sequence[PostedDocument]:
    """Call the handler, which may say no. Raises: PostingRefused."""
    context = ServiceContext(
        connection=RevocableConnection(connection), numbers=_Numbers(connection, store.queries),
        job_queue=UnitQueue(connection, store.queries), now=order.now, log=structlog.get_logger(),
    )  # fmt: skip
    try:
        made = handler(document, context)
        if inspect.isawaitable(made):
            made = await made
    except OperationRejected as error:
        raise PostingRefused(order.name.title, [error.message]) from error
    if not isinstance(made, Sequence) or not made or not all(isinstance(one, PostedDocument) for one in made):
        what = "nothing" if isinstance(made, Sequence) and not made else type(made).__name__
        raise TaskFailed(
            f"The handler of {order.name.title} returned {what}, not a list of PostedDocument.", code="posting.handler"
        )
    return made


async def _keep(
    connection: Connection, poster: Poster, held: HeldDocument, made: Sequence[PostedDocument], order: _Order
) -> Sequence[PostedAs]:
    kept = []
    for one in made:
        as_made = PostedAs(document=one.document, title=local_name(one.document), number=one.number, total=one.total)
        content = etree.tostring(one.entity, encoding="utf-8")
        try:
            await poster.keep(
                connection, held, as_made, content, user=order.user, at=order.now, currency=one.currency
            )  # fmt: skip
        except UniqueViolationError:
            raise PostingRefused(
                order.name.title, [f"Its handler makes {as_made.title} {one.number} a second time."]
            ) from None
        kept.append(as_made)
    return kept


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Running numbers in the transaction of a posting (`gateway.contracts.service.NumberSequences`)."""

    connection: Connection
    sql: Queries

    async def take(
        self, name: str, count: int = 1, *, first: int = 1, step: int = 1, continuous: bool = True
    ) -> Sequence[int]:
        """Return the next *count* numbers; they are never drawn ahead, so there are no gaps."""
        start = int(await entities_sql.take_numbers(self.connection, name, count, first, step))
        return [start + index * step for index in range(count)]
