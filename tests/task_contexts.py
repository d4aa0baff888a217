"""Stand-ins for what a task gets from the scheduler."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.batch.engine.executor import OneShotFeed
from gateway.contracts.task import SpawnedTask, Tally, TaskContext
from gateway.kernel.ids import RunId, RunTaskId


@dataclass(slots=True)
class KeptLog:
    """Keeps what a task says (`gateway.contracts.task.RunLog`)."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def info(self, text: str) -> None:
        self.lines.append(("info", text))

    def warning(self, text: str) -> None:
        self.lines.append(("warning", text))

    def error(self, text: str) -> None:
        self.lines.append(("error", text))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


@dataclass(slots=True)
class Occasion:
    """A run of one task: gives it a context and keeps everything it does with it."""

    log: KeptLog = field(default_factory=KeptLog)
    files: dict[str, bytes] = field(default_factory=dict)
    spawned: list[SpawnedTask] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    tally: Tally = field(default_factory=Tally)
    attempt: int = 1

    @property
    def context(self) -> TaskContext:
        return TaskContext(
            task="step", feed=OneShotFeed(), stopping=self.stopping, tally=self.tally, job="nightly", run_id=RunId(17),
            run_task_id=RunTaskId(170), attempt=self.attempt, planned_at=datetime(2031, 5, 6, 2, 0, tzinfo=UTC),
            company="DAT", partition="initial", user="ann", log=self.log, keep_file=self._keep, spawn=self._spawn,
        )  # fmt: skip

    async def _keep(self, name: str, content: bytes) -> None:
        self.files[name] = content

    async def _spawn(self, tasks: Sequence[SpawnedTask]) -> Sequence[RunTaskId]:
        self.spawned.extend(tasks)
        return [RunTaskId(171 + place) for place in range(len(tasks))]
