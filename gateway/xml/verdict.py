"""The verdict over one document: valid or not, fast; words only when it is not.

Called once per message. libxml2 judges the subtree where it stands; nothing is copied.
Source: reliability, sections 0 and 4.3; rulings, "Names and XML".
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

from lxml import etree

from gateway.kernel.errors import ConfigError
from gateway.kernel.namespaces import BATCH_NAMESPACES, ENVELOPE_NAMESPACES, Scheme, canonical
from gateway.kernel.problem import Problem
from gateway.kernel.text import clean
from gateway.xml.catalog import Catalog
from gateway.xml.corrections import Identities, overlooked, overruled
from gateway.xml.explain import Explainer
from gateway.xml.grammar import Grammar
from gateway.xml.names import MAX_TEXT, XSI_TYPE, local_name, meant, path_of, split_name
from gateway.xml.normalise import rewrite_scheme
from gateway.xml.parse import document_parser
from gateway.xml.words import SCHEMA

UNKNOWN = "document.unknown"
XSI_TYPE_FORBIDDEN = "xsi.type.forbidden"


class Checker:
    """Judges documents by the schemas of a catalogue. One per process and set of schemas; not for threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._explainer = Explainer()
        self._grammars: dict[str, tuple[Grammar, Identities]] = {}
        self.fingerprint: str | None = catalog.fingerprint
        """Names the schemas that a document passed."""

    def begin(self) -> None:
        """Get ready for another file."""
        self._explainer.begin()

    def check(self, part: etree._Element, *, brief: bool = False, explain: bool = True) -> tuple[Problem, ...]:
        """Return what is wrong with one child of MessageParts; empty when it is valid.

        Shape: paths start at the document's root; no places in the file (`Locator.place` adds them).
        Without *explain* one terse problem stands for all violations of the schema. With *brief* they are told in
        words that cost little to find.
        Raises: ConfigError when the document's schema cannot be read or does not compile; `gateway check` finds it.
        """
        tag = str(part.tag)
        known = self._grammars.get(tag)
        if known is None:
            grammar = self._catalog.element(tag)
            if grammar is None:
                if (refused := self._catalog.refused(tag)) is not None:
                    raise ConfigError([refused])  # the operator's mistake, not the partner's
                return (self._unknown(part),)
            known = self._grammars[tag] = (grammar, Identities(grammar))
        grammar, identities = known
        if part.get(XSI_TYPE) is not None:
            return (_typed(part),)
        if not grammar.valid(part) and not overruled(grammar, part):
            return self._failed(part, grammar, identities, brief=brief, explain=explain)
        return identities.check(part) + overlooked(grammar, part)

    def _unknown(self, part: etree._Element) -> Problem:
        """Say that no schema declares the document, and why it may look as if one did."""
        namespace, name = split_name(str(part.tag))
        if not namespace:
            text = f'{name} has no namespace (xmlns=""); write the namespace of its schema on it.'
        elif canonical(namespace) in (*ENVELOPE_NAMESPACES, *BATCH_NAMESPACES):
            text = f"{name} cannot stand inside a message; send it as a message of its own."
        else:
            declared = self._declared.get(canonical(namespace), ())
            hint = meant(name, declared) or ("." if declared else "; no schema has this namespace.")
            text = f"No schema declares the document {name} in the namespace {namespace}{hint}"
        return Problem(
            code=UNKNOWN, text=clean(text, 1000), path=path_of(part, part), found=clean(str(part.tag), MAX_TEXT)
        )

    @cached_property
    def _declared(self) -> Mapping[str, Sequence[str]]:
        """The names of the documents of each namespace."""
        found: dict[str, list[str]] = {}
        for name in self._catalog.names():
            namespace, local = split_name(name)
            found.setdefault(canonical(namespace), []).append(local)
        return found

    def _failed(
        self, part: etree._Element, grammar: Grammar, identities: Identities, *, brief: bool, explain: bool
    ) -> tuple[Problem, ...]:
        unified = _in_one_scheme(part)
        if unified is not None:
            return self.check(unified, brief=brief, explain=explain)
        if not explain:
            text = f"{local_name(part)} does not follow its schema."
            return (Problem(code=SCHEMA, text=text, path=path_of(part, part)),)
        return self._explainer.describe(part, grammar, brief=brief) + identities.check(part)


def _typed(part: etree._Element) -> Problem:
    text = f"{local_name(part)} carries xsi:type, which is not allowed on the root of a document; remove it."
    found = clean(part.get(XSI_TYPE) or "", MAX_TEXT)
    return Problem(code=XSI_TYPE_FORBIDDEN, text=text, path=path_of(part, part), found=found)


def _in_one_scheme(part: etree._Element) -> etree._Element | None:
    """Return a copy in canonical namespaces of a document that mixes http and https, None when it does not."""
    names = {str(each.tag) for each in part.iter("*")}
    if len({canonical(name) == name for name in names}) == 1:
        return None
    text = rewrite_scheme(etree.tostring(part, encoding="unicode", with_tail=False), Scheme.HTTP)
    return etree.fromstring(text, document_parser())
