"""Does a file end where its document ends?"""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.file.inbound.ending import Ending, ending
from tests.unit.adapters.support import WHOLE


def judged(folder: Path, content: bytes) -> Ending:
    path = folder / "document"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        return ending(fd, len(content))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "content",
    [
        WHOLE,
        b"<a/>",
        b"<?xml version='1.0'?><!-- why --><b:Batch xmlns:b='x' at='>'><c/></b:Batch >\r\n<!-- end --><?pi x?>\n",
        b"\xef\xbb\xbf<A>" + b"y" * 20_000 + b"</A>",
        ("<A>" + "é" * 9_001 + "</A>\n").encode("utf-16"),
        "<A></A>".encode("utf-16-le"),
        "<A></A>".encode("utf-16-be"),
        "<à><b/></à>".encode(),
        b"<!--" + b"licence " * 20_000 + b"--><A></A>",
    ],
    ids=["plain", "empty root", "decorated", "bom", "utf-16", "utf-16le", "utf-16be", "letters", "long comment"],
)
def test_whole_documents_are_complete(tmp_path: Path, content: bytes) -> None:
    assert judged(tmp_path, content) is Ending.COMPLETE


@pytest.mark.parametrize(
    "content",
    [b"<A><B></B>", b"<A><B/>", b"<A></A", b"<A>text", b"<A></A>junk", b"<A></A>{}", b"<A><!-- </A> --", b"<A"],
)
def test_xml_that_does_not_end_with_its_root_is_suspicious(tmp_path: Path, content: bytes) -> None:
    assert judged(tmp_path, content) is Ending.SUSPICIOUS


@pytest.mark.parametrize("content", [b"", b" \r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\0" * 100])
def test_nothing_yet_is_empty(tmp_path: Path, content: bytes) -> None:
    assert judged(tmp_path, content) is Ending.EMPTY


def test_reserved_space_is_unfilled(tmp_path: Path) -> None:
    assert judged(tmp_path, b"<A><B>" + b"\0" * 10_000) is Ending.UNFILLED


@pytest.mark.parametrize(
    "content", [b'{"a": 1}', b"\x1f\x8b\x08zzzz", b"UNB+UNOA", b"a;b;c\n", b"%PDF-1.7", b"<!DOCTYPE a []><a></a>"]
)
def test_what_is_no_document_is_not_waited_for(tmp_path: Path, content: bytes) -> None:
    assert judged(tmp_path, content) is Ending.FOREIGN


@settings(max_examples=60)
@given(cut=st.integers(0, len(WHOLE.rstrip()) - 1))
def test_a_document_cut_anywhere_is_never_complete(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    assert judged(tmp_path_factory.mktemp("cut"), WHOLE[:cut]) is not Ending.COMPLETE
