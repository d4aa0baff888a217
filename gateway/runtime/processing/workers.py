"""The processes that run services: so many for all ports, and one each for ports whose code has done harm.

they begin         by fork, with one page of memory that tells what they have in hand; ports wait until one is ready
one dies           what it had claimed is ready again at once; who is to blame is counted, nobody else
its loop stands    another one takes its place; the port whose code holds it gets a worker of its own; after ten seconds
                   it is ended, and that was a try of the message whose code held it
code in it hangs   another one takes its place when it is ready; this one ends what else it has begun, then itself
it grows           it is ended when it holds more than `workers.memory_bytes`, or when it is idle above half of that
a configuration    is tried by new workers; when all are ready the earlier ones end what they have begun
the gateway ends   so do they
"""

import asyncio
import os
import pickle
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from gateway.config.models import Settings
from gateway.contracts.task import TaskContext, TaskHandler
from gateway.db.open import Store
from gateway.db.waiting import wait_or_stop
from gateway.kernel.errors import GatewayError, StoreUnavailable
from gateway.kernel.ids import MessageKey, PortName
from gateway.kernel.retry import Backoff
from gateway.messaging.flow.port_state import PortHealth
from gateway.messaging.queue.leases import end_worker
from gateway.messaging.queue.poison import Crash, count_crashes, note_held_loop, ports_of
from gateway.messaging.rules.states import Stage
from gateway.messaging.services.in_flight import NOBODY, InFlightJournal
from gateway.messaging.services.python import HandlerNotFound
from gateway.runtime.code_files import Signature
from gateway.runtime.processing.handle import Generation, WorkerHandle
from gateway.runtime.processing.stages import Runs
from gateway.runtime.processing.watch import LOOK_SECONDS, Finding, Watch
from gateway.runtime.processing.worker import Beginning
from gateway.workers.launcher import Launcher, ending
from gateway.workers.link import Link, Message

log = structlog.get_logger()

ROLE: Final = "processing"
MOST_APART: Final = 4
"""Workers for ports whose code has done harm: each may hold connections. More such ports share the last one."""
READY_SECONDS: Final = 60.0
QUIT_SECONDS: Final = 5.0
_LAST_WORDS_SECONDS: Final = 1.0
_SHORT_LIFE_SECONDS: Final = 10.0
_SHORT_LIFE: Final = Backoff(first_seconds=0.1, most_seconds=2.0)
"""After ends of workers that were ready and lived for a moment only; they may have done something in it."""
_CANNOT_START: Final = Backoff(first_seconds=1.0, most_seconds=60.0)
"""Until it is tried again to start one that does not get ready."""
_NOT_READY: Final = -1


class WorkerNotReady(GatewayError):
    """A worker ended, or said nothing, while it loaded services and handlers."""

    code = "worker.not-ready"


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stage that workers carry out (`gateway.contracts.task.TaskHandler`)."""

    workers: "Workers"
    stage: Stage

    async def run(self, context: TaskContext) -> None:
        """Carry it out until nothing is left and nothing comes, or a stop is asked for. Raises: StageFailed."""
        await self.workers.carry_out(self.stage, context)


class Workers:
    """The processing workers of one gateway. `wake` is called when others serve from now on, and when what a dead one
    had in hand is ready again."""

    def __init__(
        self, *, launcher: Launcher, store: Store, incarnation: int, trouble: PortHealth, wake: Callable[[Stage], None]
    ) -> None:
        self._launcher = launcher
        self._store = store
        self._incarnation = incarnation
        self._trouble = trouble
        self._wake = wake
        self._runs = Runs()
        self._all: set[WorkerHandle] = set()
        self._current: Generation | None = None
        self._watch = Watch()
        self._short_lives = 0
        self._stopping = asyncio.Event()
        self._beside: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stage(self, stage: Stage) -> TaskHandler:
        """Return a stage for the scheduler."""
        return _Stage(self, stage)

    async def carry_out(self, stage: Stage, context: TaskContext) -> None:
        """Carry a stage out with all workers there are meanwhile. Raises: StageFailed."""
        await self._runs.run(stage, context, self._serving())

    def retry(self, port: PortName) -> None:
        """Let a stopped port try its next request at once: an operator says that the cause is mended."""
        for worker in self._serving():
            worker.tell("retry", port)

    @property
    def loaded(self) -> Mapping[str, Signature]:
        """Return the files with code of the users that serve now, as they were when they were loaded."""
        return {} if self._current is None else self._current.loaded

    async def prepare(self, settings: Settings) -> Generation:
        """Start workers with a configuration, which do nothing until `use`.

        Raises: HandlerNotFound; WorkerNotReady; NotLaunched; StoreUnavailable. Nothing is left then.
        """
        generation = Generation(settings=settings)
        begun: list[WorkerHandle] = []
        try:
            for _ in range(settings.workers.processes):
                begun.append(await self._launch(generation))
                generation.workers.append(begun[-1])
            for worker in begun:  # also one that has ended by now
                await self._until_ready(worker)
        except BaseException:
            self.discard(generation)
            raise
        return generation

    def discard(self, generation: Generation) -> None:
        """End workers whose configuration is not going to be used."""
        for worker in generation.workers:
            worker.leaves = True
            worker.kill("its configuration is not used")

    def use(self, generation: Generation) -> None:
        """Let these workers serve from now on; earlier ones end what they have begun."""
        earlier = [worker for worker in self._all if worker.generation is not generation]
        self._current = generation
        for worker in generation.workers:
            self._runs.open(worker)
        for _ in range(generation.settings.workers.processes - len(generation.workers)):  # died since they were ready
            self._spawn(self._replace(generation, None, 0.0), "worker in place of one that did not come to serve")
        for worker in earlier:
            self._retire(worker)
        self._wake_all()  # what came for a new port was nobody's until now

    async def run(self) -> None:
        """Watch over them until `close`.

        Raises: GatewayError when no process can be started any more; what is a bug of ours.
        """
        while not self._stopping.is_set():
            await wait_or_stop(self._stopping, LOOK_SECONDS)
            if self._failed.done():
                self._failed.result()
            if self._launcher.died is not None and self._launcher.died.done():
                raise GatewayError(
                    "The process that starts the workers has ended, and all of them with it: somebody killed it, or "
                    "memory ran out. Start the gateway again; nothing is lost."
                )
            for worker in list(self._all):
                match self._watch.look_at(worker):
                    case Finding.STANDS:
                        self._spawn(self._stands(worker), f"worker {worker.child.pid} stands")
                    case Finding.LARGE:
                        self._supersede(worker)

    async def close(self) -> None:
        """End them all; what they have not recorded is ready again. Before: no stage runs any more."""
        self._stopping.set()
        self._current = None
        for worker in list(self._all):
            worker.leaves = True
            worker.tell("quit")
        ends = [asyncio.ensure_future(worker.child.end(seconds=QUIT_SECONDS)) for worker in self._all]
        await asyncio.gather(*ends)
        await asyncio.gather(*self._beside, return_exceptions=True)

    # --- the life of a worker

    async def _launch(self, generation: Generation, only: set[PortName] | None = None) -> WorkerHandle:
        page = InFlightJournal.make()
        try:
            journal = InFlightJournal(page)
            child, connection = await self._launcher.launch(ROLE, page)
        finally:
            os.close(page)
        loop = asyncio.get_running_loop()
        worker = WorkerHandle(
            child=child, link=await Link.over(connection), journal=journal, generation=generation, only=only,
            began=loop.time(), ready=loop.create_future(),
        )  # fmt: skip
        self._all.add(worker)
        beginning = Beginning(
            settings=generation.settings, store=self._store.url, parent=self._incarnation, gateway=os.getpid(),
            only=None if only is None else frozenset(only), but=generation.confined,
        )  # fmt: skip
        worker.link.tell("begin", body=pickle.dumps(beginning))
        self._spawn(self._attend(worker), f"worker {child.pid}")
        return worker

    async def _until_ready(self, worker: WorkerHandle) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.shield(worker.ready)
        except TimeoutError as error:
            worker.leaves = True
            worker.kill("it did not get ready")
            raise WorkerNotReady(
                f"A process that runs services was not ready after {READY_SECONDS:g} seconds: loading one of the "
                "handlers takes that long, or hangs."
            ) from error

    async def _attend(self, worker: WorkerHandle) -> None:
        """Listen to a worker to its end, and put in order what it leaves."""
        listening = asyncio.ensure_future(self._listen(worker))
        ends: set[asyncio.Future[Any]] = {listening, worker.child.ended}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        status = await worker.child.end(seconds=QUIT_SECONDS)
        # the link has no end where the code of a service has forked, and its child holds the other side
        await asyncio.wait({listening}, timeout=_LAST_WORDS_SECONDS)
        worker.link.close()
        if not listening.cancel():
            listening.result()
        self._all.discard(worker)
        served = worker in worker.generation.workers and worker.generation is self._current
        if worker in worker.generation.workers:  # before anything waits: no run may begin in a dead one
            worker.generation.workers.remove(worker)
        if not worker.ready.done():
            worker.ready.set_exception(
                WorkerNotReady(f"A process that runs services {ending(status)} while it loaded them.")
            )
            worker.ready.exception()  # somebody may not have waited for it
        self._runs.left(worker)
        await self._trouble.forget(worker.child.pid)
        try:
            if worker.incarnation is not None:
                await self._put_in_order(worker, worker.incarnation, status, served=served)
        finally:
            worker.journal.close()

    async def _listen(self, worker: WorkerHandle) -> None:
        async for message in worker.link.messages():
            await self._hear(worker, message)

    async def _hear(self, worker: WorkerHandle, message: Message) -> None:
        match message.kind, message.fields:
            case "ready", (int(incarnation), dict(loaded)):
                worker.incarnation = incarnation
                for path, seen in loaded.items():
                    worker.generation.loaded.setdefault(path, seen if isinstance(seen, str) else tuple(seen))
                worker.ready.set_result(None)
                log.info("worker.ready", pid=worker.child.pid, port=worker.port)
            case "refused", (str(reason),):
                worker.leaves = True
                worker.ready.set_exception(HandlerNotFound(reason))
            case "waits", (str(reason),):
                worker.leaves = True
                worker.ready.set_exception(StoreUnavailable(reason))
            case "abandoned", ():
                if self._watch.may_replace_hanging():
                    self._supersede(worker)
            case "suspect", (str(port),):
                self._confine(worker.generation, PortName(port))
            case "stopped", (str(port), reason):
                await self._trouble.stopped(PortName(port), reason, by=worker.child.pid)
            case "waits_for_store", (str(port), str(stage), reason):
                await self._trouble.waits_for_store(PortName(port), Stage(stage), reason, by=worker.child.pid)
            case kind, (int(number), *rest) if (run := self._runs.find(number)) is not None:
                match kind, rest:
                    case "rests", []:
                        run.rests(worker)
                    case "counted", [str(what), int(much)]:
                        run.counted(what, much)
                    case "produced", []:
                        run.produced()
                    case "ended", [error]:
                        run.left(worker, error)
                        self._quit_when_done(worker)

    def _retire(self, worker: WorkerHandle) -> None:
        """Let a worker end what it has begun, and then itself."""
        worker.leaves = True
        if worker in worker.generation.workers:
            worker.generation.workers.remove(worker)
        self._runs.close(worker)
        self._quit_when_done(worker)

    def _quit_when_done(self, worker: WorkerHandle) -> None:
        if worker.leaves and not any(run.has(worker) for run in self._runs.all()):
            worker.tell("quit")
            self._spawn(self._end(worker), f"end of worker {worker.child.pid}")

    async def _end(self, worker: WorkerHandle) -> None:
        await worker.child.end(seconds=QUIT_SECONDS)

    async def _put_in_order(self, worker: WorkerHandle, incarnation: int, status: int, *, served: bool) -> None:
        """Give back what a worker had claimed, count who ended it, and let another one take its place if it *served*.

        One that died before it served is replaced by whoever started it: `_replace`, or `use`.
        """
        unexpected = not worker.leaves
        suspects, held_by = self._watch.suspects(worker, status), self._watch.held_by(worker)
        crashes, claims = await self._take_back(incarnation, suspects, held_by)
        if unexpected or claims:
            log.warning(
                "worker.ended", pid=worker.child.pid, how=worker.killed_for or ending(status), claims=claims,
                port=worker.port,
            )  # fmt: skip
        for crash in crashes:
            log.warning(
                "message.crashed", port=crash.port, message_key=crash.key, operation=crash.operation,
                crashes=crash.crashes,
            )  # fmt: skip
        generation = worker.generation
        for port in {crash.port for crash in crashes}:
            self._confine(generation, port)
        self._wake_all()
        if unexpected and served and generation is self._current and not worker.superseded:
            # where somebody is to blame it goes on: it ends after two ends of each message
            goes_on = crashes or asyncio.get_running_loop().time() - worker.began >= _SHORT_LIFE_SECONDS
            self._short_lives = 0 if goes_on else self._short_lives + 1
            pause = _SHORT_LIFE.delay(self._short_lives) if self._short_lives else 0.0
            await self._replace(generation, worker.only, pause)

    async def _take_back(
        self, incarnation: int, suspects: Collection[MessageKey], held_by: MessageKey
    ) -> tuple[list[Crash], int]:
        """Count first: what takes claims back gives their attempts back."""
        crashes: list[Crash] | None = None
        while True:
            try:
                if held_by:
                    await note_held_loop(self._store, held_by)
                    held_by = NOBODY
                if crashes is None:
                    crashes = list(await count_crashes(self._store, suspects))
                return crashes, await end_worker(self._store, incarnation)
            except StoreUnavailable as error:
                log.warning("store.unavailable", part="workers", error=error.message)
                if not await self._store.wait_until_available(self._stopping):
                    return crashes or [], 0  # the next start does it

    async def _replace(
        self, generation: Generation, only: set[PortName] | None, pause: float, earlier: WorkerHandle | None = None
    ) -> None:
        """Start a worker in place of another, again and again until one is ready, and let it serve.

        *earlier* is one that goes on until then.
        """
        failures = 0
        while True:
            await wait_or_stop(self._stopping, pause)
            failures += 1
            if self._stopping.is_set() or generation is not self._current:
                return
            try:
                worker = await self._launch(generation, only)
                await self._until_ready(worker)
            except GatewayError as error:
                pause = _CANNOT_START.delay(failures)
                await self._cannot_start(generation, error, pause)
                continue
            await self._trouble.forget(_NOT_READY)
            if worker not in self._all:  # a run must not wait for a dead one
                pause = _SHORT_LIFE.delay(failures)
                continue
            if generation is not self._current:
                self._retire(worker)
                return
            generation.workers.append(worker)
            for port in generation.confined if only is None else only:  # also those confined while it started
                worker.tell("leave" if only is None else "join", port)
            self._runs.open(worker)
            self._wake_all()
            if earlier is not None and not earlier.leaves:
                self._retire(earlier)
            return

    async def _cannot_start(self, generation: Generation, error: GatewayError, pause: float) -> None:
        log.error("worker.not_ready", error=error.message, again_in_seconds=pause)
        if isinstance(error, StoreUnavailable) or generation.workers:
            return
        for name in generation.settings.active_ports():
            why = f"No process that runs services gets ready: {error.message} It is tried again."
            await self._trouble.stopped(name, why, by=_NOT_READY)

    def _confine(self, generation: Generation, port: PortName) -> None:
        """Give a port whose code has done harm a worker of its own, until the configuration changes."""
        if port in generation.confined or generation is not self._current:
            return
        is_shared = len(generation.apart) >= MOST_APART
        mine = generation.apart[-1] if is_shared else {port}
        mine.add(port)
        log.warning("port.confined", port=port)
        for worker in generation.workers:
            if worker.only is None:
                worker.tell("leave", port)
            elif worker.only is mine:
                worker.tell("join", port)
                self._wake_all()
        if not is_shared:
            generation.apart.append(mine)
            self._spawn(self._replace(generation, mine, 0.0), f"worker of {port}")

    async def _stands(self, worker: WorkerHandle) -> None:
        """Let another worker take the place of one whose loop stands; its claims stay its own."""
        key = worker.journal.read().on_loop
        log.warning("worker.stands", pid=worker.child.pid, message_key=key or None, port=worker.port)
        generation = worker.generation
        if worker.only is not None or generation is not self._current:
            return  # nobody else waits for it
        if key:
            with suppress(StoreUnavailable):
                for port in await ports_of(self._store, [key]):
                    self._confine(generation, port)
        self._supersede(worker)

    def _supersede(self, worker: WorkerHandle) -> None:
        """Start another worker in place of one, which goes on until that is ready."""
        if worker in worker.generation.workers and worker.generation is self._current and not worker.superseded:
            worker.superseded = True
            self._spawn(self._replace(worker.generation, worker.only, 0.0, worker), f"after worker {worker.child.pid}")

    def _wake_all(self) -> None:
        for stage in (Stage.INBOUND, Stage.OUTBOUND):
            self._wake(stage)

    def _serving(self) -> list[WorkerHandle]:
        return [] if self._current is None else list(self._current.workers)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._beside.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)
