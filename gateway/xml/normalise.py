"""What schemas from elsewhere need before two validators can use them: anchors, schemes, costly patterns.

Pure functions over text and bytes; `gateway.xml.catalog` decides where they apply.
Source: rulings, "Validation" and "Namespaces"; reliability, section 0, fact 7.
"""

import re
from collections.abc import Iterator

from gateway.kernel.namespaces import Scheme, canonical, in_scheme

_START_TAG = re.compile(r"<[^!?/][^>]*>")
_DECLARATION = re.compile(r'(\sxmlns(?::[\w.-]+)?=")([^"]*)(")')
_SCHEMA_NAMESPACE = re.compile(r'(\s(?:xmlns(?::[\w.-]+)?|targetNamespace|namespace)=")([^"]*)(")')
_COUNTED = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_MANY = 5  # a group repeated at least so often multiplies what is open inside it


def strip_anchors(pattern: str) -> str:
    """Return a pattern facet without the .NET-style anchors `^…$`, which are plain characters in XSD.

    Rule: only a pattern that starts with `^` and ends with an unescaped `$` is changed; each of its top-level
    branches loses both. A pattern that means a literal `^` or `$` at one end stays as it is.
    """
    branches = list(_branches(pattern))
    if not branches[0].startswith("^") or not _ends_anchored(branches[-1]):
        return pattern
    return "|".join(
        branch.removeprefix("^")[: -1 if _ends_anchored(branch) else None] if branch else branch for branch in branches
    )


def is_costly(pattern: str) -> bool:
    """Tell whether a pattern repeats, often or without bound, a group that can itself match in several ways.

    Such a pattern, as `(a+)+b` or `(a|a)*b`, can keep a backtracking matcher busy for minutes over thirty
    characters. Some harmless patterns are told as well.
    """
    open_ended: list[bool] = [False]  # per open group: can it match in several ways?
    for position, character in _tokens(pattern):
        if character == "(":
            open_ended.append(False)
        elif character == ")" and len(open_ended) > 1:
            inner = open_ended.pop()
            if inner and _repeats_often(pattern, position + 1):
                return True
            open_ended[-1] = open_ended[-1] or inner
        elif character in "*+?|":
            open_ended[-1] = True
        elif character == "{":
            counted = _COUNTED.match(pattern, position)
            if counted is not None and counted[2]:
                open_ended[-1] = True
    return False


def rewrite_scheme(document: str, scheme: Scheme, *, schema: bool = False) -> str:
    """Return a serialised document with every documented namespace in the form that *scheme* asks for.

    Shape: as our serialiser writes it: attributes in double quotes with `>` escaped, no comments or CDATA
    sections. Only namespace declarations are touched, in a *schema* also `targetNamespace` and `namespace`.
    """
    attribute = _SCHEMA_NAMESPACE if schema else _DECLARATION

    def value(match: re.Match[str]) -> str:
        names = " ".join(in_scheme(canonical(name), scheme) for name in match[2].split(" "))
        return f"{match[1]}{names}{match[3]}"

    return _START_TAG.sub(lambda tag: attribute.sub(value, tag[0]), document)


def _repeats_often(pattern: str, position: int) -> bool:
    if pattern.startswith(("*", "+"), position):
        return True
    counted = _COUNTED.match(pattern, position)
    if counted is None:
        return False
    if counted[2] and not counted[3]:
        return True
    digits = (counted[3] or counted[1]).lstrip("0")
    return len(digits) > 1 or int(digits or "0") >= _MANY  # one that fills pages is no number Python reads


def _tokens(pattern: str) -> Iterator[tuple[int, str]]:
    """Yield position and character of everything that is no escape and not inside a character class."""
    position, depth = 0, 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 2
            continue
        if character == "[":
            depth += 1
        elif character == "]" and depth:
            depth -= 1
        elif not depth:
            yield position, character
            counted = _COUNTED.match(pattern, position)
            if counted is not None:
                position = counted.end()
                continue
        position += 1


def _branches(pattern: str) -> Iterator[str]:
    depth, start = 0, 0
    for position, character in _tokens(pattern):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "|" and depth == 0:
            yield pattern[start:position]
            start = position + 1
    yield pattern[start:]


def _ends_anchored(branch: str) -> bool:
    if not branch.endswith("$"):
        return False
    last = len(branch) - 1
    return any(position == last for position, _ in _tokens(branch))
