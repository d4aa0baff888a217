"""The job that moves messages, started by what appears: its runs are records, and nothing waits for their end."""

import asyncio
from collections import Counter
from datetime import timedelta
from json import loads

import pytest
from structlog.testing import capture_logs

from gateway.batch.rules.transitions import JobAction
from gateway.contracts.task import TaskContext
from gateway.messaging.flow.port import OpenInbound
from gateway.messaging.intake.receive import ReceiveStage
from tests.documents import SERVICES, envelope, guid, single
from tests.integration.runtime.test_scenario_gateway_job import gateway, hold
from tests.site import Site, until

BOUNDS = {"mode": "event", "max_messages": 1, "max_seconds": 1}


async def test_a_slow_message_keeps_no_other_port_from_taking_files_when_a_bound_is_passed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.services["Held"] = {"kind": "python", "operations": {"hold": f"{hold.__module__}:hold"}}
    site.add_port("slow", operations=["Held.hold"])
    site.add_port()
    site.extra["jobs"] = {"gateway": BOUNDS}
    go = site.folder / "go"
    monkeypatch.setenv("HELD_UNTIL", str(go))
    site.drop("slow.xml", single(envelope(message_id=guid(9), action=f"{SERVICES}/Held/hold")), "slow")
    async with gateway(site, monkeypatch) as here:

        async def working() -> bool:
            return bool(await site.query("SELECT 1 FROM queue WHERE direction = 'in' AND status = 'in_process'"))

        await until(working, "the slow message is in work")
        for number in range(1, 4):
            here.clock.move_to(here.clock.now() + timedelta(seconds=10))
            site.drop(f"{number}.xml", single(envelope(message_id=guid(number))))
            await site.wait_answers(number)
            await here.until_runs("gateway", number)  # the bounds end one with each message
        assert site.answers("slow") == {}
        await here.ask(JobAction.WITHHOLD, "gateway")  # what was begun is done, and the last run ends
        go.touch()
        await site.wait_answers(1, "slow")

        async def counted() -> Counter[str]:
            runs = await here.runs("gateway")
            return sum((Counter(loads(run["counts"])) for run in runs), Counter())

        async def all_counted() -> bool:
            here.clock.move_to(here.clock.now() + timedelta(seconds=1))
            return (await counted())["responses"] == 4

        await until(all_counted, "everything is in history")
        assert await counted() == {"files": 4, "received": 4, "messages": 4, "responses": 4}
        assert {run["status"] for run in await here.runs("gateway")} == {"ended"}


async def test_a_job_that_is_armed_again_takes_files_although_one_is_still_being_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add_port("large")
    site.add_port()
    site.extra["jobs"] = {"gateway": BOUNDS}
    gates = {"large": asyncio.Event(), "orders": asyncio.Event()}
    begun: set[str] = set()
    ended: set[str] = set()
    poll_alone = ReceiveStage._poll_alone

    async def poll(self: ReceiveStage, port: OpenInbound, context: TaskContext) -> bool:
        begun.add(port.name)
        await gates[port.name].wait()
        ended.add(port.name)
        return await poll_alone(self, port, context)

    monkeypatch.setattr(ReceiveStage, "_poll_alone", poll)
    with capture_logs() as events:
        async with gateway(site, monkeypatch) as here:

            async def until_all(those: set[str], what: set[str]) -> None:
                async def hold() -> bool:
                    return what <= those

                await until(hold, str(what))

            async def until_told(event: str, times: int) -> None:
                async def told() -> bool:
                    return sum(one["event"] == event for one in events) >= times

                await until(told, event)

            await until_all(begun, {"large", "orders"})
            await here.ask(JobAction.WITHHOLD, "gateway")
            await until_told("job.parked", 1)
            gates["orders"].set()
            await until_all(ended, {"orders"})
            await here.ask(JobAction.ARM, "gateway")
            await until_told("job.armed", 2)
            site.drop("a.xml", single(envelope(message_id=guid(1))))
            await site.wait_answers(1)
            assert ended == {"orders"}
            gates["large"].set()
