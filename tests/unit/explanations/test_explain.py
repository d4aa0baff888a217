"""Facts become two sentences: what stands above all wins, every reason has words of its own, ids are named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.batch.rules.job import JobStatus
from gateway.cli.remedies import worded
from gateway.explanations.facts import (
    Deed,
    FileLocation,
    FileSighting,
    GatewayFacts,
    Holder,
    JobFacts,
    LaneFacts,
    MessageFacts,
    Other,
    PortFacts,
    SetFacts,
    Turn,
)
from gateway.explanations.message import explain_message
from gateway.explanations.place import explain_lane, explain_port, explain_set, explain_sighting
from gateway.messaging.rules.delivery import SkippedFile
from gateway.messaging.rules.states import Direction, Policy, Reason, Stage, Status

NOON = datetime(2031, 2, 3, 12, tzinfo=UTC)
RUNNING = GatewayFacts(running=["host:1"])
OPEN = PortFacts(name="orders", state="open")
HOLDER = Holder(fence=77, stage="inbound", process="host:9", since=NOON, alive=True)
CULPRIT = Other(key=12, status=Status.ERROR, reason=Reason.FAILED, set_key=5, error="The item A-7 is unknown.")
LANE = LaneFacts(port="orders", name="conversation:a", head=12, waiting=3)
STATUS_OF = {
    Reason.READY: Status.READY, Reason.BEHIND_IN_LANE: Status.READY, Reason.BACKOFF: Status.READY,
    Reason.ADDRESS_UNAVAILABLE: Status.READY, Reason.RUNNING: Status.IN_PROCESS, Reason.HELD_BY_OPERATOR: Status.HOLD,
    Reason.SET_HALTED: Status.HOLD, Reason.SET_ROLLED_BACK: Status.HOLD, Reason.LANE_PARKED: Status.HOLD,
    Reason.FAILED: Status.ERROR, Reason.POISON: Status.ERROR, Reason.MALFORMED: Status.MALFORMED,
}  # fmt: skip


def facts_of(reason: Reason, **more: Any) -> MessageFacts:
    return replace(
        MessageFacts(
            key=17, direction=Direction.IN, port=OPEN, gateway=RUNNING, status=STATUS_OF[reason], reason=reason,
            attempts=2, error="It broke.", since=NOON, set_key=5, culprit=CULPRIT, file="batch.xml",
        ),
        **more,
    )  # fmt: skip


def a_job(status: JobStatus, *, timed: bool = False) -> JobFacts:
    return JobFacts(name="gateway", status=status, timed=timed, next_start=NOON)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_of_its_own_and_a_way_out(reason: Reason) -> None:
    one = explain_message(facts_of(reason, lane=LANE, holder=HOLDER))
    assert one.code == f"message.{reason}" and one.why and one.remedies and one.messages[0] == 17
    whys = {explain_message(facts_of(other, lane=LANE)).why for other in Reason}
    assert len(whys) == len(Reason), "no two reasons sound the same"
    by_itself = (Reason.READY, Reason.BEHIND_IN_LANE, Reason.RUNNING)
    assert one.wrong is (reason not in by_itself)


@pytest.mark.parametrize(
    ("reason", "more", "words"),
    [
        (Reason.SET_HALTED, {}, ["message 12", "set 5", "halt", "A-7"]),
        (Reason.SET_ROLLED_BACK, {}, ["message 12", "set 5", "rollback"]),
        (Reason.SET_HALTED, {"culprit": None}, ["in the queue any more"]),
        (Reason.SET_HALTED, {"policy": Policy.CONTINUE}, ["so many messages", "max_failed", "message 12"]),
        (Reason.LANE_PARKED, {"lane": replace(LANE, parked_by=CULPRIT)}, ["orders/conv", "message 12", "A-7"]),
        (Reason.RUNNING, {"holder": HOLDER}, ["host:9", "lease 77", "inbound"]),
        (Reason.RUNNING, {"holder": replace(HOLDER, alive=False)}, ["has ended", "takes the work back"]),
        (Reason.RUNNING, {}, ["must not be", "gateway doctor"]),
        (Reason.BEHIND_IN_LANE, {"lane": LANE, "ahead": CULPRIT}, ["Message 12", "comes first", "orders/conv"]),
        (Reason.BEHIND_IN_LANE, {"lane": LANE, "ahead": replace(CULPRIT, set_key=4, file="a.xml")}, ["set 4", "a.xml"]),
        (Reason.BEHIND_IN_LANE, {"lane": replace(LANE, holder=HOLDER)}, ["host:9", "lease 77", "message 12"]),
        (Reason.BEHIND_IN_LANE, {"lane": replace(LANE, not_before=NOON), "ahead": CULPRIT}, ["12:00:00", "Message 12"]),
        (Reason.BEHIND_IN_LANE, {"lane": replace(LANE, blocked_by=CULPRIT)}, ["blocked", "queue release 12", "A-7"]),
        (Reason.FAILED, {"lane": replace(LANE, blocked_by=replace(CULPRIT, key=17))}, ["blocks its lane"]),
        (Reason.BACKOFF, {"not_before": NOON}, ["try 2", "12:00:00", "It broke"]),
        (Reason.ADDRESS_UNAVAILABLE, {"not_before": NOON}, ["12:00:00", "It broke", "orders"]),
        (Reason.ADDRESS_UNAVAILABLE, {"lost_staging": "in /srv/b on b"}, ["/srv/b on b", "queue restage 17", "twice"]),
        (Reason.READY, {"in_work": 8, "port": replace(OPEN, max_in_work=8)}, ["max_parallel", "8"]),
        (
            Reason.READY, {"in_work": 2, "sharing": 3, "port": replace(OPEN, max_in_work=10)},
            ["waits for its turn: 3 ports have work", "2 messages in work, of 10 at most"],
        ),
        (Reason.READY, {"in_work": 1, "sharing": 1}, ["Its port has 1 message in work."]),
        (Reason.READY, {"before": 41}, ["41 older"]),
        (Reason.FAILED, {"policy": Policy.HALT}, ["queue release 17", "with the rest of its set 5"]),
        (Reason.FAILED, {"is_kept": False}, ["a release cannot help", "smaller messages"]),
        (Reason.FAILED, {"is_request_to_send": True, "direction": Direction.OUT}, ["nothing was sent"]),
        (Reason.MALFORMED, {"folder": "/data/error/orders"}, ["batch.xml", "/data/error/orders"]),
    ],
)  # fmt: skip
def test_sentences_name_what_is_involved(reason: Reason, more: dict[str, Any], words: list[str]) -> None:
    one = explain_message(facts_of(reason, **more))
    told = f"{one.why} {worded(*one.remedies)}"
    assert [word for word in words if word not in told] == [], told


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"gateway": GatewayFacts(running=[])}, "gateway.not-running"),
        ({"port": replace(OPEN, configured=False)}, "port.not-configured"),
        ({"port": replace(OPEN, active=False)}, "port.inactive"),
        ({"port": replace(OPEN, state="stopped", reason="25 requests in a row failed.")}, "port.stopped"),
        ({"port": replace(OPEN, state="paused", reason="Only 3 MB are free.")}, "message.ready"),
        ({"gateway": replace(RUNNING, jobs={Stage.INBOUND: [a_job(JobStatus.WITHHOLD)]})}, "gateway.job-stopped"),
        (
            {"gateway": replace(RUNNING, jobs={Stage.INBOUND: [a_job(JobStatus.WAITING, timed=True)]})},
            "gateway.job-waits",
        ),
        ({"gateway": replace(RUNNING, jobs={Stage.RECEIVE: [a_job(JobStatus.WAITING)]})}, "gateway.no-job"),
        ({"gateway": replace(RUNNING, jobs={Stage.INBOUND: [a_job(JobStatus.WAITING)]})}, "message.ready"),
        ({"direction": Direction.OUT, "port": replace(OPEN, delivers=False)}, "port.no-address"),
        ({"direction": Direction.OUT, "port": replace(OPEN, state="degraded", reason="Full.")}, "port.degraded"),
    ],
)
@pytest.mark.parametrize("reason", [Reason.READY, Reason.HELD_BY_OPERATOR])
def test_what_stops_everything_stands_above_what_would_move_by_itself(
    reason: Reason, more: dict[str, Any], code: str
) -> None:
    one = explain_message(facts_of(reason, **more))
    assert one.code == (code if reason is Reason.READY else "message.held_by_operator")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"parked_by": CULPRIT}, "lane.parked"),
        ({"blocked_by": CULPRIT}, "lane.blocked"),
        ({"holder": HOLDER}, "lane.in-work"),
        ({"head": None, "waiting": 0}, "lane.empty"),
        ({"head": None, "waiting": 0, "held": 2, "first": CULPRIT}, "lane.stopped"),
        ({"not_before": NOON}, "lane.waiting"),
        ({}, "lane.ready"),
    ],
)
def test_every_state_of_a_lane_has_its_code(more: dict[str, Any], code: str) -> None:
    assert explain_lane(replace(LANE, **more), RUNNING, OPEN).code == code


@pytest.mark.parametrize(
    ("port", "code"),
    [
        (OPEN, "port.open"),
        (replace(OPEN, state="degraded", reason="Full."), "port.degraded"),
        (replace(OPEN, state="paused", reason="Full."), "port.paused"),
        (replace(OPEN, state="stopped", reason="25 requests in a row failed."), "port.stopped"),
        (replace(OPEN, state=None), "port.unknown"),
        (replace(OPEN, active=False), "port.inactive"),
        (replace(OPEN, configured=False), "port.not-configured"),
    ],
)
def test_every_state_of_a_port_has_its_code(port: PortFacts, code: str) -> None:
    assert explain_port(port, RUNNING, waiting=0, held=0, failed=0).code == code


def test_open_port_with_failed_messages_is_not_called_well() -> None:
    one = explain_port(OPEN, RUNNING, waiting=0, held=0, failed=3)
    assert one.code == "port.needs-attention" and one.wrong and "queue list --port orders" in worded(*one.remedies)


@pytest.mark.parametrize("state", ["degraded", "paused", "stopped"])
def test_port_that_does_not_work_says_since_when(state: str) -> None:
    port = replace(OPEN, state=state, reason="Full.", since=NOON)
    one = explain_port(port, RUNNING, waiting=0, held=0, failed=0)
    assert "since 2031-02-03 12:00:00 UTC" in one.why and one.wrong


def test_withheld_job_of_the_gateway_is_told_with_who_held_it() -> None:
    job = replace(a_job(JobStatus.WITHHOLD), held=Deed("ann", NOON, "Stocktaking."))
    one = explain_message(facts_of(Reason.READY, gateway=replace(RUNNING, jobs={Stage.INBOUND: [job]})))
    assert "is on hold, put there by ann at 2031-02-03 12:00:00 UTC (Stocktaking)" in one.why


def test_lane_with_a_rule_of_its_own_says_who_gave_it_and_why() -> None:
    deed = Deed("ann", NOON, "ask Bob first")
    for more in ({"blocked_by": CULPRIT, "on_error": "block"}, {"parked_by": CULPRIT, "on_error": "park"}):
        lane = replace(LANE, ruled=True, decided=deed, **more)
        told = f"`{lane.on_error}` was set for this lane by ann at 2031-02-03 12:00:00 UTC (ask Bob first)."
        assert told in explain_lane(lane, RUNNING, OPEN).why
        reason = Reason.BEHIND_IN_LANE if lane.blocked_by else Reason.LANE_PARKED
        assert told in explain_message(facts_of(reason, lane=lane)).why
        assert "was set for this lane by an operator." in explain_lane(replace(lane, decided=None), RUNNING, OPEN).why


def test_lane_that_a_held_message_blocks_says_who_holds_it() -> None:
    held = replace(CULPRIT, status=Status.HOLD, reason=Reason.HELD_BY_OPERATOR, held=Deed("ann", NOON, "ask Bob first"))
    told = "message 12, which was held by ann at 2031-02-03 12:00:00 UTC (ask Bob first)"
    lane = replace(LANE, blocked_by=held)
    assert told in explain_lane(lane, RUNNING, OPEN).why
    assert told in explain_message(facts_of(Reason.BEHIND_IN_LANE, lane=lane)).why


def test_blocked_and_parked_lanes_say_since_when() -> None:
    culprit = replace(CULPRIT, since=NOON)
    for lane in (replace(LANE, blocked_by=culprit), replace(LANE, parked_by=culprit)):
        assert "2031-02-03 12:00:00 UTC" in explain_lane(lane, RUNNING, OPEN).why


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"processed": 3}, "set.completed", "3 of its 3"),
        ({"processed": 1, "waiting": 2, "first": 18}, "set.ready", "1 of its 3"),
        ({"status": "error", "failed": 1, "held": 2, "first_failed": 17, "first": 17}, "set.error", "message 17"),
        ({"status": "rolled_back", "failed": 1, "held": 2, "first_failed": 17}, "set.rolled_back", "nothing of it"),
        ({"held": 3, "first": 17}, "set.stopped", "stands still"),
    ],
)
def test_every_state_of_a_set_has_its_code(more: dict[str, Any], code: str, words: str) -> None:
    found = SetFacts(
        key=5, port="orders", batch_id="B", policy="halt", members=3, processed=0, deleted=0, status="ready",
        file="batch.xml", waiting=0, held=0, failed=0, first_failed=None, first=None,
    )  # fmt: skip
    one = explain_set(replace(found, **more))
    assert one.code == code and words in one.why


@pytest.mark.parametrize(
    ("port", "turn", "code", "word"),
    [
        (OPEN, None, "file.ready", "nothing is in its way."),
        (OPEN, Turn("host:9", NOON, True), "file.ready", "It is the turn of host:9 to take files there"),
        (OPEN, Turn("host:9", NOON, False), "file.turn-of-ended", "the turn of host:9"),
        (replace(OPEN, state="paused", reason="Full."), Turn("host:9", NOON, True), "port.paused", "turn of host:9"),
        (replace(OPEN, state="stopped", reason="25 failed."), None, "file.ready", "nothing is in its way."),
    ],
    ids=["idle", "turn", "turn-of-ended", "paused", "services-fail"],
)
def test_file_that_waits_names_the_node_whose_turn_it_is(
    port: PortFacts, turn: Turn | None, code: str, word: str
) -> None:
    sighting = FileSighting(port="orders", location=FileLocation.INBOUND, name="a.xml", path="/in/a.xml", since=NOON)
    one = explain_sighting(sighting, "a.xml", RUNNING, port, 5.0, 600.0, turn)
    assert one.code == code and word in one.why


def test_unfinished_file_tells_when_it_is_refused() -> None:
    skipped = SkippedFile(name=b"a.xml", display="a.xml", code="file.incomplete", text="It has no end.", since=NOON)
    sighting = FileSighting(
        port="orders", location=FileLocation.INBOUND, name="a.xml", path="/in/a.xml", since=NOON, skipped=skipped
    )
    one = explain_sighting(sighting, "a.xml", RUNNING, OPEN, 5.0, 600.0)
    assert one.code == "file.incomplete" and one.until == NOON + timedelta(seconds=600)
    assert "refused at 2031-02-03 12:10:00 UTC (ports.orders.receive.grace_seconds" in worded(*one.remedies)
