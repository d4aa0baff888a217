"""Why is this message where it is, and what would move it? Facts become two sentences.

Rule: every stored status and reason has exactly one explanation, and each says a way out. What the stored reason
cannot know (a port that is switched off, a gateway that does not run) is added to it.
"""

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, assert_never

from gateway.explanations.facts import (
    NOTHING_IS_OPEN,
    Answered,
    Explanation,
    Hindrance,
    Holder,
    LaneFacts,
    MessageFacts,
    Other,
    at,
    hindrance,
    quoted,
)
from gateway.kernel.remedy import Action, Remedy, do, mend, wait
from gateway.messaging.rules.states import Direction, Outcome, Policy, Reason, Stage

MEND_FIRST = mend("Mend the cause first.")
_EXAMINE = do(Action.EXAMINE, then="It says what is wrong.")
_WORKERS = {Stage.INBOUND: "inbound processing", Stage.OUTBOUND: "outbound processing", Stage.SEND: "the send stage"}


class _Reported(NamedTuple):
    why: str
    remedies: tuple[Remedy, ...]
    until: datetime | None = None
    others: tuple[int | None, ...] = ()
    code: str | None = None  # where reason or outcome do not say enough


def _said(
    why: str,
    *remedies: Remedy,
    until: datetime | None = None,
    others: tuple[int | None, ...] = (),
    code: str | None = None,
) -> _Reported:
    return _Reported(why, remedies, until, others, code)


def explain_message(m: MessageFacts) -> Explanation:
    """Explain one message or send request, finished or not."""
    said = _finished(m) if m.reason is None else _unfinished(m, m.reason)
    code = said.code or f"message.{m.reason or m.outcome or 'unknown'}"
    others = dict.fromkeys((m.key, *(other for other in said.others if other is not None)))
    explanation = Explanation(
        subject=subject_of(m), code=code, why=said.why, remedies=said.remedies, until=said.until, port=m.port.name,
        lane=m.lane.reference if m.lane else None, file=m.file, messages=tuple(others),
    )  # fmt: skip
    return explanation if m.reason is None else _hindered(m, explanation)


def subject_of(m: MessageFacts) -> str:
    """Return what people call it."""
    if m.is_request_to_send:
        return f"send request {m.key}"
    return f"message {m.key}"


def _unfinished(m: MessageFacts, reason: Reason) -> _Reported:
    match reason:
        case Reason.READY:
            return _ready(m)
        case Reason.BEHIND_IN_LANE:
            return _behind(m)
        case Reason.BACKOFF:
            tried = f" at try {m.attempts}" if m.attempts else ""  # what waits for the database has not failed
            return _said(
                f"It could not be done{tried} for a passing reason, and waits: {quoted(m.error)}.",
                wait(f"It is tried again by itself at {at(m.not_before)}."),
                do(Action.RETRY_PORT, m.port.name, then="It is tried at once."),
                until=m.not_before,
            )
        case Reason.ADDRESS_UNAVAILABLE:
            return _address_unavailable(m)
        case Reason.RUNNING:
            return _running(m)
        case Reason.HELD_BY_OPERATOR:
            return _said(
                f"It was held {m.deed.told if m.deed else f'by an operator at {at(m.since)}'}{_with_set(m)}.",
                do(Action.RELEASE_MESSAGE, m.key, then="It goes on."),
            )
        case Reason.SET_HALTED:
            return _held_with_set(m, "an earlier message of its file", "on_error: halt", "it and those behind it run")
        case Reason.SET_ROLLED_BACK:
            return _held_with_set(m, "another message of its file", "on_error: rollback", "the whole file runs again")
        case Reason.LANE_PARKED:
            return _parked(m)
        case Reason.FAILED:
            return _failed(m)
        case Reason.POISON:
            return _said(
                f"It ended the gateway's process twice, so nobody tries it again: {quoted(m.error)}.",
                mend("Mend the operation that it calls first."),
                do(Action.RELEASE_MESSAGE, m.key, then="It is tried again."),
                do(Action.DELETE_MESSAGE, m.key, then="It is removed."),
            )
        case Reason.MALFORMED:
            return _said(
                f"The file {m.file} could not be read, and nothing of it took effect: {quoted(m.error)}.",
                mend(
                    f"The file lies in {m.folder or 'the error folder'} of the node that took it: mend it and put it "
                    "into the inbound folder again."
                ),
                do(Action.DELETE_MESSAGE, m.key, then="This note is removed."),
            )
        case _ as never:
            assert_never(never)


def _ready(m: MessageFacts) -> _Reported:
    port = m.port
    if m.stage is Stage.INBOUND and port.max_in_work is not None and m.in_work >= port.max_in_work:
        return _said(
            f"It is ready, but {m.in_work} messages of the port {port.name} are in work, as many as "
            f"ports.{port.name}.process.max_parallel allows.",
            wait("It is taken by itself when some of them are done."),
        )
    first = "it is the first of its lane" if m.lane else "nothing orders it"
    older = f"{m.before} older messages of the port {port.name} are ready too" if m.before else "nothing is before it"
    return _said(
        f"It is ready: {first}, and {older}.{_turn(m)}", wait(f"It is taken by itself by {_WORKERS[m.stage]}.")
    )


def _turn(m: MessageFacts) -> str:
    """Say whom it shares its stage with, and what its own port does meanwhile."""
    most = m.port.max_in_work if m.stage is Stage.INBOUND else None
    has = f"{m.in_work} {'message' if m.in_work == 1 else 'messages'} in work{f', of {most} at most' if most else ''}"
    if m.sharing > 1:
        return f" It waits for its turn: {m.sharing} ports have work, and this one has {has}."
    return f" Its port has {has}." if m.in_work else ""


def _behind(m: MessageFacts) -> _Reported:
    lane = m.lane
    if lane is None:
        return _said("It waits for its lane, and its lane is not known.", _EXAMINE)
    if lane.blocked_by is not None:
        return _said(
            f"The lane {lane.reference} is blocked by message {lane.blocked_by.key}, {state_of(lane.blocked_by)}, and "
            f"nothing may pass it.{lane.decision}",
            *unblock(lane, lane.blocked_by),
            others=(lane.blocked_by.key,),
            code="message.lane-blocked",
        )
    ahead = m.ahead
    if lane.holder is not None:
        head = f", which is at message {lane.head}" if lane.head else ""
        return _said(
            f"Its lane {lane.reference}{head}, is in work {_by(lane.holder)}.",
            _when_done(lane.holder, "It moves up by itself when that is done."),
            others=(lane.head,),
        )
    if lane.not_before is not None:
        error = f": {quoted(ahead.error)}" if ahead and ahead.error else ""
        return _said(
            f"Message {lane.head} comes first in the lane {lane.reference} and waits before it is tried again{error}.",
            wait(f"Message {lane.head} is tried again by itself at {at(lane.not_before)}; then the lane goes on."),
            until=lane.not_before,
            others=(lane.head,),
        )
    if ahead is None:
        return _said(
            f"It stands in the lane {lane.reference}, and nothing unfinished is before it.",
            wait("It moves up by itself when the lane is taken next."),
            do(Action.EXAMINE, then="It says what is wrong when it does not."),
        )
    whose = f" of the file {ahead.file} (set {ahead.set_key})" if ahead.set_key not in (None, m.set_key) else ""
    return _said(
        f"Message {ahead.key}{whose} comes first in the lane {lane.reference}.",
        wait(f"It moves up by itself when message {ahead.key} is done."),
        others=(ahead.key,),
    )


def _address_unavailable(m: MessageFacts) -> _Reported:
    if m.lost_staging is not None and m.gateway.running:
        return _said(
            f"Its file is prepared {m.lost_staging}, and no gateway that runs uses that folder.",
            wait("It is published when that gateway runs again, or when another one uses the folder for staging."),
            do(
                Action.RESTAGE,
                m.key,
                then="Only when the folder is permanently lost: it is prepared anew, and the partner may get it twice.",
            ),
        )
    return _said(
        f"Its file cannot be put into the folder of the port {m.port.name} (try {m.attempts}): {quoted(m.error)}.",
        mend(
            "Mend that; it is delivered by itself as soon as the folder can be used again, and tried at "
            f"{at(m.not_before)} in any case."
        ),
        until=m.not_before,
    )


def _running(m: MessageFacts) -> _Reported:
    if m.holder is None:
        return _said(
            "It is marked as in work, but nobody holds the lease for it, which must not be.",
            _EXAMINE,
            mend("Restart the gateway: its start takes such work back."),
            code="message.lease-missing",
        )
    return _said(
        f"It is in work {_by(m.holder)}, try {m.attempts}.",
        _when_done(m.holder, "It moves by itself when that is done."),
    )


def _held_with_set(m: MessageFacts, who: str, policy: str, what: str) -> _Reported:
    if m.policy is Policy.CONTINUE:  # it goes on until so many have failed
        who, policy, what = "so many messages of its file", "max_failed", "it and all that waits with it run"
    if m.culprit is None:
        return _said(
            f"It is held because {who} failed under `{policy}`; no failed one is in the queue any more.",
            do(Action.RELEASE_MESSAGE, m.key, then=f"{what[0].upper()}{what[1:]}."),
        )
    return _said(
        f"It is held because {who} failed under `{policy}`, in set {m.set_key} message {m.culprit.key}: "
        f"{quoted(m.culprit.error)}.",
        MEND_FIRST,
        do(Action.RELEASE_MESSAGE, m.culprit.key, then=f"{what[0].upper()}{what[1:]}, in order."),
        others=(m.culprit.key,),
    )


def _parked(m: MessageFacts) -> _Reported:
    lane = m.lane
    name = lane.reference if lane else m.port.name
    culprit = lane.parked_by if lane and lane.parked_by else m.culprit
    because = f"when message {culprit.key} failed: {quoted(culprit.error)}" if culprit else "when one of it failed"
    return _said(
        f"Its lane {name} was parked {because}.{lane.decision if lane else ''}",
        *go_on(name, culprit.key if culprit else None),
        others=(culprit.key if culprit else None,),
    )


def _failed(m: MessageFacts) -> _Reported:
    if m.is_request_to_send:
        return _said(
            f"Its document could not be read at {at(m.since)}, so nothing was sent: {quoted(m.error)}.",
            MEND_FIRST,
            do(Action.RELEASE_MESSAGE, m.key, then="It is read anew."),
        )
    if m.direction is Direction.OUT:
        return _said(
            f"Its file could not be delivered, and it is not tried again: {quoted(m.error)}.",
            MEND_FIRST,
            do(Action.RELEASE_MESSAGE, m.key, then="It is tried again."),
        )
    fault = next((answer for answer in reversed(m.answers) if answer.is_fault), None)
    told = f" The partner got the fault {fault.file}." if fault and fault.sent_at else ""
    blocks = [wait(f"Until then it blocks its lane {m.lane.reference}.")] if _blocks(m) and m.lane else []
    if not m.is_kept:
        return _said(
            f"It failed at {at(m.since)}, at try {m.attempts}: {quoted(m.error)}.{told}",
            mend("It was not kept, so a release cannot help: the partner must send it in smaller messages."),
            do(Action.DELETE_MESSAGE, m.key, then="It is removed."),
            *blocks,
            others=(fault.key if fault else None,),
        )
    return _said(
        f"It failed at {at(m.since)}, at try {m.attempts}: {quoted(m.error)}.{told}",
        MEND_FIRST,
        do(Action.RELEASE_MESSAGE, m.key, then=f"It is tried again{_with_set(m)}."),
        do(Action.DELETE_MESSAGE, m.key, then="It is removed."),
        *blocks,
        others=(fault.key if fault else None,),
    )


def _blocks(m: MessageFacts) -> bool:
    return m.lane is not None and m.lane.blocked_by is not None and m.lane.blocked_by.key == m.key


def _finished(m: MessageFacts) -> _Reported:
    others = tuple(answer.key for answer in m.answers)
    match m.outcome:
        case Outcome.PROCESSED:
            stuck = next((answer for answer in m.answers if answer.stuck), None)
            if stuck is not None:
                return _said(
                    f"It was processed at {at(m.finished_at)}. Its {_kind(stuck)}, message {stuck.key}, is not "
                    f"delivered: {quoted(stuck.error)}.",
                    do(Action.EXPLAIN, stuck.key, then="It says what is in the way."),
                    others=others,
                    code="message.answer-stuck",
                )
            return _said(f"It was processed at {at(m.finished_at)}{_answers(m)}.", NOTHING_IS_OPEN, others=others)
        case Outcome.SENT:
            return _said(
                f"Its file {m.file} was put into {m.folder or 'the outbound folder'} at {at(m.finished_at)}.",
                wait("The partner takes the file away."),
                others=others,
            )
        case Outcome.DELETED:
            return _said(
                f"It was deleted from the queue {m.deed.told if m.deed else f'at {at(m.finished_at)}'}.",
                mend("To have it run, send it again."),
            )
        case None:
            return _said("It is neither finished nor in the queue, which must not be.", _EXAMINE)
        case _ as never:
            assert_never(never)


def _answers(m: MessageFacts) -> str:
    if not m.answers:
        return ", and its port answers nothing"
    answer = next((answer for answer in m.answers if answer.reason is not None), m.answers[-1])
    if answer.sent_at is not None:
        return f"; its {_kind(answer)} {answer.file} (message {answer.key}) was delivered at {at(answer.sent_at)}"
    if answer.reason is not None:
        return f"; its {_kind(answer)}, message {answer.key}, is on its way"
    return f"; its {_kind(answer)}, message {answer.key}, was deleted from the queue"


def _kind(answer: Answered) -> str:
    return "fault" if answer.is_fault else "response"


def unblock(lane: LaneFacts, blocker: Other) -> tuple[Remedy, ...]:
    """Return what lets a blocked lane go on."""
    return (
        MEND_FIRST,
        do(Action.RELEASE_MESSAGE, blocker.key, then="It is tried again, and the lane goes on by itself."),
        do(Action.DELETE_MESSAGE, blocker.key, then="It is removed, and the lane goes on by itself."),
        do(Action.CONTINUE_LANE, lane.reference, then="The others pass it, now and later."),
    )


def go_on(lane: str, culprit: int | None) -> tuple[Remedy, ...]:
    """Return what lets a parked lane go on."""
    return (
        MEND_FIRST,
        do(Action.RELEASE_MESSAGE, culprit or "NUMBER", then="The failed one is tried alone."),
        do(Action.RELEASE_LANE, lane, then="The others go on."),
    )


def state_of(other: Other) -> str:
    """Return why another message stands still, as part of a sentence."""
    if other.reason in (Reason.FAILED, Reason.POISON):
        return f"which failed ({quoted(other.error)})"
    if other.reason is Reason.HELD_BY_OPERATOR:
        return f"which was held {other.held.told if other.held else f'by an operator at {at(other.since)}'}"
    return f"which is {other.status} ({other.reason})"


def _by(holder: Holder) -> str:
    return f"by {holder.process} since {at(holder.since)} (stage {holder.stage}, lease {holder.fence})"


def _when_done(holder: Holder, sentence: str) -> Remedy:
    if holder.alive:
        return wait(sentence)
    return wait("That process has ended: a running gateway takes the work back within a minute and does it again.")


def retried(port: str) -> tuple[Remedy, ...]:
    """Return what lets a port go on that spares a service which does not work."""
    return mend("Mend that; the port goes on by itself."), do(Action.RETRY_PORT, port, then="It goes on at once.")


def _with_set(m: MessageFacts) -> str:
    """Say that its set waits together with it; under Continue it does not."""
    together = m.direction is Direction.IN and m.policy in (Policy.HALT, Policy.ROLLBACK)
    return f", with the rest of its set {m.set_key}" if together else ""


_MOVES_BY_ITSELF = frozenset({
    Reason.READY, Reason.BEHIND_IN_LANE, Reason.BACKOFF, Reason.ADDRESS_UNAVAILABLE, Reason.RUNNING
})  # fmt: skip


def _hindered(m: MessageFacts, said: Explanation) -> Explanation:
    """Add what keeps the whole gateway or port from moving anything to what would move by itself."""
    found = _hindrance(m)
    in_good_hands = m.reason is Reason.RUNNING and m.holder is not None and m.holder.alive
    if found is None or in_good_hands or m.reason not in _MOVES_BY_ITSELF:
        return said
    return replace(
        said,
        code=found.code,
        why=f"{said.why} {found.why}",
        remedies=(*found.remedies, *said.remedies),
        until=found.until,
    )


def _hindrance(m: MessageFacts) -> Hindrance | None:
    port = m.port
    found = hindrance(m.gateway, port, m.stage)
    if found is not None:
        return found
    if m.stage is Stage.INBOUND and port.spares_services:
        return Hindrance(
            "port.stopped",
            f"The port {port.name} is stopped: {quoted(port.reason)}.",
            retried(port.name),
        )
    if m.stage is not Stage.SEND:
        return None
    if not port.delivers:
        return Hindrance(
            "port.no-address",
            f"The port {port.name} has no outbound folder any more.",
            (mend(f"Put ports.{port.name}.respond back."),),
        )
    if port.state == "degraded" and m.reason is Reason.READY:
        return Hindrance(
            "port.degraded", f"The port {port.name} is degraded: {quoted(port.reason)}.", (mend("Mend that first."),)
        )
    return None
