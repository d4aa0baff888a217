"""A small gateway that tests end at fault points: claim, remember, settle; stage, promise, publish, done.

Run as `python -m tests.unit.adapters.killed`; each line on standard input, `FAULT ROOT`, starts it once in a fresh
fork, and its exit status is printed. What it must not forget it appends to files under ROOT, each line flushed,
as a store would.
"""

import asyncio
import os
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from adapters.file import FileReceiveAdapter, FileSendAdapter
from gateway.kernel.faultpoints import switched_on
from gateway.messaging.rules.delivery import Claim, OutgoingFile, Promise, Settled, Settlement
from tests.unit.adapters.support import FakeClock, receive_settings, send_settings


class Journal:
    """Lines that survive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines = path.read_text().splitlines() if path.exists() else []

    def add(self, line: str) -> None:
        self.lines.append(line)
        with self._path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


async def run(root: Path) -> None:
    """Answer every file in the inbound folder once, whatever happened in earlier runs."""
    ingested, promised, sent = (Journal(root / name) for name in ("ingested", "promised", "sent"))
    with ThreadPoolExecutor(2) as executor:
        receive = FileReceiveAdapter(
            replace(receive_settings(root), done_marker=True), executor=executor, clock=FakeClock()
        )
        send = FileSendAdapter(send_settings(root), executor=executor)
        await ingest(receive, await receive.recover(), ingested)
        await ingest(receive, await receive.poll(100), ingested)
        known = {line.split()[0] for line in promised.lines}
        await send.discard([name for name in await send.recover() if not any(name in line for line in promised.lines)])
        unanswered = [line.split()[0] for line in ingested.lines if line.split()[0] not in known]
        files = [
            OutgoingFile(
                staged_name=f"{claim_id}.{os.getpid()}.tmp", final_name=f"{claim_id}.xml", content=b"<a/>" * 500
            )
            for claim_id in unanswered
        ]
        for file, error in zip(files, await send.stage(files), strict=True):
            assert error is None, error
            promised.add(f"{file.final_name.removesuffix('.xml')} {file.staged_name} {file.final_name}")
        open_promises = [line.split() for line in promised.lines if line not in sent.lines]
        results = await send.publish([Promise(staged_name=line[1], final_name=line[2]) for line in open_promises])
        for line, error in zip(open_promises, results, strict=True):
            assert error is None, error
            sent.add(" ".join(line))


async def ingest(receive: FileReceiveAdapter, claims: Sequence[Claim], ingested: Journal) -> None:
    """Remember each claim once, then settle: one of each three is archived, deleted, quarantined."""
    known = {line.split()[0] for line in ingested.lines}
    for claim in claims:
        if str(claim.id) not in known:
            with receive.open() as opener, opener(claim) as fd:
                ingested.add(f"{claim.id} {os.read(fd, 100).decode()}")
    kinds = list(Settlement)
    await receive.settle(
        [Settled(claim=claim, settlement=kinds[len(claim.name) % len(kinds)], reason="tried") for claim in claims]
    )


def serve() -> None:
    """Fork one gateway per line: much cheaper than an interpreter each, and just as dead when it is killed."""
    for line in sys.stdin:
        fault, root = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with switched_on(fault.removeprefix("-")):
                    asyncio.run(run(Path(root)))
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
