"""The processes that run services die, freeze and change while the gateway goes on: nothing is lost or done twice."""

from collections.abc import Sequence
from signal import SIGCONT, SIGKILL, SIGSEGV, SIGSTOP, SIGTERM

import psutil
import pytest
from lxml import etree

from gateway.workers.launcher import ending
from tests.crash.bad_code import SIGN
from tests.crash.bad_code import __name__ as BAD_CODE
from tests.crash.oracle import out_of_order, watch_effects
from tests.crash.partner import Partner
from tests.crash.proof import drained, everything_happened_once
from tests.crash.server import OwnServer
from tests.crash.site import CrashSite
from tests.crash.test_database_away import says_so
from tests.crash.test_random_kills import moment
from tests.documents import READ, SERVICES, batch, envelope, guid, order, single
from tests.site import until

_OF_THE_DEAD = """
SELECT 1 FROM queue JOIN lease USING (fence) JOIN incarnation i ON i.id = lease.owner WHERE i.stopped_at IS NOT NULL
"""


def ends(site: CrashSite) -> Sequence[str]:
    """Return how the processes that ended did, one by one."""
    return [str(event["how"]) for event in site.happened("worker.ended")]


async def all_gone(processes: Sequence[psutil.Process]) -> None:
    """Wait until none of these processes is left."""

    async def gone() -> bool:
        return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)

    await until(gone, "no process is left behind", tell=lambda: str(processes))


@pytest.mark.parametrize("point", ["inbound.before_effects", "inbound.before_commit", "inbound.after_commit"])
async def test_every_process_dies_at_a_point_and_the_gateway_goes_on(crash_site: CrashSite, point: str) -> None:
    crash_site.add_port()
    crash_site.extra["workers"] = {"xml": 1, "chunk": 3}
    await watch_effects(crash_site)
    with Partner(crash_site, conversations=3) as partner:
        partner.drop(6)
        life = await crash_site.run(faults=f"{point}:4:die")
        await drained(crash_site, partner)
        assert await out_of_order(crash_site) == []
        assert life.returncode is None
    await everything_happened_once(crash_site, partner)
    assert set(ends(crash_site)) == {ending(137)}
    assert not crash_site.told("message.crashed"), "no code of a service ran: nobody is to blame"
    assert await crash_site.stop() == 0


async def test_claims_of_a_dead_process_that_nobody_takes_back_are_seen(crash_site: CrashSite) -> None:
    """The proof can fail: what a process had claimed when it died waits for ever."""
    crash_site.add_port()
    with Partner(crash_site) as partner:
        partner.drop(3)
        await crash_site.run(build="no_taking_back", faults="inbound.before_commit:1:die")

        async def left() -> bool:
            return bool(await crash_site.query(_OF_THE_DEAD))

        await until(left, "requests are left under a claim of the dead", tell=crash_site.tail)


@pytest.mark.parametrize("point", ["outbound.before_commit", "outbound.after_commit"])
async def test_a_process_dies_at_its_second_document_to_send(crash_site: CrashSite, point: str) -> None:
    (crash_site.folder / "copies" / "out").mkdir(parents=True)
    crash_site.add_port()
    crash_site.ports["copies"] = {
        "direction": "outbound",
        "send": {"folder": str(crash_site.outbound("copies"))},
        "operations": ["SalesOrderService.read"],
    }
    crash_site.drop("a.xml", batch([envelope(order(str(n)), message_id=guid(n)) for n in (1, 2)]))
    life = await crash_site.run(faults=f"{point}:2:die")
    await crash_site.wait_answers(2)
    for number in (1, 2):
        command = f"send SalesOrderService.read --key SalesId=SO-10002{number} --wait"
        assert await crash_site.command(command).wait() == 0, crash_site.tail()
    sent = [etree.fromstring(content) for content in (await crash_site.wait_answers(2, "copies")).values()]
    assert [one.findtext("{*}Header/{*}Action") for one in sent] == [READ] * 2
    assert sorted(str(one.findtext(".//{*}SalesId")) for one in sent) == ["SO-100021", "SO-100022"]

    async def died() -> bool:
        return list(ends(crash_site)) == [ending(137)]

    await until(died, "one process has died, and that is told", tell=crash_site.tail)
    assert life.returncode is None and await crash_site.stop() == 0


async def frozen_at_work(site: CrashSite, partner: Partner, point: str, build: str = "") -> psutil.Process:
    """Return a process that was stopped in the middle of its work, when another one has done it."""
    partner.drop(8)
    site.launch(build=f"short_leases {build}", pauses={point: str(site.folder)})
    await site.paused_at(point)
    (frozen,) = site.workers()
    frozen.send_signal(SIGSTOP)
    site.go_on(point)
    await drained(site, partner)
    return frozen


async def test_place_of_a_frozen_process_is_taken_and_its_late_results_are_refused(crash_site: CrashSite) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        frozen = await frozen_at_work(crash_site, partner, "inbound.before_effects", "endless_standstills")
        frozen.send_signal(SIGCONT)
        await all_gone([frozen])
        await drained(crash_site, partner)
    assert crash_site.told("lease.lost")
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_a_process_that_stays_frozen_is_ended_and_nobody_is_blamed(crash_site: CrashSite) -> None:
    crash_site.add_port(process={"mode": "parallel"})
    with Partner(crash_site) as partner:
        frozen = await frozen_at_work(crash_site, partner, "inbound.before_commit", "short_standstills")
        await all_gone([frozen])
        (idle,) = crash_site.workers()
        idle.send_signal(SIGSTOP)
        partner.drop(3)
        await drained(crash_site, partner)
    assert not crash_site.told("message.crashed")
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0


async def test_a_process_dies_while_the_database_is_away(away_site: CrashSite, server: OwnServer) -> None:
    away_site.add_port()
    with Partner(away_site) as partner:
        life = await away_site.run()
        partner.drop(10)
        await moment(lambda: bool(partner.answered))
        await server.stop()
        (worker,) = away_site.workers()
        worker.send_signal(SIGSEGV)
        partner.drop(3)
        await says_so(away_site)
        await server.start()
        await drained(away_site, partner)
        assert ends(away_site)[0] == ending(-SIGSEGV)
        assert life.returncode is None
        await everything_happened_once(away_site, partner)
        assert await away_site.stop() == 0
        assert not away_site.told("gateway.drain_over"), "no run waits for a dead one"


async def test_a_process_that_dies_before_it_serves_is_replaced_and_no_run_waits_for_it(crash_site: CrashSite) -> None:
    """The first one dies before the gateway has started, the one in its place before it takes part in a run."""
    crash_site.add_port()
    with Partner(crash_site) as partner:
        life = await crash_site.run(build="dead_when_ready")
        partner.drop(3)
        await drained(crash_site, partner)
        assert life.returncode is None and len(ends(crash_site)) == 2
    await everything_happened_once(crash_site, partner)
    assert await crash_site.stop() == 0
    assert not crash_site.told("gateway.drain_over")


@pytest.mark.parametrize("whom", ["gateway", "launcher"])
async def test_no_process_is_left_behind(crash_site: CrashSite, whom: str) -> None:
    """Whatever ends the gateway ends them all; without what starts them the gateway ends, and says so."""
    crash_site.add_port()
    with Partner(crash_site) as partner:
        life = await crash_site.run()
        partner.drop(10)
        await moment(lambda: bool(partner.answered))
        everybody = psutil.Process(life.pid).children(recursive=True)
        assert set(crash_site.workers()) <= set(everybody)
        if whom == "gateway":
            await crash_site.kill()
        else:
            crash_site.workers()[0].parent().send_signal(SIGKILL)  # type: ignore[union-attr]
            assert await crash_site.ended() == 1
            assert "The process that starts the workers has ended" in crash_site.said()
        await all_gone(everybody)
        await crash_site.run()
        await drained(crash_site, partner)
    await everything_happened_once(crash_site, partner)


async def test_a_stop_that_is_told_to_every_process_is_one_in_good_order(crash_site: CrashSite) -> None:
    """As a service manager and a container do it."""
    point = "inbound.before_commit"
    crash_site.add_port()
    with Partner(crash_site) as partner:
        partner.drop(5)
        life = await crash_site.run(pauses={point: str(crash_site.folder)})
        await crash_site.paused_at(point)
        for one in (*crash_site.workers(), psutil.Process(life.pid)):
            one.send_signal(SIGTERM)
        crash_site.go_on(point)
        assert await crash_site.ended() == 0
        assert not ends(crash_site)
        await crash_site.run()
        await drained(crash_site, partner)
    await everything_happened_once(crash_site, partner)


async def test_a_changed_configuration_is_served_by_new_processes_while_the_earlier_end_their_work(
    crash_site: CrashSite,
) -> None:
    names = ("waits_for_a_sign", "good")
    operations = {name: {"handler": f"{BAD_CODE}:{name}", "timeout_seconds": 60.0} for name in names}
    crash_site.services["Bad"] = {"kind": "python", "operations": operations}
    crash_site.add_port("slow", operations=["Bad.*"])
    life = await crash_site.run()
    crash_site.drop("slow.xml", single(envelope(action=f"{SERVICES}/Bad/waits_for_a_sign")), "slow")

    async def at_work() -> bool:
        return "waits_for_a_sign" in crash_site.said()

    await until(at_work, "the slow one is at work", tell=crash_site.tail)
    earlier = crash_site.workers()
    crash_site.add_port("new", operations=["Bad.*"])
    crash_site.drop("new.xml", single(envelope(action=f"{SERVICES}/Bad/good")), "new")
    crash_site.write_config()
    await crash_site.wait_answers(1, "new")
    assert not crash_site.answers("slow"), "what was begun goes on meanwhile"

    operations["good"]["handler"] = f"{BAD_CODE}:nothing_of_that_name"
    crash_site.write_config()

    async def refused() -> bool:
        return crash_site.told("config.refused")

    await until(refused, "handlers that are not there are refused", tell=crash_site.tail)
    crash_site.drop("again.xml", single(envelope(message_id=guid(2), action=f"{SERVICES}/Bad/good")), "new")
    await crash_site.wait_answers(2, "new")
    (crash_site.folder / SIGN).touch()
    await crash_site.wait_answers(1, "slow")
    await all_gone(earlier)
    for content in (*crash_site.answers("slow").values(), *crash_site.answers("new").values()):
        assert etree.fromstring(content).find(".//{*}Code") is None
    assert crash_site.said().split().count("waits_for_a_sign") == 1
    assert not ends(crash_site) and life.returncode is None
    assert await crash_site.stop() == 0
