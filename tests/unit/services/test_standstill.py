"""The last resort: a process whose event loop does not turn any more ends itself."""

import subprocess
import sys

HOLDS_THE_INTERPRETER = """
import asyncio, re
from gateway.services.own_thread import OwnThread
from gateway.services.standstill import Standstill

async def main():
    with Standstill(last=1.0) as standstill:
        standstill.begin("work", 60.0)
        await OwnThread(lambda: re.match(r"(a|aa)+$", "a" * 80 + "b"), name="handler").ended

asyncio.run(main())
"""


def test_process_that_stands_still_ends_and_shows_where() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLDS_THE_INTERPRETER], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "Timeout (0:00:01)!" in done.stderr
    assert "own_thread.py" in done.stderr
