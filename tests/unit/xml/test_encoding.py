"""The look at the first bytes of a file."""

import pytest

from gateway.kernel.errors import FileRefused
from gateway.xml.encoding import FileEncoding, detect, looks_like, survey


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        (b"<a/>", "UTF-8"),
        (b"", "UTF-8"),
        (b"\xef\xbb\xbf<a/>", "UTF-8"),
        (b"\xff\xfe<\0a\0", "UTF-16LE"),
        (b"\xfe\xff\0<\0a", "UTF-16BE"),
        (b'<?xml version="1.0" encoding="utf-8"?>', "UTF-8"),
        (b"<?xml version='1.0' encoding = 'ISO-8859-15' standalone='yes'?>", "ISO-8859-15"),
        (b'<?xml version="1.0" encoding="Windows-1252"?>', "WINDOWS-1252"),
        (b'<?xml version="1.0" encoding="gb18030"?>', "GB18030"),
        (b'<?xml version="1.0" encoding="us-ascii"?>', "US-ASCII"),
        ('<?xml version="1.0" encoding="UTF-16"?>'.encode("utf-16-le"), "UTF-16LE"),
        ('<?xml version="1.0" encoding="UTF-16BE"?>'.encode("utf-16-be"), "UTF-16BE"),
    ],
)
def test_encoding_is_told_by_mark_then_declaration_then_utf_8(prefix: bytes, name: str) -> None:
    assert detect(prefix).name == name


def test_contradiction_names_both_sides() -> None:
    with pytest.raises(FileRefused, match=r'encoding="UTF-16" but the bytes are not UTF-16') as caught:
        detect(b'<?xml version="1.0" encoding="UTF-16"?><a/>')
    assert (caught.value.code, caught.value.line, caught.value.column) == ("encoding.mismatch", 1, 1)


def test_mark_is_not_trusted_over_a_declaration() -> None:
    with pytest.raises(FileRefused, match=r'encoding="ISO-8859-1" but the bytes are UTF-8 \(byte order mark\)'):
        detect(b'\xef\xbb\xbf<?xml version="1.0" encoding="ISO-8859-1"?><a/>')


def test_unsupported_encoding_names_the_supported_ones() -> None:
    with pytest.raises(FileRefused, match=r"UTF-7 is not supported; supported are UTF-8, UTF-16") as caught:
        detect(b'<?xml version="1.0" encoding="UTF-7"?><a/>')
    assert caught.value.code == "encoding.unsupported"


@pytest.mark.parametrize(
    ("prefix", "what"),
    [
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"PK\x03\x04\x14", "a ZIP archive (or an Office document)"),
        (b"\x78\x9c\x4b", "zlib-compressed data"),
        (b"%PDF-1.7", "a PDF document"),
        (b'{"a": 1}', "JSON"),
        (b' [{"a": 1}]', "JSON"),
        (b"UNB+UNOC:3+A", "an EDIFACT interchange"),
        (b"ISA*00*  ", "an X12 interchange"),
        (b"item;quantity\n1;2\n", "a CSV file"),
        (b"\xef\xbb\xbf<html><body>", "an HTML page"),
        (b"<Batch/>", None),
    ],
)
def test_other_formats_are_recognised(prefix: bytes, what: str | None) -> None:
    assert looks_like(prefix) == what


def test_gzip_is_refused_with_its_first_bytes() -> None:
    with pytest.raises(FileRefused, match="starts with 1f 8b 08 00 and looks like a gzip archive"):
        detect(b"\x1f\x8b\x08\0abc")


@pytest.mark.parametrize("cut", range(1, 9))
def test_wrong_byte_is_found_wherever_the_chunks_end(cut: int) -> None:
    content = "aé\nü".encode() + b"\xe9rest"
    found = survey([content[:cut], content[cut:]], FileEncoding(name="UTF-8"))
    assert (found.bad_offset, found.bad_byte) == (6, 0xE9)


def test_end_of_text_is_counted_in_characters() -> None:
    found = survey(["a\nbü".encode("utf-16-le"), "c".encode("utf-16-le")], FileEncoding(name="UTF-16LE"))
    assert (found.last_line, found.last_column, found.bad_offset) == (2, 4, None)
