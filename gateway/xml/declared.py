"""Which types a schema gives the elements and attributes of one document, asked for some of them alone.

Walking through a whole document with xmlschema takes seconds for each megabyte; following the few paths that
matter takes microseconds for each step. Any stands for components of xmlschema: what is asked here is declared on
many of their classes, on no common one.
"""

from typing import TYPE_CHECKING, Any

from lxml import etree

from gateway.kernel.namespaces import XSI

if TYPE_CHECKING:
    from xmlschema import XMLSchemaBase

_TYPE = f"{{{XSI}}}type"


class DeclaredTypes:
    """The types of one document that is valid, but for what libxml2 does not look at."""

    def __init__(self, schema: "XMLSchemaBase", part: etree._Element) -> None:
        self._maps = schema.maps
        self._part = part
        self._known: dict[etree._Element, Any] = {}
        self._children: dict[tuple[int, str], Any] = {}

    def of_text(self, element: etree._Element) -> Any:
        """Return the simple type of an element's text, None when it has none."""
        declared = self._of(element)
        return None if declared is None else declared.simple_type

    def of_attribute(self, element: etree._Element, name: str) -> Any:
        """Return the simple type of an attribute by its `{namespace}local` name, None when nothing declares it."""
        declared = getattr(self._of(element), "attributes", {}).get(name) or self._maps.attributes.get(name)
        return None if declared is None else declared.type

    def _of(self, element: etree._Element) -> Any:
        """Return the type of an element: what `xsi:type` says, else what is declared at its place."""
        if element not in self._known:
            chosen = element.get(_TYPE)
            prefix, _, local = (chosen or "").strip().rpartition(":")
            name = f"{{{element.nsmap.get(prefix or None, '')}}}{local}".removeprefix("{}")
            named = None if chosen is None else self._maps.types.get(name)
            self._known[element] = self._at_place(element) if named is None else named
        return self._known[element]

    def _at_place(self, element: etree._Element) -> Any:
        parent, name = element.getparent(), str(element.tag)
        if element is self._part or parent is None:
            declared = self._maps.elements.get(name)
        else:
            around = self._of(parent)
            key = (id(around), name)
            if key not in self._children:
                self._children[key] = self._child(around, name)
            declared = self._children[key]
        return None if declared is None else declared.type

    def _child(self, around: Any, name: str) -> Any:
        """Return the declaration of a child: a local one, or a global one by substitution or wildcard."""
        iterate = getattr(getattr(around, "content", None), "iter_elements", None)
        local = next((each for each in iterate() if each.name == name), None) if iterate is not None else None
        return self._maps.elements.get(name) if local is None else local
