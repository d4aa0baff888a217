"""Busy ports share the stage by their weights."""

import asyncio
from collections.abc import Mapping

from gateway.contracts.task import Tally, TaskContext
from gateway.domain.ids import PortName
from gateway.domain.message import Claimed, Work
from gateway.domain.states import Policy, Stage
from gateway.stages.port import OpenInbound
from gateway.stages.runner import ChunkRunner
from gateway.stages.trouble import Trouble
from gateway.store.inbound import InboundResult, claim_inbound, record_inbound
from gateway.store.ingest import ingestion
from gateway.store.open import Store
from tests.factories import a_claim, a_file, a_message
from tests.integration.stages.test_inbound import NothingComes, a_port


async def served(store: Store, weights: Mapping[str, int]) -> str:
    """Let ports with twelve messages each be served one message at a time; returns whose turn it was each time."""
    ports: dict[PortName, OpenInbound] = {}
    for name, weight in weights.items():
        ports[PortName(name)] = a_port("parallel", 1000, name=name, weight=weight)[1]
        claim = a_claim(port=PortName(name))
        async with ingestion(store) as ingesting:
            messages = [a_message(n) for n in range(1, 13)]
            await ingesting.add_messages(PortName(name), claim.id, "partner", None, Policy.CONTINUE, messages)
            await ingesting.end_file(a_file(claim), None, [])
    turns: list[str] = []

    async def take(name: PortName) -> Claimed[Work] | None:
        return await claim_inbound(store, 1, name, 1)

    async def work(port: OpenInbound, chunk: Claimed[Work], _: TaskContext) -> None:
        turns.append(port.name)
        async with store.transaction() as connection:
            result = InboundResult(done=[(item, []) for item in chunk.items])
            await record_inbound(store, connection, chunk.fence, result)

    runner: ChunkRunner[OpenInbound, Work] = ChunkRunner(
        stage=Stage.INBOUND, store=store, ports=lambda: ports, claim=take, work=work, side_by_side=1,
        trouble=Trouble(store, 1),
    )  # fmt: skip
    await runner.run(TaskContext(task="inbound", feed=NothingComes(), stopping=asyncio.Event(), tally=Tally()))
    return "".join(turns)


async def test_ports_of_equal_weight_take_turns(store: Store) -> None:
    assert await served(store, {"a": 1, "b": 1}) == "ab" * 12


async def test_heavier_port_gets_its_share_until_it_has_nothing_left(store: Store) -> None:
    assert await served(store, {"a": 1, "b": 3}) == "abbb" * 4 + "a" * 8
