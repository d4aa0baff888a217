"""Gateways with one rule of the protocol broken, to show that the proofs can see it; and worlds that misbehave.

Each is a small patch of the real program, applied in a child of the nursery before it starts.
"""

from collections.abc import Callable, Mapping

from gateway.domain.delivery import Settled, Settlement
from gateway.stages import receive, send
from gateway.stages.receive import ReceiveStage


def apply(build: str) -> None:
    """Apply the builds named in *build*, separated by blanks."""
    for name in build.split():
        BUILDS[name]()


def rename_then_mark() -> None:
    """Publish without a promise: rename, then record."""

    async def promise_nothing(*_: object) -> None:
        return

    send.promise_staged = promise_nothing  # type: ignore[assignment]


def archive_before_commit() -> None:
    """Put a file away as soon as it is read, before the database has it."""
    read_whole = receive.read_whole

    async def read_and_archive(claims, port, pool, side_by_side):  # type: ignore[no-untyped-def]
        files = await read_whole(claims, port, pool, side_by_side)
        await port.receive.settle([Settled(claim=claim, settlement=Settlement.ARCHIVE) for claim in claims])
        return files

    receive.read_whole = read_and_archive


def no_recovery() -> None:
    """Do not look into the work folder at the start."""

    async def nothing(*_: object) -> None:
        return

    ReceiveStage._recover = nothing  # type: ignore[method-assign,assignment]


BUILDS: Mapping[str, Callable[[], None]] = {
    build.__name__: build for build in (rename_then_mark, archive_before_commit, no_recovery)
}
