"""Says what keeps a file from being well-formed XML, and what to do about it, in place of the parser's own words.

By libxml2's error numbers: its texts name its functions and change between releases.
"""

import re
from typing import NamedTuple

_SEND_AGAIN = "Correct it and send it whole again."
_CHARACTER = re.compile(r"(?:Char|value) (?:0x([0-9A-Fa-f]+)|(\d+))")
_NO_CONTROLS = "XML allows no control characters, not even as references; remove it."
_AMPERSAND = "Write &amp; for an ampersand."
_ATTRIBUTES = 'Write attributes as name="value", with a blank before each.'
_SEVERAL = (
    "Send each document in a file of its own, or put the Envelopes, without their XML declarations, into one Batch."
)


class Mistake(NamedTuple):
    """What is wrong, with `{0}`, `{1}`, … for what `names` finds in the parser's text, and what to do about it."""

    what: str
    remedy: str = _SEND_AGAIN
    names: str | None = None
    unnamed: str = ""
    """What is said when the parser's text is another than the one known here."""


BAD_NAMESPACE = 99
_KNOWN = {
    4: Mistake("It does not begin with the tag of an element", "Send the XML document itself, with nothing before it."),
    5: Mistake("Something stands behind the end of the document", f"Is it another document? {_SEVERAL}"),
    6: Mistake("A reference to a character by its number is not written as &#160; or &#xA0;"),
    7: Mistake("A reference to a character by its number is not written as &#160; or &#xA0;"),
    23: Mistake("A reference that begins with & is not ended by a semicolon", _AMPERSAND),
    26: Mistake(
        "&{0}; stands for nothing",
        "XML knows amp, lt, gt, quot and apos; write other characters themselves, or as &#160; by number.",
        r"Entity '([^']*)'",
        "A reference that begins with & stands for nothing",
    ),
    38: Mistake("A < stands in the value of an attribute", "Write &lt; for it."),
    39: Mistake("The value of an attribute is not in quotes", _ATTRIBUTES),
    40: Mistake("The value of an attribute has no end", _ATTRIBUTES),
    41: Mistake("An attribute has no value", _ATTRIBUTES),
    42: Mistake("The attribute {0} stands twice on one element", "Leave one.", r"Attribute (\S+) redefined",
                "An attribute stands twice on one element"),
    46: Mistake("An instruction (<? ?>) has no name", "Remove it."),
    62: Mistake("]]> stands in the text of an element", "Write ]]&gt; for it."),
    64: Mistake("The XML declaration does not stand at the very start of the file", "Remove what stands before it."),
    65: Mistake("A blank is missing between two attributes", _ATTRIBUTES),
    73: Mistake("A tag is not ended by >"),
    76: Mistake(
        "<{0}> of line {1} is closed by </{2}>",
        "Close each element by its own name, the innermost first.",
        r"mismatch: (\S+) line (\d+) and (\S+)",
        "An element is closed by another name than its own",
    ),
    77: Mistake("An element has no closing tag"),
    78: Mistake("The XML declaration says standalone with a value that is neither yes nor no", "Leave standalone out."),
    80: Mistake('A comment holds two hyphens ("--")', "Put a blank between them."),
    96: Mistake("The XML declaration names no version", 'Declare version="1.0".'),
    BAD_NAMESPACE: Mistake(
        "The namespace {0} is no valid address (URI)",
        "Write it in one piece: white space in it may come from a wrapped line.",
        r"'(.*)' is not a valid URI",
        "A namespace is no valid address (URI)",
    ),
    108: Mistake("The XML declaration names a version that is not supported", 'Declare version="1.0".'),
    200: Mistake("A namespace is declared as XML does not allow it", "Declare neither xml nor xmlns."),
    201: Mistake(
        "The prefix {0} is not declared", "Declare it with xmlns, or write the right one.", r"prefix (\S+) (?:on|for)",
        "A prefix is not declared",
    ),
    202: Mistake("A name holds more than one colon", "Write prefix:name."),
    203: Mistake("An attribute stands twice on one element, by two prefixes of one namespace", "Leave one."),
}  # fmt: skip
_INSIDE = {
    64: Mistake("A second XML declaration (<?xml ... ?>) stands in the file: one document inside or behind another",
                _SEVERAL),
}  # fmt: skip
_INVALID_CHARACTER, _NAME_REQUIRED = 9, 68
_OTHER = Mistake("It breaks the rules of XML at this place")


def say(number: int, text: str, *, root_seen: bool = False) -> str:
    """Return one or two sentences for the error *number* of libxml2, which it calls *text* itself.

    *root_seen*: it came behind the start tag of the root.
    """
    mistake = (_INSIDE.get(number) if root_seen else None) or _mistake(number, text)
    what = mistake.what
    if mistake.names is not None:
        found = re.search(mistake.names, text)
        what = mistake.unnamed if found is None else what.format(*found.groups())
    return f"The file is not well-formed XML: {what}. {mistake.remedy}"


def misnamed(text: str) -> str | None:
    """Return the namespace that is no valid URI, None when libxml2's *text* is about something else."""
    found = re.search(_KNOWN[BAD_NAMESPACE].names or "", text, re.DOTALL)
    return None if found is None else found[1]


def of_namespace(namespace: str) -> str:
    """Return two sentences about a namespace that is no valid URI."""
    mistake = _KNOWN[BAD_NAMESPACE]
    return f"{mistake.what.format(namespace)}. {mistake.remedy}"


def _mistake(number: int, text: str) -> Mistake:
    if number == _INVALID_CHARACTER:
        return _invalid_character(text)
    if number == _NAME_REQUIRED:
        if "EntityRef" in text:
            return Mistake("An ampersand (&) stands alone", _AMPERSAND)
        return Mistake("A < is not followed by the name of an element", "Write &lt; for a < that begins no tag.")
    return _KNOWN.get(number, _OTHER)


def _invalid_character(text: str) -> Mistake:
    found = _CHARACTER.search(text)
    if found is None:
        return Mistake("A reference names a character beyond the last one, U+10FFFF", "Correct or remove it.")
    code = int(found[1], 16) if found[1] else int(found[2])
    what = "A reference names the character" if "CharRef" in text else "It holds the character"
    return Mistake(f"{what} U+{code:04X}, which XML does not allow", _NO_CONTROLS)
