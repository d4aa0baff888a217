"""Where is this document that can be posted: open, in a job queue, failed, or posted as what, and was that sent?"""

import re
from typing import Final

from asyncpg import Record

from gateway.config.models_posting import Posting
from gateway.explanations.facts import Explanation, GatewayFacts, at, quoted
from gateway.kernel.ids import EntryId, MessageKey
from gateway.kernel.remedy import Action, Remedy, do
from gateway.messaging.queue.requests import RequestProgress, progress_of_requests
from gateway.messaging.rules.states import Outcome, Status
from gateway.operations.documents import DocumentState
from gateway.operations.explain_entries import explain_entry
from gateway.operations.principal import OperatorSession
from gateway.queues import Entry, EntryStatus, list_entries, read_entry
from gateway.queues.posting.form import Unreadable
from gateway.queues.posting.posting import DocumentName, Poster, Seen, document_of
from gateway.queues.posting.service import kinds_of
from gateway.queues.rules.documents import Wanted

_SHAPE: Final = re.compile(r"(?P<kind>[A-Za-z][A-Za-z -]*?)[/ ]+(?P<number>\S+)")
_NOTHING: Final = Remedy(action=Action.NOTHING, reason="It goes on by itself.")
_NAMED: Final = 3
"""Findings that a sentence holds; the document itself shows all."""


async def explain_documents(session: OperatorSession, text: str, gateway: GatewayFacts) -> list[Explanation]:
    """Explain the document `SalesOrder/1001`, or `sales order 1001`, of each company that has one."""
    shape = _SHAPE.fullmatch(text)
    if shape is None or session.settings.posting is None:
        return []
    kinds = {name.lower(): kind for name, kind in kinds_of(session.settings.posting).items()}
    kind = kinds.get(re.sub("[ -]", "", shape["kind"].lower()))
    if kind is None:
        return []
    account = session.settings.accounts.get(session.actor)
    allowed = None if account is None else account.companies
    async with session.store.reading() as connection:
        rows = await connection.fetch(
            session.store.queries.companies_of_document, document_of(kind), session.partition, shape["number"]
        )
    found: list[Explanation] = []
    for row in rows:
        if allowed is None or row["company"] in allowed:
            name = DocumentName(kind=kind, partition=session.partition, company=row["company"], number=shape["number"])
            found += await _Document(session, session.settings.posting, name).explain(gateway)
    return found


class _Document:
    """One document, explained to one person."""

    def __init__(self, session: OperatorSession, posting: Posting, name: DocumentName) -> None:
        self._session = session
        self._store = session.store
        self._posting = posting
        self._name = name
        elsewhere = () if name.company == session.settings.default_company else (name.company,)
        self._target = (name.kind.name, name.number, *elsewhere)

    async def explain(self, gateway: GatewayFacts) -> list[Explanation]:
        name, sql = self._name, self._store.queries
        poster = Poster(sql, self._posting)
        async with self._store.transaction() as connection:
            state = await connection.fetchrow(sql.entry_of_document, *name.address)
            made = await connection.fetch(sql.messages_of_document, *name.address)
            try:
                seen = await poster.look(connection, name, Wanted(), user=self._session.actor)
            except Unreadable as error:
                return [self._said("unreadable", f"It cannot be read: {error.message}", self._mend())]
        entry = None if state is None or state["entry_id"] is None else EntryId(state["entry_id"])
        sent, messages = await self._sent(made)
        match seen.row["queue_status"]:
            case DocumentState.ERROR:
                return [
                    self._said(
                        "failed",
                        f"Its posting failed: {quoted(seen.row['error'])}.{sent}",
                        self._post(),
                        messages=messages,
                    )
                ]
            case DocumentState.SCHEDULED | DocumentState.POSTING if entry is not None:
                return await self._queued(entry, sent, messages, gateway)
        if seen.row["posted_as"] is not None:
            done = Remedy(action=Action.NOTHING, reason="Nothing is to be done.")
            return [self._said("posted", f"It is posted.{sent}", done, messages=messages)]
        return [self._open(seen, sent, messages)]

    def _open(self, seen: Seen, sent: str, messages: tuple[int, ...]) -> Explanation:
        if not seen.findings:
            return self._said(
                "open", f"It is open, and can be posted now.{sent}", self._post(mended=False), messages=messages
            )
        more = len(seen.findings) - _NAMED
        rest = f" And {more} more." if more > 0 else ""
        why = f"It is open, and cannot be posted now. {' '.join(seen.findings[:_NAMED])}{rest}{sent}"
        document = self._target[:2]
        all_of_it = do(Action.SHOW_DOCUMENT, *document, then="It shows all that is in the way.")
        return self._said("refused", why, self._post(), all_of_it, messages=messages)

    async def _queued(
        self, number: EntryId, sent: str, messages: tuple[int, ...], gateway: GatewayFacts
    ) -> list[Explanation]:
        entry = await read_entry(self._store, number)
        if entry.status is EntryStatus.IN_PROCESS:
            why = f"It is being posted by {entry.user_name}, in entry {number}"
            since = f", since {at(entry.started_at)}" if entry.started_at else ""
            found = self._said("posting", f"{why}{since}.{sent}", _NOTHING, messages=messages)
        else:
            why = f"It is scheduled for posting by {entry.user_name}, in entry {number}"
            found = self._said("scheduled", f"{why}. {await self._ahead(entry)}{sent}", _NOTHING, messages=messages)
        return [found, *await explain_entry(self._session, f"entry:{number}", running=bool(gateway.running))]

    async def _ahead(self, entry: Entry) -> str:
        """Return behind which entries it comes: those of its category that run or may."""
        category = entry.definition.category
        if category is None:
            return "It waits for nobody."
        considered = {EntryStatus.IN_PROCESS, EntryStatus.READY, EntryStatus.WAITING}
        mine = (entry.status is not EntryStatus.IN_PROCESS, entry.definition.priority, entry.id)
        ahead = [
            one
            for one in await list_entries(self._store, category=category, statuses=sorted(considered))
            if (one.status is not EntryStatus.IN_PROCESS, one.definition.priority, one.id) < mine
        ]
        if not ahead:
            return f"It is the next of the category {category}."
        named = ", ".join(f"{one.id} ({one.definition.description or one.shown})" for one in ahead[:_NAMED])
        more = f" and {len(ahead) - _NAMED} more" if len(ahead) > _NAMED else ""
        return f"Before it in the category {category}: entr{'ies' if len(ahead) > 1 else 'y'} {named}{more}."

    async def _sent(self, made: list[Record]) -> tuple[str, tuple[int, ...]]:
        """Return what it was posted as, and what became of the messages that send that."""
        keys = [MessageKey(key) for row in made for key in row["messages"]]
        progress = {one.key: one for one in await progress_of_requests(self._store, keys)} if keys else {}
        told = "".join(
            f" {row['number']} was posted by {row['posted_by']} at {at(row['posted_at'])}"
            f"{''.join(f'; message {key} {_progress(progress.get(key))}' for key in row['messages'])}."
            for row in made
        )
        return told, tuple(keys)

    def _post(self, *, mended: bool = True) -> Remedy:
        reason = "Mend the cause first; it posts it, or schedules it." if mended else "It posts it, or schedules it."
        return Remedy(action=Action.POST_DOCUMENT, target=self._target, reason=reason)

    def _mend(self) -> Remedy:
        return Remedy(action=Action.MEND, reason="Whoever sent it has to send a good one.")

    def _said(self, code: str, why: str, *remedies: Remedy, messages: tuple[int, ...] = ()) -> Explanation:
        subject = f"{self._name.title} of company {self._name.company}"
        return Explanation(subject=subject, code=f"document.{code}", why=why, remedies=remedies, messages=messages)


def _progress(one: RequestProgress | None) -> str:
    match one:
        case None:
            return "is not kept any more"
        case RequestProgress(outcome=Outcome.SENT):
            return f"was sent as {one.file_name}"
        case RequestProgress(outcome=Outcome.DELETED):
            return "was deleted by a person"
        case RequestProgress(status=Status.ERROR):
            return f"could not be sent: {quoted(one.error)}"
    return "waits to be sent"
