"""What every send adapter must do; run on each implementation."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from adapters.file import FileSendAdapter
from gateway.contracts.adapter import SendAdapter
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.rules.delivery import OutgoingFile, Promise
from tests.postbox import OutBox, PostBoxSender
from tests.unit.adapters.support import send_settings

FILES = [
    OutgoingFile(staged_name=f"{number}.1.tmp", final_name=f"answer.{number}.xml", content=b"<a>%d</a>" % number)
    for number in range(7)
]
PROMISES = [Promise(staged_name=file.staged_name, final_name=file.final_name) for file in FILES]


class Address(Protocol):
    """The partner's side of an outbound address."""

    def adapter(self) -> SendAdapter:
        """Return a new adapter, as after a restart."""
        ...

    def visible(self) -> dict[str, bytes]:
        """Return what the partner sees."""
        ...

    def take(self) -> dict[str, bytes]:
        """Take everything away, as a fast partner does."""
        ...

    def close(self) -> None:
        """Make the address unusable."""
        ...


class FolderAddress:
    def __init__(self, root: Path, executor: ThreadPoolExecutor) -> None:
        self._outbound, self._executor = root / "outbound", executor
        self._settings = send_settings(root)
        for name in ("outbound", "staging"):
            (root / name).mkdir()

    def adapter(self) -> SendAdapter:
        return FileSendAdapter(self._settings, executor=self._executor)

    def visible(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self._outbound.iterdir()}

    def take(self) -> dict[str, bytes]:
        taken = self.visible()
        for name in taken:
            (self._outbound / name).unlink()
        return taken

    def close(self) -> None:
        self._outbound.rename(self._outbound.with_name("gone"))


class PostBoxAddress:
    def __init__(self, _: Path, __: ThreadPoolExecutor) -> None:
        self._box = OutBox(PortName("orders"))

    def adapter(self) -> SendAdapter:
        return PostBoxSender(self._box)

    def visible(self) -> dict[str, bytes]:
        return dict(self._box.delivered)

    def take(self) -> dict[str, bytes]:
        taken = self.visible()
        self._box.delivered.clear()
        return taken

    def close(self) -> None:
        self._box.closed = True


ADDRESSES: dict[str, Callable[[Path, ThreadPoolExecutor], Address]] = {
    "folder": FolderAddress, "post box": PostBoxAddress,
}  # fmt: skip


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    with ThreadPoolExecutor(2) as executor:
        yield ADDRESSES[request.param](tmp_path, executor)


async def test_staged_files_are_invisible_until_published_and_then_whole(address: Address) -> None:
    adapter = address.adapter()
    assert await adapter.stage(FILES) == [None] * len(FILES)
    assert address.visible() == {}
    assert sorted(await adapter.recover()) == sorted(file.staged_name for file in FILES)
    assert await address.adapter().publish(PROMISES) == [None] * len(FILES)
    assert address.visible() == {file.final_name: file.content for file in FILES}
    assert await adapter.recover() == []


async def test_publishing_again_delivers_nothing_twice(address: Address) -> None:
    adapter = address.adapter()
    await adapter.stage(FILES)
    await adapter.publish(PROMISES[:3])
    assert len(address.take()) == 3
    assert await address.adapter().publish(PROMISES) == [None] * len(FILES)
    assert sorted(address.take()) == [file.final_name for file in FILES[3:]]


async def test_absence_proves_nothing_of_what_was_staged_elsewhere(address: Address) -> None:
    adapter = address.adapter()
    here = await adapter.place()
    await adapter.stage(FILES[:1])
    elsewhere = Promise(staged_name="9.1.tmp", final_name="answer.9.xml", staging=uuid4())
    gone = Promise(staged_name="8.1.tmp", final_name="answer.8.xml", staging=here.id)
    error, done = await adapter.publish([elsewhere, gone])
    assert isinstance(error, AdapterUnavailable) and done is None
    assert address.visible() == {}


async def test_place_keeps_its_identity_over_restarts(address: Address) -> None:
    before = await address.adapter().place()
    await address.adapter().stage(FILES)
    assert await address.adapter().place() == before


async def test_discarded_files_are_never_seen(address: Address) -> None:
    adapter = address.adapter()
    await adapter.stage(FILES[:2])
    await adapter.discard([FILES[0].staged_name, "never-staged.tmp"])
    assert await adapter.recover() == [FILES[1].staged_name]
    assert address.visible() == {}


async def test_an_address_that_cannot_be_used_keeps_what_is_staged(address: Address) -> None:
    adapter = address.adapter()
    await adapter.stage(FILES)
    address.close()
    results = await adapter.publish(PROMISES)
    assert all(isinstance(error, AdapterUnavailable) for error in results)
    assert len(await adapter.recover()) == len(FILES)


async def test_a_probe_tells_whether_the_address_can_be_used_and_leaves_no_trace(address: Address) -> None:
    adapter = address.adapter()
    await adapter.probe()
    assert (address.visible(), await adapter.recover()) == ({}, [])
    address.close()
    with pytest.raises(AdapterUnavailable):
        await adapter.probe()
