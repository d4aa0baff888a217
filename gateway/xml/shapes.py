"""Which elements a schema allows where: read from its files, to put fields into documents that we complete.

Reads what schemas of documents are made of: sequences, choices, groups, extensions, restrictions, references,
substitution groups, derived types named by `xsi:type`. It proposes; the validator has the last word, and the first:
only a schema that compiles may be read here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lxml import etree

from gateway.kernel.namespaces import XSI, canonical
from gateway.xml.schema_files import XSD, SchemaFile

_GROUPS = tuple(XSD + name for name in ("sequence", "choice", "all"))
_PARTICLES = (*_GROUPS, *(XSD + name for name in ("element", "group", "any")))
_DERIVATIONS = (XSD + "extension", XSD + "restriction")
_LENGTHS = (XSD + "maxLength", XSD + "length")
_XSI_TYPE = f"{{{XSI}}}type"
_OTHER_PLACES = 50

_Tags = Sequence[str]


@dataclass(frozen=True, slots=True, eq=False)
class _Particle:
    """A part of a content model: `kind` is the local name of its XSD element; `most` is None for unbounded."""

    kind: str
    least: int
    most: int | None
    declared: Mapping[str, etree._Element]
    parts: "tuple[_Particle, ...]" = ()

    def ends(self, tags: _Tags, starts: set[int]) -> set[int]:
        """Return where this part may end when it begins at one of *starts*."""
        reached = set(starts) if self.least == 0 else set()
        now, seen, count = set(starts), set(starts), 0
        while now and (self.most is None or count < self.most):
            now = self._once(tags, now)
            count += 1
            if count >= self.least:
                reached |= now
                now -= seen  # who came here with fewer repetitions can do all that we can
                seen |= now
        return reached

    def _once(self, tags: _Tags, starts: set[int]) -> set[int]:
        match self.kind:
            case "element":
                return {at + 1 for at in starts if at < len(tags) and tags[at] in self.declared}
            case "any":
                return {at + 1 for at in starts if at < len(tags)}
            case "choice":
                return {end for part in self.parts for end in part.ends(tags, starts)}
            case "all":
                return {end for at in starts for end in self._all(tags, at)}
            case _:
                for part in self.parts:
                    starts = part.ends(tags, starts)
                return starts

    def _all(self, tags: _Tags, start: int) -> Iterator[int]:
        """Take every element in any order; yield the end when none is missing and none stands too often."""
        counts = dict.fromkeys(self.parts, 0)
        at = start
        while at < len(tags):
            part = next((part for part in self.parts if tags[at] in part.declared), None)
            if part is None or counts[part] == part.most:
                break
            counts[part] += 1
            at += 1
        if all(counts[part] >= part.least for part in self.parts):
            yield at

    def requires(self, tag: str) -> bool:
        """Tell whether nothing valid can be without this element."""
        if self.least == 0:
            return False
        if self.kind == "element":
            return set(self.declared) == {tag}
        asked = [part.requires(tag) for part in self.parts]
        return bool(asked) and all(asked) if self.kind == "choice" else any(asked)

    def elements(self) -> Iterator[tuple[str, etree._Element]]:
        """Yield tag and declaration of every element, in the order of the schema."""
        yield from self.declared.items()
        for part in self.parts:
            yield from part.elements()


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What may stand in an element: `declared` are its children by tag, in the order of the schema."""

    declared: Mapping[str, etree._Element]
    _content: _Particle | None
    _ranks: Mapping[str, int]

    def allows(self, tags: _Tags) -> bool:
        """Tell whether children with these tags, in this order, are what the schema asks for."""
        return not tags if self._content is None else len(tags) in self._content.ends(tags, {0})

    def place(self, tag: str, tags: _Tags) -> int | None:
        """Return where a child may be put among *tags*, None when the schema has no place for it."""
        if tag not in self.declared:
            return None
        rank = self._ranks[tag]
        first = next((at for at, other in enumerate(tags) if self._ranks.get(other, -1) > rank), len(tags))
        places = dict.fromkeys((first, *range(min(len(tags) + 1, _OTHER_PLACES))))
        return next((at for at in places if self.allows([*tags[:at], tag, *tags[at:]])), None)

    def required(self) -> tuple[str, ...]:
        """Return the tags of the children that must be there."""
        return () if self._content is None else tuple(tag for tag in self.declared if self._content.requires(tag))

    def tag(self, local: str) -> str | None:
        """Return the `{namespace}local` name of the child with this local name, None when there is none."""
        return next((tag for tag in self.declared if tag.rpartition("}")[2] == local), None)


_EMPTY = Shape({}, None, {})


class Shapes:
    """The shapes of the elements that some schema files declare; *files* are one schema with all it needs."""

    def __init__(self, files: Sequence[SchemaFile]) -> None:
        self._namespace = files[0].namespace
        self._files = {file.root: file for file in files}
        self._named: dict[tuple[str, str], etree._Element] = {}
        for file in files:
            for node in file.root.iterchildren("*"):
                if name := node.get("name"):
                    self._named.setdefault((_kind(node), f"{{{self._target(node)}}}{name}"), node)
        self._types: dict[etree._Element, etree._Element | None] = {}
        self._shapes: dict[etree._Element, Shape] = {}

    def root(self, name: str) -> Shape:
        """Return the shape of a document by the `{namespace}local` name of its root; empty when unknown."""
        declaration = self._named.get(("element", canonical(name)))
        return _EMPTY if declaration is None else self._of(self._type(declaration))

    def declared(self, parent: Shape, tag: str) -> Shape:
        """Return the shape of a child as it is declared."""
        return self._of(self._type(parent.declared[tag]))

    def child(self, parent: Shape, element: etree._Element) -> Shape:
        """Return the shape of a child as it stands in a document, by its `xsi:type` where it has one."""
        declaration = parent.declared.get(str(element.tag))
        if declaration is None:
            return _EMPTY
        typed = element.get(_XSI_TYPE)
        if typed is not None:
            prefix, _, local = typed.strip().rpartition(":")
            namespace = element.nsmap.get(prefix or None, "")
            return self._of(self._named.get(("type", canonical(f"{{{namespace}}}{local}"))))
        return self._of(self._type(declaration))

    def longest(self, parent: Shape, tag: str) -> int | None:
        """Return how many characters the value of a child may have, None when its type does not say."""
        node, limits = self._type(parent.declared[tag]), list[int]()
        while node is not None:
            derived = next(node.iterchildren(*_DERIVATIONS, XSD + "simpleContent"), None)
            if derived is not None and derived.tag == XSD + "simpleContent":
                derived = next(derived.iterchildren(*_DERIVATIONS), None)
            if derived is None:
                break
            limits += [int(each.get("value", "0")) for each in derived.iterchildren(*_LENGTHS)]
            inside = next(derived.iterchildren(XSD + "simpleType"), None)
            node = self._find("type", derived, derived.get("base")) if inside is None else inside
        return min(limits, default=None)

    def _target(self, node: etree._Element) -> str:
        """Return the namespace of what a file declares; one without a namespace takes that of who includes it."""
        return self._files[node.getroottree().getroot()].namespace or self._namespace

    def _find(self, kind: str, node: etree._Element, name: str | None) -> etree._Element | None:
        """Return what a name in a schema file means, None when it is not declared here (as xs:string)."""
        if name is None:
            return None
        prefix, _, local = name.strip().rpartition(":")
        namespace = node.nsmap.get(prefix or None) or self._target(node)
        return self._named.get((kind, canonical(f"{{{namespace}}}{local}")))

    def _type(self, declaration: etree._Element) -> etree._Element | None:
        """Return the type of an element: named, written inside it, or that of the head it substitutes."""
        if declaration not in self._types:
            self._types[declaration] = self._type_of(declaration)
        return self._types[declaration]

    def _type_of(self, declaration: etree._Element) -> etree._Element | None:
        found = self._find("type", declaration, declaration.get("type"))
        if found is not None or declaration.get("type") is not None:
            return found
        inside = next(declaration.iterchildren(XSD + "complexType", XSD + "simpleType"), None)
        if inside is not None:
            return inside
        head = self._find("element", declaration, declaration.get("substitutionGroup"))
        return None if head is None else self._type(head)

    def _of(self, node: etree._Element | None) -> Shape:
        if node is None:
            return _EMPTY
        if node not in self._shapes:
            content = self._content(node)
            declared: dict[str, etree._Element] = {}
            for tag, declaration in () if content is None else content.elements():
                declared.setdefault(tag, declaration)
            self._shapes[node] = Shape(declared, content, {tag: rank for rank, tag in enumerate(declared)})
        return self._shapes[node]

    def _content(self, node: etree._Element) -> _Particle | None:
        """Return the content model of a complex type, what it extends first; None when it has no children."""
        parts: list[_Particle] = []
        for derived in node.iterchildren(XSD + "complexContent"):
            for derivation in derived.iterchildren(*_DERIVATIONS):
                base = self._find("type", derivation, derivation.get("base"))
                if derivation.tag == XSD + "extension" and base is not None:
                    inherited = self._content(base)
                    parts += [] if inherited is None else [inherited]
                parts += self._particles(derivation)
        parts += self._particles(node)
        if len(parts) < 2:
            return parts[0] if parts else None
        return _Particle("sequence", 1, 1, {}, tuple(parts))

    def _particles(self, node: etree._Element) -> list[_Particle]:
        return [self._particle(child) for child in node.iterchildren(*_PARTICLES)]

    def _particle(self, node: etree._Element) -> _Particle:
        kind = _kind(node)
        most = None if node.get("maxOccurs") == "unbounded" else int(node.get("maxOccurs", "1"))
        bounds = int(node.get("minOccurs", "1")), most
        if kind == "element":
            return _Particle(kind, *bounds, dict(self._elements(node)))
        if kind == "group":
            group = self._find("group", node, node.get("ref"))
            return _Particle("sequence", *bounds, {}, tuple([] if group is None else self._particles(group)))
        return _Particle(kind, *bounds, {}, tuple(self._particles(node)))

    def _elements(self, node: etree._Element) -> Iterable[tuple[str, etree._Element]]:
        """Yield the tags that may stand for a declaration or reference: its own, and those that substitute it."""
        if node.get("ref") is None:
            default = node.getroottree().getroot().get("elementFormDefault", "unqualified")
            qualified = node.get("form", default) == "qualified"
            yield (f"{{{self._target(node)}}}" if qualified else "") + node.get("name", ""), node
            return
        waiting = [self._find("element", node, node.get("ref"))]
        seen: set[etree._Element] = set()
        while waiting:
            head = waiting.pop(0)
            if head is None or head in seen:
                continue
            seen.add(head)
            if head.get("abstract") not in ("true", "1"):
                yield f"{{{self._target(head)}}}{head.get('name')}", head
            waiting += self._substitutes.get(head, ())

    @cached_property
    def _substitutes(self) -> Mapping[etree._Element, Sequence[etree._Element]]:
        found: dict[etree._Element, list[etree._Element]] = {}
        for (kind, _), node in self._named.items():
            head = self._find(kind, node, node.get("substitutionGroup")) if kind == "element" else None
            if head is not None:
                found.setdefault(head, []).append(node)
        return found


def _kind(node: etree._Element) -> str:
    """Return the local name of an XSD element; simple and complex types share their names."""
    local = str(node.tag).removeprefix(XSD)
    return "type" if local in ("complexType", "simpleType") else local
