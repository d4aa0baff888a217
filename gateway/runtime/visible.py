"""Text from outside, made safe to show: partners write file names and values, terminals obey control characters."""

import unicodedata

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """Return *text* on one line: control, direction and other invisible characters as `\\x1b` or `\\u202e`.

    Bytes of a name that is not UTF-8 become `\\xff`, as in names of files everywhere else.
    """
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def visible_lines(text: str) -> str:
    """Return a text of several lines with its line breaks and tabs kept, everything else as `visible` does."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(visible(piece) for piece in line.split("\t")) for line in lines)


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries such a byte
        code -= 0xDC00
    return _SHORT.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )
