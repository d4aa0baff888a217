"""`python -m tests.bench.jobs` measures how soon very many jobs that are due at once have started, and have ended."""

import argparse
import asyncio
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from gateway.domain.definition import JobDefinition
from gateway.domain.job import JobStatus
from gateway.store.embedded import EmbeddedServer
from gateway.store.jobs import create_job
from gateway.store.open import Schema, open_store
from gateway.store.starting import start_due
from tests.fakes import FakeClock, World, task


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    (base / "server").mkdir()
    server = EmbeddedServer(base / "server")
    await asyncio.to_thread(server.start)
    try:
        async with open_store(server.url, base / "data", schema=Schema.MIGRATE) as store:
            world = World(store, FakeClock(datetime(2026, 3, 1, 12, tzinfo=UTC)))
            for number in range(arguments.jobs):
                job = JobDefinition(name=f"job {number}", tasks=(task("T", seconds=0),))
                await create_job(store, job, by="ann", now=world.clock.now(), status=JobStatus.WAITING)
            began = time.perf_counter()
            while (await start_due(store, world.clock.now())).more:
                pass
            print(f"{arguments.jobs} jobs started in {time.perf_counter() - began:.2f} s")
            await world.server("bench", threads=8)
            began = time.perf_counter()
            await world.settle()
            print(f"{arguments.jobs} tasks carried out by 8 threads in {time.perf_counter() - began:.2f} s")
            await world.close()
    finally:
        await asyncio.to_thread(server.stop)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
