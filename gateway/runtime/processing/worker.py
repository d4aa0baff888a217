"""What a processing worker does from its beginning to its end: the inbound and the outbound stage."""

import asyncio
import faulthandler
import gc
import os
import pickle
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from gateway.config.models import InboundPort, OutboundPort, Settings
from gateway.contracts.task import Tally, TaskContext, TaskHandler
from gateway.db.data_folder import Use
from gateway.db.open import Schema, Store, open_store
from gateway.kernel.errors import GatewayError, StoreUnavailable
from gateway.kernel.faultpoints import belongs_to
from gateway.kernel.ids import PortName
from gateway.messaging.flow.port import ServedInbound, ServedOutbound
from gateway.messaging.processing.inbound import InboundStage
from gateway.messaging.processing.outbound import OutboundStage
from gateway.messaging.queue.leases import EXTEND_SECONDS, beat, start_worker
from gateway.messaging.rules.states import Stage
from gateway.messaging.services.in_flight import InFlightJournal
from gateway.messaging.services.usercode import UserCode
from gateway.runtime.code_files import Signature, loaded_besides
from gateway.runtime.logs import configure_logs, secrets_of
from gateway.runtime.plugins import build_registry
from gateway.runtime.ports import serve_inbound, serve_outbound
from gateway.workers.link import Link, Message
from gateway.xml.pool import XmlPool

log = structlog.get_logger()

CONNECTIONS: Final = 10
_SWITCH_SECONDS: Final = 0.0005
"""A computing thread gives way this soon: the event loop must not wait five milliseconds for each of its turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a worker has to know. It travels over the link alone: there are secrets in it.

    `store` is the address of the database, `parent` the number of the gateway's start, `gateway` its process; `only`
    are the ports it serves; None: all of them, `but` some.
    """

    settings: Settings
    store: str
    parent: int
    gateway: int
    only: frozenset[PortName] | None = None
    but: frozenset[PortName] = frozenset()


def work(connection: socket.socket, descriptors: Sequence[int]) -> None:
    """Be a worker until the gateway hangs up (`gateway.workers.forking.Role`); the descriptor is of its page."""
    for number in (signal.SIGTERM, signal.SIGINT):  # told to a whole group of processes: the gateway says when to end
        signal.signal(number, lambda *_: None)

    async def to_the_end() -> None:
        await _work(connection, InFlightJournal(descriptors[0]))
        os._exit(0)  # code that does not come back, on the loop or in a thread, is not waited for

    asyncio.run(to_the_end())


async def _work(connection: socket.socket, journal: InFlightJournal) -> None:
    link = await Link.over(connection)
    first = await link.receive()
    if first is None:
        return
    beginning: Beginning = pickle.loads(first.body)  # noqa: S301  # of the gateway itself, over a socket nobody else has
    settings = beginning.settings
    configure_logs(settings.logging, secrets_of(settings))
    belongs_to(beginning.gateway)
    sys.setswitchinterval(_SWITCH_SECONDS)
    faulthandler.enable()  # the stacks of a worker that has to be ended tell why
    journal.watch_loop()
    async with AsyncExitStack() as stack:
        try:
            worker = await _make(beginning, link, journal, stack)
        except StoreUnavailable as error:
            link.tell("waits", error.message)
            return
        except GatewayError as error:
            link.tell("refused", error.message)
            return
        await worker.serve()


async def _make(beginning: Beginning, link: Link, journal: InFlightJournal, stack: AsyncExitStack) -> "Worker":
    settings = beginning.settings
    store = await stack.enter_async_context(
        open_store(beginning.store, settings.data, pool_size=CONNECTIONS, use=Use.VISIT, schema=Schema.IGNORE)
    )
    before = frozenset(sys.modules)
    registry = build_registry(settings, UserCode(journal, lambda: link.tell("abandoned")))
    ports = ServedPorts(settings, only=beginning.only, but=beginning.but)
    executor = stack.enter_context(ThreadPoolExecutor(2, thread_name_prefix="computing"))
    pool = await stack.enter_async_context(XmlPool(size=1))
    incarnation = await start_worker(store, beginning.parent, os.getpid())
    health = _Health(link)
    chunk = settings.workers.chunk

    def hand_over(port: PortName) -> bool:
        if beginning.only is not None:
            return False
        ports.leave(port)
        link.tell("suspect", port)
        return True

    inbound = InboundStage(
        store=store, incarnation=incarnation, ports=ports, registry=registry, pool=pool, executor=executor,
        trouble=health, chunk=chunk, hand_over=hand_over,
    )  # fmt: skip
    outbound = OutboundStage(
        store=store, incarnation=incarnation, ports=ports, registry=registry, executor=executor,
        trouble=health, chunk=chunk, hand_over=hand_over,
    )  # fmt: skip
    gc.collect()
    gc.freeze()
    return Worker(link, store, incarnation, ports, inbound, outbound, loaded_besides(before))


class ServedPorts:
    """The ports that this worker serves (`gateway.messaging.flow.port.Served`): all of them but some, or only some."""

    def __init__(self, settings: Settings, *, only: frozenset[PortName] | None, but: frozenset[PortName]) -> None:
        self.settings = settings
        self.inbound: dict[PortName, ServedInbound] = {}
        self.outbound: dict[PortName, ServedOutbound] = {}
        for name in settings.active_ports():
            if name not in but if only is None else name in only:
                self.join(name)

    def join(self, name: PortName) -> None:
        """Serve a port, too."""
        match self.settings.ports[name]:
            case InboundPort():
                self.inbound[name] = serve_inbound(name, self.settings)
            case OutboundPort():
                self.outbound[name] = serve_outbound(name, self.settings)

    def leave(self, name: PortName) -> None:
        """Serve a port no more."""
        self.inbound.pop(name, None)
        self.outbound.pop(name, None)


class _Health:
    """What the stages say of their ports goes to the gateway, when it has changed (`port_state.Health`)."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._said: dict[tuple[str, ...], str | None] = {}

    async def stopped(self, port: PortName, reason: str | None) -> None:
        """Say that requests of the port are not processed for now (None: they are)."""
        self._say(("stopped", port), reason)

    async def waits_for_store(self, port: PortName, stage: Stage, reason: str | None) -> None:
        """Say that a stage can do nothing for the port until the database can (None: it does)."""
        self._say(("waits_for_store", port, stage), reason)

    def _say(self, what: tuple[str, ...], reason: str | None) -> None:
        if self._said.get(what) != reason:
            self._said[what] = reason
            self._link.tell(*what, reason)


class _Counts(Tally):
    """A tally kept by the gateway."""

    def __init__(self, link: Link, run: int) -> None:
        super().__init__()
        self._link = link
        self._run = run

    def add(self, what: str, number: int = 1) -> None:
        if number:
            self._link.tell("counted", self._run, what, number)


@dataclass(slots=True)
class _Feed:
    """The input of one run of a stage as the gateway tells of it (`gateway.contracts.task.Feed`)."""

    link: Link
    run: int
    is_hinted: bool = False
    is_over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    closed: bool = False  # both are asked only by those who take files
    once: bool = False

    async def more(self) -> bool:
        """Say that nothing is left to do here; whether more comes the gateway knows."""
        if not self.is_hinted:
            self.link.tell("rests", self.run)
        while not (self.is_hinted or self.is_over):
            await self._change()
        return self._take_hint()

    async def hinted(self) -> None:
        """Wait for the next hint."""
        while not self._take_hint():
            await self._change()

    def produced(self) -> None:
        """Tell those behind that there is input for them."""
        self.link.tell("produced", self.run)

    def hint(self) -> None:
        """Take a hint of the gateway in."""
        self.is_hinted = True
        self.changed.set()

    def end(self) -> None:
        """Hear that nothing comes any more."""
        self.is_over = True
        self.changed.set()

    async def _change(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    def _take_hint(self) -> bool:
        taken, self.is_hinted = self.is_hinted, False
        return taken


@dataclass(slots=True)
class _Run:
    feed: _Feed
    stopping: asyncio.Event
    task: asyncio.Task[None]


class Worker:
    """Does what the gateway says, until that hangs up."""

    def __init__(
        self, link: Link, store: Store, incarnation: int, ports: ServedPorts, inbound: InboundStage,
        outbound: OutboundStage, loaded: Mapping[str, Signature],
    ) -> None:  # fmt: skip
        self._link = link
        self._loaded = loaded
        self._store = store
        self._incarnation = incarnation
        self._ports = ports
        self._inbound = inbound
        self._stages: Mapping[str, TaskHandler] = {Stage.INBOUND: inbound, Stage.OUTBOUND: outbound}
        self._runs: dict[int, _Run] = {}

    async def serve(self) -> None:
        """Say that this worker is ready, and do what is asked for."""
        self._link.tell("ready", self._incarnation, self._loaded)
        beating = asyncio.create_task(self._beat(), name="beats")
        async for message in self._link.messages():
            if message.kind == "quit":
                break
            self._hear(message)
        beating.cancel()
        for run in self._runs.values():
            run.task.cancel()
        await asyncio.gather(*(run.task for run in self._runs.values()), return_exceptions=True)

    def _hear(self, message: Message) -> None:
        match message.kind, message.fields:
            case "run", (int(number), str(stage), str(task), str(job)):
                self._begin(number, stage, task, job)
            case "hint", (int(number),) if number in self._runs:
                self._runs[number].feed.hint()
            case "over", (int(number),) if number in self._runs:
                self._runs[number].feed.end()
            case "stop", (int(number),) if number in self._runs:
                self._runs[number].stopping.set()
                self._runs[number].feed.end()
            case "cancel", (int(number),) if number in self._runs:
                self._runs[number].task.cancel()
            case "leave", (str(port),):
                self._ports.leave(PortName(port))
            case "join", (str(port),):
                self._ports.join(PortName(port))
            case "retry", (str(port),):
                self._inbound.try_now(PortName(port))

    def _begin(self, number: int, stage: str, task: str, job: str) -> None:
        feed, stopping = _Feed(self._link, number), asyncio.Event()
        context = TaskContext(task=task, feed=feed, stopping=stopping, tally=_Counts(self._link, number), job=job)
        running = asyncio.create_task(self._run(number, self._stages[stage], context), name=f"{stage}:{number}")
        self._runs[number] = _Run(feed, stopping, running)

    async def _run(self, number: int, stage: TaskHandler, context: TaskContext) -> None:
        error: str | None = None
        try:
            await stage.run(context)
        except Exception as failure:  # a bug of ours: it ends the run, not the worker
            log.exception("run.failed", job=context.job)
            error = f"{type(failure).__name__}: {failure}"
        finally:
            del self._runs[number]
            self._link.tell("ended", number, error)

    async def _beat(self) -> None:
        """Beat for what is worked on; who works on nothing writes nothing."""
        while True:
            await asyncio.sleep(EXTEND_SECONDS)
            if self._store.held:
                with suppress(StoreUnavailable):
                    await beat(self._store, self._incarnation)
