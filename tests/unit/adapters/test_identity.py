"""A path of a partner leads to the partner's own folder, whoever owns a folder above it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.file.check import check_receive
from adapters.file.errors import PortFolder, unavailable
from adapters.file.folder import ForeignLink, opened
from adapters.file.identity import FolderIdentities
from gateway.kernel.errors import AdapterUnavailable
from gateway.kernel.ids import PortName
from gateway.messaging.rules.delivery import OutgoingFile, Promise
from tests.unit.adapters.support import Site, names

PARTNER = 4242
"""An account that is neither root nor ours."""

Link = Callable[[Path, Path], None]


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    """Make symbolic links of a partner, also where only root could give them away."""
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: PARTNER)  # then ours are those of somebody else

    def make(path: Path, to: Path) -> None:
        path.symlink_to(to)
        if os.geteuid() == 0:
            os.lchown(path, PARTNER, PARTNER)

    return make


def place(port: str, path: Path) -> PortFolder:
    return PortFolder(path=path, setting=f"ports.{port}.receive.folder", port=port)


async def test_a_partners_link_above_his_folder_is_not_followed(site: Site, link: Link) -> None:
    theirs = site.root / "b" / "in"
    theirs.mkdir(parents=True)
    (theirs / "a.xml").write_bytes(b"<x/>")
    link(site.root / "a", site.root / "b")
    receiver = site.receiver(inbound=site.root / "a" / "in", settle_seconds=0.0)
    with pytest.raises(AdapterUnavailable, match=rf"reached through {site.root}/a, a symbolic link of") as refused:
        await receiver.poll(10)
    assert refused.value.code == "address.foreign-link"
    assert os.listdir(theirs) == ["a.xml"]
    findings = check_receive(site.receiving(inbound=site.root / "a" / "in"))
    assert [each.fatal for each in findings if "a symbolic link of" in each.text] == [True]


@pytest.mark.parametrize("relative", [False, True])
def test_links_of_root_and_of_our_account_are_followed(tmp_path: Path, relative: bool) -> None:
    (tmp_path / "far" / "deep" / "in").mkdir(parents=True)
    (tmp_path / "far" / "x").mkdir()
    (tmp_path / "one").symlink_to("far/x/.." if relative else tmp_path / "far")
    (tmp_path / "far" / "two").symlink_to("./deep" if relative else tmp_path / "far" / "deep")
    with opened(tmp_path / "one" / "two" / "in") as folder:
        assert os.fstat(folder.fd).st_ino == (tmp_path / "far" / "deep" / "in").stat().st_ino


def test_a_partners_link_behind_one_of_ours_is_not_followed(tmp_path: Path, link: Link) -> None:
    (tmp_path / "b" / "in").mkdir(parents=True)
    link(tmp_path / "theirs", tmp_path / "b")
    if os.geteuid() == 0:
        (tmp_path / "ours").symlink_to("theirs")
        with pytest.raises(ForeignLink), opened(tmp_path / "ours" / "in"):
            pass
    with pytest.raises(ForeignLink) as found, opened(tmp_path / "theirs" / "in"):
        pass
    assert found.value.link == str(tmp_path / "theirs")


def test_links_in_a_circle_and_files_on_the_way_are_told_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "file").touch()
    for path in (tmp_path / "one" / "in", tmp_path / "file" / "in", tmp_path / "nothing" / "in"):
        with pytest.raises(OSError) as error, opened(path):
            pass
        assert error.value.filename == str(path)
        assert str(path) in unavailable(error.value, place("a", path)).message


async def test_a_folder_that_becomes_another_ports_is_refused(site: Site) -> None:
    identities = FolderIdentities()
    ours, theirs = site.root / "a" / "in", site.root / "b" / "in"
    ours.mkdir(parents=True)
    theirs.mkdir(parents=True)
    site.identities = identities
    ports = [
        site.receiver(port=PortName(name), inbound=path, settle_seconds=0.0)
        for name, path in (("a", ours), ("b", theirs))
    ]
    for port in ports:
        assert await port.poll(10) == []
    (theirs / "x.xml").write_bytes(b"<x/>")
    ours.rmdir()
    theirs.rename(ours)
    with pytest.raises(AdapterUnavailable, match="is the one that port b has") as refused:
        await ports[0].poll(10)
    assert refused.value.code == "address.other-port"
    assert os.listdir(ours) == ["x.xml"]
    ours.rename(theirs)
    ours.mkdir()
    assert await ports[0].poll(10) == []  # a new folder is nobody else's
    assert names(await ports[1].poll(10)) == [b"x.xml"]


def test_outbound_folders_may_be_shared_but_not_become_so(tmp_path: Path) -> None:
    identities = FolderIdentities()
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    (tmp_path / "mounts").symlink_to(tmp_path)
    for path in (tmp_path / "one", tmp_path / "mounts" / "one", tmp_path / "two"):
        with identities.opened(place(path.name, path), inbound=False):
            pass
    (tmp_path / "two").rmdir()
    (tmp_path / "one").rename(tmp_path / "two")
    with (
        pytest.raises(AdapterUnavailable, match="was moved, mounted or linked"),
        identities.opened(place("two", tmp_path / "two"), inbound=False),
    ):
        pass
    identities.forget("one")
    with identities.opened(place("two", tmp_path / "two"), inbound=False):
        pass


async def test_answers_are_not_put_into_another_ports_folder(site: Site) -> None:
    site.identities = FolderIdentities()
    other = site.root / "other"
    other.mkdir()
    with site.identities.opened(place("other", other), inbound=True):
        pass
    sender = site.sender()
    staging = await sender.place()
    assert await sender.stage([OutgoingFile(staged_name="s", final_name="f.xml", content=b"<x/>")]) == [None]
    promise = Promise(staged_name="s", final_name="f.xml", staging=staging.id)
    site.outbound.rmdir()
    other.rename(site.outbound)
    (refused,) = await sender.publish([promise])
    assert refused is not None
    assert refused.code == "address.other-port"
    site.outbound.rename(other)
    site.outbound.mkdir()
    assert await sender.publish([promise]) == [None]
    assert os.listdir(site.outbound) == ["f.xml"]
