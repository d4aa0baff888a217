"""Fault points: off they do nothing, on they fail where and when they should, and all are on the list."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from adapters.file.fsops import FAULT_POINTS
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.faultpoints import (
    KILLED_STATUS,
    VARIABLE,
    Fault,
    FaultAction,
    InjectedFault,
    parse_faults,
    reach,
    switched_on,
)
from tests.unit.adapters.support import Site, archived, outgoing, promise, quarantined


def test_a_point_does_nothing_unless_switched_on() -> None:
    reach("anything")


def test_faults_are_read_from_text() -> None:
    assert parse_faults("a.b:1:kill, c:3+:enospc") == (
        Fault(name="a.b", nth=1, onwards=False, action=FaultAction.KILL),
        Fault(name="c", nth=3, onwards=True, action=FaultAction.ENOSPC),
    )
    assert parse_faults("") == ()


@pytest.mark.parametrize("text", ["a", "a:1", "a:x:kill", ":1:kill", "a:1:explode", "a:1:kill:more"])
def test_a_mistake_in_the_text_is_shown(text: str) -> None:
    with pytest.raises(ValueError, match=f"{VARIABLE}: '{text}'"):
        parse_faults(text)


def test_only_the_nth_time_counts_or_all_from_it_on() -> None:
    with switched_on("once:2:raise,on:2+:eio"):
        reach("once")
        with pytest.raises(InjectedFault):
            reach("once")
        reach("once")
        reach("on")
        for _ in range(2):
            with pytest.raises(OSError, match="injected at on") as caught:
                reach("on")
            assert caught.value.errno == errno.EIO
    reach("on")


def test_the_environment_switches_a_process_on() -> None:
    script = "from gateway.kernel.faultpoints import reach; reach('x'); print('alive', flush=True); reach('x')"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, VARIABLE: "x:2:kill"}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (KILLED_STATUS, b"alive\n")


async def test_every_point_on_the_list_is_reached_and_no_other(site: Site) -> None:
    reached: set[str] = set()
    with switched_on("claim.inbound.flush:1:eio,stage.fsync:3:eio", observer=reached.add):
        for name in (b"a.xml", b"b.xml", b"x" * 230 + b".xml"):
            site.drop(name)
            (site.inbound / (os.fsdecode(name) + ".done")).touch()
        adapter = site.receiver(done_marker=True)
        with pytest.raises(AdapterUnavailable):
            await adapter.poll(10)
        a, b, c = await adapter.poll(10)
        await adapter.settle([*archived([a]), quarantined(b), *archived([c])])
        sender, files = site.sender(), [outgoing(number) for number in range(9)]
        await sender.stage(files[:2])
        assert [error is None for error in await sender.stage(files[2:3])] == [False]
        await sender.stage(files[3:])
        await sender.publish([promise(file) for file in files[:2]])
    assert reached == set(FAULT_POINTS)


@pytest.mark.parametrize(
    ("action", "ended"), [("kill", (-signal.SIGKILL, b"")), ("die", (0, b"137\n"))], ids=["both", "alone"]
)
def test_a_process_that_was_launched_takes_its_gateway_along_or_dies_alone(
    action: str, ended: tuple[int, bytes]
) -> None:
    script = """if True:
        import os
        from gateway.kernel.faultpoints import belongs_to, reach
        gateway = os.getpid()
        pid = os.fork()
        if pid == 0:
            belongs_to(gateway)
            reach("x")
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, VARIABLE: f"x:1:{action}"}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == ended
