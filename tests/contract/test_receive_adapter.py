"""What every receive adapter must do; run on each implementation."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

import pytest

from adapters.file import FileReceiveAdapter
from gateway.contracts.adapter import ReceiveAdapter
from gateway.kernel.errors import AdapterUnavailable, LeaseLost
from gateway.kernel.ids import PortName
from gateway.messaging.rules.delivery import Settled, Settlement
from tests.postbox import InBox, PostBoxReceiver
from tests.unit.adapters.support import receive_settings

BODY = b"<Batch></Batch>"


class Address(Protocol):
    """The partner's side of an inbound address."""

    def adapter(self) -> ReceiveAdapter:
        """Return a new adapter, as after a restart."""
        ...

    def deliver(self, name: bytes) -> None:
        """Put a complete file there."""
        ...

    def remove(self, name: bytes) -> None:
        """Take a file away again."""
        ...

    def waiting(self) -> list[bytes]:
        """Return what lies there."""
        ...

    def close(self) -> None:
        """Make the address unusable."""
        ...


class StandingClock:
    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return datetime(2031, 2, 3, tzinfo=UTC)


class FolderAddress:
    def __init__(self, root: Path, executor: ThreadPoolExecutor) -> None:
        self._inbound, self._executor = root / "inbound", executor
        self._settings = receive_settings(root)
        for name in ("inbound", "work", "archive", "error", "aside"):
            (root / name).mkdir()
        self._aside = root / "aside" / "file"

    def adapter(self) -> ReceiveAdapter:
        return FileReceiveAdapter(self._settings, executor=self._executor, clock=StandingClock())

    def deliver(self, name: bytes) -> None:
        self._aside.write_bytes(BODY)
        os.rename(self._aside, os.fsencode(self._inbound) + b"/" + name)

    def remove(self, name: bytes) -> None:
        os.unlink(os.fsencode(self._inbound) + b"/" + name)

    def waiting(self) -> list[bytes]:
        return sorted(os.listdir(os.fsencode(self._inbound)))

    def close(self) -> None:
        self._inbound.rename(self._inbound.with_name("gone"))


class PostBoxAddress:
    def __init__(self, _: Path, __: ThreadPoolExecutor) -> None:
        self._box = InBox(PortName("orders"))

    def adapter(self) -> ReceiveAdapter:
        return PostBoxReceiver(self._box)

    def deliver(self, name: bytes) -> None:
        self._box.deliver(name, BODY)

    def remove(self, name: bytes) -> None:
        del self._box.waiting[name]

    def waiting(self) -> list[bytes]:
        return sorted(self._box.waiting)

    def close(self) -> None:
        self._box.closed = True


ADDRESSES: dict[str, Callable[[Path, ThreadPoolExecutor], Address]] = {
    "folder": FolderAddress, "post box": PostBoxAddress,
}  # fmt: skip


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    with ThreadPoolExecutor(2) as executor:
        yield ADDRESSES[request.param](tmp_path, executor)


async def test_files_are_taken_in_name_order_up_to_the_limit(address: Address) -> None:
    for name in (b"c.xml", b"a.xml", b"b.xml"):
        address.deliver(name)
    adapter = address.adapter()
    assert [claim.name for claim in await adapter.poll(2)] == [b"a.xml", b"b.xml"]
    assert [claim.name for claim in await adapter.poll(2)] == [b"c.xml"]
    assert await adapter.poll(2) == []
    assert address.waiting() == []


async def test_look_at_an_empty_address_is_known_to_find_nothing(address: Address) -> None:
    adapter = address.adapter()
    assert not await adapter.may_find()
    address.deliver(b"a.xml")
    assert await adapter.may_find()
    await adapter.poll(10)
    assert not await adapter.may_find()
    address.close()
    with pytest.raises(AdapterUnavailable):
        await adapter.may_find()


async def test_what_waited_at_an_address_is_worth_a_look_when_it_is_gone(address: Address) -> None:
    """A look forgets it; without one it would be told for ever."""
    adapter = address.adapter()
    address.deliver(b"left.tmp")
    assert await adapter.poll(10) == [] and adapter.skipped()
    address.remove(b"left.tmp")
    assert await adapter.may_find()
    assert await adapter.poll(10) == []
    assert not await adapter.may_find()


async def test_a_taken_file_is_found_again_after_a_restart_under_the_same_id(address: Address) -> None:
    address.deliver(b"a.xml")
    address.deliver(b"\xff.xml")
    claims = await address.adapter().poll(10)
    again = await address.adapter().recover()
    assert list(again) == list(claims)
    assert await address.adapter().poll(10) == []


async def test_a_taken_file_can_be_read_by_descriptor(address: Address) -> None:
    address.deliver(b"a.xml")
    adapter = address.adapter()
    (claim,) = await adapter.poll(1)
    assert claim.size == len(BODY)
    with adapter.open() as opener, opener(claim) as fd:
        assert os.read(fd, 100) == BODY
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(fd)


async def test_a_file_that_somebody_else_settled_is_no_longer_ours(address: Address) -> None:
    address.deliver(b"a.xml")
    adapter = address.adapter()
    (claim,) = await adapter.poll(1)
    await address.adapter().settle([Settled(claim=claim, settlement=Settlement.DELETE)])
    with pytest.raises(LeaseLost), adapter.open() as opener, opener(claim):
        raise AssertionError("it was opened")


async def test_what_is_claimed_is_known_until_it_is_settled(address: Address) -> None:
    address.deliver(b"a.xml")
    address.deliver(b"b.xml")
    adapter = address.adapter()
    first, second = await adapter.poll(2)
    assert await address.adapter().claimed() == {first.id, second.id}
    await adapter.settle([Settled(claim=first, settlement=Settlement.DELETE)])
    assert await adapter.claimed() == {second.id}


async def test_what_was_archived_goes_in_time_but_for_what_is_kept(address: Address) -> None:
    for name in (b"a.xml", b"b.xml", b"c.xml"):
        address.deliver(name)
    adapter = address.adapter()
    first, second, third = await adapter.poll(3)
    await adapter.settle([Settled(claim=claim, settlement=Settlement.ARCHIVE) for claim in (first, second)])
    today, tomorrow = date(2031, 2, 3), date(2031, 2, 4)
    assert await adapter.purge(today, set()) == 0
    assert await adapter.purge(tomorrow, {first.id}) == 1
    assert await adapter.purge(tomorrow, set()) == 1
    assert await adapter.purge(tomorrow, set()) == 0
    assert await adapter.claimed() == {third.id}


async def test_what_is_delivered_gives_a_hint(address: Address) -> None:
    hints = address.adapter().hints()
    async with asyncio.timeout(60):
        for name in (b"a.xml", b"b.xml", b"c.xml"):
            hint = asyncio.ensure_future(anext(hints))
            await asyncio.sleep(0)  # it listens
            address.deliver(name)
            await hint
    assert isinstance(hints, AsyncGenerator)
    await hints.aclose()


@pytest.mark.parametrize("settlement", Settlement)
async def test_a_settled_file_is_no_longer_claimed_and_may_be_settled_again(
    address: Address, settlement: Settlement
) -> None:
    address.deliver(b"a.xml")
    address.deliver(b"b.xml")
    adapter = address.adapter()
    first, second = await adapter.poll(2)
    for _ in range(2):
        await adapter.settle([Settled(claim=first, settlement=settlement, reason="because")])
    assert list(await address.adapter().recover()) == [second]


async def test_an_address_that_cannot_be_used_says_so_and_keeps_its_files(address: Address) -> None:
    address.deliver(b"a.xml")
    address.close()
    with pytest.raises(AdapterUnavailable):
        await address.adapter().poll(1)


async def test_what_is_left_is_told_with_a_code_and_a_sentence(address: Address) -> None:
    address.deliver(b"notes.txt")
    adapter = address.adapter()
    assert await adapter.poll(10) == []
    (entry,) = adapter.skipped()
    assert (entry.name, entry.code) == (b"notes.txt", "not-matched")
    assert entry.text
    assert adapter.next_poll_seconds() is None
