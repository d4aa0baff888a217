"""The queue against its model: short histories in which a broken statement shows, and random ones.

`@pytest.mark.full` explores for longer.
"""

from collections.abc import Callable, Iterator

import pytest
from asyncpg import PostgresError
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gateway.kernel.ids import MessageKey
from gateway.messaging.queue.operate import hold
from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.messaging.rules.states import Direction, LaneRule, Policy, Status
from tests.property.model import Ending
from tests.property.queue_machine import Bench, QueueMachine
from tests.statements import replaced, text_of


@pytest.fixture(scope="module")
def bench(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(module_database_url, tmp_path_factory.mktemp("model") / "data")
    yield bench
    bench.close()


def explore(bench: Bench, examples: int, steps: int, *, shrink: bool = True) -> None:
    """Try so many histories of so many steps."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, database=None, phases=phases,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(machine_on(bench), settings=chosen)  # type: ignore[no-untyped-call]


def machine_on(bench: Bench) -> Callable[[], QueueMachine]:
    """Return what makes machines that drive this bench."""
    made: Callable[[], QueueMachine] = type("Machine", (QueueMachine,), {"bench": bench})
    return made


def test_queue_does_what_its_model_does(bench: Bench) -> None:
    explore(bench, 30, 30)


@pytest.mark.full
@pytest.mark.timeout(0)
def test_queue_does_what_its_model_does_for_long(bench: Bench) -> None:
    explore(bench, 500, 60)


# short histories in which one broken statement shows


def two_claims_of_one_lane(m: QueueMachine) -> None:
    m.drop_file(["a", "a", "b"], Policy.CONTINUE, False, None, False)
    m.claim(1)
    m.claim(2)


def release_of_the_second(m: QueueMachine) -> None:
    m._use_port_rule(LaneRule.CONTINUE)
    m.drop_file(["a", "a"], Policy.CONTINUE, False, None, False)
    m.claim(2)
    m._finish(next(iter(m.inbound)), [Ending.LATER, Ending.GOOD])
    second = MessageKey(max(one.key for one in m.model.queue if one.direction is Direction.IN))
    m.bench.run(hold(m.bench.store, [second]))
    m.model.hold([second])
    m._release([second])


def frozen_worker(m: QueueMachine) -> None:
    m.drop_file(["a"], Policy.CONTINUE, False, None, False)
    m.claim(1)
    m._die(next(iter(m.inbound)))
    m.store_and_model_agree()
    m.wake_up_late()


def failure_under_halt(m: QueueMachine) -> None:
    m.drop_file(["a", "a", "a", "a"], Policy.HALT, True, None, False)
    m.claim(2)
    m._finish(next(iter(m.inbound)), [Ending.GOOD, Ending.BAD])


def rolled_back_set_again_before_its_fault_was_sent(m: QueueMachine) -> None:
    m.drop_file(["a", "a"], Policy.ROLLBACK, True, None, False)
    m.claim(1)
    m._finish(next(iter(m.inbound)), [Ending.GOOD, Ending.BAD])
    m._release([MessageKey(one.key) for one in m.model.queue if one.status is Status.HOLD])
    m.claim(1)


def rolled_back_set_that_waits(m: QueueMachine) -> None:
    m.drop_file(["a", "a"], Policy.ROLLBACK, True, None, False)
    m.claim(1)
    m._finish(next(iter(m.inbound)), [Ending.GOOD, Ending.LATER])
    m.claim(1)
    assert not m.inbound, "nothing of it may be tried before its time"


def lane_that_comes_back_in_time(m: QueueMachine) -> None:
    m.drop_file(["a", "a"], Policy.CONTINUE, False, None, False)
    m.claim(1)
    m._finish(next(iter(m.inbound)), [Ending.LATER])
    m.pass_time()
    m._wake()
    m.store_and_model_agree()
    m.claim(2)


def many_lanes_and_a_long_one(m: QueueMachine) -> None:
    m.drop_file(["a", "a", "a", "a"], Policy.CONTINUE, False, None, False)
    m.drop_file([None], Policy.HALT, True, None, False)
    m.drop_file(["b", None], Policy.CONTINUE, False, None, False)
    m.claim(4)
    m.store_and_model_agree()
    m.claim(7)


def release_of_a_failed_one(m: QueueMachine) -> None:
    m.drop_file([None], Policy.CONTINUE, False, None, False)
    m.claim(1)
    m._finish(next(iter(m.inbound)), [Ending.BAD])
    m._release([MessageKey(one.key) for one in m.model.queue if one.status is Status.ERROR])


def same_failure_again(m: QueueMachine) -> None:
    m.drop_file([None, None], Policy.CONTINUE, True, None, False)
    m.claim(2)
    m._finish(next(iter(m.inbound)), [Ending.BAD, Ending.BAD])
    for ending in (Ending.BAD, Ending.WORSE):
        m._release([MessageKey(min(one.key for one in m.model.queue if one.status is Status.ERROR))])
        m.claim(2)
        m._finish(next(iter(m.inbound)), [ending])


def late_comer_of_a_parked_lane(m: QueueMachine) -> None:
    m._use_port_rule(LaneRule.PARK)
    m.drop_file(["a", "a"], Policy.CONTINUE, False, None, False)
    m.claim(1)
    m._finish(next(iter(m.inbound)), [Ending.BAD])
    m.drop_file(["a"], Policy.CONTINUE, False, None, False)


def worker_that_ends_beside_others(m: QueueMachine) -> None:
    m.start_worker()
    m.start_worker()
    m.drop_file(["a", "a", None], Policy.CONTINUE, False, None, False)
    for who in (1, 2):
        m.claim(who + 1, who)
    assert len(m.inbound) == 2
    m._end_worker(m.workers[0])
    m.store_and_model_agree()
    m.claim(7, 1)
    assert len(m.inbound) == 2
    m._end_worker(m.workers[0])


def ends_of_its_worker(m: QueueMachine) -> None:
    m.drop_file(["a", "a"], Policy.CONTINUE, False, None, False)
    for _ in range(MOST_CRASHES):
        m.start_worker()
        m.claim(1, 1)
        (claimed,) = m.inbound.values()
        m._end_worker(m.workers[0], crashed=claimed.items[0].key)
        m.store_and_model_agree()
    m.claim(1)
    m._finish(next(iter(m.inbound)), [Ending.GOOD])


def loop_that_is_held(m: QueueMachine) -> None:
    m.start_worker()
    m.drop_file(["a", "a"], Policy.CONTINUE, False, None, False)
    m.claim(1, 1)
    (claimed,) = m.inbound.values()
    m._end_worker(m.workers[0], held_by=claimed.items[0].key)
    m.store_and_model_agree()
    m.claim(1)
    m._finish(next(iter(m.inbound)), [Ending.GOOD])


def node_that_starts_anew(m: QueueMachine) -> None:
    m.start_worker()
    m.drop_file(["a", "b"], Policy.CONTINUE, False, None, False)
    for who in (0, 1):
        m.claim(1, who)
    m.start_anew()


BAD_BUILDS = {
    "a claim ignores the leases of lanes": (
        "claim_lanes", "AND fence IS NULL AND not_before", "AND not_before", two_claims_of_one_lane,
    ),
    "a release loses the place": ("release", "'behind_in_lane'", "'ready'", release_of_the_second),
    "a late result is taken": (
        "drop_lease", "DELETE FROM lease WHERE fence = $1\nRETURNING awaited",
        "SELECT $1 < 0, NULL::int, --", frozen_worker,
    ),
    "taking back counts as a try": ("reap", "greatest(attempts - 1, 0)", "attempts", frozen_worker),
    "a worker takes others along": (
        "leases_of_worker", "owner = $1", "owner >= $1", worker_that_ends_beside_others,
    ),
    "claims of a dead worker stay": (
        "leases_of_worker", "owner = $1", "owner = $1 AND false", worker_that_ends_beside_others,
    ),
    "who ended a worker runs for ever": ("count_crashes", "q.crashes + 1, a", "q.crashes, a", ends_of_its_worker),
    "a try that held the loop counts for ever": ("retry_inbound", "held_loop = false", "held_loop = held_loop",
                                                 loop_that_is_held),
    "a node finds only what it claimed itself": (
        "leases_of_the_dead", "i.node = $1", "i.node = $1 AND i.parent IS NULL", node_that_starts_anew,
    ),
    "halt lets others go on": ("hold_set_after", "(status = 'ready' OR fence = $3)", "fence = $3", failure_under_halt),
    "a parked lane lets later ones in": (
        "hold_in_parked_lanes", "queue.message_id >= parked.first", "false", late_comer_of_a_parked_lane,
    ),
    "the same failure is answered again": ("note_faults", "told.cause)", "'\\x00')", same_failure_again),
    "a released message keeps its verdict": (
        "release", "judge_anew = direction = 'in'", "judge_anew = false", release_of_a_failed_one,
    ),
    "a release takes the other failed ones along": (
        "queued_with_bound", "(q.policy <> 'continue' OR q.reason = 'set_halted')", "true", same_failure_again,
    ),
    "a claim takes answers of its set for requests": (
        "claim_lanes", "m.claim_id = s.claim_id WHERE", "m.set_id = s.id WHERE",
        rolled_back_set_again_before_its_fault_was_sent,
    ),
}  # fmt: skip
SEEN = (AssertionError, ExceptionGroup, PostgresError)


@pytest.fixture(params=BAD_BUILDS)
def bad_build(request: pytest.FixtureRequest) -> Iterator[Callable[[QueueMachine], None]]:
    """A store with one broken statement; the history in which it shows."""
    name, right, wrong, history = BAD_BUILDS[request.param]
    assert right in text_of(name)
    with replaced(**{name: text_of(name).replace(right, wrong)}):
        yield history


def test_bad_build_is_seen(bench: Bench, bad_build: Callable[[QueueMachine], None]) -> None:
    """The proof can fail: queue and model differ."""
    machine = machine_on(bench)()
    with pytest.raises(SEEN):
        bad_build(machine)
        machine.store_and_model_agree()


@pytest.mark.parametrize(
    "history",
    dict.fromkeys(
        [
            *(one[3] for one in BAD_BUILDS.values()),
            rolled_back_set_that_waits,
            lane_that_comes_back_in_time,
            many_lanes_and_a_long_one,
        ]
    ),
)
def test_shipped_build_agrees_in_the_same_histories(bench: Bench, history: Callable[[QueueMachine], None]) -> None:
    machine = machine_on(bench)()
    history(machine)
    machine.store_and_model_agree()
    machine.teardown()


@pytest.mark.full
@pytest.mark.timeout(0)
@pytest.mark.usefixtures("bad_build")
def test_bad_build_is_seen_by_chance(bench: Bench) -> None:
    """Nobody needs to know where to look."""
    with pytest.raises(SEEN):
        explore(bench, 2000, 40, shrink=False)
