"""Requests that were processed before: refused, or answered again with what they were answered then."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from asyncpg import Connection

from gateway.contracts.service import Reply
from gateway.domain.errors import DuplicateMessage
from gateway.domain.ids import MessageKey
from gateway.domain.states import LoggingMode, OnDuplicate
from gateway.stages.decide import Failed, decide
from gateway.stages.port import OpenInbound
from gateway.stages.prepare import Prepared
from gateway.store.duplicates import Earlier, read_earlier, take_processed_ids
from gateway.store.open import Store
from gateway.xml.reread import parts_of_answer


@dataclass(slots=True)
class Seen:
    """How requests split: those that are new, those answered again, those refused as duplicates."""

    new: list[Prepared] = field(default_factory=list)
    again: list[tuple[Prepared, Reply]] = field(default_factory=list)
    refused: list[Failed] = field(default_factory=list)


class Duplicates:
    """Tells new requests of one chunk from repeated ones.

    Rule: only ids that the sender gave count, only for operations that refuse repeats, and not when the port keeps no
    history. Only what was processed counts, not what failed. Source: AIF reference, section 21; rulings, "Duplicates".
    """

    def __init__(self, store: Store, connection: Connection, port: OpenInbound) -> None:
        self._store = store
        self._connection = connection
        self._port = port

    async def split(self, prepared: Sequence[Prepared], done: Sequence[tuple[Prepared, Reply]]) -> Seen:
        """Split requests of one operation and mark the new ones as processed by this transaction.

        Shape: *done* is what the same transaction has done already; its answers are not in the store yet.
        """
        checked = self._port.logging is not LoggingMode.OFF and prepared[0].found.operation.idempotent
        candidates = [item.work for item in prepared if checked and item.work.message_id_sent is not None]
        if not candidates:
            return Seen(new=list(prepared))
        first = await take_processed_ids(self._store, self._connection, candidates)
        repeated = [work for work in candidates if work.key not in first]
        if not repeated:
            return Seen(new=list(prepared))
        replay = self._port.settings.process.on_duplicate is OnDuplicate.REPLAY
        earlier = await read_earlier(self._store, self._connection, repeated, with_answers=replay)
        fresh = {item.work.key: reply for item, reply in done}
        seen, keys = Seen(), {work.key for work in repeated}
        for item in prepared:
            if item.work.key not in keys:
                seen.new.append(item)
                continue
            before = earlier.get(item.work.message_id)
            reply = await _answer(before, fresh) if replay and before is not None else None
            if reply is None:
                seen.refused.append(_refused(item, before, replay=replay))
            else:
                seen.again.append((item, reply))
        return seen


async def _answer(earlier: Earlier, fresh: Mapping[MessageKey, Reply]) -> Reply | None:
    """Return what the earlier request was answered, None when that is not kept any more."""
    if earlier.key in fresh:
        return fresh[earlier.key]
    if earlier.answer is None:
        return None
    parts = await asyncio.to_thread(parts_of_answer, earlier.answer)
    return Reply(parts=parts, entity_keys=[earlier.entity_keys] if earlier.entity_keys else [])


def _refused(item: Prepared, earlier: Earlier | None, *, replay: bool) -> Failed:
    text = f"Duplicate message. The message {item.work.message_id_sent} has already been processed"
    if earlier is not None and earlier.file is not None:
        text += f" (file {earlier.file}, {earlier.at:%Y-%m-%d %H:%M:%S} UTC)"
    if replay:
        text += "; its response is not kept any more and cannot be sent again"
    outcome = decide(item.work, DuplicateMessage(f"{text}."), most_tries=1, chance=0.0)
    assert isinstance(outcome, Failed)
    return outcome
