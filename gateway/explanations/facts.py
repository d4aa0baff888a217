"""What is known of a thing when somebody asks why it is where it is, and what that person is told.

Facts are read from the store, the configuration and the folders at the moment of the question; `explain` and
`explain_place` turn them into an `Explanation` and read nothing themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from gateway.batch.rules.job import JobStatus
from gateway.kernel.remedy import Action, Remedy, do, mend, wait
from gateway.messaging.rules.delivery import SkippedFile
from gateway.messaging.rules.states import Direction, Outcome, Policy, Reason, Stage, Status

_FINE = frozenset({
    "message.ready", "message.behind_in_lane", "message.running", "message.processed", "message.sent",
    "message.deleted", "gateway.job-waits", "lane.in-work", "lane.empty", "lane.ready", "port.open", "port.unknown",
    "set.completed", "set.ready", "file.finished", "file.in-queue", "file.in-work", "file.ready",
    "file.being-written", "file.incomplete", "file.no-done-marker", "file.turn-of-ended", "file.replaced",
    "job.waiting", "job.executing", "job.cancelling", "job.ended", "run.executing", "run.cancelling", "run.ended",
    "run.canceled", "task.waiting", "task.ready", "task.executing", "task.cancelling", "task.ended", "task.not-run",
    "task.canceled", "task.no-run", "session.started", "session.available", "session.requested", "session.downloaded",
    "session.uploaded", "session.applied", "session.no_data", "session.canceled", "entry.waiting", "entry.ready",
    "entry.in-process", "entry.inactive", "entry.finished", "entry.user-limit", "document.open", "document.scheduled",
    "document.posting", "document.posted",
})  # fmt: skip
"""What is finished, moves by itself, or waits for what is to come anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a thing is where it is, in one sentence, and what would move it, as data.

    Shape: `remedies` are never empty, the one to try first at the beginning; `code` is stable, for programs; `until` is
    when it moves by itself, None when that is not known; `messages` are the numbers of all messages that have to do
    with it, its own first.
    """

    subject: str
    code: str
    why: str
    remedies: tuple[Remedy, ...]
    until: datetime | None = None
    port: str | None = None
    lane: str | None = None
    file: str | None = None
    messages: tuple[int, ...] = ()

    @property
    def wrong(self) -> bool:
        """True when something failed, stands still, or is not there."""
        return self.code not in _FINE


class Deed(NamedTuple):
    """What an operator did: who, when, and why, when that was given."""

    actor: str
    at: datetime
    reason: str | None

    @property
    def told(self) -> str:
        """Return it as the end of a sentence: by whom, when, why."""
        return f"by {self.actor} at {at(self.at)}{f' ({quoted(self.reason)})' if self.reason else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """A job that runs one of the four services; `timed` ones run only when they are started."""

    name: str
    status: JobStatus
    timed: bool
    next_start: datetime
    held: Deed | None = None

    @property
    def stands(self) -> str:
        """Return how it stands, as the end of a sentence."""
        if self.status is not JobStatus.WITHHOLD:
            return f"is in status {self.status}"
        return f"is on hold, put there {self.held.told}" if self.held else "is on hold"

    @property
    def moving(self) -> bool:
        """True when it runs now, or as soon as there is something to do."""
        if self.timed:
            return self.status in (JobStatus.EXECUTING, JobStatus.CANCELLING)
        return self.status in (JobStatus.WAITING, JobStatus.EXECUTING)


def waits_by_plan(jobs: Sequence[JobFacts]) -> bool:
    """Tell whether a service rests on purpose: a timed job runs it, and its start is still to come."""
    return not any(job.moving for job in jobs) and any(job.status is JobStatus.WAITING for job in jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayFacts:
    """Whether anybody moves messages at all: processes that run, by host and process id, and jobs by service.

    Shape: `jobs` is empty before a gateway has ever run, and nothing is said of jobs then.
    """

    running: Sequence[str]
    jobs: Mapping[Stage, Sequence[JobFacts]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """A port as the configuration and its last word have it; `reason` and `since` go with `state`."""

    name: str
    configured: bool = True
    active: bool = True
    receives: bool = True
    delivers: bool = True
    state: str | None = None
    reason: str | None = None
    since: datetime | None = None
    in_work: int = 0
    max_in_work: int | None = None

    @property
    def spares_services(self) -> bool:
        """True when requests are not processed for now: services do not work, or the database cannot."""
        return self.state == "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lease; `alive` is False when that process is known to have ended."""

    fence: int
    stage: str
    process: str
    since: datetime
    alive: bool


class Turn(NamedTuple):
    """Whose turn it is to take the files of a port; `alive` is False when that process is known to have ended."""

    process: str
    since: datetime
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another message that has to do with the one in question; `since` it is where it is, `held` by whom if so."""

    key: int
    status: Status
    reason: Reason
    since: datetime | None = None
    set_key: int | None = None
    error: str | None = None
    file: str | None = None
    not_before: datetime | None = None
    held: Deed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneFacts:
    """A lane and what stands in it.

    `head` is the message it is at, None when it has no row; `first` is its first unfinished message; `held` and
    `failed` count those that cannot be worked on; `ruled` says that an operator gave it a rule of its own, `decided`
    who that was, as far as it is kept.
    """

    port: str
    name: str
    head: int | None = None
    not_before: datetime | None = None
    on_error: str = "continue"
    ruled: bool = False
    decided: Deed | None = None
    blocked_by: Other | None = None
    parked_by: Other | None = None
    holder: Holder | None = None
    first: Other | None = None
    waiting: int = 0
    held: int = 0
    failed: int = 0

    @property
    def reference(self) -> str:
        """Return how the lane is named to people and on the command line."""
        return f"{self.port}/{self.name}"

    @property
    def decision(self) -> str:
        """Return who gave it a rule of its own, as a sentence that follows another; empty when it goes by its port."""
        if not self.ruled:
            return ""
        return f" `{self.on_error}` was set for this lane {self.decided.told if self.decided else 'by an operator'}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answer to a request: `reason` is where it stands in the queue, None once it has left it."""

    key: int
    is_fault: bool
    file: str | None
    sent_at: datetime | None
    reason: Reason | None = None
    attempts: int = 0
    error: str | None = None

    @property
    def stuck(self) -> bool:
        """True when it is not on its way: tried in vain, failed or held."""
        return self.reason is not None and self.reason is not Reason.RUNNING and (
            self.reason is not Reason.READY or self.attempts > 0
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFacts:
    """A message or a send request. Unfinished: `status` and `reason`; finished: `outcome` and `finished_at`.

    `lost_staging` says where its file is prepared when no gateway that runs uses that folder; `ahead` is the nearest
    unfinished message that comes first in its lane; `culprit` is the one whose failure holds it; `before` counts ready
    messages of its port that are older; `in_work` are messages of its port that its stage works on now, `sharing` the
    ports that have work for this stage; `deed` is the action by which it was held or deleted. A request that was too
    large is not `is_kept`: nothing but its file holds it.
    """

    key: int
    direction: Direction
    port: PortFacts
    gateway: GatewayFacts
    is_request_to_send: bool = False
    status: Status | None = None
    reason: Reason | None = None
    attempts: int = 0
    error: str | None = None
    since: datetime | None = None
    not_before: datetime | None = None
    set_key: int | None = None
    policy: Policy | None = None
    file: str | None = None
    folder: str | None = None
    lane: LaneFacts | None = None
    holder: Holder | None = None
    lost_staging: str | None = None
    ahead: Other | None = None
    is_kept: bool = True
    culprit: Other | None = None
    before: int = 0
    in_work: int = 0
    sharing: int = 0
    deed: Deed | None = None
    outcome: Outcome | None = None
    finished_at: datetime | None = None
    answers: Sequence[Answered] = ()

    @property
    def stage(self) -> Stage:
        """Return which service takes it next."""
        if self.is_request_to_send:
            return Stage.OUTBOUND
        return Stage.INBOUND if self.direction is Direction.IN else Stage.SEND


class FileLocation(StrEnum):
    """In which folder of a port a file lies."""

    INBOUND = "inbound"  # the partner put it there, nobody took it yet
    WORK = "work"  # claimed
    ERROR = "error"  # refused
    ARCHIVE = "archive"  # in the queue, or already through it


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSighting:
    """A file of the name in question in a folder of a port.

    Shape: `skipped` says why the adapter does not claim it, None: it would; `name` differs from the one asked for
    when only a hidden or temporary form of it is there; `claim_id` as text, for claimed and refused files.
    """

    port: str
    location: FileLocation
    name: str
    path: str
    since: datetime
    skipped: SkippedFile | None = None
    claim_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFacts:
    """A file that was taken: what became of it and of its messages.

    `unsent` answers are not delivered yet; the `stuck` ones of them were tried in vain, or failed, or are held.
    `replaced_at` is when a newer file of its name was accepted by its port, if it was refused itself.
    """

    port: str
    file: str
    claim_id: str
    received_at: datetime
    refused: str | None
    settlement: str
    first: int | None
    last: int | None
    messages: int
    finished: int
    waiting: int
    stopped: int
    unsent: int = 0
    stuck: int = 0
    replaced_at: datetime | None = None


class Hindrance(NamedTuple):
    """What keeps everything of a port or gateway from moving, whatever stands in single rows."""

    code: str
    why: str
    remedies: tuple[Remedy, ...]
    until: datetime | None = None


START_GATEWAY = do(Action.START_GATEWAY, then="It starts, and everything goes on.")
NOTHING_IS_OPEN = wait("Nothing is open.")


def hindrance(gateway: GatewayFacts, port: PortFacts, stage: Stage) -> Hindrance | None:
    """Return what stands above the reasons of single messages, the widest first; None when nothing does."""
    if not gateway.running:
        return Hindrance("gateway.not-running", "No gateway runs on this store.", (START_GATEWAY,))
    if not port.configured:
        return Hindrance(
            "port.not-configured",
            f"The port {port.name} is not in the configuration any more.",
            (mend(f"Put ports.{port.name} back; a running gateway notices by itself."),),
        )
    if not port.active:
        return Hindrance(
            "port.inactive",
            f"The port {port.name} is switched off.",
            (mend(f"Set ports.{port.name}.active to true."),),
        )
    return _job_hindrance(gateway, stage)


def _job_hindrance(gateway: GatewayFacts, stage: Stage) -> Hindrance | None:
    jobs = gateway.jobs.get(stage, ())
    if not gateway.jobs or any(job.moving for job in jobs):
        return None
    if not jobs:
        return Hindrance(
            "gateway.no-job",
            f"No job runs the task {stage}.",
            (mend(f"Let jobs.gateway be active, or give another job the task {stage}."),),
        )
    waiting = sorted((job for job in jobs if job.status is JobStatus.WAITING), key=lambda job: job.next_start)
    if waiting:
        job = waiting[0]
        return Hindrance(
            "gateway.job-waits",
            f"The job {job.name}, which runs the task {stage}, starts next at {at(job.next_start)}.",
            (wait("It starts by itself then."), do(Action.START_JOB, job.name, then="It starts now.")),
            job.next_start,
        )
    job = jobs[0]
    return Hindrance(
        "gateway.job-stopped",
        f"The job {job.name}, which runs the task {stage}, {job.stands}.",
        (do(Action.RELEASE_JOB, job.name, then="It runs again."),),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFacts:
    """The messages of one batch file: `status` as stored, counts of its unfinished requests by what they do."""

    key: int
    port: str
    batch_id: str
    policy: str
    members: int
    processed: int
    deleted: int
    status: str
    file: str | None
    waiting: int
    held: int
    failed: int
    first_failed: int | None
    first: int | None


def at(moment: datetime | None) -> str:
    """Return a moment as people read it, in UTC."""
    return "an unknown time" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def quoted(error: str | None) -> str:
    """Return an error as the end of a sentence."""
    text = (error or "no reason was kept").strip().rstrip(".")
    return text if len(text) <= 300 else f"{text[:300]}…"
