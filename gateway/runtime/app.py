"""The gateway: everything is built here, started in order, and stopped in the reverse order."""

import asyncio
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT, SIGTERM

import structlog

from adapters.file.identity import Identities
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
from gateway.messaging.flow.port import OpenInbound, OpenPort, Ports
from gateway.messaging.flow.port_state import Trouble
from gateway.messaging.intake.receive import ReceiveStage
from gateway.messaging.queue.config_refused import record_config_refused
from gateway.messaging.queue.lanes import set_port_rule
from gateway.messaging.queue.leases import start_incarnation, stop_incarnation
from gateway.messaging.queue.port_health import doubt_ports, forget_health
from gateway.messaging.rules.states import Stage
from gateway.queues import follow_runs
from gateway.runtime.alerts import Alerting
from gateway.runtime.checking import parse_checked
from gateway.runtime.identity import refused_identity
from gateway.runtime.in_use import KeptConfig
from gateway.runtime.jobs import keep_jobs, keep_owners, server_name
from gateway.runtime.life import keep_leases
from gateway.runtime.logs import configure_logs, secrets_of
from gateway.runtime.look import folders_of
from gateway.runtime.ports import SystemClock, documents_of, open_port, prepare_folders
from gateway.runtime.processing.workers import Workers
from gateway.runtime.reload import ConfigFollower
from gateway.runtime.runnables import Parts, PreparedRunnables, shipped
from gateway.runtime.stuck import StuckWatch
from gateway.runtime.wakeup import Followers, follow_due_times
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
    """A running gateway, put together from a configuration."""

    def __init__(
        self, settings: Settings, store: Store, incarnation: int, pool: XmlPool, threads: AsyncExitStack,
        stopping: asyncio.Event, config: Path, kept: KeptConfig, launcher: Launcher,
    ) -> None:  # fmt: skip
        self._config = config
        self._kept = kept
        self._store = store
        self._incarnation = incarnation
        self._pool = pool
        self._threads = threads
        self._files: dict[PortName, ThreadPoolExecutor] = {}
        self._stopping = stopping
        self._look = asyncio.Event()
        self._trouble = Trouble(store, incarnation)
        self._ports = Ports(settings)
        self._identities = Identities()
        self._receive = ReceiveStage(
            store=store,
            incarnation=incarnation,
            ports=self._ports,
            pool=pool,
            readers=settings.workers.xml,
            trouble=self._trouble,
        )
        self._launcher = launcher
        self._workers = Workers(
            launcher=launcher, store=store, incarnation=incarnation, trouble=self._trouble, wake=self._wake
        )
        self._send = SendStage(
            store=store, incarnation=incarnation, ports=self._ports, chunk=settings.workers.chunk, trouble=self._trouble
        )
        self._stages: Mapping[Stage, TaskHandler] = {
            Stage.RECEIVE: self._receive,
            Stage.INBOUND: self._workers.stage(Stage.INBOUND),
            Stage.OUTBOUND: self._workers.stage(Stage.OUTBOUND),
            Stage.SEND: self._send,
        }
        self._alerting = Alerting(store, lambda: self._ports.settings, config.parent)
        self._clock = DatabaseClock(store)
        self._jobs: EventJobs | None = None
        self._engine: Engine | None = None

    async def run(self, ready: asyncio.Event | None) -> None:
        """Open the ports and move messages until a stop is asked for."""
        async with asyncio.TaskGroup() as group:
            followers = Followers(group, lambda: self._wake(Stage.RECEIVE))
            await self._keep_jobs(self._ports.settings)
            server = await register_server(
                self._store, server_name(self._ports.settings), self._incarnation, await database_clock(self._store)
            )
            await doubt_ports(self._store, self._ports.settings.active_ports())
            self._workers.use(await self._workers.prepare(self._ports.settings))
            for port in await self._make_ports(self._ports.settings.active_ports(), self._ports.settings):
                await self._open(port, followers)

            async def apply(old: Settings, new: Settings, code_changed: bool) -> None:
                await self._apply(old, new, code_changed, followers)

            beside = [
                group.create_task(follow_due_times(self._store, self._wake, self._look), name="due times"),
                group.create_task(self._keep_leases(), name="leases"),
                group.create_task(self._listen(), name="hints"),
                group.create_task(self._warm_readers(), name="warming"),
                group.create_task(self._workers.run(), name="workers"),
                group.create_task(
                    self._send.follow_addresses(lambda: self._wake(Stage.SEND), self._stopping), name="addresses"
                ),
                group.create_task(self._watch_stuck(), name="stuck"),
                group.create_task(
                    ConfigFollower(
                        self._config,
                        self._ports.settings,
                        parse=partial(parse_checked, self._launcher, self._config),
                        apply=apply,
                        report=self._report_refusal,
                        kept=self._kept,
                        loaded=lambda: self._workers.loaded,
                    ).run(self._stopping),
                    name="configuration",
                ),
            ]
            self._jobs = self._event_jobs(server)
            self._engine = self._batch_engine(server)
            working = [
                group.create_task(self._jobs.run(), name="event jobs"),
                group.create_task(self._engine.run(), name="engine"),
                group.create_task(self._alerting.run(self._stopping), name="alerts"),
            ]
            log.info("gateway.started", ports=list(self._ports.all()), incarnation=self._incarnation, pid=os.getpid())
            if ready is not None:
                ready.set()
            await self._stopping.wait()
            log.info("gateway.stopping")
            followers.leave_all()
            drain_seconds = self._ports.settings.shutdown.drain_seconds
            _, unfinished = await asyncio.wait(working, timeout=drain_seconds)
            if unfinished:
                log.warning("gateway.drain_over", drain_seconds=drain_seconds)
                if self._engine is not None:
                    await self._engine.interrupt()
            for task in unfinished:
                task.cancel()
            await asyncio.wait(working)
            await self._workers.close()
            for task in beside:
                task.cancel()
            with suppress(StoreUnavailable):
                await leave_server(self._store, server, self._incarnation)

    def _event_jobs(self, server: str) -> EventJobs:
        def bounds(name: str) -> Bounds:
            job = self._ports.settings.jobs.get(name, DEFAULT_JOB)
            return Bounds(messages=job.max_messages, seconds=job.max_seconds)

        return EventJobs(
            store=self._store, server=server, incarnation=self._incarnation, clock=self._clock, stages=self._stages,
            bounds=bounds, rested=self._look.set, stopping=self._stopping,
        )  # fmt: skip

    def _batch_engine(self, server: str) -> Engine:
        parts = Parts(
            store=self._store,
            stages=self._stages,
            settings=lambda: self._ports.settings,
            archives=lambda: {name: port.receive for name, port in self._ports.inbound.items()},
            message_stores=MessageStores(
                self._store,
                lambda: self._ports.settings,
                threads=lambda name: self._files_of(PortName(f"store {name}")),
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
                logging=lambda: self._ports.settings.logging,
            ),
            identity=lambda task: refused_identity(self._ports.settings, task),
            produced=self._produced,
        )
        return Engine(
            store=self._store, server=server, incarnation=self._incarnation, clock=self._clock, executor=executor,
            stopping=self._stopping, throttle=lambda: throttle(self._ports.settings),
        )  # fmt: skip

    def _produced(self, handler: str) -> None:
        """Let the event-driven jobs know of what a task of another job has made."""
        if self._jobs is not None and handler in set(Stage):
            self._jobs.produced(Stage(handler))

    def _wake(self, stage: Stage) -> None:
        if self._jobs is not None:
            self._jobs.wake(stage)

    def _wake_all(self) -> None:
        for stage in Stage:
            self._wake(stage)

    def _wake_jobs(self) -> None:
        if self._jobs is not None and self._engine is not None:
            self._jobs.look_again()
            self._engine.wake()

    def _heard(self, hint: str | None) -> None:
        """Wake whom a hint is for; None is for everybody."""
        if hint is not None and hint.startswith(RETRY_HINT):
            self._workers.retry(PortName(hint.removeprefix(RETRY_HINT)))
            self._look.set()
        if hint is None or hint == JOBS_HINT:
            self._wake_jobs()
        if hint not in {JOBS_HINT, ALERTS_HINT}:
            self._wake_all()
        self._alerting.heard(hint)

    async def _listen(self) -> None:
        await Listener(self._store.url, self._store.queries, self._heard).run(self._stopping)

    async def _keep_leases(self) -> None:
        def look_again() -> None:
            for name in self._ports.inbound:
                self._receive.forget(name)
            for name in self._ports.all():
                self._send.forget(name)

        def again() -> None:
            self._wake_all()
            self._wake_jobs()

        await keep_leases(
            self._store, self._incarnation, compensated=again, node_lost=look_again,
            reapers=[task_reaper(self._clock.now)],
        )  # fmt: skip

    async def _watch_stuck(self) -> None:
        folders = folders_of(lambda: self._ports.settings, self._files_of)
        await StuckWatch(self._store, lambda: self._ports.settings, folders).run(self._stopping)

    async def _warm_readers(self) -> None:
        """Get the readers ready while nothing else is to be done, now and again after changes and replacements."""
        while not self._stopping.is_set():
            rules = [port.rules for port in self._ports.inbound.values() if port.rules.validate]
            if rules:
                try:
                    await self._pool.warm(rules[0], documents_of(self._ports.settings))
                except ReadersUnavailable as error:
                    log.warning("reader.not_ready", error=error.message)
            await wait_or_stop(self._stopping, _WARM_SECONDS)

    async def _make_ports(self, names: Sequence[PortName], settings: Settings) -> Sequence[OpenPort]:
        """Make ports side by side: the folders of some may hang."""
        return await asyncio.gather(*(self._make_port(name, settings) for name in names))

    async def _make_port(self, name: PortName, settings: Settings) -> OpenPort:
        await prepare_folders(name, settings, self._config.parent, self._files_of(name))
        return await asyncio.to_thread(
            open_port, name, settings, executor=self._files_of(name), pool=self._pool, identities=self._identities
        )

    async def _open(self, port: OpenPort, followers: Followers) -> None:
        name = port.name
        self._identities.forget(name)
        if isinstance(port, OpenInbound):
            await self._rule_lanes(port)
        followers.leave(name)
        self._ports.add(port)
        self._receive.forget(name)
        self._send.forget(name)
        if isinstance(port, OpenInbound):
            followers.follow(port)
        else:
            self._wake(Stage.OUTBOUND)
        log.info("port.opened", port=name)

    async def _rule_lanes(self, port: OpenInbound) -> None:
        """Let the lanes of a port go by its setting, also those that have work; waits for a database that is away."""
        while not self._stopping.is_set():
            try:
                if changed := await set_port_rule(self._store, port.name, port.settings.process.on_lane_error):
                    log.info("lanes.changed", port=port.name, rule=port.settings.process.on_lane_error, lanes=changed)
                    self._wake(Stage.INBOUND)
            except StoreUnavailable as error:
                log.warning("store.unavailable", part="lanes", port=port.name, error=error.message)
                await self._store.wait_until_available(self._stopping)
            else:
                return

    async def _keep_jobs(self, settings: Settings) -> None:
        """Let the store know the jobs and alerts of the configuration; waits for a database that is away."""
        while not self._stopping.is_set():
            try:
                await keep_jobs(self._store, settings)
                await self._alerting.keep_rules(settings)
            except StoreUnavailable as error:
                log.warning("store.unavailable", part="jobs", error=error.message)
                await self._store.wait_until_available(self._stopping)
            else:
                return

    def _files_of(self, name: PortName) -> ThreadPoolExecutor:
        """Return the threads for the folders of a port: its own, so that a hanging share holds up nobody else."""
        if name not in self._files:
            threads = ThreadPoolExecutor(self._ports.settings.workers.threads, thread_name_prefix=f"files-{name}")
            self._files[name] = self._threads.enter_context(threads)
        return self._files[name]

    async def _apply(self, old: Settings, new: Settings, code_changed: bool, followers: Followers) -> None:
        """Take a valid configuration into use: only what changed is touched.

        Rule: everything that may fail comes first, so that a configuration is in use whole or not at all.
        """
        changes = compare(old, new)
        kept = new.model_copy(update={name: getattr(old, name) for name in changes.restart_needed})
        was = set(self._ports.all())
        renewed = [name for name in kept.active_ports() if name in changes.changed or name not in was]
        ports = await self._make_ports(renewed, kept)
        workers = await self._workers.prepare(kept) if code_changed or changes.concern_services else None
        try:
            await keep_owners(self._store, old, new)
            await self._keep_jobs(new)
        except BaseException:
            if workers is not None:
                self._workers.discard(workers)
            raise
        self._ports.settings = kept
        for name in was - set(kept.active_ports()):
            followers.leave(name)
            self._ports.remove(name)
            self._identities.forget(name)
            log.info("port.closed", port=name)
        for port in ports:
            await self._open(port, followers)
        if workers is not None:
            self._workers.use(workers)
        with suppress(StoreUnavailable):  # then the next try of a port decides
            for name in await forget_health(self._store, renewed):
                log.info("port.resumed", port=name)
        configure_logs(kept.logging, secrets_of(kept))

    async def _report_refusal(self, problems: Sequence[str]) -> None:
        await record_config_refused(self._store, str(self._config), problems)


def _calm_the_collector() -> None:
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
        clock = DatabaseClock(store)
        await clock.look()
        incarnation = await start_incarnation(
            store, str(store.node), version(DISTRIBUTION), reapers=[task_reaper(clock.now)]
        )
        _calm_the_collector()
        gateway = Gateway(settings, store, incarnation, pool, stack, stopping, config, kept, launcher)
        await gateway.run(ready)
        await stop_incarnation(store, incarnation)
        log.info("gateway.stopped")
