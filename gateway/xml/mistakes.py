"""Says what keeps a file from being well-formed XML, and what to do about it, in place of the parser's own words.

By libxml2's error numbers: its texts name its functions and change between releases.
"""

import re
from typing import NamedTuple

_SEND_AGAIN = "Correct it and send it whole again."
_CHARACTER = re.compile(r"(?:Char|value) (?:0x([0-9A-Fa-f]+)|(\d+))")
_NO_CONTROLS = "XML allows no control characters, not even as references; remove it."
_AMPERSAND = "Write &amp; for an ampersand."


class Mistake(NamedTuple):
    """What is wrong (empty: as the parser says) and what to do about it."""

    what: str
    remedy: str


_KNOWN = {
    5: Mistake(
        "Something stands behind the end of the document",
        "Remove it, or send each document in a file of its own.",
    ),
    23: Mistake("A reference that begins with & is not ended by a semicolon", _AMPERSAND),
    26: Mistake("", "XML knows amp, lt, gt, quot and apos; write other characters themselves, or as &#160; by number."),
    38: Mistake("A < stands in the value of an attribute", "Write &lt; for it."),
    39: Mistake("The value of an attribute is not in quotes", 'Write attributes as name="value".'),
    41: Mistake("An attribute has no value", 'Write attributes as name="value".'),
    42: Mistake("", "Leave one."),
    62: Mistake("", "Write ]]&gt; for it."),
    64: Mistake("The XML declaration does not stand at the very start of the file", "Remove what stands before it."),
    76: Mistake("", "Close each element by its own name, the innermost first."),
    80: Mistake("", 'Comments must not hold "--".'),
    99: Mistake("", "Write the namespace in one piece: white space in it may come from a wrapped line."),
    108: Mistake("", 'Declare version="1.0".'),
    201: Mistake("", "Declare the prefix with xmlns, or write the right one."),
}
_INVALID_CHARACTER, _NAME_REQUIRED = 9, 68


def say(number: int, text: str) -> str:
    """Return one or two sentences for the error *number* of libxml2, which it calls *text* itself."""
    mistake = _mistake(number, text)
    return f"The file is not well-formed XML: {mistake.what or text.rstrip('. ')}. {mistake.remedy}"


def _mistake(number: int, text: str) -> Mistake:
    if number == _INVALID_CHARACTER:
        return _invalid_character(text)
    if number == _NAME_REQUIRED:
        if "EntityRef" in text:
            return Mistake("An ampersand (&) stands alone", _AMPERSAND)
        return Mistake("A < is not followed by the name of an element", "Write &lt; for a < that begins no tag.")
    return _KNOWN.get(number, Mistake("", _SEND_AGAIN))


def _invalid_character(text: str) -> Mistake:
    found = _CHARACTER.search(text)
    if found is None:
        return Mistake("A reference names a character beyond the last one, U+10FFFF", "Correct or remove it.")
    code = int(found[1], 16) if found[1] else int(found[2])
    what = "A reference names the character" if "CharRef" in text else "It holds the character"
    return Mistake(f"{what} U+{code:04X}, which XML does not allow", _NO_CONTROLS)
