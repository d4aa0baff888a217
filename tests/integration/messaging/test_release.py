"""What is released: what was named, judged by the rules of now, answered once for each cause.

Source: AIF reference, section 22.2; rulings, "Queue tools" and "Answers to errors"; decision 0014.
"""

from dataclasses import replace

import pytest

import schemas
from gateway.db.open import Store
from gateway.kernel.problem import Problem
from gateway.messaging.queue.leases import wake_due
from gateway.operations.reads.messages import read_message
from gateway.xml.limits import ReadRules
from gateway.xml.process import ReaderLauncher, ReadersUnavailable
from tests.integration.messaging.sets import BAD, Port
from tests.integration.messaging.test_policy_table import FAILED

UNKNOWN = Problem(
    code="document.unknown", text="No schema declares the document SalesOrder.", line=7, column=3, path="/SalesOrder"
)
SHIPPED = ReadRules(schema_folders=(str(schemas.FOLDER),))


async def test_failed_members_of_a_set_under_continue_do_not_wait_for_one_another(store: Store) -> None:
    port = Port(store, {})
    keys = await port.put([BAD] * 4)
    await port.run()
    port.orders.order.clear()
    assert (await port.release(keys[1])).changed == (keys[1],)
    assert await port.set_state() == ("error", 0, 0, 0)
    await port.run()
    assert port.orders.order == [keys[1]]
    port.orders.refuses.clear()
    await port.release(*keys[:3])
    await port.run()
    assert await port.states(keys) == ["processed"] * 3 + [FAILED]
    assert await port.set_state() == ("error", 3, 0, 0)
    await port.release(keys[3])
    await port.run()
    assert await port.set_state() == ("completed", 4, 0, 0)


async def test_request_has_one_fault_for_one_cause(store: Store) -> None:
    port = Port(store, {})
    (key, other) = await port.put([BAD, BAD])
    await port.run()
    for _ in range(3):
        await port.release(key)
        await port.run()
    assert await port.answers() == {key: "fault", other: "fault"}, "the same failure again sends none"
    port.orders.words = "the warehouse is closed for"
    await port.release(key)
    await port.run()
    assert (await port.answers())[key] == "fault, fault", "another cause is told"
    port.orders.words = "nobody orders"
    await port.release(key)
    await port.run()
    assert (await port.answers())[key] == "fault, fault", "the first cause was told before"
    port.orders.refuses.clear()
    await port.release(key)
    await port.run()
    assert await port.answers() == {key: "fault, fault, response", other: "fault"}


async def test_set_under_rollback_that_fails_again_sends_no_second_fault(store: Store) -> None:
    port = Port(store, {"on_error": "rollback"})
    keys = await port.put(["1", BAD, "13.5"])
    await port.run()
    await port.release(keys[0])
    await port.run()
    assert await port.answers() == {keys[1]: "fault"}
    port.orders.refuses = {"13.5"}
    await port.release(keys[0])
    await port.run()
    assert await port.answers() == {keys[1]: "fault", keys[2]: "fault"}, "it is another request that fails now"


async def test_sender_that_got_no_fault_gets_one_when_the_port_answers_errors_by_then(store: Store) -> None:
    port = Port(store, {}, errors=False)
    (key,) = await port.put([BAD])
    await port.run()
    answering = Port(store, {}, orders=port.orders)
    await port.release(key)
    await answering.run()
    assert await answering.answers() == {key: "fault"}


async def test_released_message_is_judged_by_the_schemas_of_now(store: Store) -> None:
    port = Port(store, {}, rules=SHIPPED)
    valid, invalid = await port.put(["1", "many"], problems=[UNKNOWN])
    await port.run()
    assert await port.codes() == {valid: "document.unknown", invalid: "document.unknown"}
    await port.release(valid, invalid)
    await port.run()
    assert await port.states([valid, invalid]) == ["processed", FAILED]
    assert await port.answers() == {valid: "fault, response", invalid: "fault, fault"}
    report = await read_message(store, invalid)
    assert report is not None
    (problem,) = report.message.problems
    assert str(problem["path"]).endswith("/SalesQty"), "what is wrong now, not what was wrong on arrival"
    assert problem["line"] is None, "a line of our copy is none of the partner's file"


async def test_what_was_wrong_before_keeps_its_place_and_is_not_told_again(store: Store) -> None:
    port = Port(store, {}, rules=SHIPPED)
    (key,) = await port.put(["many"])
    await port.release_verdict(key)
    await port.run()
    report = await read_message(store, key)
    assert report is not None
    (problem,) = report.message.problems
    at_line_9 = Problem(**{**problem, "line": 9, "column": 4})  # type: ignore[arg-type]  # a row of ours
    (again,) = await port.put(["many"], problems=[at_line_9])
    await port.run()
    await port.release(again)
    await port.run()
    assert await port.answers() == {key: "fault", again: "fault"}
    report = await read_message(store, again)
    assert report is not None
    assert [one["line"] for one in report.message.problems] == [9]


async def test_held_message_is_judged_by_the_rules_of_now_when_it_is_let_go(store: Store) -> None:
    port = Port(store, {}, rules=SHIPPED)
    (key,) = await port.put(["many"], single=True)
    await port.hold(key)
    await port.release(key)
    await port.run()
    assert await port.states([key]) == ["error/failed/none"]


async def test_message_whose_schema_is_still_missing_fails_as_before(store: Store) -> None:
    port = Port(store, {}, rules=ReadRules())
    (key,) = await port.put(["1"])
    await port.release_verdict(key)
    await port.run()
    await port.release(key)
    await port.run()
    assert await port.states([key]) == [FAILED]
    assert await port.answers() == {key: "fault"}


async def test_limit_on_sizes_is_for_bytes_as_received(store: Store) -> None:
    """Our copy of an envelope may be longer than what the partner sent, which was within the limits."""
    port = Port(store, {}, rules=replace(SHIPPED, max_envelope_bytes=100, hard_envelope_bytes=200, max_file_bytes=300))
    (key,) = await port.put(["1"])
    await port.release_verdict(key)
    await port.run()
    assert await port.states([key]) == ["processed"]


async def test_message_waits_while_no_reader_gets_ready(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is the trouble of the gateway's machine: no try is the last one, and the old verdict is not the new one."""
    port = Port(store, {"retries": 1}, rules=SHIPPED)
    (key,) = await port.put(["1"], problems=[UNKNOWN])
    await port.run()
    await port.release(key)
    with monkeypatch.context() as broken:
        broken.setattr(ReaderLauncher, "start", _none_starts)
        await port.run()
    assert await port.states([key]) == ["ready/backoff/ready"]
    async with store.transaction() as connection:
        assert await connection.fetchval("SELECT attempts FROM queue WHERE direction = 'in'") == 0
    async with store.transaction() as connection:
        for table in ("queue", "lane"):
            await connection.execute(f"UPDATE {table} SET not_before = clock_timestamp() WHERE not_before IS NOT NULL")
    await wake_due(store)
    await port.run()
    assert await port.states([key]) == ["processed"]


async def _none_starts() -> ReaderLauncher:
    raise ReadersUnavailable("No process that reads files gets ready: out of processes.")
