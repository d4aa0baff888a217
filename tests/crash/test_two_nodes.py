"""P10: of two nodes one is frozen past its lease, killed or cut off; all is answered once, late results are refused."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGQUIT, SIGSTOP

import pytest

from tests.crash.cluster import LEASE_SECONDS, Cluster, cut_connections, freeze, signal_all
from tests.crash.partner import Partner
from tests.crash.process_factory import ProcessFactory
from tests.crash.proof import drained, everything_happened_once
from tests.crash.server import OwnServer
from tests.site import Site, until

ROUND = ("freeze",) * 10 + ("kill",) * 5 + ("cut",) * 4 + ("restart",) * 4
FEW = ("freeze", "kill", "cut", "restart", "freeze", "kill")


async def overtaken(cluster: Cluster, partner: Partner, point: str, build: str = "") -> None:
    """Freeze the first node at a point for longer than its lease, until the second one has done the work.

    What it freezes with is one request: it holds no locks for which the other one has to wait.
    """
    slow, quick = cluster.nodes
    partner.drop(1, most=1)
    slow.launch(build=f"short_leases {build}", pauses={point: str(slow.folder)})
    await slow.paused_at(point)
    signal_all(slow, SIGSTOP)
    partner.drop(2)
    await quick.run(build=f"short_leases {build}")

    async def taken_over() -> bool:
        if point == "send.after_promise" and not cluster.is_shared:  # only the slow one can publish
            rows = await cluster.query("SELECT FROM queue WHERE reason = 'address_unavailable'")
            return len(rows) > 0
        return quick.told("node.lost") and partner.complete

    await until(taken_over, "the other node takes over", tell=cluster.tail)
    slow.go_on(point)
    signal_all(slow, SIGCONT)


@pytest.mark.parametrize(
    ("point", "shared"),
    [
        ("inbound.before_effects", False),
        ("send.before_promise", True),
        ("send.after_promise", False),
        ("send.after_promise", True),
    ],
)
async def test_late_results_of_a_frozen_node_are_refused(cluster: Cluster, point: str, shared: bool) -> None:
    if shared:
        cluster.share()
    cluster.add_port(process={"mode": "parallel"})
    with Partner(cluster) as partner:
        await overtaken(cluster, partner, point)
        await drained(cluster, partner)

        async def told() -> bool:
            return cluster.nodes[0].told("lease.lost") and cluster.nodes[0].told("node.returned")

        await until(told, "the frozen node learns of it", tell=cluster.tail)
    await everything_happened_once(cluster, partner)
    assert await cluster.stop_all() == [0, 0]


async def test_files_that_a_frozen_node_had_claimed_are_read_by_the_other_one_when_it_can_reach_them(
    cluster: Cluster,
) -> None:
    cluster.share().add_port(process={"mode": "parallel"})
    with Partner(cluster) as partner:
        await overtaken(cluster, partner, "ingest.before_commit")
        await drained(cluster, partner)
    await everything_happened_once(cluster, partner)
    assert await cluster.stop_all() == [0, 0]


async def test_without_the_fence_a_frozen_node_does_harm(cluster: Cluster) -> None:
    cluster.add_port(process={"mode": "parallel"})
    with Partner(cluster) as partner:
        await overtaken(cluster, partner, "inbound.before_effects", "unfenced")

        async def harmed() -> bool:
            return partner.verdict()["twice"] > 0

        await until(harmed, "requests are answered twice", tell=cluster.tail)


@pytest.fixture
async def server_cluster(server: OwnServer, tmp_path: Path, process_factory: ProcessFactory) -> AsyncIterator[Cluster]:
    """Two gateways on the server of this test."""
    cluster = Cluster(Site(tmp_path, await server.start_with_schema()), process_factory)
    yield cluster
    await cluster.close()


@pytest.mark.parametrize(
    ("rounds", "shared"),
    [
        (0, False),
        pytest.param(10, False, marks=[pytest.mark.full, pytest.mark.timeout(0)]),
        pytest.param(10, True, marks=[pytest.mark.full, pytest.mark.timeout(0)]),
    ],
    ids=["few", "many", "many-shared-folders"],
)
async def test_two_nodes_in_trouble_answer_everything_once(
    server_cluster: Cluster, server: OwnServer, chance: Random, rounds: int, shared: bool
) -> None:
    cluster = server_cluster
    if shared:
        cluster.share()
    cluster.add_port(process={"mode": "parallel"})
    faults = chance.sample(ROUND * rounds, len(ROUND) * rounds) or FEW
    with Partner(cluster, seed=chance.random()) as partner:
        await cluster.run()
        for fault in faults:
            partner.drop(6)
            node = chance.choice(cluster.nodes)
            await asyncio.sleep(chance.uniform(0, 0.3))
            match fault:
                case "freeze":
                    await freeze(node, chance.uniform(0.5, 2.0) * LEASE_SECONDS)
                case "kill":
                    await node.kill()
                    await node.run(build="short_leases")
                case "cut":
                    await cut_connections(cluster, chance)
                case _:
                    await server.stop(SIGQUIT)
                    await server.start()
        await drained(cluster, partner, seconds=90 + len(faults))
    await everything_happened_once(cluster, partner)
    if rounds:  # else it proved nothing
        assert cluster.count("lease.lost") > 0
    assert await cluster.stop_all() == [0, 0]
