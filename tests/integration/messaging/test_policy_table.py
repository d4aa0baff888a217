"""What a failing message does to its set: every row of the table of error policies, on the real store and stage.

Source: AIF reference, section 25; rulings, "Batches, lanes, policies".
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.db.open import Store, open_store
from tests.integration.messaging.sets import BAD, Port

FILE = ["1", "2", BAD, "4", "5"]
"""Two before the failing message, two after it."""
POLICIES = ["continue", "halt", "rollback"]
KINDS = {
    "sequential": {"mode": "sequential"},
    "sequential, conversation of the batch": {"mode": "sequential", "conversation": "c"},
    "parallel": {"mode": "parallel"},
    "parallel, conversation of the batch": {"mode": "parallel", "conversation": "c"},
    "parallel, conversation of the messages": {"mode": "parallel", "own": "c"},
}
FAILED = "error/failed/error"
SKIPPED = "hold/set_halted/skipped"
UNDONE = "hold/set_rolled_back/rolled back"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the file, by place in it from 0, and of a good file behind it."""

    states: Sequence[str]
    codes: Mapping[int, str]
    answers: Mapping[int, str]
    effects: Collection[int]
    numbers: Sequence[int]  # of all effects, also those of the file behind
    other: Sequence[str]


Ask = Callable[[str, str], Outcome]

every_policy = pytest.mark.parametrize("policy", POLICIES)
every_kind = pytest.mark.parametrize("kind", KINDS)


def by_policy(*values: object) -> pytest.MarkDecorator:
    """Give each policy what is expected of it."""
    return pytest.mark.parametrize(("policy", "expected"), list(zip(POLICIES, values, strict=True)), ids=POLICIES)


@pytest.fixture(scope="module")
def outcome(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Return what becomes of the file under a policy on a kind of port; each is tried once."""
    tried: dict[tuple[str, str], Outcome] = {}
    data = tmp_path_factory.mktemp("policies") / "data"

    def ask(policy: str, kind: str) -> Outcome:
        if (policy, kind) not in tried:
            tried[policy, kind] = asyncio.run(_try(module_database_url, data, policy, KINDS[kind]))
        return tried[policy, kind]

    return ask


async def _try(url: str, data: Path, policy: str, kind: Mapping[str, str]) -> Outcome:
    async with open_store(url, data) as store:
        await _forget_all(store)
        port = Port(store, {"on_error": policy, "mode": kind["mode"]})
        conversations = {name: kind.get(name) for name in ("conversation", "own")}
        keys = await port.put(FILE, **conversations)
        other = await port.put(["6", "7"], **conversations)
        await port.run()
        places = {key: place for place, key in enumerate(keys)}
        answers, codes, effects = await port.answers(), await port.codes(), await port.effects()
        return Outcome(
            states=await port.states(keys),
            codes={places[key]: code for key, code in codes.items()},
            answers={places[key]: kind for key, kind in answers.items() if key in places},
            effects=[places[key] for key in effects if key in places],
            numbers=sorted(effects.values()),
            other=[*await port.states(other), *(answers[key] for key in other)],
        )


async def _forget_all(store: Store) -> None:
    async with store.transaction() as connection:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS effect (message bigint, number bigint);"
            "TRUNCATE delivery, message, document, queue, lane, message_set, exception, number_sequence, effect"
        )


@every_kind
@every_policy
def test_failing_message_stays_in_the_queue_with_its_error(outcome: Ask, policy: str, kind: str) -> None:
    found = outcome(policy, kind)
    assert found.states[2] == FAILED
    assert found.codes == {2: "operation.rejected"}


@every_kind
@by_policy("processed", "processed", UNDONE)
def test_messages_before_the_failing_one_are_kept_or_undone(
    outcome: Ask, policy: str, kind: str, expected: str
) -> None:
    assert outcome(policy, kind).states[:2] == [expected, expected]


@every_kind
@by_policy("processed", SKIPPED, UNDONE)
def test_messages_after_the_failing_one_go_on_or_wait(outcome: Ask, policy: str, kind: str, expected: str) -> None:
    assert outcome(policy, kind).states[3:] == [expected, expected]


@every_kind
@by_policy([0, 1, 3, 4], [0, 1], [])
def test_responses_are_for_what_was_processed_and_a_fault_for_what_failed(
    outcome: Ask, policy: str, kind: str, expected: list[int]
) -> None:
    assert outcome(policy, kind).answers == {2: "fault"} | dict.fromkeys(expected, "response")


@every_kind
@by_policy([0, 1, 3, 4], [0, 1], [])
def test_effects_in_the_database_are_those_of_what_was_processed(
    outcome: Ask, policy: str, kind: str, expected: list[int]
) -> None:
    assert sorted(outcome(policy, kind).effects) == expected


@every_kind
@by_policy(6, 4, 2)
def test_number_sequences_of_what_was_undone_are_undone(outcome: Ask, policy: str, kind: str, expected: int) -> None:
    assert outcome(policy, kind).numbers == list(range(1, expected + 1))


@every_kind
@every_policy
def test_other_sets_go_on(outcome: Ask, policy: str, kind: str) -> None:
    assert outcome(policy, kind).other == ["processed", "processed", "response", "response"]
