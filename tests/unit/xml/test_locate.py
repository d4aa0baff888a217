import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.kernel.errors import FileRefused
from gateway.xml.locate import CHUNK, FileWalk

BATCH = '<b:Batch xmlns:b="urn:b">\n'


@contextmanager
def locator(path: Path, content: bytes, encoding: str = "UTF-8") -> Iterator[FileWalk]:
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield FileWalk(fd, encoding)
    finally:
        os.close(fd)


def places(walk: FileWalk, position: int) -> Sequence[tuple[int, int]]:
    """Return line and column of each element."""
    numbers = walk.places(position)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_every_element_of_an_envelope_has_its_place_in_document_order(tmp_path: Path) -> None:
    with locator(tmp_path / "f", b"<Envelope>\n <a/><b>x<c/>\n</b></Envelope>") as found:
        assert places(found, 1) == [(1, 1), (2, 2), (2, 6), (2, 10)]


def test_comments_instructions_and_cdata_hold_no_elements(tmp_path: Path) -> None:
    content = BATCH + "<!-- <E/> --><?x <E/>?>\n<E><![CDATA[<F/>]]><F/></E>\n <E/></b:Batch>"

    with locator(tmp_path / "f", content.encode()) as found:
        assert [places(found, 1)[1], places(found, 2)[0]] == [(3, 20), (4, 2)]


def test_envelopes_far_apart_are_found_in_one_walk(tmp_path: Path) -> None:
    content = BATCH + "".join(f"<E><n>{'x' * 1000}</n></E>\n" for _ in range(500)) + "</b:Batch>"

    with locator(tmp_path / "f", content.encode()) as found:
        lines = [places(found, position)[0][0] for position in (1, 2, 250, 500)]

    assert len(content) > 3 * CHUNK
    assert lines == [2, 3, 251, 501]


def test_an_envelope_over_many_chunks_is_whole(tmp_path: Path) -> None:
    content = BATCH + "<E>" + "<n>é</n>\n" * CHUNK + "</E></b:Batch>"

    with locator(tmp_path / "f", content.encode()) as found:
        all_of_them = places(found, 1)
        assert (len(all_of_them), all_of_them[CHUNK]) == (CHUNK + 1, (CHUNK + 1, 1))


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252", "iso-8859-15"])
def test_columns_count_characters_in_any_encoding(tmp_path: Path, codec: str) -> None:
    name = {"utf-16": "UTF-16", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "utf-8-sig": "UTF-8"}.get(
        codec, codec
    )
    content = f'<?xml version="1.0" encoding="{name}"?>\r\n<E>äöü<n/></E>'

    with locator(tmp_path / "f", content.encode(codec), name) as found:
        assert places(found, 1)[1] == (2, 7)


def test_the_readers_offset_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"<E><n/></E>")
    fd = os.open(path, os.O_RDONLY)
    try:
        os.lseek(fd, 4, os.SEEK_SET)
        assert len(places(FileWalk(fd, "UTF-8"), 1)) == 2
        assert os.lseek(fd, 0, os.SEEK_CUR) == 4
    finally:
        os.close(fd)


@pytest.mark.parametrize("content", [b"", b"<E>", b"<E><n></E>", b"<E/>"])
def test_what_is_not_there_has_no_place(tmp_path: Path, content: bytes) -> None:
    with locator(tmp_path / "f", content) as found:
        assert len(places(found, 2)) == 0


def test_bytes_outside_the_encoding_do_not_stop_the_walk(tmp_path: Path) -> None:
    with locator(tmp_path / "f", b"<E>\xff\xfe<n/></E>") as found:
        assert places(found, 1)[1] == (1, 6)


@pytest.mark.parametrize("codec", ["utf-8", "utf-16"])
def test_a_doctype_is_refused(tmp_path: Path, codec: str) -> None:
    content = '<!DOCTYPE E [<!ENTITY e "x">]><E>&e;</E>'.encode(codec)

    with locator(tmp_path / "f", content, codec) as found, pytest.raises(FileRefused) as refused:
        places(found, 1)

    assert refused.value.code == "dtd.forbidden"
