"""Where a file lies and why it is not taken, asked from outside; nothing is moved by the question."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from adapters.file.fsops import FileOps
from adapters.file.inbound import claim
from adapters.file.inspect import claimed_files, find_file, staged_files
from adapters.file.outbound.stage import identity_of_staging
from gateway.explanations.facts import FileLocation, FileSighting
from gateway.runtime.ports import SystemClock
from tests.unit.adapters.support import WHOLE, Site, archived, quarantined


class Soon(SystemClock):
    """The clock of this machine, some time later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._seconds)


def ask(
    site: Site, name: str, *, seconds: float = 0.0, claims: tuple[str, ...] = (), **changes: object
) -> FileSighting:
    settings = site.receiver(**changes)._settings
    (sighting,) = find_file(settings, Soon(seconds), name.encode(), claims)
    return sighting


def code(sighting: FileSighting) -> str | None:
    return sighting.skipped.code if sighting.skipped else None


@contextmanager
def open_for_writing(site: Site, name: str) -> Iterator[None]:
    with (site.inbound / name).open("ab"):
        yield


def test_whole_file_would_be_taken_and_stays(site: Site) -> None:
    site.drop("order.xml")
    sighting = ask(site, "order.xml", seconds=60)
    assert (sighting.location, code(sighting), sighting.path) == (
        FileLocation.INBOUND,
        None,
        str(site.inbound / "order.xml"),
    )
    assert site.inbound_names() == [b"order.xml"] and site.recorded == []


def test_file_of_a_writer_is_left(site: Site) -> None:
    site.drop("order.xml")
    with open_for_writing(site, "order.xml"):
        assert code(ask(site, "order.xml", seconds=60)) == "file.being-written"


def test_where_the_kernel_cannot_tell_the_last_change_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "tells_writers", lambda fd: False)
    site.drop("order.xml")
    assert code(ask(site, "order.xml")) == "file.being-written"
    assert code(ask(site, "order.xml", seconds=60)) is None


def test_cut_off_file_is_incomplete_until_it_is_taken_to_be_refused(site: Site) -> None:
    site.drop("order.xml", WHOLE[:-12])
    assert code(ask(site, "order.xml", seconds=60)) == "file.incomplete"
    assert code(ask(site, "order.xml", seconds=6000)) is None


def test_missing_marker_is_told(site: Site) -> None:
    site.drop("order.xml")
    assert code(ask(site, "order.xml", done_marker=True)) == "file.no-done-marker"
    (site.inbound / "order.xml.done").touch()
    names = [
        sighting.name for sighting in find_file(site.receiver(done_marker=True)._settings, Soon(0), b"order.xml", ())
    ]
    assert names[0] == "order.xml"


def test_unfinished_form_of_the_name_is_found(site: Site) -> None:
    site.drop("order.xml.filepart")
    sighting = ask(site, "order.xml")
    assert (sighting.name, code(sighting)) == ("order.xml.filepart", "not-matched")


async def test_claimed_refused_and_archived_files_are_found_under_their_claims(site: Site) -> None:
    site.drop("order.xml")
    receiver = site.receiver()
    (first,) = await receiver.poll(10)
    assert ask(site, "order.xml").location is FileLocation.WORK
    assert [(file.claim_id, file.name) for file in claimed_files(site.receive_settings)] == [
        (str(first.id), "order.xml"),
    ]  # fmt: skip
    await receiver.settle(archived([first]))
    site.drop("order.xml")
    (second,) = await receiver.poll(10)
    await receiver.settle([quarantined(second)])
    claims = (str(first.id), str(second.id))
    found = {
        sighting.claim_id: sighting.location
        for sighting in find_file(site.receive_settings, Soon(0), b"order.xml", claims)
    }
    assert found == {str(first.id): FileLocation.ARCHIVE, str(second.id): FileLocation.ERROR}


async def test_name_too_long_for_the_work_folder_is_found(site: Site) -> None:
    name = "x" * 240 + ".xml"
    site.drop(name)
    await site.receiver().poll(10)
    assert ask(site, name).location is FileLocation.WORK


def test_staging_folder_tells_its_identity_only_when_it_was_used(site: Site) -> None:
    assert staged_files(site.send_settings) is None
    identity = identity_of_staging(FileOps(), site.send_settings)
    (site.staging / "a.xml.1.tmp").touch()
    assert staged_files(site.send_settings) == (identity, frozenset({"a.xml.1.tmp"}))
    os.rename(site.staging, site.root / "elsewhere")
    assert staged_files(site.send_settings) is None
