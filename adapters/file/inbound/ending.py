"""Does a file end where its document ends? A look at its first and last bytes, without parsing it.

It never refuses anything: it only says whether waiting may help. The parser has the last word.
"""

import codecs
import os
import re
from enum import StrEnum

_HEAD_BYTES = 4_096
_LONG_HEAD_BYTES = 262_144  # a licence comment may stand before the root
_TAIL_BYTES = 4_096
_BLANK = " \t\r\n"
# not \s: bytes of UTF-8 letters, read one by one, would count as white space
_NAME = r"[^ \t\r\n<>/=\"'&!?\x00]+"
_ROOT = re.compile(rf"<({_NAME})")
_CLOSING = re.compile(rf"</({_NAME})[ \t\r\n]*>")
_PROLOG = re.compile(r"[ \t\r\n]*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_PLAIN_ROOT = re.compile(rb"(?:\xef\xbb\xbf)?(?:<\?xml [^<>]*\?>)?[ \t\r\n]*<([A-Za-z_][A-Za-z0-9_.:-]*)[ \t\r\n>]")
_DOCTYPE = "<!DOCTYPE"


class Ending(StrEnum):
    """How a file ends."""

    COMPLETE = "complete"  # with the closing tag of its root
    EMPTY = "empty"  # nothing in it yet but white space or NULs
    UNFILLED = "unfilled"  # NULs at the end: space reserved for what is still to come
    SUSPICIOUS = "suspicious"  # begins like XML and does not end like it: cut off, or broken
    FOREIGN = "foreign"  # no document we take, or not XML: its end says nothing


def ending(fd: int, size: int) -> Ending:
    """Judge the regular file *fd* of *size* bytes by its ends.

    Shape: UTF-8, any encoding that keeps ASCII, UTF-16 with or without byte order mark; comments, processing
    instructions and white space may follow the root.
    """
    start = os.pread(fd, _HEAD_BYTES, 0)
    if size <= _HEAD_BYTES and _usual(start):
        return Ending.COMPLETE
    codec, mark = _codec(start)
    head = start[mark:].decode(codec, "replace")
    if not head.strip(_BLANK + "\0"):
        return Ending.EMPTY if size <= _HEAD_BYTES or "\0" in head else Ending.SUSPICIOUS
    if not head.lstrip(_BLANK).startswith("<"):
        return Ending.UNFILLED if head.startswith("\0") else Ending.FOREIGN
    tail = _tail(fd, size, start, mark, codec)
    if tail.endswith("\0"):
        return Ending.UNFILLED
    closing = _last_tag(tail)
    if closing is None:
        return Ending.SUSPICIOUS
    root = _root(head) or _root(os.pread(fd, _LONG_HEAD_BYTES, 0)[mark:].decode(codec, "replace"))
    if root is None:
        return Ending.FOREIGN if _DOCTYPE in head else Ending.SUSPICIOUS
    name, offset = root
    match = _CLOSING.fullmatch(closing)
    if match is not None:
        return Ending.COMPLETE if match[1] == name else Ending.SUSPICIOUS
    # a root that closes itself, <Batch/>, is the last tag and the first one
    alone = closing.endswith("/>") and size <= _HEAD_BYTES and head.rfind(closing) == offset
    return Ending.COMPLETE if alone else Ending.SUSPICIOUS


def _usual(whole: bytes) -> bool:
    """Recognise at a glance what nearly every small file is: a declaration perhaps, a root, its closing tag."""
    match = _PLAIN_ROOT.match(whole)
    return match is not None and whole.rstrip().endswith(b"</%s>" % match[1])


def _codec(start: bytes) -> tuple[str, int]:
    """Return how to read the ends and how many bytes the mark takes; one byte per character is enough for tags."""
    if start.startswith(codecs.BOM_UTF8):
        return "latin-1", 3
    if start.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le", 2
    if start.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be", 2
    if start.startswith(b"<\0"):
        return "utf-16-le", 0
    if start.startswith(b"\0<"):
        return "utf-16-be", 0
    return "latin-1", 0


def _tail(fd: int, size: int, start: bytes, mark: int, codec: str) -> str:
    if size <= len(start):
        return start[mark:size].decode(codec, "replace")
    offset = max(mark, size - _TAIL_BYTES)
    if codec != "latin-1":
        offset -= offset % 2
    return os.pread(fd, size - offset, offset).decode(codec, "replace")


def _last_tag(tail: str) -> str | None:
    """Return the last tag of *tail*, with what may follow a root stripped; None when it does not end with one."""
    text = tail.rstrip(_BLANK)
    while text.endswith(("-->", "?>")):
        begin = text.rfind("<!--" if text.endswith("-->") else "<?")
        if begin < 0:
            return None
        text = text[:begin].rstrip(_BLANK)
    if not text.endswith(">"):
        return None
    begin = text.rfind("<")
    return text[begin:] if begin >= 0 else None


def _root(head: str) -> tuple[str, int] | None:
    """Return name and place of the root's start tag, None when *head* does not reach it."""
    place = 0
    while (match := _PROLOG.match(head, place)) is not None:
        place = match.end()
    rest = head[place:]
    place += len(rest) - len(rest.lstrip(_BLANK))
    found = _ROOT.match(head, place)
    return None if found is None else (found[1], place)
