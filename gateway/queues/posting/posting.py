"""Posts one document: checks, amounts, posted documents with numbers, all in the transaction of the caller.

Rule: numbers come last. From then on everybody who needs the series waits for the commit; a posting that fails has
used none, so there are no gaps. Locks are taken in one order by all: the document, the vendor's number, what it applies
to, stock by item, series by name. Documents may be large: what only computes does so in a thread.
Source: posting reference, sections 1 to 4.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, Self

from asyncpg import Connection, Record

from gateway.config.models_posting import CurrencySettings, Kept, Posting, PostingPeriod
from gateway.db.sql import Queries
from gateway.kernel.errors import GatewayError
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import EntryId, MessageKey, RunId, RunTaskId
from gateway.messaging.services.entities import NewEntity, insert_entities, read_entities
from gateway.messaging.statements import entities_sql
from gateway.queues.posting.form import (
    Progress,
    Stamp,
    blocked,
    qualified,
    quantities,
    read_document,
    read_item,
    replace_dates,
    write_claim,
    write_goods,
    write_progress,
)
from gateway.queues.rules.amounts import ZERO, Amounts, Currency, InvoiceRounding, Posted
from gateway.queues.rules.checks import (
    Applied,
    Blocked,
    Facts,
    Item,
    Window,
    amounts_of,
    findings,
    mentioned_items,
    signed,
)
from gateway.queues.rules.documents import (
    Document,
    Kind,
    LineType,
    Made,
    Move,
    OwnKind,
    Share,
    Side,
    Wanted,
    shares,
)

_RELEASED_FIRST: Final = "Its status is Open, and `posting.require_released` asks for Released."


class PostingRefused(GatewayError):
    """The document cannot be posted; nothing was. `findings` are sentences for a clerk, all of them."""

    code = "posting.refused"

    def __init__(self, title: str, findings: Sequence[str]) -> None:
        super().__init__(f"{title[:1].upper()}{title[1:]} cannot be posted. {' '.join(findings)}")
        self.title = title
        self.findings = tuple(findings)

    def __reduce__(self) -> tuple[type[Self], tuple[str, tuple[str, ...]]]:
        return type(self), (self.title, self.findings)


class DocumentUnknown(GatewayError):
    """There is no such document."""

    code = "posting.unknown"


class DocumentBusy(GatewayError):
    """The document waits for posting, or is posted already; what was asked for is not possible now."""

    code = "posting.not-now"


class PostedBefore(DocumentBusy):
    """What posts it has done so already, and comes again because its server was lost before that was noted."""

    code = "posting.done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The task that posts a document. It may come again after its posting was committed."""

    run: RunId
    task: RunTaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentName:
    """Which document is meant."""

    kind: Kind | OwnKind
    partition: str
    company: str
    number: str

    @property
    def title(self) -> str:
        """Name it as a clerk does: sales order 1001."""
        return f"{self.kind.title} {self.number}"

    @property
    def address(self) -> tuple[str, str, str, str]:
        """Return where it is kept: full name of its document, partition, company, key."""
        return document_of(self.kind), self.partition, self.company, self.number


def document_of(kind: Kind | OwnKind) -> str:
    """Return the full name of the documents of a kind."""
    return kind.document if isinstance(kind, OwnKind) else qualified(kind.name)


def local_name(document: str) -> str:
    """Return the name of a document without its namespace."""
    return document.rpartition("}")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDocument:
    """A document that nobody else can post until the transaction ends.

    `entry` is the one that it is scheduled in, when that posts it. `posted_for` is what will be noted as having posted
    it: an entry or a task.
    """

    name: DocumentName
    rec_id: int
    version: int
    request: MessageKey
    content: bytes
    entry: EntryId | None
    posted_for: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedAs:
    """A posted document that was made; that of a handler of the site by its full name.

    `total` is None where goods were moved, or the handler says none.
    """

    document: str
    title: str
    number: str
    total: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A document, and what a posting would find and come to; `row` as `list_documents` has them.

    Of one that a handler of the site posts nothing is known before that; `document` is None.
    """

    row: Record
    document: Document | None
    findings: Sequence[str]
    amounts: Amounts | None


@dataclass(frozen=True, slots=True)
class Poster:
    """Posts documents by one configuration."""

    sql: Queries
    posting: Posting

    async def post(
        self,
        connection: Connection,
        name: DocumentName,
        wanted: Wanted,
        *,
        user: str,
        now: datetime,
        work: Work | None = None,
    ) -> Sequence[PostedAs]:
        """Post what is outstanding of a document, or what its lines say; returns what was made of it.

        *work* is the task that posts it. When it is of the entry that the document is scheduled in, that must still
        be posting it at the end.
        Raises: DocumentUnknown; DocumentBusy; PostedBefore; PostingRefused with every finding; form.Unreadable. Then
        the caller undoes the transaction.
        """
        kind = name.kind
        assert isinstance(kind, Kind), "documents of the site are posted by its handlers"
        held = await self.lock(connection, name, work=work)
        if wanted.posting_date is not None or wanted.document_date is not None:
            held = replace(held, content=await asyncio.to_thread(replace_dates, held.content, wanted))
        wanted = self._with_goods(kind, wanted)
        document, progress = await self._read(connection, kind, held.rec_id, name.number, held.content)
        facts = await self._facts(connection, name, document, wanted, lock=True)
        if found := await asyncio.to_thread(self._findings, document, wanted, facts, user):
            raise PostingRefused(document.title, found)
        taken = shares(document, wanted)
        currency = facts.currencies[document.currency]
        amounts = await asyncio.to_thread(amounts_of, document, taken, facts, currency)
        after = _progress_after(progress, taken, amounts)
        finished = _is_finished(document, taken)
        await self._move_stock(connection, name, document, taken, facts)
        content = await asyncio.to_thread(write_progress, held.content, kind, after, finished=finished)
        await connection.execute(self.sql.change_document, held.rec_id, content)
        stamp = Stamp(kind=kind, source=name.number, user=user, at=now)
        reach("posting.before_numbers")
        made = await self._make(connection, held, document, taken, stamp, signed(document, amounts), facts)
        await self.end(connection, held, posted_as=made[-1].number if finished else None)
        await connection.execute(
            self.sql.put_posted_lines, held.rec_id, list(after), [p.moved for p in after.values()],
            [p.posted.quantity for p in after.values()], [p.posted.gross for p in after.values()],
            [p.posted.discount for p in after.values()], [p.posted.invoice_discount for p in after.values()],
        )  # fmt: skip
        return made

    async def end(self, connection: Connection, held: HeldDocument, *, posted_as: str | None) -> None:
        """Note that a document was posted; *posted_as* None: something of it is left to post.

        Raises: DocumentBusy when the entry that posts it was given up meanwhile.
        """
        if held.entry is None:
            await connection.execute(self.sql.delete_failed_entry, held.rec_id)
            await connection.execute(self.sql.put_document_posting, held.rec_id, posted_as)
            return
        done = await connection.execute(self.sql.end_queued_posting, held.rec_id, held.entry, posted_as)
        if done != "UPDATE 1":
            raise DocumentBusy(
                f"The posting of {held.name.title} was given up before it came to its end; nothing was posted."
            )
        await connection.execute(self.sql.leave_printing, held.entry)

    async def look(self, connection: Connection, name: DocumentName, wanted: Wanted, *, user: str) -> Seen:
        """Return a document with what keeps it from being posted now, and what it would come to.

        It changes nothing, and waits for nobody who posts.
        Raises: DocumentUnknown.
        """
        row = await connection.fetchrow(self.sql.look_at_document, *name.address)
        if row is None:
            raise _unknown(name)
        kind = name.kind
        if isinstance(kind, OwnKind):
            return Seen(row=row, document=None, findings=(), amounts=None)
        document, _ = await self._read(connection, kind, row["rec_id"], name.number, row["content"])
        if row["posted_as"] is not None:
            return Seen(row=row, document=document, findings=(), amounts=None)
        wanted = self._with_goods(kind, wanted)
        facts = await self._facts(connection, name, document, wanted, lock=False)
        found = await asyncio.to_thread(self._findings, document, wanted, facts, user)
        currency = facts.currencies.get(document.currency)
        amounts = None
        if currency is not None:
            taken = shares(document, wanted)
            amounts = signed(document, await asyncio.to_thread(amounts_of, document, taken, facts, currency))
        return Seen(row=row, document=document, findings=found, amounts=amounts)

    def _findings(self, document: Document, wanted: Wanted, facts: Facts, user: str) -> Sequence[str]:
        open_now = self.posting.require_released and not document.released
        return [*([_RELEASED_FIRST] if open_now else []), *findings(document, wanted, facts, user)]

    async def lock(self, connection: Connection, name: DocumentName, *, work: Work | None = None) -> HeldDocument:
        """Hold a document to the end of the transaction.

        Rule: it is looked at before it is waited for, because who holds it may hang; and again when it is held.
        Raises: DocumentUnknown; DocumentBusy when it is posted, or waits for posting by somebody else; PostedBefore.
        """
        by = None if work is None else await connection.fetchval(self.sql.entry_of_run, work.run)
        posted_for = None if work is None else f"task {work.task}" if by is None else f"entry {by}"
        known = await connection.fetchrow(self.sql.find_document_posting, *name.address, posted_for)
        _check_free(name, known, work)
        row = await connection.fetchrow(self.sql.lock_document, *name.address)
        if row is None:
            raise _unknown(name)
        state = await connection.fetchrow(self.sql.read_document_posting, row["rec_id"], posted_for)
        is_its = _check_free(name, state, work)
        return HeldDocument(
            name=name, rec_id=row["rec_id"], version=row["rec_version"], request=MessageKey(row["request_id"]),
            content=row["content"], entry=EntryId(state["entry_id"]) if is_its and state is not None else None,
            posted_for=posted_for,
        )  # fmt: skip

    async def _read(
        self, connection: Connection, kind: Kind, rec_id: int, number: str, content: bytes
    ) -> tuple[Document, dict[int, Progress]]:
        rows = await connection.fetch(self.sql.read_posted_lines, rec_id)
        progress = {
            line: Progress(moved, Posted(invoiced, gross, discount, invoice_discount))
            for line, moved, invoiced, gross, discount, invoice_discount in rows
        }
        return await asyncio.to_thread(read_document, content, kind, number, progress), progress

    async def _facts(
        self, connection: Connection, name: DocumentName, document: Document, wanted: Wanted, *, lock: bool
    ) -> Facts:
        vendor_invoice = await self._vendor_invoice(connection, name, document, lock=lock)
        items = await self._items(connection, name, document)
        stocked = [number for number, item in (items or {}).items() if item.stock_kept]
        stock: Mapping[tuple[str, str], Decimal] = {}
        applied = await self._applied(connection, name, document, lock=lock)
        if stocked and (wanted.move if document.kind.is_order else wanted.goods_too):
            sql = self.sql.lock_stock if lock else self.sql.read_stock
            rows = await connection.fetch(sql, name.partition, name.company, stocked)
            stock = {(row["item"], row["location"]): row["quantity"] for row in rows}
        return Facts(
            parties=await self._parties(connection, name, document),
            items=items,
            stock=stock,
            taxes=self.posting.taxes,
            currencies={code: _currency(settings) for code, settings in self.posting.currencies.items()},
            window=_window(self.posting.period),
            windows={user: _window(period) for user, period in self.posting.periods.items()},
            vendor_invoice=vendor_invoice,
            applied=applied,
        )

    def _with_goods(self, kind: Kind, wanted: Wanted) -> Wanted:
        """Return what is wanted with what the set-up adds."""
        setting = self.posting.receipt_on_credit_memo if kind.gives_back else self.posting.shipment_on_invoice
        return replace(wanted, goods_too=setting and not kind.is_order and kind.goods is not None)

    async def _parties(
        self, connection: Connection, name: DocumentName, document: Document
    ) -> Mapping[str, Blocked] | None:
        is_customer = document.kind.side is Side.CUSTOMER
        if (Kept.CUSTOMERS if is_customer else Kept.VENDORS) not in self.posting.keeps:
            return None
        kept = qualified("Customer" if is_customer else "Vendor")
        found = await read_entities(connection, kept, name.partition, name.company, [document.party])
        return {key: Blocked(blocked(entity.content)) for key, entity in found.items()}

    async def _items(self, connection: Connection, name: DocumentName, document: Document) -> Mapping[str, Item] | None:
        if Kept.ITEMS not in self.posting.keeps:
            return None
        wanted = sorted(mentioned_items(document))
        found = await read_entities(connection, qualified("Item"), name.partition, name.company, wanted)
        return {key: read_item(entity.content) for key, entity in found.items()}

    async def _vendor_invoice(
        self, connection: Connection, name: DocumentName, document: Document, *, lock: bool
    ) -> str | None:
        kind = document.kind
        if kind.side is not Side.VENDOR or not document.vendor_document:
            return None
        what = (name.partition, name.company, kind.claim.document, document.party, document.vendor_document)
        if lock:
            await connection.execute(self.sql.take_vendor_document, *what)
        found = await connection.fetchval(self.sql.posted_vendor_document, *what)
        return None if found is None else str(found)

    async def _applied(
        self, connection: Connection, name: DocumentName, document: Document, *, lock: bool
    ) -> Applied | None:
        undone = document.kind.undoes
        if undone is None or not document.applies_to:
            return None
        at = (name.partition, name.company)
        sql = self.sql.lock_applied if lock else self.sql.read_applied
        row = await connection.fetchrow(sql, *at, undone.document, document.applies_to)
        if row is None:
            return None
        sold: dict[str, Decimal] = {}
        for item, quantity in quantities(row["content"]):
            sold[item] = sold.get(item, ZERO) + quantity
        left, moved, credited = row["total"], dict(sold), dict(sold)
        for back in await connection.fetch(self.sql.read_given_back, *at, document.applies_to):
            left += back["total"] or ZERO
            of = credited if back["document"] == document.kind.claim.document else moved
            for item, quantity in quantities(back["content"]):
                of[item] = of.get(item, ZERO) - quantity
        return Applied(row["party"], left, moved, credited)

    async def _move_stock(
        self, connection: Connection, name: DocumentName, document: Document, taken: Sequence[Share], facts: Facts
    ) -> None:
        moved: dict[str, Decimal] = {}
        for share in taken:
            item = (facts.items or {}).get(share.line.no) if share.line.type is LineType.ITEM else None
            if item is not None and item.stock_kept and share.move:
                quantity = share.move * item.units[share.line.unit]
                sign = -1 if document.kind.move is Move.SHIP else 1
                moved[share.line.no] = moved.get(share.line.no, ZERO) + sign * quantity
        if moved:
            await connection.execute(
                self.sql.move_stock, name.partition, name.company, document.location, list(moved), list(moved.values())
            )

    async def _make(
        self, connection: Connection, held: HeldDocument, document: Document, taken: Sequence[Share], stamp: Stamp,
        amounts: Amounts, facts: Facts,
    ) -> Sequence[PostedAs]:  # fmt: skip
        """Make the posted documents; their numbers are taken in the order of their series."""
        kind = document.kind
        wanted: list[Made] = [kind.goods] if kind.goods is not None and any(share.move for share in taken) else []
        wanted += [kind.claim] if any(share.invoice for share in taken) else []
        numbers = {
            made.series: await self._number(connection, held.name, made.series)
            for made in sorted(wanted, key=lambda made: made.series)
        }
        found = []
        for made in wanted:
            number, is_claim = numbers[made.series], made is kind.claim
            content = await (
                asyncio.to_thread(write_claim, held.content, number, taken, stamp, amounts, facts.taxes)
                if is_claim
                else asyncio.to_thread(write_goods, held.content, number, taken, stamp)
            )
            one = PostedAs(
                document=made.document, title=made.title, number=number, total=amounts.total if is_claim else None
            )
            vendor_document = (document.vendor_document or None) if is_claim else None
            await self.keep(
                connection, held, one, content, user=stamp.user, at=stamp.at, party=document.party,
                currency=document.currency, vendor_document=vendor_document, applies_to=document.applies_to or None,
            )  # fmt: skip
            found.append(one)
        return found

    async def keep(
        self, connection: Connection, held: HeldDocument, made: PostedAs, content: bytes, *, user: str, at: datetime,
        currency: str, party: str = "", vendor_document: str | None = None, applies_to: str | None = None,
    ) -> None:  # fmt: skip
        """Keep a posted document that *user* has made at *at*.

        Raises: asyncpg.UniqueViolationError when there is one of this number.
        """
        document, name = qualified(made.document), held.name
        one = NewEntity(
            key=made.number, partition=name.partition, company=name.company, content=content,
            size=max(1, content.count(b'class="entity"')), request=held.request,
        )  # fmt: skip
        await insert_entities(connection, document, [one])
        await connection.execute(
            self.sql.put_posted_document, document, name.partition, name.company, made.number, held.rec_id,
            held.version, made.document, party, vendor_document, applies_to, currency, made.total, user, at,
            held.posted_for,
        )  # fmt: skip

    async def _number(self, connection: Connection, name: DocumentName, series: str) -> str:
        settings = self.posting.numbers(series)
        sequence = f"{series}/{name.partition}/{name.company}"
        number = await entities_sql.take_numbers(connection, sequence, 1, settings.first, 1)
        if number > settings.last:
            last = settings.format.format(number=settings.last)
            raise PostingRefused(name.title, [f"Number series {series} is used up (last number {last})."])
        return settings.format.format(number=number)


def _check_free(name: DocumentName, state: Record | None, work: Work | None) -> bool:
    """Tell whether the document is scheduled in the entry whose run this is. Raises: DocumentBusy, PostedBefore."""
    if state is None:
        return False
    title = f"{name.title[:1].upper()}{name.title[1:]}"
    if state["is_before"]:
        raise PostedBefore(f"{title} was posted before, in an earlier try of this task. Nothing was posted again.")
    if state["posted_as"] is not None:
        raise DocumentBusy(f"{title} is posted ({state['posted_as']}).")
    if work is not None and state["run_id"] == work.run:
        return True
    if state["queue_status"] == "scheduled":
        raise DocumentBusy(f"{title} is scheduled for posting; remove it from the queue first.")
    if state["queue_status"] == "posting":
        raise DocumentBusy(f"{title} is being posted now.")
    return False


def _unknown(name: DocumentName) -> DocumentUnknown:
    return DocumentUnknown(f"There is no {name.title} in company {name.company}.")


def _progress_after(before: Mapping[int, Progress], taken: Sequence[Share], amounts: Amounts) -> dict[int, Progress]:
    after, computed = dict(before), iter(amounts.lines)
    for share in taken:
        if share.line.type is LineType.COMMENT:
            continue
        line, one = share.line, next(computed)
        after[line.number] = Progress(
            line.moved + share.move,
            Posted(
                line.posted.quantity + share.invoice, line.posted.gross + one.gross,
                line.posted.discount + one.discount, line.posted.invoice_discount + one.invoice_discount,
            ),
        )  # fmt: skip
    return after


def _is_finished(document: Document, taken: Sequence[Share]) -> bool:
    """Tell whether nothing is left to post: all that an order has is moved and invoiced."""
    return not document.kind.is_order or all(
        share.line.moved + share.move == share.line.quantity == share.line.posted.quantity + share.invoice
        for share in taken
        if share.line.type is not LineType.COMMENT
    )


def _currency(settings: CurrencySettings) -> Currency:
    coins = settings.total_rounding
    return Currency(
        decimals=settings.decimals,
        tax_rounding=settings.tax_rounding,
        invoice_rounding=None if coins is None else InvoiceRounding(step=coins.step, direction=coins.direction),
    )


def _window(period: PostingPeriod) -> Window:
    return Window(period.first, period.last)
