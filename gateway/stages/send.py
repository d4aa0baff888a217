"""Send: responses become files, each exactly once.

Order: stage and flush, promise (commit), publish by rename, record (commit). The table of crash points is in
the architecture notes; the absence of a promised staged file is the proof that it was published.
"""

import random
from collections.abc import Sequence
from contextlib import suppress

import structlog

from gateway.contracts.adapter import SendAdapter
from gateway.contracts.task import TaskContext
from gateway.domain.delivery import Outgoing, Promise
from gateway.domain.errors import AdapterUnavailable, GatewayError, LeaseLost, TransientError
from gateway.domain.faultpoints import reach
from gateway.domain.ids import MessageKey
from gateway.domain.message import Claimed, Sending
from gateway.domain.retry import SEND
from gateway.domain.states import Stage
from gateway.stages.port import OpenPort, Ports
from gateway.stages.runner import ChunkRunner
from gateway.stages.trouble import Trouble
from gateway.store.open import Store
from gateway.store.outbound import SendResult, claim_outbound, promise_staged, record_outbound

log = structlog.get_logger()


class SendStage:
    """The task that delivers queued responses."""

    def __init__(self, *, store: Store, incarnation: int, ports: Ports, chunk: int, trouble: Trouble) -> None:
        self._store = store
        self._incarnation = incarnation
        self._ports = ports
        self._chunk = chunk
        self._trouble = trouble
        self._doubtful: dict[MessageKey, str] = {}  # staged files whose promise is not answered yet

    async def run(self, context: TaskContext) -> None:
        """Deliver responses until none is left and none can come."""
        runner: ChunkRunner[OpenPort, Sending] = ChunkRunner(
            stage=Stage.SEND,
            store=self._store,
            ports=self._ports.all,
            claim=lambda port: claim_outbound(self._store, self._incarnation, port, self._chunk),
            work=self._deliver,
            side_by_side=2,
        )
        await runner.run(context)

    async def _deliver(self, port: OpenPort, chunk: Claimed[Sending], context: TaskContext) -> None:
        result = SendResult(logging=port.logging)
        if port.send is None:  # its answers were queued before the port stopped responding
            text = f"The port '{port.name}' has no outbound folder any more (respond)."
            result.later += [(item, SEND.most_seconds, text) for item in chunk.items]
        else:
            await self._deliver_to(port.send, chunk, result)
        reach("send.before_sent")
        await record_outbound(self._store, chunk.fence, result)
        reach("send.after_sent")
        await self._tell(port, result, context)

    async def _deliver_to(self, adapter: SendAdapter, chunk: Claimed[Sending], result: SendResult) -> None:
        await self._discard_doubtful(adapter, chunk)
        promised = [item for item in chunk.items if item.staged_name is not None]
        fresh = [item for item in chunk.items if item.staged_name is None]
        names = {item.key: f"{item.file_name}.{chunk.fence}.tmp" for item in fresh}
        errors = await adapter.stage(
            [Outgoing(staged_name=names[i.key], final_name=i.file_name, content=i.content) for i in fresh]
        )
        staged = _sort_out(fresh, errors, result)
        if staged:
            self._doubtful |= {item.key: names[item.key] for item in staged}
            reach("send.before_promise")
            try:
                await promise_staged(self._store, chunk.fence, [(item.key, names[item.key]) for item in staged])
            except LeaseLost:
                await adapter.discard([names[item.key] for item in staged])
                raise
            for item in staged:
                self._doubtful.pop(item.key, None)
            reach("send.after_promise")
        ready = staged + promised
        promises = [
            Promise(staged_name=item.staged_name or names[item.key], final_name=item.file_name) for item in ready
        ]
        errors = await adapter.publish(promises)
        result.sent += _sort_out(ready, errors, result)

    async def _discard_doubtful(self, adapter: SendAdapter, chunk: Claimed[Sending]) -> None:
        """Remove what an earlier attempt staged and did not get promised.

        A new claim decides it: the row names the file, or its fence has changed and no late commit can name it.
        """
        staged = [(item.staged_name, self._doubtful.pop(item.key, None)) for item in chunk.items]
        left = [doubtful for promised, doubtful in staged if doubtful is not None and doubtful != promised]
        with suppress(AdapterUnavailable):  # found by the next start
            await adapter.discard(left)

    async def _tell(self, port: OpenPort, result: SendResult, context: TaskContext) -> None:
        context.tally.add("responses", len(result.sent))
        context.tally.add("failed", len(result.failed))
        context.tally.add("postponed", len(result.later))
        log.info(
            "responses.sent", port=port.name, stage="send", sent=len(result.sent), postponed=len(result.later),
            failed=len(result.failed),
        )  # fmt: skip
        if result.later:
            await self._trouble.degraded(port.name, result.later[0][2])
        elif result.sent:
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
