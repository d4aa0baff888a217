"""What the doctor looks for: rules that must always hold, and things that wait although nothing is in their way.

Each rule has a code, a sentence and remedies; the store, the folders and the processes say where it is broken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from gateway.explanations.facts import START_GATEWAY
from gateway.kernel.remedy import Action, Remedy, do, mend, wait

PATIENCE = timedelta(minutes=10)
"""How long something that could move at once may stay where it is."""
SILENCE = timedelta(seconds=60)
"""How long after its last beat a process is told to be gone; its claims are taken back long before."""
_SETTLE = timedelta(seconds=45)
_BYTES_PER_SECOND = 500_000


class Severity(StrEnum):
    """How bad a finding is."""

    WRONG = "wrong"  # a rule is broken: this should be impossible
    STUCK = "stuck"  # it waits, and nothing that is known will move it
    ATTENTION = "attention"  # a cause that is known stands between a partner and an answer


class Rule(NamedTuple):
    """What a code stands for, and what to do; `{port}` and `{target}` in remedies stand for those of the finding."""

    severity: Severity
    text: str
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that is broken somewhere. `what` names the places, at most a few of `count`; `target` the first one.

    `since` the oldest of them is so, None when that is not known.
    """

    code: str
    port: str | None
    what: Sequence[str]
    count: int
    target: str | None = None
    since: datetime | None = None

    @property
    def rule(self) -> Rule:
        """Return what the code stands for."""
        return RULES[self.code]

    @property
    def remedies(self) -> Sequence[Remedy]:
        """Return what to do here."""
        names = {"port": self.port or "PORT", "target": self.target or self.port or ""}
        return [
            replace(one, target=tuple(part.format(**names) for part in one.target), reason=one.reason.format(**names))
            for one in self.rule.remedies
        ]


class WorkFile(NamedTuple):
    """A file that lies claimed in a work folder."""

    claim_id: str
    name: str
    size_bytes: int
    since: datetime


class ArchivedFile(NamedTuple):
    """A file in the archive: the folder of its day, its name there, and the claim it was taken under."""

    day: str
    name: bytes
    claim_id: str


class Staged(NamedTuple):
    """What lies in a staging folder, and which folder it is."""

    identity: UUID
    names: frozenset[str]


class Place(NamedTuple):
    """One place where a rule is broken: the port, and a number or name in words; `target` as commands take it.

    Two looks see the same when code, port and target are the same; counts may differ.
    """

    code: str
    port: str | None
    what: str
    target: str | None = None
    since: datetime | None = None

    @property
    def identity(self) -> tuple[str, str | None, str]:
        """Return what makes it the same place at another look."""
        return self.code, self.port, self.target or self.what


_REPORT = (
    mend("Nothing of it is lost. Restart the gateway, and report this."),
    do(Action.REPORT, then="What it prints belongs to the report."),
)
_RESTART = mend("Restart the gateway.")
_IS_ONE_RUNNING = (do(Action.LIST_NODES, then="It says whether a gateway runs."), _RESTART)
_ALL_RUNS_AGAIN = do(Action.RELEASE_FAILED, "{port}", then="When the cause is mended, all that failed runs again.")

RULES: Mapping[str, Rule] = {
    "lease-missing": Rule(Severity.WRONG, "is marked as in work, and nobody holds the lease for it", _REPORT),
    "lease-empty": Rule(Severity.WRONG, "is a claim on nothing", _REPORT),
    "lane-head": Rule(Severity.WRONG, "is a lane whose first message is not where the lane says", _REPORT),
    "lane-missing": Rule(Severity.WRONG, "waits in a lane that nobody looks at", _REPORT),
    "lane-order": Rule(Severity.WRONG, "does not fit its place in its lane", _REPORT),
    "message-lost": Rule(Severity.WRONG, "is neither finished nor in the queue", _REPORT),
    "message-twice": Rule(Severity.WRONG, "is in the queue and finished, or has no document", _REPORT),
    "answer-missing": Rule(
        Severity.WRONG,
        "was processed in the last day and has no response, although others of its port have",
        (mend("Ask whether the port responded at that time. If it did:"), *_REPORT),
    ),
    "answer-twice": Rule(Severity.WRONG, "has more than one response", _REPORT),
    "set-count": Rule(Severity.WRONG, "is a set whose counts do not fit its messages", _REPORT),
    "gateway-away": Rule(Severity.STUCK, "has unfinished work, and no gateway runs", (START_GATEWAY,)),
    "dead-owner": Rule(
        Severity.STUCK,
        "is claimed by a process that has ended or stands still",
        (do(Action.START_GATEWAY, then="It takes the claim back within a minute and does the work again."),),
    ),
    "response-waits": Rule(
        Severity.STUCK,
        "is ready to be sent for more than ten minutes, and nobody sends it",
        (do(Action.EXPLAIN, "NUMBER", then="It says why: an inactive or removed port, a folder that cannot be used."),),
    ),
    "address-away": Rule(
        Severity.STUCK,
        "cannot be delivered for more than ten minutes",
        (
            do(Action.LIST_PORTS, then="It says what is wrong with the folder."),
            mend("Mend it, and all are sent by themselves."),
        ),
    ),
    "request-waits": Rule(
        Severity.STUCK,
        "is ready to be processed for more than ten minutes, and nobody takes it",
        (do(Action.EXPLAIN, "NUMBER", then="It says why; an inactive or removed port must be put back."),),
    ),
    "overdue": Rule(Severity.STUCK, "should have been tried again by now", _IS_ONE_RUNNING),
    "run-not-ended": Rule(
        Severity.STUCK,
        "has nothing left to do, and does not end",
        (_RESTART, do(Action.REQUEUE_JOB, "JOB", then="When that does not help, the job waits again.")),
    ),
    "start-overdue": Rule(
        Severity.STUCK,
        "should have started more than ten minutes ago, and nobody starts it",
        (*_IS_ONE_RUNNING, do(Action.HOLD_JOB, "JOB", then="It does not start.")),
    ),
    "entry-overdue": Rule(
        Severity.STUCK,
        "is due for more than ten minutes and may start, and nobody starts it",
        (*_IS_ONE_RUNNING, do(Action.HOLD_ENTRY, "ENTRY", then="It does not start.")),
    ),
    "entry-no-queue": Rule(
        Severity.ATTENTION,
        "waits, because no job queue takes it any more",
        (do(Action.EXPLAIN, "{target}", then="It says which ways out there are."),),
    ),
    "task-no-server": Rule(
        Severity.STUCK,
        "is ready for more than ten minutes, and no server that runs and takes new tasks serves its group",
        (
            do(Action.LIST_SERVERS, then="It says which server should: start that."),
            do(Action.RESUME_SERVER, "SERVER", then="One that drains takes tasks again."),
            do(Action.SERVE_GROUPS, "SERVER", then="Another one serves the group."),
        ),
    ),
    "task-group-paused": Rule(
        Severity.STUCK,
        "is ready for more than ten minutes, and its group is paused",
        (do(Action.RESUME_GROUP, "GROUP", then="The group goes on."),),
    ),
    "task-no-threads": Rule(
        Severity.STUCK,
        "is ready for more than ten minutes, and no server of its group has threads at this hour",
        (
            wait("It starts by itself when the hours of a server allow it."),
            do(Action.LIST_SERVERS, then="It shows the hours."),
        ),
    ),
    "task-not-taken": Rule(
        Severity.STUCK,
        "is ready for more than ten minutes, and nobody takes it although servers of its group have nothing to do",
        _REPORT,
    ),
    "alert-not-delivered": Rule(
        Severity.STUCK,
        "waits for more than ten minutes to be delivered",
        (
            do(Action.LIST_ALERTS, then="It says why."),
            mend("It is tried for a day: mend the way to it, and it goes out by itself."),
        ),
    ),
    "file-not-read": Rule(
        Severity.STUCK,
        "lies in the work folder, and the queue does not know it",
        (mend("A running gateway reads it at its next look; when it does not, restart it. Do not move the file."),),
    ),
    "file-not-settled": Rule(
        Severity.STUCK,
        "is in the queue and still lies in the work folder",
        (
            wait("A running gateway puts it away at its next look."),
            do(Action.LIST_PORTS, then="It says when the archive cannot be used."),
        ),
    ),
    "promise-missing": Rule(
        Severity.STUCK,
        "was promised in the staging folder, is not there, and is not recorded as sent",
        (
            wait("It was published before a crash: a running gateway records it at its next try."),
            do(
                Action.SHOW_FINISHED,
                "NUMBER",
                then="If the file was deleted by hand, the partner never gets it: here it is to be sent again.",
            ),
        ),
    ),
    "config-refused": Rule(
        Severity.ATTENTION,
        "the configuration on disk cannot be used; the running gateway goes on with the one before, and could not be "
        "started again",
        (
            do(
                Action.CHECK_CONFIG,
                then="It tells everything that is wrong; a mended file is taken into use by itself.",
            ),
        ),
    ),
    "service-stopped": Rule(
        Severity.ATTENTION,
        "nothing else runs these services, so files, requests or answers wait",
        (do(Action.RELEASE_JOB, "{target}", then="It runs again, and everything goes on."),),
    ),
    "service-without-job": Rule(
        Severity.ATTENTION,
        "no job runs this service, so files, requests or answers wait",
        (mend("Let jobs.gateway be active, or give another job the task."),),
    ),
    "port-degraded": Rule(
        Severity.ATTENTION,
        "the port is degraded, and its files or answers wait",
        (mend("Mend the folder: the port notices by itself, and nothing is lost."),),
    ),
    "port-paused": Rule(
        Severity.ATTENTION,
        "the port is paused and takes no files",
        (
            do(
                Action.EXPLAIN,
                "{target}",
                then="It says what the port waits for; it goes on by itself when there is room.",
            ),
        ),
    ),
    "port-stopped": Rule(
        Severity.ATTENTION,
        "the port is stopped, and its requests wait",
        (
            mend("Mend that: the port goes on by itself when one request succeeds."),
            do(Action.RETRY_PORT, "{port}", then="It tries one at once."),
        ),
    ),
    "lane-stopped": Rule(
        Severity.ATTENTION,
        "nothing in it goes on before somebody decides",
        (
            do(
                Action.RELEASE_LANE,
                "{target}",
                then="Once the cause is mended, it lets the lane go on. A failed message that blocks it runs again, "
                "first; one that parked it is passed, unless it was released before.",
            ),
            do(Action.EXPLAIN, "{target}", then="It says more."),
        ),
    ),
    "answer-not-delivered": Rule(
        Severity.ATTENTION,
        "not delivered, so the partner has no answer",
        (
            do(
                Action.EXPLAIN,
                "{target}",
                then="It says what is in the way. What waits for a folder goes out by itself when the folder can be "
                "used.",
            ),
            do(Action.RELEASE_ANSWERS, "{port}", then="What failed or is held goes out."),
        ),
    ),
    "request-failed": Rule(
        Severity.ATTENTION,
        "failed, and the partner was not told",
        (do(Action.EXPLAIN, "{target}", then="It says why."), _ALL_RUNS_AGAIN),
    ),
    "service-fails": Rule(
        Severity.ATTENTION,
        "failed because the service does not work, and the partner got a fault",
        (
            do(
                Action.RELEASE_FAILED,
                "{port}",
                then="Once the service is mended, all that failed on the port runs again, and each partner gets the "
                "real answer.",
            ),
            do(Action.LIST_FAILURES, "{port}", then="It tells more of the failures."),
        ),
    ),
    "requests-fail": Rule(
        Severity.ATTENTION,
        "failed within ten minutes, more than succeeded",
        (do(Action.LIST_CAUSES, "{port}", then="It counts what is alike."), _ALL_RUNS_AGAIN),
    ),
    "request-held": Rule(
        Severity.ATTENTION,
        "held, so the partner has no answer",
        (
            do(Action.EXPLAIN, "{target}", then="It says who or what holds it."),
            do(Action.RELEASE_HELD, "{port}", then="All that is held goes on."),
        ),
    ),
    "request-retried": Rule(
        Severity.ATTENTION,
        "tried again and again for more than ten minutes",
        (
            do(Action.EXPLAIN, "{target}", then="It says what went wrong last, and when the next try is."),
            do(Action.RETRY_PORT, "{port}", then="It is tried at once."),
        ),
    ),
    "document-not-sent": Rule(
        Severity.ATTENTION,
        "could not be read, so nothing was sent",
        (do(Action.EXPLAIN, "{target}", then="It says why, and how to read it anew."),),
    ),
    "file-refused": Rule(
        Severity.ATTENTION,
        "refused, and the partner got no answer",
        (
            do(Action.EXPLAIN, "{target}", then="It says where the file lies. Tell the partner."),
            do(Action.DELETE_REFUSED, "{port}", then="When a good file is there, the note is removed."),
        ),
    ),
    "file-not-taken": Rule(
        Severity.ATTENTION,
        "not taken for more than ten minutes",
        (do(Action.EXPLAIN, "{target}", then="It says what is in the way, and how to mend it."),),
    ),
    "message-store-away": Rule(
        Severity.ATTENTION,
        "cannot be used, so its status messages are not copied",
        (mend("Mend that: the next run of the job goes on, and nothing is lost."),),
    ),
    "message-store-unread": Rule(
        Severity.ATTENTION,
        "its status messages were not copied for more than a day",
        (
            do(
                Action.LIST_STORES,
                then="It names the job that copies them; docs/status-messages.md shows how to write one.",
            ),
            do(Action.COPY_MESSAGES, then="The job starts now."),
        ),
    ),
    "status-message-refused": Rule(
        Severity.ATTENTION,
        "refused, so their sessions do not show what they say",
        (
            do(Action.LIST_REFUSED, then="It says why and where they are."),
            mend("Send them again when they are mended."),
        ),
    ),
    "status-message-waits": Rule(
        Severity.ATTENTION,
        "wait for more than a day: their session has not started, or their time is still to come",
        (do(Action.LIST_WAITING, then="It names them."), mend("Ask the station for the message `started`.")),
    ),
    "session-failed": Rule(
        Severity.ATTENTION,
        "failed, and no station mends that by itself",
        (
            do(Action.SHOW_SESSION, "{target}", then="It says why. Mend the cause first."),
            do(Action.RERUN_SESSION, "{target}", then="Then it is done again."),
            do(Action.CANCEL_SESSION, "{target}", then="When the data are bad, nothing more comes of it."),
        ),
    ),
    "document-failed": Rule(
        Severity.ATTENTION,
        "could not be posted, and waits for somebody to handle it",
        (do(Action.EXPLAIN, "{target}", then="It says why, and how to go on once the cause is mended."),),
    ),
    "documents-wait-for-queue": Rule(
        Severity.ATTENTION,
        "its documents are not posted, because it is not started",
        (do(Action.START_QUEUE, "{target}", then="Then they are posted, one after another."),),
    ),
    "numbers-end": Rule(
        Severity.ATTENTION,
        "nearly used up: a longer number does not fit into its field, and then every request fails",
        (
            mend(
                "Give the service a number_sequence with a shorter format or another name, or let the field be longer "
                "in the schema."
            ),
        ),
    ),
    "archive-changed": Rule(
        Severity.ATTENTION,
        "not what was received: the SHA-256 differs",
        (
            mend(
                "Find out who changed it, and restore it from a backup. What was processed is not touched: it stands "
                "in the database."
            ),
        ),
    ),
    "folder-away": Rule(
        Severity.STUCK,
        "cannot be looked into",
        (do(Action.CHECK_CONFIG, then="It says what is wrong with the folder."),),
    ),
}


def unread_too_long(since: datetime, size_bytes: int, now: datetime) -> bool:
    """Tell whether a claimed file lies there longer than reading it can take. *size_bytes* allow slow readers time."""
    return now - since > _SETTLE + timedelta(seconds=size_bytes / _BYTES_PER_SECOND)


def unsettled_too_long(since: datetime, now: datetime) -> bool:
    """Tell whether a file that the queue knows should have been put away by now."""
    return now - since > _SETTLE


def grouped(places: Sequence[Place], *, most: int = 5) -> list[Finding]:
    """Put the places of one rule and port together, in the order of the rules."""
    groups: dict[tuple[str, str | None], list[Place]] = {}
    for place in places:
        groups.setdefault((place.code, place.port), []).append(place)
    order = list(RULES)
    return [
        Finding(
            code=code,
            port=port,
            what=tuple(place.what for place in its[:most]),
            count=len(its),
            target=its[0].target,
            since=min((place.since for place in its if place.since is not None), default=None),
        )
        for (code, port), its in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1] or ""))
    ]
