"""Read YAML without its traps (anchors, aliases, merge keys, repeated keys, foreign tags), keeping lines.

PyYAML composes the nodes of a document, each with its place; nothing is ever constructed of them but text, numbers,
switches, lists and mappings.
Source: reliability reference, section 4.8.
"""

import yaml
from yaml.events import AliasEvent, CollectionStartEvent, Event, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from gateway.config.document import Document, Finding, Path, Value, read_scalar

MAX_BYTES = 1_000_000
MAX_DEPTH = 20

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}
_SENTENCES = (
    (
        "that cannot start any token",
        "no value can begin with this character; indent with spaces, not tabs, and quote @, ` and %",
    ),
    (
        "mapping values are not allowed",
        "a ':' stands where no key can be; quote texts that hold ': ' and check the indentation",
    ),
    ("could not find expected ':'", "a key has no ':' behind it"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("expected ',' or ']'", "a list that begins with '[' is not closed"),
    ("expected ',' or '}'", "a mapping that begins with '{' is not closed; quote texts that hold braces"),
    ("found unexpected end of stream", "a quoted text is not closed"),
    (
        "found unknown escape character",
        "a backslash in double quotes begins no known escape; use single quotes",
    ),
)


class Unreadable(Exception):
    """The text cannot be read as YAML at all; `line` counts from 1, None when no line can be named."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.line = line


def read(content: bytes) -> Document:
    """Read one YAML document.

    What must be refused but can be skipped (a repeated key, an alias) becomes a finding, so that all of it
    is told at once.
    Raises: Unreadable when reading cannot go on.
    """
    if len(content) > MAX_BYTES:
        raise Unreadable(f"is {len(content)} bytes long; at most {MAX_BYTES} are allowed")
    text = _decode(content)
    try:
        composer = _Composer(text)
        return _Reader(composer).read()
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(
            f"holds a character that YAML does not allow (U+{ord(text[error.position]):04X})", line
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error) from None
    except (ValueError, OverflowError):
        # The parser turns an escape such as "\UFFFFFFFF" into a character without checking its range.
        raise Unreadable("holds an escape that names no character", composer.line + 1) from None


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("is written in UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable("is not UTF-8; save it as UTF-8", line) from None


def _unreadable(error: yaml.MarkedYAMLError) -> Unreadable:
    reason = f"{error.problem or error.context or 'cannot be read'}"
    text = next((sentence for sign, sentence in _SENTENCES if sign in reason), reason)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Unreadable(f"not valid YAML: {text}")
    begun = error.context_mark
    since = f"; what is open begins on line {begun.line + 1}" if begun and begun.line != mark.line else ""
    return Unreadable(f"not valid YAML at column {mark.column + 1}: {text}{since}", mark.line + 1)


class _Composer(yaml.SafeLoader):
    """Composes nodes as they are written: `tag` is empty where none is, and aliases are nodes of their own."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.names: dict[Node, str] = {}
        """Nodes with the names that their anchors give them."""
        self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Compose the next node, and those in it. Raises: Unreadable when it is nested too deep."""
        event: Event = self.peek_event()  # type: ignore[no-untyped-call]  # of PyYAML
        if isinstance(event, AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]  # of PyYAML
            alias = _Alias("", event.anchor, None, None)
            alias.start_mark = event.start_mark
            return alias
        if self._depth > MAX_DEPTH:
            raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels", _line(event))
        assert isinstance(event, ScalarEvent | CollectionStartEvent)
        name, event.anchor = event.anchor, None
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        assert node is not None
        node.tag = event.tag or ""
        if name is not None:
            self.names[node] = name
        return node


class _Alias(Node):
    """Stands where another value is to be repeated."""


class _Reader:
    """Turns the nodes of one document into values."""

    def __init__(self, composer: _Composer) -> None:
        self._composer = composer
        self._lines: dict[Path, int] = {}
        self._findings: list[Finding] = []
        self._unusable: set[Path] = set()

    def read(self) -> Document:
        node = self._composer.get_node() if self._composer.check_node() else None
        if self._composer.check_node():
            line = _line(self._composer.peek_event())  # type: ignore[no-untyped-call]  # of PyYAML
            raise Unreadable("holds a second document after '---'; one is allowed", line)
        return Document(
            value=None if node is None else self._value(node, ()),
            lines=self._lines,
            findings=tuple(self._findings),
            unusable=frozenset(self._unusable),
        )

    def _refuse(self, path: Path, node: Node, text: str, *, unusable: bool = False) -> None:
        self._findings.append(Finding(path=path, line=_line(node), text=text))
        if unusable:
            self._unusable.add(path)

    def _value(self, node: Node, path: Path) -> Value:
        self._lines.setdefault(path, _line(node))
        if (name := self._composer.names.get(node)) is not None:
            self._refuse(path, node, f"'&{name}' names a value to repeat it; this is not allowed")
        match node:
            case ScalarNode():
                return self._scalar(node, path)
            case SequenceNode():
                self._check_tag(node, path, "seq")
                return [self._value(item, (*path, position)) for position, item in enumerate(node.value)]
            case MappingNode():
                self._check_tag(node, path, "map")
                return self._mapping(node, path)
            case _:
                self._refuse(path, node, f"'*{node.value}' repeats another value; write the value out", unusable=True)
                return None

    def _check_tag(self, node: Node, path: Path, allowed: str) -> None:
        if node.tag not in ("", _TAG + allowed):
            self._refuse(path, node, f"the tag {node.tag!a} is not allowed", unusable=True)

    def _scalar(self, node: ScalarNode, path: Path) -> Value:
        text: str = node.value
        if not node.tag:
            return read_scalar(text) if node.style is None else text
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return text
        value = read_scalar(text)
        if kind not in _SCALAR_TAGS:
            self._refuse(path, node, f"the tag {node.tag!a} is not allowed", unusable=True)
        elif type(value) not in _SCALAR_TAGS[kind]:
            self._refuse(path, node, f"the value is no {kind}, as its tag says", unusable=True)
        return value

    def _mapping(self, node: MappingNode, path: Path) -> dict[str | int, Value]:
        values: dict[str | int, Value] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in values:
                first = self._lines[(*path, key)]
                self._refuse((*path, key), key_node, f"is given twice; first on line {first}")
                continue
            self._lines[(*path, key)] = _line(key_node)
            values[key] = self._value(value_node, (*path, key))
        return values

    def _key(self, node: Node, path: Path) -> str | int | None:
        """Return the key as a number or as the text written; None, with a finding, when it is no key."""
        if not isinstance(node, ScalarNode):
            self._refuse(path, node, "a key must be a plain text")
            return None
        if node in self._composer.names or node.tag:
            self._refuse(path, node, "a key must have no anchor and no tag")
        if node.style is None and node.value == "<<":
            self._refuse((*path, "<<"), node, "merges another mapping; write its keys out")
            return None
        text: str = node.value
        key = read_scalar(text) if node.style is None else text
        return key if type(key) is int else text


def _line(place: Node | Event) -> int:
    mark = place.start_mark
    return mark.line + 1 if mark is not None else 1
