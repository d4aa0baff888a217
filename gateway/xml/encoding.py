"""Which encoding a file is in, by its first bytes; and what it looks like when it is no XML.

Order: byte order mark, then declaration, then UTF-8. The parser would accept more than the list below and
would trust a byte order mark over a declaration that says otherwise; both are refused before it sees a byte.
Source: rulings, "Encodings"; reliability reference, rows 46 to 60 and 71.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.kernel.errors import FileRefused

PREFIX_BYTES = 4096
"""How many bytes `detect` wants to see, fewer when the file is shorter."""

SUPPORTED = "UTF-8, UTF-16, US-ASCII, ISO-8859-1 to -16, Windows-1252 and GB18030"

_DECLARATION = re.compile(r"<\?xml\s[^>]*?\bencoding\s*=\s*[\"']\s*([^\"'>]*?)\s*[\"']")
_ISO_8859 = re.compile(r"ISO[-_]?8859[-_](1[0-6]|[1-9])")
_NAMES = {
    "UTF-8": "UTF-8",
    "UTF8": "UTF-8",
    "UTF-16": "UTF-16",
    "UTF16": "UTF-16",
    "UTF-16LE": "UTF-16LE",
    "UTF-16BE": "UTF-16BE",
    "US-ASCII": "US-ASCII",
    "ASCII": "US-ASCII",
    "LATIN1": "ISO-8859-1",
    "WINDOWS-1252": "WINDOWS-1252",
    "CP1252": "WINDOWS-1252",
    "GB18030": "GB18030",
}
_CODECS = {"US-ASCII": "ascii", "WINDOWS-1252": "cp1252"}

_MARKS = ((codecs.BOM_UTF8, "UTF-8"), (codecs.BOM_UTF16_LE, "UTF-16LE"), (codecs.BOM_UTF16_BE, "UTF-16BE"))
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, b"<\0\0\0", b"\0\0\0<")
_EBCDIC = b"\x4c\x6f\xa7\x94"

_BINARY = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a ZIP archive (or an Office document)"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ", "a Windows program"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    *((bytes((0x78, level)), "zlib-compressed data") for level in (0x01, 0x5E, 0x9C, 0xDA)),
    (b"\0\0\0\0", "NUL bytes (a sparse or preallocated file that was never filled)"),
)
_BROWSER = re.compile(r"(?:<\?xml[^<>]*>\s*)?- <")
_ESCAPED = re.compile(r"&lt;[A-Za-z?!]")
_EDIFACT = re.compile(r"UN[AB]\W")
_HTML = re.compile(r"<!doctype html|<html[\s>]", re.IGNORECASE)
_X12 = re.compile(r"ISA\*")
_JSON = re.compile(r"[{\[]\s*[\"{\[\]}\d]")
_CSV = re.compile(r"[^\n<>]*?[,;\t][^\n<>]*?[,;\t\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEncoding:
    """The encoding of a file.

    Shape: `name` is ours, upper case; `codec` is what Python calls it; `mark` is the length of the byte order
    mark in bytes; `declared` is the name in the XML declaration as written, None without one.
    """

    name: str
    mark: int = 0
    declared: str | None = None

    @property
    def codec(self) -> str:
        """Return the name of the Python codec."""
        return _CODECS.get(self.name, self.name.lower())

    @property
    def unit(self) -> int:
        """Return the bytes of one code unit."""
        return 2 if self.name.startswith("UTF-16") else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a whole file looks like as text: where it ends, and the first byte that does not decode."""

    last_line: int
    last_column: int
    bad_offset: int | None = None
    bad_byte: int | None = None


def detect(prefix: bytes) -> FileEncoding:
    """Return the encoding of a file that begins with *prefix*.

    Raises: FileRefused `encoding.unsupported` or `encoding.mismatch`; `xml.not-wellformed` with a hint for
    bytes of another known format.
    """
    for start in _UTF_32:
        if prefix.startswith(start):
            raise _unsupported("UTF-32")
    if prefix.startswith(_EBCDIC):
        raise _unsupported("EBCDIC")
    mark, by_bytes = _by_bytes(prefix)
    if mark == 0 and (what := _binary_format(prefix)) is not None:
        raise _refused(
            "xml.not-wellformed",
            f"This is not XML: the file starts with {prefix[:4].hex(' ')} and looks like {what}. "
            "Send the XML document itself.",
        )
    declared = _declared(prefix[mark:], by_bytes or "latin-1")
    if declared is None:
        if by_bytes is not None and mark == 0:
            raise _refused(
                "encoding.mismatch",
                f"The bytes are {by_bytes} but there is neither a byte order mark nor a declared encoding; "
                'XML without both must be UTF-8. Add the mark or encoding="UTF-16".',
            )
        return FileEncoding(name=by_bytes or "UTF-8", mark=mark)
    known = canonical_name(declared)
    if known is None:
        raise _unsupported(declared)
    if not _agree(known, by_bytes):
        raise _refused(
            "encoding.mismatch",
            f'The declaration says encoding="{declared}" but the bytes are '
            f"{by_bytes or 'not UTF-16'}{' (byte order mark)' if mark else ''}. "
            "Save the file in the declared encoding, or correct the declaration.",
        )
    return FileEncoding(name=by_bytes or known, mark=mark, declared=declared)


def load_codecs() -> None:
    """Import every codec that a file may need, for a process that can open nothing later."""
    names = {*_NAMES.values(), *filter(None, (canonical_name(f"ISO-8859-{part}") for part in range(1, 17)))}
    for codec in {"utf-8-sig", *(FileEncoding(name=name).codec for name in names)}:
        codecs.lookup(codec)


def canonical_name(declared: str) -> str | None:
    """Return our name of a declared encoding, None when it is not supported."""
    upper = declared.upper()
    if (match := _ISO_8859.fullmatch(upper)) is not None and match[1] != "12":  # there is no part 12
        return f"ISO-8859-{match[1]}"
    return _NAMES.get(upper)


def looks_like(prefix: bytes) -> str | None:
    """Say what a file that is no XML looks like, None when nothing comes to mind."""
    if (binary := _binary_format(prefix)) is not None:
        return binary
    text = prefix.decode("latin-1").lstrip("\ufeff \t\r\nï»¿")
    hints = (
        (_HTML, "an HTML page"),
        (_BROWSER, "XML copied from the view of a browser, with the minus signs it shows"),
        (_ESCAPED, "XML whose angle brackets are written as &lt; and &gt;"),
        (_EDIFACT, "an EDIFACT interchange"),
        (_JSON, "JSON"),
        (_CSV, "a CSV file"),
        (_X12, "an X12 interchange"),
    )
    return next((what for pattern, what in hints if pattern.match(text) is not None), None)


def survey(chunks: Iterable[bytes], encoding: FileEncoding) -> Survey:
    """Decode a whole file to find its last line and column, and the first byte that does not decode."""
    decoder = codecs.getincrementaldecoder(encoding.codec)()
    lines, column, offset = 1, 1, 0
    for chunk in chunks:
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            at = offset - pending + error.start
            return Survey(last_line=lines, last_column=column, bad_offset=at, bad_byte=error.object[error.start])
        offset += len(chunk)
        breaks = text.count("\n")
        lines += breaks
        column = len(text) - text.rfind("\n") if breaks else column + len(text)
    if decoder.getstate()[0]:  # cut in the middle of a character: the end of the file, not a wrong byte
        column += 1
    return Survey(last_line=lines, last_column=column)


def _by_bytes(prefix: bytes) -> tuple[int, str | None]:
    """Return the length of the mark and the encoding that mark or first bytes prove, None for 8-bit ones."""
    for mark, name in _MARKS:
        if prefix.startswith(mark):
            return len(mark), name
    match tuple(prefix[:2]):
        case (first, 0) if first in b"<\t\r\n ":
            return 0, "UTF-16LE"
        case (0, second) if second in b"<\t\r\n ":
            return 0, "UTF-16BE"
    return 0, None


def _declared(prefix: bytes, codec: str) -> str | None:
    """Return the encoding that the XML declaration names."""
    match = _DECLARATION.match(prefix[:PREFIX_BYTES].decode(codec, "replace"))
    return match[1] if match is not None else None


def _agree(declared: str, by_bytes: str | None) -> bool:
    """Tell whether a declared encoding fits what the bytes prove."""
    if by_bytes is None:
        return not declared.startswith("UTF-16")
    return declared == by_bytes or (declared == "UTF-16" and by_bytes.startswith("UTF-16"))


def _binary_format(prefix: bytes) -> str | None:
    return next((what for start, what in _BINARY if prefix.startswith(start)), None)


def _unsupported(name: str) -> FileRefused:
    return _refused("encoding.unsupported", f"The encoding {name} is not supported; supported are {SUPPORTED}.")


def _refused(code: str, text: str) -> FileRefused:
    return FileRefused(text, code=code, line=1, column=1)
