"""A staging folder is lost with its node: an operator gives up what was promised in it, and all is answered once."""

from shutil import rmtree

from gateway.config.load import load
from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.operations.operate import lost_with, restage
from tests.crash.cluster import Cluster
from tests.crash.partner import Partner
from tests.crash.proof import calm, drained, everything_happened_once
from tests.factories import operator
from tests.site import until

POINT = "send.after_promise"


async def test_answers_in_a_lost_folder_are_prepared_anew_by_the_node_that_is_left(cluster: Cluster) -> None:
    cluster.add_port(process={"mode": "parallel"})
    left = cluster.nodes[1]
    with Partner(cluster) as partner:
        await lose_promises(cluster, partner)
        await left.run(build="short_leases")

        async def waits() -> bool:
            return bool(await cluster.query("SELECT FROM queue WHERE reason = 'address_unavailable'"))

        await until(waits, "the answers wait for their folder", tell=left.tail)
        await _give_up(cluster)
        await drained(left, partner)
    await everything_happened_once(left, partner)
    assert await left.stop() == 0


async def test_promise_that_names_no_folder_is_seen(cluster: Cluster) -> None:
    """The proof can fail: what the other node does not find in its own folder counts as published, and is lost."""
    cluster.add_port(process={"mode": "parallel"})
    build = "short_leases folders_without_identity"
    with Partner(cluster) as partner:
        await lose_promises(cluster, partner, build)
        await cluster.nodes[1].run(build=build)
        await calm(cluster.nodes[1])
    assert partner.verdict()["lost"] > 0


async def lose_promises(cluster: Cluster, partner: Partner, build: str = "short_leases") -> None:
    """Let the first node promise answers, and lose it with the folder that they lie in."""
    lost, _ = cluster.nodes
    partner.drop(6)
    lost.launch(build=build, pauses={POINT: str(lost.folder)})
    await lost.paused_at(POINT)
    await lost.kill()
    rmtree(lost.data)


async def _give_up(cluster: Cluster) -> None:
    settings = load(cluster.nodes[1].config, {})
    async with open_store(settings.store, settings.data, use=Use.VISIT) as store:
        rows = await cluster.query("SELECT message_id FROM queue WHERE staged_in IS NOT NULL")
        assert rows, "something is promised"
        found = await lost_with(operator(store, settings=settings), [str(rows[0]["message_id"])])
        assert len(await restage(operator(store, settings=settings), found)) == len(found)
