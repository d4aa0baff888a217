"""The gateway: everything is built here, started in order, and stopped in the reverse order."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT, SIGTERM

import structlog

from gateway.batch.alerts.outbox import HINT as ALERTS_HINT
from gateway.batch.engine.clock import DatabaseClock
from gateway.batch.engine.engine import Engine
from gateway.batch.engine.executor import Executor
from gateway.batch.events.event_jobs import EventJobs
from gateway.batch.events.event_run import Bounds
from gateway.batch.store.ending import task_reaper
from gateway.batch.store.servers import leave_server, register_server
from gateway.config.changes import compare
from gateway.config.definitions import throttle
from gateway.config.load import read
from gateway.config.models import Settings
from gateway.config.models_jobs import Job
from gateway.contracts.task import TaskHandler
from gateway.db.clock import database_clock
from gateway.db.listen import JOBS_HINT, RETRY_HINT, Listener
from gateway.db.open import Store, open_store
from gateway.db.waiting import wait_or_stop
from gateway.exchange import MessageStores
from gateway.kernel.errors import StoreUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.delivery.send import SendStage
from gateway.messaging.flow.port import Ports
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.intake.receive import ReceiveStage
from gateway.messaging.queue.exceptions import record_config_refused
from gateway.messaging.queue.leases import start_incarnation, stop_incarnation
from gateway.messaging.queue.port_health import doubt_ports, forget_health
from gateway.messaging.rules.states import Stage
from gateway.queues import follow_runs
from gateway.runtime.alerts import Alerting
from gateway.runtime.checking import parse_checked
from gateway.runtime.folders import folders_of
from gateway.runtime.heartbeat import keep_leases
from gateway.runtime.identity import refused_identity
from gateway.runtime.in_use import KeptConfig
from gateway.runtime.jobs import keep_jobs, keep_owners, server_name
from gateway.runtime.live_ports import LivePorts, until_stored
from gateway.runtime.logs import configure_logs, secrets_of
from gateway.runtime.ports import SystemClock, documents_of
from gateway.runtime.processing.workers import Workers
from gateway.runtime.reload import ConfigFollower
from gateway.runtime.runnables import Dependencies, PreparedRunnables, shipped
from gateway.runtime.services import Services
from gateway.runtime.stuck import StuckWatch
from gateway.runtime.wakeup import Wakeup, follow_due_times
from gateway.workers.launcher import Launcher
from gateway.xml.pool import ReadersUnavailable, XmlPool

log = structlog.get_logger()

_WHY_NOT_ROOT = (
    "Handlers and the commands of jobs run as root. Whoever can change the configuration, a handler or the database "
    "can do anything on this machine. An ordinary user is enough: run the gateway as one."
)

DISTRIBUTION = "aif-gateway"
_SWITCH_SECONDS = 0.0005
"""A computing thread gives way this soon: the event loop must not wait five milliseconds for each of its turns."""
_WARM_SECONDS = 60.0
DEFAULT_JOB = Job()
"""What counts for an event-driven job that an operator made."""


class Gateway:
    """A running gateway, put together from a configuration. `run` lists its parts in the order of their starts."""

    def __init__(
        self, settings: Settings, config: Path, kept: KeptConfig, *, store: Store, pool: XmlPool, launcher: Launcher,
        stopping: asyncio.Event,
    ) -> None:  # fmt: skip
        self._config = config
        self._kept = kept
        self._store = store
        self._pool = pool
        self._launcher = launcher
        self._stopping = stopping
        self._wakeup = Wakeup()
        self._clock = DatabaseClock(store)
        self._ports = LivePorts(
            settings, site=config.parent, store=store, pool=pool, wakeup=self._wakeup, stopping=stopping
        )
        self._alerting = Alerting(store, self._settings, config.parent)

    def _settings(self) -> Settings:
        return self._ports.now.settings

    async def run(self, ready: asyncio.Event | None) -> None:
        """Open the ports and move messages until a stop is asked for."""
        settings = self._settings()
        async with Services() as services:
            ports = await services.start(self._ports)
            await self._clock.look()
            incarnation = await self._begin_incarnation()
            services.at_end(partial(stop_incarnation, self._store, incarnation))
            await self._keep_jobs(settings)
            server = await register_server(
                self._store, server_name(settings), incarnation, await database_clock(self._store)
            )
            services.at_end(partial(self._leave_server, server, incarnation))
            await doubt_ports(self._store, settings.active_ports())
            stages = Stages(self._store, incarnation, ports.now, self._pool, self._launcher, self._wakeup.stage)
            ports.renewed += [stages.receive.forget, stages.send.forget]
            stages.workers.use(await stages.workers.prepare(settings))
            for port in await ports.make(settings.active_ports(), settings):
                await ports.open(port)
            services.keep("due times", follow_due_times(self._store, self._wakeup))
            services.keep("leases", self._keep_leases(incarnation, stages))
            services.keep("hints", self._listen(stages.workers))
            services.keep("warming", self._warm_readers())
            services.keep(
                "addresses", stages.send.follow_addresses(partial(self._wakeup.stage, Stage.SEND), self._stopping)
            )
            services.keep("stuck", self._watch_stuck())
            services.keep("configuration", self._follow_configuration(stages.workers))
            services.keep("workers", stages.workers.run())
            services.at_end(stages.workers.close)
            jobs = self._event_jobs(server, incarnation, stages)
            engine = self._batch_engine(server, incarnation, stages)
            self._wakeup.begin(jobs, engine)
            services.drain(
                lambda: self._settings().shutdown.drain_seconds, engine.interrupt,
                event_jobs=jobs.run(), engine=engine.run(), alerts=self._alerting.run(self._stopping),
            )  # fmt: skip
            log.info("gateway.started", ports=list(ports.now.all()), incarnation=incarnation, pid=os.getpid())
            if ready is not None:
                ready.set()
            await self._stopping.wait()
            log.info("gateway.stopping")
            ports.follow_none()

    async def _begin_incarnation(self) -> int:
        return await start_incarnation(
            self._store, str(self._store.node), version(DISTRIBUTION), reapers=[task_reaper(self._clock.now)]
        )

    async def _leave_server(self, server: str, incarnation: int) -> None:
        with suppress(StoreUnavailable):
            await leave_server(self._store, server, incarnation)

    def _event_jobs(self, server: str, incarnation: int, stages: "Stages") -> EventJobs:
        def bounds(name: str) -> Bounds:
            job = self._settings().jobs.get(name, DEFAULT_JOB)
            return Bounds(messages=job.max_messages, seconds=job.max_seconds)

        return EventJobs(
            store=self._store, server=server, incarnation=incarnation, clock=self._clock, stages=stages.handlers,
            bounds=bounds, rested=self._wakeup.due.set, stopping=self._stopping,
        )  # fmt: skip

    def _batch_engine(self, server: str, incarnation: int, stages: "Stages") -> Engine:
        parts = Dependencies(
            store=self._store,
            stages=stages.handlers,
            settings=self._settings,
            archives=lambda: {name: port.receive for name, port in self._ports.now.inbound.items()},
            message_stores=MessageStores(
                self._store,
                self._settings,
                threads=lambda name: self._ports.files_of(PortName(f"store {name}")),
                clock=SystemClock(),
            ),
            launcher=self._launcher,
        )
        base = self._config.parent
        executor = Executor(
            self._store,
            self._clock,
            PreparedRunnables(
                shipped(base, lambda: parts),
                environ=os.environ,
                base=base,
                launcher=self._launcher,
                logging=lambda: self._settings().logging,
            ),
            identity=lambda task: refused_identity(self._settings(), task),
            produced=self._wakeup.produced,
        )
        return Engine(
            store=self._store, server=server, incarnation=incarnation, clock=self._clock, executor=executor,
            stopping=self._stopping, throttle=lambda: throttle(self._settings()),
        )  # fmt: skip

    async def _listen(self, workers: Workers) -> None:
        def heard(hint: str | None) -> None:
            """Wake whom a hint is for; None is for everybody."""
            if hint is not None and hint.startswith(RETRY_HINT):
                workers.retry(PortName(hint.removeprefix(RETRY_HINT)))
                self._wakeup.due.set()
            if hint is None or hint == JOBS_HINT:
                self._wakeup.jobs()
            if hint not in {JOBS_HINT, ALERTS_HINT}:
                self._wakeup.stages()
            self._alerting.heard(hint)

        await Listener(self._store.url, heard).run(self._stopping)

    async def _keep_leases(self, incarnation: int, stages: "Stages") -> None:
        def look_again() -> None:
            for name in self._ports.now.inbound:
                stages.receive.forget(name)
            for name in self._ports.now.all():
                stages.send.forget(name)

        def again() -> None:
            self._wakeup.stages()
            self._wakeup.jobs()

        await keep_leases(
            self._store, incarnation, compensated=again, node_lost=look_again, reapers=[task_reaper(self._clock.now)]
        )

    async def _watch_stuck(self) -> None:
        folders = folders_of(self._settings, self._ports.files_of)
        await StuckWatch(self._store, self._settings, folders).run(self._stopping)

    async def _warm_readers(self) -> None:
        """Get the readers ready while nothing else is to be done, now and again after changes and replacements."""
        while not self._stopping.is_set():
            rules = [port.rules for port in self._ports.now.inbound.values() if port.rules.validate]
            if rules:
                try:
                    await self._pool.warm(rules[0], documents_of(self._settings()))
                except ReadersUnavailable as error:
                    log.warning("reader.not_ready", error=error.message)
            await wait_or_stop(self._stopping, _WARM_SECONDS)

    async def _follow_configuration(self, workers: Workers) -> None:
        async def apply(old: Settings, new: Settings, code_changed: bool) -> None:
            await self._apply(old, new, code_changed, workers)

        async def report(problems: Sequence[str]) -> None:
            await record_config_refused(self._store, str(self._config), problems)

        await ConfigFollower(
            self._config,
            self._settings(),
            parse=partial(parse_checked, self._launcher, self._config),
            apply=apply,
            report=report,
            kept=self._kept,
            loaded=lambda: workers.loaded,
        ).run(self._stopping)

    async def _keep_jobs(self, settings: Settings) -> None:
        """Let the store know the jobs and alerts of the configuration; waits for a database that is away."""

        async def keep() -> None:
            await keep_jobs(self._store, settings)
            await self._alerting.keep_rules(settings)

        await until_stored(self._store, keep, self._stopping, part="jobs")

    async def _apply(self, old: Settings, new: Settings, code_changed: bool, workers: Workers) -> None:
        """Take a valid configuration into use: only what changed is touched.

        Rule: everything that may fail comes first, so that a configuration is in use whole or not at all.
        """
        changes = compare(old, new)
        kept = new.model_copy(update={name: getattr(old, name) for name in changes.restart_needed})
        was = set(self._ports.now.all())
        renewed = [name for name in kept.active_ports() if name in changes.changed or name not in was]
        made = await self._ports.make(renewed, kept)
        generation = await workers.prepare(kept) if code_changed or changes.concern_services else None
        try:
            await keep_owners(self._store, old, new)
            await self._keep_jobs(new)
        except BaseException:
            if generation is not None:
                workers.discard(generation)
            raise
        self._ports.now.settings = kept
        for name in was - set(kept.active_ports()):
            self._ports.close(name)
        for port in made:
            await self._ports.open(port)
        if generation is not None:
            workers.use(generation)
        with suppress(StoreUnavailable):  # then the next try of a port decides
            for name in await forget_health(self._store, renewed):
                log.info("port.resumed", port=name)
        configure_logs(kept.logging, secrets_of(kept))


class Stages:
    """The four stages that move messages: two in this process, two in processing workers."""

    def __init__(
        self, store: Store, incarnation: int, ports: Ports, pool: XmlPool, launcher: Launcher,
        wake: Callable[[Stage], None],
    ) -> None:  # fmt: skip
        workers = ports.settings.workers
        trouble = PortHealth(store, incarnation)
        self.receive = ReceiveStage(
            store=store, incarnation=incarnation, ports=ports, pool=pool, readers=workers.xml, trouble=trouble
        )
        self.workers = Workers(launcher=launcher, store=store, incarnation=incarnation, trouble=trouble, wake=wake)
        self.send = SendStage(store=store, incarnation=incarnation, ports=ports, chunk=workers.chunk, trouble=trouble)
        self.handlers: Mapping[Stage, TaskHandler] = {
            Stage.RECEIVE: self.receive,
            Stage.INBOUND: self.workers.stage(Stage.INBOUND),
            Stage.OUTBOUND: self.workers.stage(Stage.OUTBOUND),
            Stage.SEND: self.send,
        }


def _tune_gc() -> None:
    """Set aside what lives as long as the process: walking it again and again would hold the event loop."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)


async def serve(config: Path, launcher: Launcher, *, ready: asyncio.Event | None = None) -> None:
    """Run the gateway on a configuration file until SIGTERM or SIGINT; a second signal ends it at once.

    The launcher ends with it. Raises: ConfigError, StoreRefused and other GatewayErrors when it cannot start; each
    says what to do.
    """
    with closing(launcher):
        await _serve(config, launcher, ready)


async def _serve(config: Path, launcher: Launcher, ready: asyncio.Event | None) -> None:
    config = config.absolute()
    content = await asyncio.to_thread(read, config)
    settings = await parse_checked(launcher, config, content)
    configure_logs(settings.logging, secrets_of(settings))
    if os.geteuid() == 0:
        log.warning("gateway.runs_as_root", why=_WHY_NOT_ROOT)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    sys.setswitchinterval(_SWITCH_SECONDS)

    def ask_to_stop() -> None:
        if stopping.is_set():
            log.warning("gateway.aborted")
            os._exit(130)  # every step is safe to be cut off: the next start goes on from the store
        stopping.set()

    for number in (SIGTERM, SIGINT):
        loop.add_signal_handler(number, ask_to_stop)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(XmlPool(size=settings.workers.xml))
        with suppress(ReadersUnavailable):  # whoever needs a reader tries again, and says so
            await pool.begin()
        store = await stack.enter_async_context(open_store(settings.store, settings.data, pool_size=10))
        follow_runs(store)
        kept = await asyncio.to_thread(KeptConfig, settings.data, config, content)
        _tune_gc()
        await Gateway(settings, config, kept, store=store, pool=pool, launcher=launcher, stopping=stopping).run(ready)
        log.info("gateway.stopped")
