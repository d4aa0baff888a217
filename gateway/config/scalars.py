"""How single YAML values are read: the core rules of YAML 1.2, so that `no`, `010` and `12:30` stay text."""

import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")


class Substituted(str):
    """A text made only of one `${…}`: an option that wants a number or a switch reads it as one."""

    __slots__ = ()


def read_scalar(text: str) -> Scalar:
    """Return the value that *text* has when written without quotes.

    Shape: `true` and `false` are the only switches; whole numbers have no leading zero, so that they can be
    turned back into exactly the same text; everything else is text.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return 0 if text == "-0" else int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text
