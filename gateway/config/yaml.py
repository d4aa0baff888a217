"""Read YAML without its traps (anchors, aliases, merge keys, repeated keys, foreign tags), keeping lines.

Works on the parser's events, so nothing is ever constructed but text, numbers, switches, lists and mappings.
Source: reliability reference, section 4.8.
"""

from collections.abc import Iterator

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.reader import ReaderError

from gateway.config.place import Document, Finding, Path, Value
from gateway.config.scalars import read_scalar

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
    reader = _Reader(yaml.parse(text, Loader=yaml.SafeLoader))
    try:
        return reader.read()
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(
            f"holds a character that YAML does not allow (U+{ord(text[error.position]):04X})", line
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error) from None
    except (ValueError, OverflowError):
        # The parser turns an escape such as "\UFFFFFFFF" into a character without checking its range.
        raise Unreadable("holds an escape that names no character", reader.line) from None


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


class _Reader:
    """Turns the events of one document into values."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._lines: dict[Path, int] = {}
        self._findings: list[Finding] = []
        self._unusable: set[Path] = set()
        self.line = 1

    def read(self) -> Document:
        value: Value = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Unreadable("holds a second document after '---'; one is allowed", _line(event))
            elif isinstance(event, NodeEvent):
                value = self._node(event, ())
            elif isinstance(event, StreamEndEvent):
                break
        return Document(
            value=value,
            lines=self._lines,
            findings=tuple(self._findings),
            unusable=frozenset(self._unusable),
        )

    def _next(self) -> Event:
        event = next(self._events)
        self.line = _line(event)
        return event

    def _refuse(self, path: Path, event: Event, text: str) -> None:
        self._findings.append(Finding(path=path, line=_line(event), text=text))

    def _node(self, event: Event, path: Path) -> Value:
        self._lines.setdefault(path, _line(event))
        if isinstance(event, AliasEvent):
            self._refuse(path, event, f"'*{event.anchor}' repeats another value; write the value out")
            self._unusable.add(path)
            return None
        if len(path) > MAX_DEPTH:
            raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels", _line(event))
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self._refuse(path, event, f"'&{event.anchor}' names a value to repeat it; this is not allowed")
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, SequenceStartEvent):
            self._check_tag(event, path, "seq")
            return self._sequence(path)
        if isinstance(event, MappingStartEvent):
            self._check_tag(event, path, "map")
            return self._mapping(path)
        raise Unreadable("is not valid YAML", _line(event))

    def _check_tag(self, event: NodeEvent, path: Path, allowed: str) -> None:
        tag: str | None = getattr(event, "tag", None)
        if tag is not None and tag != _TAG + allowed:
            self._refuse(path, event, f"the tag {tag!a} is not allowed")
            self._unusable.add(path)

    def _scalar(self, event: ScalarEvent, path: Path) -> Value:
        text = event.value
        if event.tag is None:
            return read_scalar(text) if event.style is None else text
        kind = event.tag.removeprefix(_TAG)
        if kind == "str":
            return text
        value = read_scalar(text)
        if kind not in _SCALAR_TAGS:
            self._refuse(path, event, f"the tag {event.tag!a} is not allowed")
            self._unusable.add(path)
        elif type(value) not in _SCALAR_TAGS[kind]:
            self._refuse(path, event, f"the value is no {kind}, as its tag says")
            self._unusable.add(path)
        return value

    def _sequence(self, path: Path) -> list[Value]:
        values: list[Value] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            values.append(self._node(event, (*path, len(values))))
        return values

    def _mapping(self, path: Path) -> dict[str | int, Value]:
        values: dict[str | int, Value] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event, path)
            if key is None or key in values:
                if key is not None:
                    first = self._lines[(*path, key)]
                    self._refuse((*path, key), event, f"is given twice; first on line {first}")
                self._skip()
                continue
            self._lines[(*path, key)] = _line(event)
            values[key] = self._node(self._next(), (*path, key))
        return values

    def _key(self, event: Event, path: Path) -> str | int | None:
        """Return the key as a number or as the text written; None, with a finding, when it is no key."""
        if not isinstance(event, ScalarEvent):
            self._refuse(path, event, "a key must be a plain text")
            if not isinstance(event, AliasEvent):
                self._skip_rest(event)
            return None
        if event.anchor is not None or event.tag is not None:
            self._refuse(path, event, "a key must have no anchor and no tag")
        if event.style is None and event.value == "<<":
            self._refuse((*path, "<<"), event, "merges another mapping; write its keys out")
            return None
        key = read_scalar(event.value) if event.style is None else event.value
        return key if type(key) is int else event.value

    def _skip(self) -> None:
        """Pass over one value, without looking into it."""
        self._skip_rest(self._next())

    def _skip_rest(self, event: Event) -> None:
        depth = 0
        while True:
            if isinstance(event, SequenceStartEvent | MappingStartEvent):
                depth += 1
            elif isinstance(event, SequenceEndEvent | MappingEndEvent):
                depth -= 1
            if depth == 0:
                return
            event = self._next()


def _line(event: Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 1
