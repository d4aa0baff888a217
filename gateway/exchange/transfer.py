"""One pass over a message store: copy what is new, move sessions, acknowledge, purge, tell stations.

The order is what makes it safe to be ended anywhere and begun anew: a message is stored before it is acknowledged, and
removed from its store before it is forgotten here. What repeats because of that is known by its id.
Source: batch reference, section 22; scenario S24.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from gateway.contracts.task import RunLog, Tally
from gateway.db.open import Store
from gateway.exchange import records
from gateway.exchange.deliveries import tell_deliveries
from gateway.exchange.records import Verdict, changing
from gateway.exchange.rules.retention import AT_ONCE, expires_before, gives_up
from gateway.exchange.rules.statuses import SessionDirection
from gateway.exchange.sources import Given, MessageSource, MessageStoreAway
from gateway.exchange.statements import sessions_sql
from gateway.kernel.errors import StoreUnavailable, TransientError
from gateway.kernel.faultpoints import reach

Result = TypeVar("Result")

CHUNK: Final = 1_000
"""Messages per transaction."""
_MOST_LINES: Final = 20
_WAITING_DAYS: Final = 30
"""How long a message waits for its session where messages are removed at once."""
FAULT_POINTS: Final = (
    "exchange.taken",
    "exchange.stored",
    "exchange.acknowledged",
    "exchange.purged_there",
    "exchange.purged_here",
    "exchange.published",
)
"""Every name a pass reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRules:
    """What counts for a pass: days that messages are kept, tries (0: without end), ports whose deliveries it tells.

    `purges` is False while the clocks are not to be believed; `ids_days` is how long ids of removed messages are known.
    """

    keep_days: Mapping[SessionDirection, int]
    try_count: int
    ports: Mapping[str, Path]
    ids_days: int
    purges: bool = True
    chunk: int = CHUNK


class MessagePass:
    """One pass over the store *name*; *lines* is told what somebody should read, *tally* how much was done."""

    def __init__(
        self, store: Store, name: str, source: MessageSource, rules: PassRules, *, tally: Tally, lines: RunLog,
        stopping: asyncio.Event,
    ) -> None:  # fmt: skip
        self._store = store
        self._name = name
        self._source = source
        self._rules = rules
        self._tally = tally
        self._lines = lines
        self._stopping = stopping
        self._told = 0

    async def run(self) -> None:
        """Do all of it, or as much as can be until a stop is asked for.

        Raises: StoreUnavailable; MessageStoreAway, MessageStoreUnusable. The next pass goes on.
        """
        its = await records.begin_pass(self._store, self._name)
        now = its.tried_at
        told = await tell_deliveries(
            self._store, self._name, self._rules.ports, before=its.passed_at, now=now, chunk=self._rules.chunk
        )
        self._tally.add("deliveries", told)
        await self._move_waiting()
        await self._upload()
        self._tell([f"{self._name}: {text}" for text in self._source.left()])
        if self._rules.purges:
            for direction in SessionDirection:
                await self._purge(direction, now)
            await self._forget(now - timedelta(days=self._rules.ids_days))
        await self._publish()
        if not self._stopping.is_set():
            await records.end_pass(self._store, self._name, None)

    async def _move_waiting(self) -> None:
        """Let messages move their sessions that could not before: the session is there, or their time has come."""
        last = 0
        while not self._stopping.is_set():
            numbers = await records.waiting_messages(self._store, self._name, last, self._rules.chunk)
            if not numbers:
                return
            async with changing(self._store) as connection:
                await records.move_sessions(connection, numbers)
            last = numbers[-1]

    async def _upload(self) -> None:
        while not self._stopping.is_set():
            given = await self._at_store(self._source.take(self._rules.chunk))
            if not given:
                return
            reach("exchange.taken")
            await self._upload_batch(given)

    async def _upload_batch(self, given: Sequence[Given]) -> None:
        """Store a batch with one commit, then say so to its store: from then on no pass is given it again."""
        good = [(one, one.message) for one in given if one.message is not None]
        refusals = [(one, one.refusal) for one in given if one.refusal is not None]
        troubled = [(one, one.trouble) for one in given if one.trouble is not None]
        uploaded: list[bytes] = []
        repeated: list[bytes] = []
        async with changing(self._store) as connection:
            verdicts = await records.store_messages(
                connection, self._name, [(message, one.copy) for one, message in good], self._source.place
            )
            for (one, message), verdict in zip(good, verdicts, strict=True):
                match verdict:
                    case Verdict.FRESH | Verdict.SAME:
                        uploaded.append(one.copy)
                    case Verdict.REPEATED:
                        repeated.append(one.copy)
                    case Verdict.DIFFERS:
                        text = f"Another message was uploaded before with the id {message.message_id}."
                        refusals.append((one, text))
            if troubled:
                tries = await records.note_failures(connection, self._name, troubled)
                refusals += [
                    (one, f"{text} Given up after {tries[one.copy]} tries.")
                    for one, text in troubled
                    if gives_up(tries[one.copy], self._rules.try_count)
                ]
            if refusals:
                await records.note_refusals(connection, self._name, refusals)
            await sessions_sql.forget_troubles(connection, self._name, [*uploaded, *repeated])
        reach("exchange.stored")
        for work, wanted in (
            (self._source.acknowledge, uploaded),
            (self._source.drop, repeated),
        ):
            if wanted:
                await self._at_store(work(wanted))
        if refusals:
            await self._at_store(self._source.refuse([(one.copy, text) for one, text in refusals]))
        reach("exchange.acknowledged")
        self._tally.add("messages", verdicts.count(Verdict.FRESH))
        self._tally.add("repeated", len(repeated))
        self._tally.add("refused", len(refusals))
        given_up = {one.copy for one, _ in refusals}
        again = [(one, text) for one, text in troubled if one.copy not in given_up]
        self._tally.add("postponed", len(again))
        self._tell([f"{self._name}: {one.name} was refused. {text}" for one, text in refusals])
        self._tell([f"{self._name}: {one.name} is tried again. {text}" for one, text in again])

    def _tell(self, texts: Sequence[str]) -> None:
        """Say it in the log of the run, but not thousands of times: the rest can be listed."""
        for text in texts[: _MOST_LINES - self._told]:
            self._lines.warning(text)
        if self._told < _MOST_LINES <= self._told + len(texts):
            self._lines.warning("There are more: the list of refused status messages has all.")
        self._told = min(_MOST_LINES, self._told + len(texts))

    async def _purge(self, direction: SessionDirection, now: datetime) -> None:
        """Remove what is old enough, first there and then here, then the ended sessions that have no message left."""
        days, chunk = self._rules.keep_days[direction], self._rules.chunk
        before = expires_before(days, now)
        if before is not None:
            at_once = days == AT_ONCE
            # nothing leaves in the pass that brought it, but what is not to be kept at all
            latest = now + timedelta(days=36_500) if at_once else now
            waiting_before = now - timedelta(days=_WAITING_DAYS) if at_once else before
            while not self._stopping.is_set():
                gone = await records.expired_messages(
                    self._store, self._name, direction, before=latest if at_once else before, uploaded_before=latest,
                    waiting_before=waiting_before, limit=chunk,
                )  # fmt: skip
                if not gone:
                    break
                theirs = [kept for _, kept in gone if kept.copy]
                if theirs:
                    await self._at_store(self._source.purge(theirs))
                reach("exchange.purged_there")
                await records.purge_messages(self._store, [number for number, _ in gone])
                reach("exchange.purged_here")
                self._tally.add("purged", len(gone))
            await self._purge_sessions(direction, latest if at_once else before)

    async def _forget(self, before: datetime) -> None:
        """Forget ids of removed messages, and what was wrong with others: nobody asks for them any more."""
        await records.purge_troubles(self._store, self._name, before)
        while not self._stopping.is_set():
            if await records.purge_ids(self._store, before, self._rules.chunk) < self._rules.chunk:
                return

    async def _purge_sessions(self, direction: SessionDirection, before: datetime) -> None:
        while not self._stopping.is_set():
            gone = await records.expired_sessions(self._store, self._name, direction, before, self._rules.chunk)
            if not gone:
                return
            await self._at_store(self._source.withdraw([name for _, name in gone]))
            await records.purge_sessions(self._store, [number for number, _ in gone], before)
            self._tally.add("sessions_purged", len(gone))

    async def _publish(self) -> None:
        """Let stations read what has changed; what changes meanwhile is told in the next pass."""
        last = 0
        while not self._stopping.is_set():
            found = await records.unpublished(self._store, self._name, last, self._rules.chunk)
            if not found:
                return
            await self._at_store(self._source.publish([told for _, _, told in found]))
            await records.note_published(self._store, [(number, version) for number, version, _ in found])
            reach("exchange.published")
            last = found[-1][0]

    async def _at_store(self, work: Awaitable[Result]) -> Result:
        """Wait for the message store; trouble with it is not trouble with the database of the gateway."""
        try:
            return await work
        except StoreUnavailable:
            raise
        except MessageStoreAway:
            raise
        except TransientError as error:  # of a folder
            raise MessageStoreAway(f"The message store {self._name} cannot be used now: {error.message}") from error
