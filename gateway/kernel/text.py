"""Text that leaves the gateway: in faults, reports and logs."""

import re

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str, limit: int = 4096) -> str:
    """Return *text* with every character that XML 1.0 forbids replaced, cut to *limit* characters.

    Rule: control characters, lone surrogates, U+FFFE and U+FFFF become U+FFFD; a cut text ends with an ellipsis.
    Without this, an error text with a control character could itself not be told to anybody.
    Source: reliability, section 4.7.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():  # nothing printable is forbidden, and most texts are
        return text
    return _FORBIDDEN.sub(REPLACEMENT, text)
