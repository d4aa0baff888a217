"""File names: partners' names are bytes that we only show and encode; the names we give are plain ASCII.

A partner's name never becomes part of a path as it stands: percent-encoded after a claim id in our folders,
reduced to letters, digits and `._-` in the names of responses.
"""

import fnmatch
import re
import unicodedata
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from uuid import UUID

from gateway.kernel.ids import ClaimId

TEMPORARY_PREFIXES = (b".", b"~")
TEMPORARY_SUFFIXES = (b".tmp", b".part", b".filepart", b".crdownload", b".done")
DONE_SUFFIX = b".done"
REASON_SUFFIX = b".txt"
NAME_SUFFIX = b".name"

_MAX_WORK_BYTES = 240  # leaves room for the suffix of a reason within the 255 bytes of a file name
_MAX_RESPONSE_BYTES = 120
_MAX_STEM = 60
_NOT_PLAIN = re.compile(rb"[^A-Za-z0-9._-]")
_CLAIM_ID = re.compile(rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})~(.*)", re.DOTALL)
_DIGITS = re.compile(r"([0-9]+)")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


class NameOrder(StrEnum):
    """How the files of one sweep are ordered."""

    NAME = "name"  # by Unicode code point, first ignoring case, then by case
    NATURAL = "natural"  # the same with runs of digits compared as numbers


def display(name: bytes) -> str:
    """Return *name* for people: not UTF-8 as `\\xff`, everything invisible or overriding escaped."""
    text = name.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def is_temporary(name: bytes) -> bool:
    """Return whether the name says that its file is not meant for us yet, or is a marker."""
    return name.startswith(TEMPORARY_PREFIXES) or name.lower().endswith(TEMPORARY_SUFFIXES)


def matcher(pattern: str) -> Callable[[bytes], bool]:
    """Return a test whether a name is taken: it matches the pattern, case ignored, and is not temporary."""
    match = re.compile(fnmatch.translate(pattern), re.IGNORECASE).match

    def takes(name: bytes) -> bool:
        return not is_temporary(name) and match(name.decode("utf-8", "surrogateescape")) is not None

    return takes


def sort_key(order: NameOrder) -> Callable[[bytes], str]:
    """Return the key by which names are ordered: plain text, because a million of them are compared.

    Shape: ends in NUL and the name itself, so two names never share a key and `key_name` finds it again.
    """
    return _natural_key if order is NameOrder.NATURAL else _name_key


def key_name(key: str) -> bytes:
    """Return the name that a sort key was made of."""
    return key[key.rindex("\0") + 1 :].encode("utf-8", "surrogateescape")


def _name_key(name: bytes) -> str:
    # no name holds NUL, and nothing sorts before it: a shorter text comes first, as it would by itself
    text = name.decode("utf-8", "surrogateescape")
    return f"{text.casefold()}\0{text}"


def _natural_key(name: bytes) -> str:
    text = name.decode("utf-8", "surrogateescape")
    # split puts text at even and digits at odd places; a number is its length, then its digits
    parts = _DIGITS.split(text.casefold())
    folded = "".join(_number(part) if place % 2 else f"{part}\0" for place, part in enumerate(parts))
    return f"{folded}\0{text}"


def _number(digits: str) -> str:
    plain = digits.lstrip("0")
    return f"{chr(len(plain) + 1)}{plain}"


def escape(name: bytes) -> bytes:
    """Percent-encode everything but letters, digits and `._-`; reversible."""
    return _NOT_PLAIN.sub(lambda match: b"%%%02X" % match[0][0], name)


def unescape(text: bytes) -> bytes:
    """Undo `escape`."""
    return re.sub(rb"%([0-9A-F]{2})", lambda match: bytes((int(match[1], 16),)), text)


def work_name(claim_id: ClaimId, name: bytes) -> tuple[bytes, bool]:
    """Return `<claim id>~<escaped name>` and whether the whole name fits; a cut one ends in `~`."""
    full = b"%s~%s" % (str(claim_id).encode(), escape(name))
    if len(full) <= _MAX_WORK_BYTES:
        return full, True
    return re.sub(rb"%[0-9A-F]?$", b"", full[: _MAX_WORK_BYTES - 1]) + b"~", False


def parse_work_name(work: bytes) -> tuple[ClaimId, bytes, bool] | None:
    """Return claim id, original name and whether that is whole; None when it is no work name of ours."""
    match = _CLAIM_ID.fullmatch(work)
    if match is None:
        return None
    whole = not match[2].endswith(b"~")
    return ClaimId(UUID(match[1].decode())), unescape(match[2].removesuffix(b"~")), whole


def name_file(claim_id: ClaimId) -> bytes:
    """Return the name of the small file that keeps an original name too long for the work name."""
    return str(claim_id).encode() + NAME_SUFFIX


def reason_name(work: bytes) -> bytes:
    """Return the name of the text beside a quarantined file."""
    return work + REASON_SUFFIX


def stem(name: bytes) -> str:
    """Reduce a request's file name, without its last extension, to at most 60 letters, digits and `._-`.

    Rule: other characters become one `_`; never empty, never beginning with `.` or `-`, never ending with `.`,
    never a name that Windows reserves: a partner may read the outbound folder from anywhere.
    """
    text = name.decode("utf-8", "surrogateescape")
    head, dot, _ = text.rpartition(".")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", head if dot and head else text).lstrip(".-")[:_MAX_STEM].rstrip(".")
    return (f"_{plain}"[:_MAX_STEM] if _RESERVED.match(plain) else plain) or "file"


class ResponseNames:
    """Names the responses of one port: letters, digits and `._{}-`, at most 120 bytes.

    *pattern* is one that the configuration has accepted: plain placeholders only, and room for the shortest stem.
    """

    def __init__(self, pattern: str, port: str) -> None:
        self._port = port
        self._template = pattern.removesuffix(".xml")
        self._last: tuple[str, str] = ("", "file")

    def name(
        self, request: str, position: int, response_id: str, request_message_id: str, date: str, *, fault: bool
    ) -> str:
        """Return the final name of a response to the file with the display name *request*, empty for none.

        Shape: *position* counts from 1 inside the file; the name of a fault ends in `.fault.xml`.
        Rule: the stem gives way when the name would become too long, so that the response id stays whole.
        """
        file, base = self._last
        if file != request:  # many answer one file
            base = stem(request.encode("utf-8", "surrogateescape"))
            self._last = (request, base)
        fill = partial(
            self._template.format, position=position, response_id=response_id, request_message_id=request_message_id,
            port=self._port, date=date,
        )  # fmt: skip
        suffix = ".fault.xml" if fault else ".xml"
        name = fill(stem=base) + suffix
        if (excess := len(name) - _MAX_RESPONSE_BYTES) > 0:
            name = fill(stem=base[: max(1, len(base) - excess)].rstrip(".") or "x") + suffix
        return name
