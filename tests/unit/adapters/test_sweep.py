"""One walk through a folder: every name once, in order, whatever the size of the folder."""

import os
import random
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from adapters.file.folder import EntryKind, Folder, opened
from adapters.file.inbound import sweep as module
from adapters.file.inbound.sweep import Sweep
from adapters.file.names import NameOrder, matcher, sort_key


def fill(folder: Path, count: int) -> list[bytes]:
    numbers = list(range(count))
    random.shuffle(numbers)
    for number in numbers:
        (folder / f"o{number:07}.xml").touch()
    return [b"o%07d.xml" % number for number in range(count)]


def skipped_nothing(name: bytes, kind: EntryKind | None) -> None:
    raise AssertionError(name)


def listings(monkeypatch: pytest.MonkeyPatch, shown: Iterator[Sequence[bytes]]) -> None:
    """Let each listing show the next of these names, as a system does while files are dropped."""

    def listed(folder: Folder) -> Iterator[list[tuple[bytes, EntryKind]]]:
        yield [(name, EntryKind.FILE) for name in next(shown)]

    monkeypatch.setattr(module, "scan", listed)


@pytest.mark.parametrize("page_names", [1, 7, 100, 300, 50_000])
def test_every_name_comes_once_and_in_order_page_by_page(tmp_path: Path, page_names: int) -> None:
    expected = fill(tmp_path, 300)
    sweep = Sweep(matcher("*.xml"), sort_key(NameOrder.NAME), page_names=page_names)
    with opened(tmp_path) as folder:
        assert list(sweep.names(folder, skipped_nothing)) == expected


def test_a_walk_goes_on_where_it_stopped(tmp_path: Path) -> None:
    expected = fill(tmp_path, 50)
    sweep = Sweep(matcher("*.xml"), sort_key(NameOrder.NAME), page_names=20)
    seen: list[bytes] = []
    for _ in range(10):
        with opened(tmp_path) as folder:
            walk = sweep.names(folder, skipped_nothing)
            seen += [name for _, name in zip(range(5), walk, strict=False)]
    assert seen == expected


def test_a_name_that_comes_late_and_belongs_earlier_is_for_the_next_walk(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    sweep = Sweep(matcher("*.xml"), sort_key(NameOrder.NAME), page_names=10)
    with opened(tmp_path) as folder:
        walk = sweep.names(folder, skipped_nothing)
        first = [next(walk) for _ in range(12)]
        (tmp_path / "a-late.xml").touch()
        assert b"a-late.xml" not in [*first, *walk]


def test_what_is_not_taken_is_told_once_per_walk(tmp_path: Path) -> None:
    fill(tmp_path, 30)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.xml").mkdir()
    os.symlink("/etc/passwd", tmp_path / "link.xml")
    os.mkfifo(tmp_path / "pipe.xml")
    told: list[tuple[bytes, EntryKind | None]] = []
    sweep = Sweep(matcher("*.xml"), sort_key(NameOrder.NAME), page_names=4)
    with opened(tmp_path) as folder:
        found = list(sweep.names(folder, lambda name, kind: told.append((name, kind))))
    assert len(found) == 30
    assert sorted(told, key=str) == [
        (b"folder.xml", EntryKind.FOLDER),
        (b"link.xml", EntryKind.SYMLINK),
        (b"notes.txt", None),
        (b"pipe.xml", EntryKind.FIFO),
    ]


@pytest.mark.parametrize(
    "shown",
    [
        [[b"b.xml"], [b"a.xml", b"b.xml"], [b"a.xml", b"b.xml"]],
        [[b"c.xml"], [b"b.xml", b"c.xml"], [b"a.xml", b"b.xml", b"c.xml"], [b"a.xml", b"b.xml", b"c.xml"]],
        [[b"a.xml", b"c.xml"], [b"a.xml", b"b.xml", b"d.xml"], [b"a.xml", b"b.xml"]],
    ],
    ids=["one", "one-after-another", "the-last-one-has-gone"],
)
def test_a_file_that_a_listing_left_out_comes_before_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: list[list[bytes]]
) -> None:
    listings(monkeypatch, iter(shown))
    sweep = Sweep(matcher("*.xml"), sort_key(NameOrder.NAME))
    with opened(tmp_path) as folder:
        assert list(sweep.names(folder, skipped_nothing)) == shown[-1]


def test_a_file_that_a_listing_left_out_may_move_the_end_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [b"a.xml", b"b.xml", b"c.xml"]
    listings(monkeypatch, iter([whole[1:], whole, whole, whole, whole]))
    sweep = Sweep(matcher("*.xml"), sort_key(NameOrder.NAME), page_names=2)
    with opened(tmp_path) as folder:
        assert list(sweep.names(folder, skipped_nothing)) == whole


def test_names_beyond_the_last_one_are_for_the_next_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listings(monkeypatch, iter([[b"a.xml"], [b"a.xml", b"b.xml"]]))
    sweep = Sweep(matcher("*.xml"), sort_key(NameOrder.NAME))
    with opened(tmp_path) as folder:
        assert list(sweep.names(folder, skipped_nothing)) == [b"a.xml"]


def test_a_walk_ends_although_earlier_names_keep_coming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listings(monkeypatch, ([b"%06d.xml" % number for number in range(1000 - n, 1000)] for n in count(1)))
    sweep = Sweep(matcher("*.xml"), sort_key(NameOrder.NAME))
    with opened(tmp_path) as folder:
        found = list(sweep.names(folder, skipped_nothing))
    assert found == sorted(found)
    assert found[-1] == b"000999.xml"
