"""Programs of the site end with the process that runs them."""

import asyncio
import signal
import sys
from pathlib import Path

import psutil
import pytest

from gateway.batch.alerts.channels.command import run_program
from gateway.kernel.errors import TransientError
from tests.site import until

RUNS = """
import asyncio, sys
from pathlib import Path
from gateway.batch.alerts.channels.command import run_program
command = ["/bin/sh", "-c", 'echo $$ > "$0.new" && mv "$0.new" "$0" && exec sleep 600', sys.argv[1]]
asyncio.run(run_program(command, Path("/"), {}, seconds=600))
"""


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_program_ends_when_the_process_that_runs_it_is_killed(tmp_path: Path) -> None:
    """A printer that hangs must not go on, and print, beside the repetition of its print."""
    told = tmp_path / "pid"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", RUNS, str(told))

    async def begun() -> bool:
        return told.exists()

    await until(begun, "the program runs")
    pid = int(told.read_text())
    assert is_running(pid)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    async def over() -> bool:
        return not is_running(pid)

    await until(over, "the program has ended")


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="/nowhere/lp cannot be started: No such file") as failed:
        await run_program(["/nowhere/lp"], tmp_path, {}, seconds=60)
    assert failed.value.code == "command.start"
