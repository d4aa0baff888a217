"""Send: responses become files, each exactly once.

Order: stage and flush, promise (commit), publish by rename, record (commit). The table of crash points is in
docs/reliability.md; the absence of a promised staged file, in the folder it was staged in, is the proof that it was
published.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from uuid import UUID

import structlog

from gateway.contracts.adapter import SendAdapter
from gateway.contracts.task import TaskContext
from gateway.db.open import Store
from gateway.db.waiting import wait_or_stop
from gateway.kernel.errors import AdapterUnavailable, GatewayError, LeaseLost, StoreUnavailable, TransientError
from gateway.kernel.faultpoints import reach
from gateway.kernel.ids import PortName
from gateway.kernel.retry import SEND
from gateway.messaging.delivery.promises import SendResult, claim_outbound, promise_staged, record_outbound
from gateway.messaging.delivery.staging import (
    is_put_off,
    known_staging,
    needed_staged,
    put_off_unreachable,
    reclaim_put_off,
    register_staging,
)
from gateway.messaging.flow.port import OpenPort, Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.flow.runner import PortRunner
from gateway.messaging.rules.delivery import OutgoingFile, Promise, StagingPlace, fence_of, staged_name
from gateway.messaging.rules.message import Claimed, Sending
from gateway.messaging.rules.states import Stage

log = structlog.get_logger()

_PROBE_SECONDS = 1.0
"""Between two looks at an address that could not be used."""
_QUICK_SECONDS = 3.0
"""Longer than this nobody waits for a folder before it is written to; while one hangs, every further call is refused at
once."""
_PLACES = 8
"""Ports that are delivered to at the same time; each has a chunk in memory."""
_PATIENCE_SECONDS = 3.0
"""A port whose folder takes longer gives its place to others: all folders of a server may hang at once."""


class SendStage:
    """The task that delivers queued responses."""

    def __init__(self, *, store: Store, incarnation: int, ports: Ports, chunk: int, trouble: PortHealth) -> None:
        self._store = store
        self._incarnation = incarnation
        self._ports = ports
        self._chunk = chunk
        self._trouble = trouble
        self._registered: dict[PortName, UUID] = {}  # staging folders that the store knows to be ours
        self._unclean: set[PortName] = set()  # ports in whose staging folder something may lie that nobody needs
        self._away: dict[PortName, bool] = {}  # ports with answers that were put off; whether a probe has failed since
        self._runner: PortRunner[OpenPort, Sending] = PortRunner(
            stage=Stage.SEND, store=store, ports=ports.all, claim=self._claim, work=self._deliver, places=_PLACES,
            trouble=trouble, patience_seconds=_PATIENCE_SECONDS,
        )  # fmt: skip

    def forget(self, port: PortName) -> None:
        """Recover what the port has staged: its place is new, or another node has left something there."""
        self._registered.pop(port, None)
        self._unclean.add(port)
        self._away[port] = True  # what was put off before has reasons of its own

    async def follow_addresses(self, returned: Callable[[], None], stopping: asyncio.Event) -> None:
        """Call *returned* as soon as an address can be used again, when what was put off for it is ready."""
        while not stopping.is_set():
            if any(await asyncio.gather(*(self._is_back(name) for name in list(self._away)))):
                returned()
            await wait_or_stop(stopping, _PROBE_SECONDS)

    async def _is_back(self, name: PortName) -> bool:
        """Probe an address; True when what was put off for it is ready now.

        Rule: a probe that never failed has not seen what is wrong, and then back-off decides; another node may deliver
        what was put off here, so the port is well as soon as nothing of it is put off.
        """
        port = self._ports.all().get(name)
        if port is None or port.send is None:
            self._away.pop(name, None)
            return False
        place = await self._reach(name, port.send)
        if place is None:
            self._away[name] = True
            return False
        failed = self._away.pop(name, False)  # before the store is asked: what is put off meanwhile is noted anew
        try:
            if failed:
                await reclaim_put_off(self._store, name, place.id)
            elif await is_put_off(self._store, name):
                self._away.setdefault(name, False)
                return False
        except StoreUnavailable:
            self._away[name] = failed or self._away.get(name, False)
            return False
        await self._trouble.working(name, "respond")
        return failed

    async def _reach(self, name: PortName, adapter: SendAdapter) -> StagingPlace | None:
        """Probe an address; returns where its files are staged, None when it cannot be used now, and says why."""
        try:
            async with asyncio.timeout(_QUICK_SECONDS):
                await adapter.probe()
                return await adapter.place()
        except AdapterUnavailable as error:
            await self._trouble.degraded(name, error.message)
        except TimeoutError:
            pass  # what keeps it is reported by whoever waits for longer
        return None

    async def run(self, context: TaskContext) -> None:
        """Deliver responses until none is left and none can come."""
        self._unclean &= self._ports.all().keys()
        await self._runner.run(context, first=sorted(self._unclean))

    async def _claim(self, name: PortName) -> Claimed[Sending] | None:
        port = self._ports.all().get(name)
        adapter = None if port is None else port.send
        staging = None if adapter is None else await self._staging_of(name, adapter)
        if name in self._unclean:
            await self._tidy(name, adapter)
        chunk = await claim_outbound(self._store, self._incarnation, name, self._chunk, staging)
        if chunk is None:
            await put_off_unreachable(self._store, name)
        return chunk

    async def _staging_of(self, port: PortName, adapter: SendAdapter) -> UUID | None:
        """Return where the port stages, registered as ours; what cannot be reached now as it was known last."""
        try:
            async with asyncio.timeout(_QUICK_SECONDS):
                place = await adapter.place()
        except (AdapterUnavailable, TimeoutError):
            return await known_staging(self._store, self._incarnation, port)
        if self._registered.get(port) != place.id:
            await register_staging(self._store, self._incarnation, port, place)
            self._registered[port] = place.id
        return place.id

    async def _tidy(self, name: PortName, adapter: SendAdapter | None) -> None:
        """Remove what nobody needs from a place that is new to us, or in which an attempt broke off.

        Nobody needs staged files that no promise names and nobody works on: their attempt ended before the promise.
        """
        needed: set[str] = set()
        if adapter is not None:
            try:
                async with asyncio.timeout(_QUICK_SECONDS):
                    found = {staged: fence_of(staged) for staged in await adapter.recover()}
                if found:
                    needed = await needed_staged(self._store, name, found)
                    await adapter.discard(sorted(found.keys() - needed))
            except (AdapterUnavailable, TimeoutError):
                return  # another time
        if not needed:  # a claim that lives now may end without a promise
            self._unclean.discard(name)

    async def _deliver(self, port: OpenPort, chunk: Claimed[Sending], context: TaskContext) -> None:
        result = SendResult(logging=port.logging)
        if port.send is None:  # its answers were queued before the port stopped responding
            text = f"The port '{port.name}' has no outbound folder any more (respond)."
            result.later += [(item, SEND.most_seconds, text) for item in chunk.items]
        else:
            try:
                await self._deliver_to(port.send, chunk, result)
            except BaseException:  # the store went away, or a defect: what was staged may be promised or not
                self._unclean.add(port.name)
                raise
        reach("send.before_sent")
        await record_outbound(self._store, chunk.fence, result)
        reach("send.after_sent")
        await self._report(port, result, context)

    async def _deliver_to(self, adapter: SendAdapter, chunk: Claimed[Sending], result: SendResult) -> None:
        promised = [item for item in chunk.items if item.staged_name is not None]
        fresh = [item for item in chunk.items if item.staged_name is None]
        try:
            place = await adapter.place()
        except AdapterUnavailable as error:
            _sort_out(chunk.items, [error] * len(chunk.items), result)
            return
        names = {item.key: staged_name(item.key, chunk.fence) for item in fresh}
        errors = await adapter.stage(
            [OutgoingFile(staged_name=names[i.key], final_name=i.file_name, content=i.content) for i in fresh]
        )
        staged = _sort_out(fresh, errors, result)
        if staged:
            reach("send.before_promise")
            try:
                # after all is durable, before anything is shown: from this commit on only `publish` may remove a file
                await promise_staged(
                    self._store, chunk.fence, [(item.key, names[item.key]) for item in staged], place.id
                )
            except LeaseLost:
                await adapter.discard([names[item.key] for item in staged])
                raise
            reach("send.after_promise")
        ready = staged + promised
        promises = [Promise(staged_name=names[i.key], final_name=i.file_name, staging=place.id) for i in staged]
        for item in promised:
            assert item.staged_name is not None
            promises.append(Promise(staged_name=item.staged_name, final_name=item.file_name, staging=item.staged_in))
        errors = await adapter.publish(promises)
        result.sent += _sort_out(ready, errors, result)

    async def _report(self, port: OpenPort, result: SendResult, context: TaskContext) -> None:
        context.tally.add("responses", len(result.sent))
        context.tally.add("failed", len(result.failed))
        context.tally.add("postponed", len(result.later))
        log.info(
            "responses.sent", port=port.name, stage="send", sent=len(result.sent), postponed=len(result.later),
            failed=len(result.failed),
        )  # fmt: skip
        if result.later:
            if port.send is not None and not self._away.get(port.name):
                self._away[port.name] = await self._reach(port.name, port.send) is None
            await self._trouble.degraded(port.name, result.later[0][2])
        elif result.sent:
            if not self._away.get(port.name):
                self._away.pop(port.name, None)
            await self._trouble.working(port.name, "respond")


def _sort_out(items: Sequence[Sending], errors: Sequence[GatewayError | None], result: SendResult) -> list[Sending]:
    """Return the items that went well; file the others: transient ones wait, permanent ones fail."""
    good: list[Sending] = []
    for item, error in zip(items, errors, strict=True):
        if error is None:
            good.append(item)
        elif isinstance(error, TransientError) and not SEND.exhausted(item.attempts):
            result.later.append((item, SEND.delay(item.attempts, random.random()), error.message))  # noqa: S311 jitter
        else:
            result.failed.append((item, error.message))
    return good
