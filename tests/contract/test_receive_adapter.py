"""What every receive adapter must do; run on each implementation."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from adapters.file import FileReceiveAdapter, FileReceiveSettings
from gateway.contracts.adapter import ReceiveAdapter
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.rules.delivery import Settled, Settlement

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
        self._settings = FileReceiveSettings(
            port=PortName("orders"), inbound=self._inbound, work=root / "work", archive=root / "archive",
            error=root / "error",
        )  # fmt: skip
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


@pytest.fixture(params=["folder"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    with ThreadPoolExecutor(2) as executor:
        yield {"folder": FolderAddress}[request.param](tmp_path, executor)


async def test_files_are_taken_in_name_order_up_to_the_limit(address: Address) -> None:
    for name in (b"c.xml", b"a.xml", b"b.xml"):
        address.deliver(name)
    adapter = address.adapter()
    assert [claim.name for claim in await adapter.claim(2)] == [b"a.xml", b"b.xml"]
    assert [claim.name for claim in await adapter.claim(2)] == [b"c.xml"]
    assert await adapter.claim(2) == []
    assert address.waiting() == []


async def test_look_at_an_empty_address_is_known_to_find_nothing(address: Address) -> None:
    adapter = address.adapter()
    assert not await adapter.may_find()
    address.deliver(b"a.xml")
    assert await adapter.may_find()
    await adapter.claim(10)
    assert not await adapter.may_find()
    address.close()
    with pytest.raises(AdapterUnavailable):
        await adapter.may_find()


async def test_what_waited_at_an_address_is_worth_a_look_when_it_is_gone(address: Address) -> None:
    """A look forgets it; without one it would be told for ever."""
    adapter = address.adapter()
    address.deliver(b"left.tmp")
    assert await adapter.claim(10) == [] and adapter.left_in_place()
    address.remove(b"left.tmp")
    assert await adapter.may_find()
    assert await adapter.claim(10) == []
    assert not await adapter.may_find()


async def test_a_taken_file_is_found_again_after_a_restart_under_the_same_id(address: Address) -> None:
    address.deliver(b"a.xml")
    address.deliver(b"\xff.xml")
    claims = await address.adapter().claim(10)
    again = await address.adapter().claimed()
    assert list(again) == list(claims)
    assert await address.adapter().claim(10) == []


async def test_a_taken_file_can_be_read_by_descriptor(address: Address) -> None:
    address.deliver(b"a.xml")
    adapter = address.adapter()
    (claim,) = await adapter.claim(1)
    assert claim.size == len(BODY)
    with adapter.opener() as opener, opener(claim) as fd:
        assert os.read(fd, 100) == BODY
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("settlement", Settlement)
async def test_a_settled_file_is_no_longer_claimed_and_may_be_settled_again(
    address: Address, settlement: Settlement
) -> None:
    address.deliver(b"a.xml")
    address.deliver(b"b.xml")
    adapter = address.adapter()
    first, second = await adapter.claim(2)
    for _ in range(2):
        await adapter.settle([Settled(claim=first, settlement=settlement, reason="because")])
    assert list(await address.adapter().claimed()) == [second]


async def test_an_address_that_cannot_be_used_says_so_and_keeps_its_files(address: Address) -> None:
    address.deliver(b"a.xml")
    address.close()
    with pytest.raises(AdapterUnavailable):
        await address.adapter().claim(1)


async def test_what_is_left_is_told_with_a_code_and_a_sentence(address: Address) -> None:
    address.deliver(b"notes.txt")
    adapter = address.adapter()
    assert await adapter.claim(10) == []
    (entry,) = adapter.left_in_place()
    assert (entry.name, entry.code) == (b"notes.txt", "not-matched")
    assert entry.text
    assert adapter.next_look_seconds() is None
