"""Receive: files become queued messages.

Order: claim (durable), read to the last byte, write (one commit), settle (archive, delete or quarantine).
A crash between any two leaves a claimed file; `_recover` finds it and goes on from what the store knows of it.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from time import monotonic

import structlog

from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.db.waiting import wait_for_all, wait_or_stop
from gateway.kernel.errors import AdapterUnavailable, LeaseLost, StoreBusy, StoreUnavailable
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import PortName
from gateway.messaging.flow.port import OpenInbound, Ports
from gateway.messaging.flow.port_state import PortHealth, why_busy
from gateway.messaging.intake.capacity import FULL_SECONDS, PortShare, QueueCapacity
from gateway.messaging.intake.ingest import Ingester, Reading, groups
from gateway.messaging.intake.lease import IntakeLease
from gateway.messaging.intake.reading import BadFile, WholeFile
from gateway.messaging.intake.spool import SpoolFull, Spools, free_bytes
from gateway.messaging.intake.writing import AlreadyIngested, known_deliveries
from gateway.messaging.rules.delivery import Claim, Settled, Settlement
from gateway.messaging.rules.states import Stage
from gateway.xml.pool import ReadersUnavailable, XmlPool

log = structlog.get_logger()

_BATCH_FILES = 500
_ALL_FILES = 1_000_000
"""A run that takes only what is there at its start claims it in one poll."""


class ReceiveStage:
    """The task that takes files from the inbound addresses of all open ports."""

    def __init__(
        self, *, store: Store, incarnation: int, ports: Ports, pool: XmlPool, readers: int, trouble: PortHealth
    ) -> None:
        self._store = store
        self._ports = ports
        self._trouble = trouble
        self._capacity = QueueCapacity(store, monotonic)
        self._lease = IntakeLease(store, incarnation)
        spools = Spools(ports.settings.data / "spool", lambda: ports.settings.queue.min_free_bytes)
        self._ingester = Ingester(
            store=store, ports=ports, pool=pool, readers=readers, lease=self._lease, spools=spools
        )  # fmt: skip
        self._polls: defaultdict[PortName, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._recovered: set[PortName] = set()  # ports that have nothing claimed that waits to be read

    def forget(self, port: PortName) -> None:
        """Recover what the port has claimed at the next poll: its address may have changed."""
        self._recovered.discard(port)

    async def run(self, context: TaskContext) -> None:
        """Take files until no port has one that is ready and no hint comes, or a stop is asked for.

        Each port is polled by itself: a large file or a hanging folder of one does not keep the others waiting.
        """
        async with self._lease.run():
            await self._poll_all(context)
        await self._capacity.counted()

    async def _poll_all(self, context: TaskContext) -> None:
        polls: dict[PortName, asyncio.Task[bool]] = {}
        unseen = set(self._ports.inbound)
        try:
            while not context.stopping.is_set():
                for name in () if context.feed.closed else sorted(unseen - set(polls)):
                    unseen.discard(name)
                    if (port := self._ports.inbound.get(name)) is not None:
                        polls[name] = asyncio.create_task(self._poll(port, context), name=f"receive:{name}")
                if polls:  # also when closed: what opens again meanwhile must not wait for a large file of one port
                    unseen |= await self._wait(polls, context)
                elif not context.feed.closed and await context.feed.more():
                    unseen = set(self._ports.inbound)
                else:
                    return
        except asyncio.CancelledError:
            for poll in polls.values():
                poll.cancel()
            raise
        finally:
            await wait_for_all(polls.values())
            for poll in polls.values():
                _result_of(poll)

    async def _wait(self, polls: dict[PortName, asyncio.Task[bool]], context: TaskContext) -> set[PortName]:
        """Wait for a poll to end or for a hint; returns the ports to poll again."""
        hint = asyncio.create_task(context.feed.hinted(), name="receive:hint")
        try:
            done, _ = await asyncio.wait({*polls.values(), hint}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hint.cancel()
        again = set(self._ports.inbound) if hint in done else set()
        for name in [name for name, poll in polls.items() if poll in done]:
            outcome = _result_of(polls.pop(name))
            if isinstance(outcome, StoreUnavailable):
                await self._wait_for_store(name, outcome, context)
            if outcome:
                again.add(name)
        return again

    async def _wait_for_store(self, name: PortName, error: StoreUnavailable, context: TaskContext) -> bool:
        """Say why the port waits, and wait for the database; False when a stop was asked for before it answered."""
        log.warning("store.unavailable", stage="receive", port=name, error=error.message)
        if isinstance(error, StoreBusy) and error.everywhere:
            await self._trouble.waits_for_store(name, Stage.RECEIVE, why_busy(error))
        return await self._store.wait_until_available(context.stopping)

    async def _poll(self, port: OpenInbound, context: TaskContext) -> bool:
        """Poll one port once; True when another poll may find more.

        One poll at a time, also where several jobs receive: what one has claimed would look forgotten to another.
        """
        async with self._polls[port.name]:
            try:
                return await self._poll_alone(port, context)
            except (AdapterUnavailable, ReadersUnavailable, SpoolFull) as error:
                await self._trouble.left_in_place(port.name, port.receive.skipped())
                await self._trouble.degraded(port.name, error.message, "receive")
                await self._lease.end(port.name)  # another node may be able to go on
                return False
            except (AlreadyIngested, LeaseLost) as known:
                # to a node that shares what is claimed, or to our own last commit: the next poll settles it
                log.info("file.known", port=port.name, reason=known.message)
                self.forget(port.name)
                return True

    async def _poll_alone(self, port: OpenInbound, context: TaskContext) -> bool:
        claimed = bool(await port.receive.claimed())
        found = claimed or await port.receive.may_find()
        if found:
            # before anything is claimed or recovered: another node would number the messages of later files first
            if not await self._is_ours(port, request=claimed):
                return False
            if port.name not in self._recovered:
                if not await self._recover(port, context):
                    return await self._gets_done(port, context)
                self._recovered.add(port.name)
        if await self._must_wait(port):
            return await self._gets_done(port, context)
        claims = await port.receive.poll(_ALL_FILES if context.feed.once else _BATCH_FILES) if found else ()
        await self._trouble.working(port.name, "receive")
        await self._trouble.left_in_place(port.name, port.receive.skipped())
        if not claims:
            return False
        self.forget(port.name)  # before the first is read: until all are settled there is something to recover
        if not await self._ingest(claims, port, context):
            return await self._gets_done(port, context)
        if self._ports.inbound.get(port.name) is port:  # a changed port has another address to recover from
            self._recovered.add(port.name)
        return not context.feed.once

    async def _is_ours(self, port: OpenInbound, *, request: bool) -> bool:
        """Tell whether this node takes the files of the port now; a new lease begins with what is claimed."""
        if not self._lease.is_ours(port.name):
            self.forget(port.name)
        return await self._lease.claim(port.name, request=request)

    async def _must_wait(self, port: OpenInbound) -> bool:
        """Tell whether intake of the port waits: too many unfinished messages, or too little space."""
        queue = self._ports.settings.queue
        share = await self._share(port)
        reason: str | None = None
        if share.is_full:
            others = f"while other ports have {share.others}" if share.others else "while no other port has any"
            reason = (
                f"{share.mine} messages of this port are unfinished. Its share of queue.max_ready "
                f"({queue.max_ready}) is {share.most} {others}. No more files are taken until some are done."
            )
        else:
            free = await asyncio.to_thread(free_bytes, self._ports.settings.data)
            if free < queue.min_free_bytes:
                reason = f"Only {free / 1e6:.0f} MB are free on the disk of {self._ports.settings.data}; files wait."
        await self._trouble.paused(port.name, reason)
        return reason is not None

    async def _share(self, port: OpenInbound) -> PortShare:
        ports = {*self._ports.inbound, port.name}
        return await self._capacity.share(port.name, ports, self._ports.settings.queue.max_ready)

    async def _gets_done(self, port: OpenInbound, context: TaskContext) -> bool:
        """Tell, after a moment, whether messages of a paused port get done: then another poll may find room soon.

        Where none do, because a service is slow or does not work, the next sweep is soon enough.
        """
        if context.feed.once or context.stopping.is_set():
            return False
        before = (await self._share(port)).mine
        await wait_or_stop(context.stopping, FULL_SECONDS)
        return (await self._share(port)).mine < before

    async def _recover(self, port: OpenInbound, context: TaskContext) -> bool:
        """Go on with what is claimed: settle what the store knows, ingest the rest.

        False when some is left, because intake must wait or a stop was asked for.
        """
        claims = await port.receive.recover()
        if not claims:
            return True
        known = await known_deliveries(self._store, [claim.id for claim in claims])
        await port.receive.settle([
            Settled(claim=claim, settlement=known[claim.id][0], reason=known[claim.id][1])
            for claim in claims
            if claim.id in known
        ])  # fmt: skip
        unknown = [claim for claim in claims if claim.id not in known]
        if unknown and await self._must_wait(port):
            return False
        log.info("files.recovered", port=port.name, settled=len(claims) - len(unknown), taken=len(unknown))
        return await self._ingest(unknown, port, context)

    async def _ingest(self, claims: Sequence[Claim], port: OpenInbound, context: TaskContext) -> bool:
        """Take claimed files in, in order: groups of small ones share a commit, a large one has its own.

        While a group is written the next one is read. False when some are left, because intake must wait or a stop was
        asked for: they stay claimed.
        """
        left = deque(groups(claims))
        begun = False
        ahead: Reading | None = None
        try:
            while left:
                if context.stopping.is_set() or (begun and await self._must_wait(port)):
                    return False
                begun = True
                reading, ahead = ahead or self._ingester.read(left[0], port), None
                left.popleft()
                try:
                    files = await reading.files()
                    if left and not context.stopping.is_set() and self._fits_after(files, port):
                        ahead = self._ingester.read(left[0], port)
                    settled, messages = await self._write(files, port, context)
                finally:
                    await reading.close()
                await self._trouble.waits_for_store(port.name, Stage.RECEIVE, None)
                reach("ingest.after_commit")
                context.tally.add("files", len(files))
                context.tally.add("refused", sum(one.settlement is Settlement.QUARANTINE for one in settled))
                context.tally.add("received", messages)
                self._capacity.reserve(port.name, messages)
                context.feed.produced()
                # after the commit, never before: until then the claimed file is all there is of it
                await port.receive.settle(settled)
                reach("ingest.after_settle")
        finally:
            if ahead is not None:
                await ahead.close()
        return True

    def _fits_after(self, files: Sequence[WholeFile | BadFile], port: OpenInbound) -> bool:
        """Tell whether more may be taken when these are in; what is read and must wait then is read again later."""
        messages = sum(file.end.envelopes for file in files if isinstance(file, WholeFile))
        return self._capacity.fits(port.name, messages, self._ports.settings.queue.max_ready)

    async def _write(
        self, files: Sequence[WholeFile | BadFile], port: OpenInbound, context: TaskContext
    ) -> tuple[list[Settled], int]:
        """Write what was read, from the spool again and again while the database is away.

        When a lost answer hid a commit, the next try finds the files known, and the next poll settles them.
        """
        while True:
            try:
                return await self._ingester.write(files, port)
            except StoreUnavailable as error:
                if not await self._wait_for_store(port.name, error, context):
                    raise


def _result_of(poll: asyncio.Task[bool]) -> bool | StoreUnavailable:
    """Return whether a poll found files, or that the store went away meanwhile."""
    try:
        return poll.result()
    except StoreUnavailable as error:
        return error
    except asyncio.CancelledError:
        return False
