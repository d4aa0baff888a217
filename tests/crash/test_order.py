"""P23, P24: over two nodes a conversation keeps the order of its files, and one MessageId counts once."""

from itertools import cycle, islice
from random import Random

import pytest

from tests.crash.cluster import LEASE_SECONDS, Cluster, freeze
from tests.crash.oracle import out_of_order, watch_effects
from tests.crash.partner import Partner
from tests.crash.proof import calm, drained, effects, everything_happened_once
from tests.documents import envelope, guid, single
from tests.site import until


def talk(partner: Partner, turn: int, conversations: int) -> None:
    """Drop the next file of every conversation; within a turn their names are mixed."""
    for conversation in range(conversations):
        (one,) = partner.new_ids(1)
        header = f"<ConversationId>talk-{conversation}</ConversationId>"
        partner.site.drop(f"{turn:04}-{conversation:03}.xml", single(envelope(message_id=one, header=header)))


async def trouble(cluster: Cluster, chance: Random, fault: str, build: str) -> None:
    """Kill and restart one of the nodes, or freeze it past its lease."""
    node = chance.choice(cluster.nodes)
    if fault == "kill":
        await node.kill()
        await node.run(build=build)
    else:
        await freeze(node, 1.5 * LEASE_SECONDS)


@pytest.mark.parametrize(
    ("conversations", "turns", "faults"),
    [(10, 6, 3), pytest.param(200, 20, 100, marks=[pytest.mark.full, pytest.mark.timeout(0)])],
    ids=["few", "many"],
)
async def test_conversation_keeps_the_order_of_its_files_over_two_nodes(
    cluster: Cluster, chance: Random, conversations: int, turns: int, faults: int
) -> None:
    cluster.share().add_port(process={"mode": "parallel"})
    await watch_effects(cluster)
    with Partner(cluster) as partner:
        await cluster.run()
        faults_left = islice(cycle(("kill", "freeze")), faults)
        for turn in range(turns):
            talk(partner, turn, conversations)
            for fault in islice(faults_left, -(-faults // turns)):
                await trouble(cluster, chance, fault, "short_leases")
        await drained(cluster, partner)
    assert await out_of_order(cluster) == []
    await everything_happened_once(cluster, partner)
    assert await cluster.stop_all() == [0, 0]


@pytest.mark.parametrize("build", ["", "no_lanes"])
async def test_lanes_keep_the_order_when_the_first_of_a_conversation_is_held_up(cluster: Cluster, build: str) -> None:
    """One node freezes with the first message in hand; the other one goes on with what it may.

    With lanes that is all, once the first message is its own; without, all but that: nobody takes it from the slow one.
    """
    slow, quick = cluster.nodes
    world = f"endless_standstills {build}" if build else "short_leases"
    # as long as nothing shows that the services work, no more are in hand than may fail: the first one; the other node
    # does not mind
    cluster.add_port(process={"mode": "parallel", "pause_after_failures": 1})
    quick.ports["orders"] = {**quick.ports["orders"], "process": {"mode": "parallel", "pause_after_failures": 0}}
    slow.extra["workers"] = quick.extra["workers"] = {"xml": 1}
    await watch_effects(cluster)
    with Partner(cluster) as partner:
        for turn in range(4):
            talk(partner, turn, 4)
        slow.launch(build=world, pauses={"inbound.before_effects": str(slow.folder)})
        await slow.paused_at("inbound.before_effects")
        await quick.run(build=world)

        async def done() -> bool:
            return len(partner.answered) >= len(partner.submitted) - bool(build)

        await until(done, "the other node does what it may", tell=cluster.tail)
        slow.go_on("inbound.before_effects")
        await drained(cluster, partner)
    assert (await out_of_order(cluster) != []) == (build == "no_lanes")


def spelled(number: int) -> list[str]:
    """Return the ways in which partners write one MessageId."""
    plain = guid(number).strip("{}")
    return [guid(number), guid(number).lower(), plain, plain.lower(), plain.capitalize()]


async def repeat(
    cluster: Cluster, chance: Random, times: int, kills: int, build: str = "", on_duplicate: str = "fault"
) -> Partner:
    """Send one MessageId again and again, each in a file of its own, while nodes are killed."""
    cluster.add_port(process={"mode": "parallel", "on_duplicate": on_duplicate})
    for node in cluster.nodes:
        node.extra["workers"] = {"xml": 1, "chunk": 5}
    if not build:
        await cluster.run()
    with Partner(cluster) as partner:
        for number, one in enumerate(islice(cycle(spelled(0xABCDEF)), times)):
            cluster.drop(f"again_{number:05}.xml", single(envelope(message_id=one)))
            if kills and number % (times // (kills + 1)) == times // (kills + 2):
                await trouble(cluster, chance, "kill", "short_leases")
        if build:  # all are there at once, so that several are in work at the same time
            await cluster.run(build)

        async def answered() -> bool:
            return sum(len(answers) for answers in partner.answered.values()) >= times

        await until(answered, "each is answered", seconds=90 + times / 5, tell=cluster.tail)
    return partner


@pytest.mark.parametrize(
    ("times", "kills"),
    [(40, 2), pytest.param(1000, 20, marks=[pytest.mark.full, pytest.mark.timeout(0)])],
    ids=["few", "many"],
)
async def test_message_id_counts_once_over_two_nodes_however_it_is_written(
    cluster: Cluster, chance: Random, times: int, kills: int
) -> None:
    partner = await repeat(cluster, chance, times, kills)
    assert sum(len(answers) for answers in partner.answered.values()) == times
    assert len(partner.faults) == times - 1 and all("DuplicateMessage" in fault for fault in partner.faults)
    assert set(partner.answered) == set(spelled(0xABCDEF)), "each is named as it was sent"
    assert sum((await effects(cluster)).values()) == 1
    await calm(cluster, resting=("error",))
    assert await cluster.stop_all() == [0, 0]


@pytest.mark.parametrize("build", ["", "check_then_insert"])
async def test_message_id_that_comes_again_is_answered_as_the_first_time(
    cluster: Cluster, chance: Random, build: str
) -> None:
    partner = await repeat(cluster, chance, 12, 0 if build else 1, build, "replay")
    if not build:
        await calm(cluster)
    once = len(set(partner.values.values())) == 1 and sum((await effects(cluster)).values()) == 1
    assert once == (build == "")
    assert partner.faults == []


async def test_looking_first_and_writing_then_counts_a_message_id_twice(cluster: Cluster, chance: Random) -> None:
    partner = await repeat(cluster, chance, 12, 0, "check_then_insert")
    assert len(partner.faults) < 11
    assert sum((await effects(cluster)).values()) > 1
