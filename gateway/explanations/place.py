"""Why is this lane, port or file where it is, and what would move it? Facts become two sentences."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from gateway.explanations.facts import (
    NOTHING_IS_OPEN,
    DeliveryFacts,
    Explanation,
    FileLocation,
    FileSighting,
    GatewayFacts,
    LaneFacts,
    Other,
    PortFacts,
    SetFacts,
    Turn,
    at,
    hindrance,
    quoted,
)
from gateway.explanations.message import MEND_FIRST, go_on, retried, state_of, unblock
from gateway.kernel.remedy import Action, Remedy, do, mend, wait
from gateway.messaging.rules.states import Policy, Stage


def explain_lane(lane: LaneFacts, gateway: GatewayFacts, port: PortFacts) -> Explanation:
    """Explain a lane: at work, waiting, blocked, parked, stopped or empty."""
    name = lane.reference
    unfinished = f"{lane.waiting} waiting, {lane.held} held, {lane.failed} failed"

    def said(code: str, why: str, *remedies: Remedy, until: datetime | None = None) -> Explanation:
        others = [other.key for other in (lane.blocked_by, lane.parked_by) if other is not None]
        keys = others if lane.head is None else [lane.head, *others]
        return Explanation(
            subject=f"lane {name}", code=code, why=why, remedies=remedies, until=until, port=lane.port, lane=name,
            messages=tuple(dict.fromkeys(keys)),
        )  # fmt: skip

    if lane.parked_by is not None:
        return said(
            "lane.parked",
            f"It was parked{_when(lane.parked_by)} when message {lane.parked_by.key} failed "
            f"({quoted(lane.parked_by.error)}): {unfinished}.{lane.decision}",
            *go_on(name, lane.parked_by.key),
        )
    if lane.blocked_by is not None:
        return said(
            "lane.blocked",
            f"It is blocked{_since(lane.blocked_by.since)} by message {lane.blocked_by.key}, "
            f"{state_of(lane.blocked_by)}: {unfinished}.{lane.decision}",
            *unblock(lane, lane.blocked_by),
        )
    if lane.holder is not None:
        over = "It goes on by itself." if lane.holder.alive else (
            "That process has ended: a running gateway takes the work back within a minute."
        )  # fmt: skip
        return said(
            "lane.in-work",
            f"It is in work by {lane.holder.process} since {at(lane.holder.since)} (lease {lane.holder.fence}): "
            f"{unfinished}.",
            wait(over),
        )
    if lane.head is None:
        if lane.held + lane.failed == 0:
            return said("lane.empty", "Nothing unfinished stands in it.", wait("It moves when a message of it comes."))
        first = lane.first.key if lane.first else "?"
        return said(
            "lane.stopped",
            f"None of its messages can be worked on: {unfinished}; the first is message {first}.",
            do(Action.RELEASE_MESSAGE, first, then="That one runs again."),
        )
    hindered = hindrance(gateway, port, Stage.INBOUND)
    if hindered is not None:
        return said(
            hindered.code, f"It is free, at message {lane.head}: {unfinished}. {hindered.why}", *hindered.remedies
        )
    if lane.not_before is not None:
        return said(
            "lane.waiting",
            f"Its first message {lane.head} waits before it is tried again: {unfinished}.",
            wait(f"It is tried again by itself at {at(lane.not_before)}."),
            until=lane.not_before,
        )
    return said(
        "lane.ready", f"It is free, at message {lane.head}: {unfinished}.", wait("It is taken by itself, next.")
    )


def explain_unseen_lane(port: str, name: str, similar: str | None = None) -> Explanation:
    """Explain a lane that nothing is known of; *similar* is the nearest one that has work, as port/lane."""
    hint = f"Did you mean {similar!r}?" if similar else "Check the name."
    return Explanation(
        subject=f"lane {port}/{name}", code="lane.never-seen", port=port,
        why=f"Nothing unfinished stands in a lane of this name, and none of the latest messages of the port {port} "
        "belonged to it.",
        remedies=(mend(hint), do(Action.LIST_LANES, port, then="It shows the lanes with work.")),
    )  # fmt: skip


def explain_port(port: PortFacts, gateway: GatewayFacts, *, waiting: int, held: int, failed: int) -> Explanation:
    """Explain a port: what keeps it from taking or delivering, else how much it has to do."""
    work = f"{waiting} messages wait, {port.in_work} are in work, {held} held, {failed} failed"

    def said(code: str, why: str, *remedies: Remedy) -> Explanation:
        return Explanation(subject=f"port {port.name}", code=code, why=why, remedies=remedies, port=port.name)

    hindered = hindrance(gateway, port, Stage.RECEIVE if port.receives else Stage.OUTBOUND)
    if hindered is not None:
        last = f" Its last word was {port.state}{_because(port)}." if not gateway.running and port.state else ""
        return said(hindered.code, f"{hindered.why}{last} {work.capitalize()}.", *hindered.remedies)
    if port.state == "degraded":
        return said(
            "port.degraded",
            f"It is degraded{_since(port.since)}: {quoted(port.reason)}. {work.capitalize()}.",
            mend("Mend the folder; the port notices by itself, and nothing is lost meanwhile."),
        )
    if port.state == "paused":
        return said(
            "port.paused",
            f"It is paused{_since(port.since)}: {quoted(port.reason)}. {work.capitalize()}.",
            wait("It goes on by itself when there is room in the queue and on the disk."),
        )
    if port.spares_services:
        return said(
            "port.stopped",
            f"Its requests wait{_since(port.since)}: {quoted(port.reason)}. {work.capitalize()}.",
            *retried(port.name),
            do(Action.LIST_FAILURES, port.name, then="It tells the last failure."),
        )
    if port.state is None:
        return said(
            "port.unknown", f"It has not said anything yet. {work.capitalize()}.", wait("It does with its first look.")
        )
    if held + failed:
        return said(
            "port.needs-attention",
            f"It is open, and some of its messages need attention: {work}.",
            do(Action.LIST_QUEUE, port.name, then="It shows them."),
            do(Action.EXPLAIN, "NUMBER", then="It says what lets one go on."),
        )
    if waiting + port.in_work:
        return said("port.open", f"It is open and works: {work}.", wait("It goes on by itself."))
    idle = wait("It moves when a file or a request comes.")
    return said("port.open", f"It is open and has nothing to do: {work}.", idle)


def _since(moment: datetime | None) -> str:
    return f" since {at(moment)}" if moment else ""


def _when(other: Other) -> str:
    return f" at {at(other.since)}" if other.since else ""


def explain_set(found: SetFacts) -> Explanation:
    """Explain a message set: finished, under way, or stopped by what its error policy says."""
    done = f"{found.processed} of its {found.members} messages are processed"
    gone = f", {found.deleted} deleted" if found.deleted else ""
    counts = f"{done}{gone}, {found.waiting} wait, {found.held} held, {found.failed} failed"
    keys = tuple(key for key in (found.first_failed, found.first) if key is not None)

    def said(code: str, why: str, *remedies: Remedy) -> Explanation:
        return Explanation(
            subject=f"set {found.key}", code=f"set.{code}", why=why, remedies=remedies, port=found.port,
            file=found.file, messages=tuple(dict.fromkeys(keys)),
        )  # fmt: skip

    if found.waiting + found.held + found.failed == 0:
        return said("completed", f"All of the batch {found.batch_id} is finished: {done}{gone}.", NOTHING_IS_OPEN)
    if found.failed or found.held:
        stopped = found.first_failed or found.first
        what = {
            "rolled_back": "It was rolled back, so nothing of it took effect, and all of it waits",
            "error": f"It has failed under `on_error: {found.policy}`",
        }.get(found.status, "Some of it stands still")
        code, why = found.status if found.status != "ready" else "stopped", f"{what}: {counts}; see message {stopped}."
        if found.policy != Policy.CONTINUE:
            together = "All that stands still goes on, in order."
            return said(code, why, MEND_FIRST, do(Action.RELEASE_MESSAGE, stopped, then=together))
        return said(
            code,
            why,
            MEND_FIRST,
            do(Action.RELEASE_MESSAGE, stopped, then="It runs again."),
            do(Action.RELEASE_FILE, found.port, found.file or "NAME", then="All of the file runs again."),
        )
    return said(
        "ready",
        f"It is under way: {counts}.",
        wait("It goes on by itself."),
        do(Action.EXPLAIN, found.first, then="It says how."),
    )


def explain_delivery(file: DeliveryFacts, located_at: str | None) -> Explanation:
    """Explain a file that was taken from an inbound folder and lies there now, None when it is not kept any more."""

    def said(code: str, why: str, *remedies: Remedy) -> Explanation:
        keys = tuple(key for key in (file.first,) if key is not None)
        return Explanation(
            subject=f"file {file.file}", code=code, why=why, remedies=remedies, port=file.port, file=file.file,
            messages=keys,
        )  # fmt: skip

    taken = f"The port {file.port} took it at {at(file.received_at)} (claim {file.claim_id})"
    if file.refused is not None and file.replaced_at is not None:
        return said(
            "file.replaced",
            f"{taken} and refused it: {quoted(file.refused)}. The port accepted a newer file of this name at "
            f"{at(file.replaced_at)}.",
            NOTHING_IS_OPEN,
            *(
                [do(Action.DELETE_MESSAGE, file.first, then="The note of the refusal is removed.")]
                if file.stopped
                else ()
            ),
        )
    if file.refused is not None:
        return said(
            "file.refused",
            f"{taken} and refused it, so nothing of it took effect: {quoted(file.refused)}.",
            *(
                (mend(f"It lies in {located_at}: mend it."), do(Action.SUBMIT, located_at, file.port, then=_SUBMITTED))
                if located_at
                else (
                    mend(
                        "It lies in the error folder of the node that took it, unless somebody moved it: mend it and "
                        "put it into the inbound folder again."
                    ),
                )
            ),
        )
    if file.first is None:
        return said("file.finished", f"{taken}; its {file.messages} messages are finished and gone.", NOTHING_IS_OPEN)
    numbers = f"{file.first}" if file.first == file.last else f"{file.first} to {file.last}"
    its = f"its {file.messages} messages (numbers {numbers})" if file.messages != 1 else f"its message {numbers}"
    if file.waiting + file.stopped == 0 and file.unsent:
        what = f"{taken}; {its} finished, and {_answers(file.unsent)}"
        if file.stuck:
            how = "not delivered" if file.stuck == file.unsent else f"not delivered, {file.stuck} of them stuck"
            return said("file.answers-stuck", f"{what} {how}.", mend("See what is said of them below."))
        return said("file.in-queue", f"{what} on the way.", wait("They are delivered by themselves."))
    if file.waiting + file.stopped == 0:
        kept = f"the file lies in {located_at}" if located_at else "the file is not kept"
        return said("file.finished", f"{taken}; {its} finished, {kept}.", NOTHING_IS_OPEN)
    alone = file.messages == 1
    if file.stopped == 0:
        waiting = f"of these {file.finished} are finished and {file.waiting} wait"
        return said(
            "file.in-queue",
            f"{taken}; {its} waits." if alone else f"{taken} with {its}; {waiting}.",
            wait("They move by themselves, unless it is said otherwise below."),
            do(Action.EXPLAIN, "NUMBER", then="It says more of one of them."),
        )
    stopped = f"of these {file.finished} are finished, {file.waiting} wait and {file.stopped} need attention"
    return said(
        "file.stopped",
        f"{taken}; {its} needs attention." if alone else f"{taken} with {its}; {stopped}.",
        mend("See those that are explained below."),
        do(Action.LIST_QUEUE, then="It shows all."),
    )


def _answers(number: int) -> str:
    return f"{number} answers are" if number != 1 else "1 answer is"


def explain_sighting(
    sighting: FileSighting, asked: str, gateway: GatewayFacts, port: PortFacts, sweep_seconds: float,
    grace_seconds: float, turn: Turn | None = None,
) -> Explanation:  # fmt: skip
    """Explain a file that lies in a folder of a port and that the store does not know.

    An unfinished file is refused *grace_seconds* after its last change. *turn* is the node that takes files there now,
    None while all are idle.
    """

    def said(code: str, why: str, *remedies: Remedy, until: datetime | None = None) -> Explanation:
        return Explanation(
            subject=f"file {asked}", code=code, why=why, remedies=remedies, until=until, port=sighting.port,
            file=sighting.path,
        )  # fmt: skip

    hindered = hindrance(gateway, port, Stage.RECEIVE)
    if sighting.location is FileLocation.ERROR:
        return said(
            "file.put-aside",
            f"It lies in the error folder of the port {sighting.port} since {at(sighting.since)}, as {sighting.path}.",
            mend("The text beside it says why: mend the file."),
            do(Action.SUBMIT, sighting.path, sighting.port, then=_SUBMITTED),
        )
    if sighting.location is FileLocation.WORK:
        if hindered is not None:
            return said(
                hindered.code,
                f"The port {sighting.port} took it at {at(sighting.since)}; it is not in the queue yet. {hindered.why}",
                *hindered.remedies,
                wait("Its next look into the work folder goes on with the file."),
            )
        return said(
            "file.in-work",
            f"It was taken by the port {sighting.port} at {at(sighting.since)} and is being read (claim "
            f"{sighting.claim_id}).",
            wait("Its messages are in the queue when all of it is read."),
            do(Action.EXAMINE, then="It says what is wrong when that does not happen."),
        )
    here = f"It lies in the inbound folder of the port {sighting.port}"
    if sighting.skipped is not None:
        skipped = sighting.skipped
        other = f" as {sighting.name}" if sighting.name != asked else ""
        until = sighting.since + timedelta(seconds=grace_seconds) if skipped.code == "file.incomplete" else None
        way_out = _WAYS_OUT.get(skipped.code, "Put a regular file with a fitting name there.")
        return said(
            f"file.{skipped.code.removeprefix('file.')}",
            f"{here}{other} and is not taken: {quoted(skipped.text)}.",
            mend(way_out.format(port=sighting.port, until=at(until))),
            until=until,
        )
    if hindered is not None:
        return said(hindered.code, f"{here}. {hindered.why}", *hindered.remedies)
    if port.state in ("paused", "degraded"):
        return said(
            f"port.{port.state}", f"{here}. {quoted(port.reason)}.{_whose(turn)}",
            wait("It is taken by itself when that is over."),
        )  # fmt: skip
    if turn is not None and not turn.alive:
        return said(
            "file.turn-of-ended",
            f"{here} and nothing is in its way, but it is the turn of {turn.process} to take files there, which has "
            "ended.",
            wait("Another node takes the turn within a minute, and then the file."),
        )
    return said(
        "file.ready",
        f"{here} and nothing is in its way.{_whose(turn)}",
        wait(f"It is taken at the next look, within {sweep_seconds:g} s."),
    )


def _whose(turn: Turn | None) -> str:
    return "" if turn is None else f" It is the turn of {turn.process} to take files there, since {at(turn.since)}."


def explain_unseen(name: str, folders: Sequence[str], similar: str | None = None) -> Explanation:
    """Explain a name that nothing has; *similar* is the nearest one that there is."""
    looked = f"none lies in {', '.join(folders)}" if folders else "no inbound folder is configured"
    hint = f"Did you mean {similar!r}?" if similar else "Check the name."
    return Explanation(
        subject=name,
        code="file.never-seen",
        why="Nothing is called so: no message, message set, port, lane, job, entry, run, task, session or document to "
        f"post. No file of this name was ever taken, and {looked}.",
        remedies=(mend(f"{hint} {_UNDERSTOOD}"),),
        file=name,
    )  # fmt: skip


_SUBMITTED = "It comes into the inbound folder again, under its own name."
_UNDERSTOOD = (
    "Numbers, MessageIds, file names, ports, lanes (port/lane), message sets (set:17), jobs, entries (entry:17), runs "
    "(run:17), tasks (job/task), sessions (session:17) and documents to post (SalesOrder/1001) are understood. A new "
    "file goes into the inbound folder of a port."
)
_WAYS_OUT = {
    "not-matched": "Rename it to a name that the port takes (ports.{port}.receive.pattern).",
    "file.no-done-marker": "Put an empty file with the same name plus .done beside it.",
    "file.being-written": "It is taken by itself when the writer is done and closes it.",
    "file.incomplete": "Write the rest of it. If it does not change, it is refused at {until} "
    "(ports.{port}.receive.grace_seconds after its last change).",
    "entry.unreadable": "Give the gateway's account permission to read it.",
    "entry.cannot-claim": "Give the gateway's account permission to move it out of the folder.",
    "entry.in-subfolder": "Move it into the inbound folder itself: subfolders are never looked into.",
}


def _because(port: PortFacts) -> str:
    return f", because {quoted(port.reason)}" if port.reason else ""
