"""Requests that were processed before: refused, or answered again with what they were answered then."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from asyncpg import Connection

from gateway.contracts.service import Reply
from gateway.db.open import Store
from gateway.db.unit import UnitTransaction
from gateway.kernel.errors import DuplicateMessage, TwinAtWork
from gateway.kernel.ids import MessageKey
from gateway.messaging.flow.port import ServedInbound
from gateway.messaging.processing.decide import Failed, decide
from gateway.messaging.processing.prepare import Prepared
from gateway.messaging.queue.processed import (
    Earlier,
    Holder,
    read_earlier,
    take_over,
    take_processed_contents,
    take_processed_ids,
)
from gateway.messaging.rules.message import Work
from gateway.messaging.rules.states import LoggingMode, OnDuplicate
from gateway.xml.parts import parts_of_answer


@dataclass(slots=True)
class Seen:
    """How requests split: those that are new, those answered again, those refused as duplicates."""

    new: list[Prepared] = field(default_factory=list)
    again: list[tuple[Prepared, Reply]] = field(default_factory=list)
    refused: list[Failed] = field(default_factory=list)


class Duplicates:
    """Tells new requests of one chunk from repeated ones.

    Rule: only ids that the sender gave count, only for operations that refuse repeats, and not when the port keeps no
    history. Without an id the same envelope, byte for byte, counts for `same_content_seconds`. Only what was processed
    counts, not what failed. Who is in work is waited for: only then is it known. Source: AIF reference, section 21;
    rulings, "Duplicates".
    """

    def __init__(self, store: Store, unit: UnitTransaction, port: ServedInbound) -> None:
        self._store = store
        self._unit = unit
        self._port = port

    async def split(self, prepared: Sequence[Prepared], done: Sequence[tuple[Prepared, Reply]]) -> Seen:
        """Split requests of one operation; the new ones have their ids and contents from now on.

        Shape: *done* is what the same unit has done already; its answers are not in the store yet.
        Rule: a unit of one message has them before it begins, in a transaction of its own, so that it holds none while
        it runs. The outcome keeps them or gives them up. A unit of several has them in its own transaction.
        Raises: DuplicateMessage when one of several is to be answered like another of them: go one by one; TwinAtWork.
        """
        checked = self._port.logging is not LoggingMode.OFF and prepared[0].found.operation.idempotent
        window = self._port.settings.process.same_content_seconds
        works = [item.work for item in prepared if checked]
        named = [work for work in works if work.message_id_sent is not None]
        unnamed = [work for work in works if work.message_id_sent is None and window]
        if not named and not unnamed:
            return Seen(new=list(prepared))
        async with self._unit.aside() as connection:
            return await self._split(connection, prepared, named, unnamed, {i.work.key: r for i, r in done})

    async def _split(
        self, connection: Connection, prepared: Sequence[Prepared], named: Sequence[Work], unnamed: Sequence[Work],
        done: Mapping[MessageKey, Reply],
    ) -> Seen:  # fmt: skip
        window = self._port.settings.process.same_content_seconds
        first: set[MessageKey] = set()
        if named:
            first |= await take_processed_ids(self._store, connection, named)
        if unnamed:
            first |= await take_processed_contents(self._store, connection, unnamed, window)
        repeated = [work for work in (*named, *unnamed) if work.key not in first]
        if not repeated:
            return Seen(new=list(prepared))
        replay = self._port.settings.process.on_duplicate is OnDuplicate.REPLAY
        earlier = await read_earlier(connection, repeated, with_answers=replay)
        seen, keys = Seen(), {work.key for work in repeated}
        if replay and any(one.key in first for one in earlier.values()):
            raise DuplicateMessage("what repeats another one of this call is answered after it")
        for item in prepared:
            if item.work.key not in keys:
                seen.new.append(item)
                continue
            before = earlier.get(item.work.key)
            if await self._may_go_on(connection, item.work, before, {*first, *done}):
                seen.new.append(item)
                continue
            reply = await _answer(before, done) if replay and before is not None else None
            if reply is None:
                seen.refused.append(_refused(item, before, replay=replay))
            else:
                seen.again.append((item, reply))
        return seen

    async def _may_go_on(
        self, connection: Connection, work: Work, earlier: Earlier | None, with_us: Set[MessageKey]
    ) -> bool:
        """Tell whether a message has its id or content nevertheless; False: it was processed.

        Shape: *with_us* are messages that are processed when this one is. Raises: TwinAtWork.
        """
        if earlier is None:
            raise TwinAtWork("A message with the same id or content has just failed.")
        if earlier.key == work.key:  # from a run that came to no outcome
            return True
        if earlier.key in with_us or earlier.holder is Holder.PROCESSED:
            return False
        if earlier.holder is Holder.GIVEN_UP and await take_over(self._store, connection, work, earlier):
            return True
        what = "content" if work.message_id_sent is None else "MessageId"
        raise TwinAtWork(f"The message {earlier.key} with the same {what} is in work: its outcome is waited for.")


async def _answer(earlier: Earlier, fresh: Mapping[MessageKey, Reply]) -> Reply | None:
    """Return what the earlier request was answered, None when that is not kept any more."""
    if earlier.key in fresh:
        return fresh[earlier.key]
    if earlier.answer is None:
        return None
    parts = await asyncio.to_thread(parts_of_answer, earlier.answer)
    return Reply(parts=parts, entity_keys=[earlier.entity_keys] if earlier.entity_keys else [])


def _refused(item: Prepared, earlier: Earlier | None, *, replay: bool) -> Failed:
    sent = item.work.message_id_sent
    what = "A message with the same content" if sent is None else f"The message {sent}"
    text = f"Duplicate message. {what} has already been processed"
    if earlier is not None and earlier.file is not None:
        text += f" (file {earlier.file}, {earlier.at:%Y-%m-%d %H:%M:%S} UTC)"
    if replay:
        text += "; its response is not kept any more and cannot be sent again"
    if sent is None:
        text += ". To send it again on purpose, give each message a MessageId of its own"
    outcome = decide(item.work, DuplicateMessage(f"{text}."), most_tries=1, chance=0.0)
    assert isinstance(outcome, Failed)
    return outcome
