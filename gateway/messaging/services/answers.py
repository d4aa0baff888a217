"""Is what a handler answers valid against the schema of its document? Whatever the gateway sends is."""

from collections.abc import Callable, Sequence
from threading import Lock

from lxml import etree

from gateway.kernel.errors import ConfigError, SchemaUnusable, ServiceBroken
from gateway.xml.catalog import Catalog
from gateway.xml.parse import parse_checked
from gateway.xml.verdict import Checker


class Answers:
    """Judges the parts of answers. One for all services; threads take turns, because schemas serve one at a time."""

    def __init__(self, catalog: Callable[[], Catalog]) -> None:
        self._catalog = catalog
        self._checker: Checker | None = None
        self._lock = Lock()

    def check(self, parts: Sequence[etree._Element], who: str) -> None:
        """Refuse an answer of *who* that breaks its schema; what no schema declares is free. For a thread.

        Raises: ServiceBroken naming the first violation; SchemaUnusable when the schema cannot be used.
        """
        with self._lock:
            catalog = self._catalog()
            if self._checker is None:
                self._checker = Checker(catalog)
            try:
                for part in parts:
                    if catalog.element(str(part.tag)) is None:
                        continue
                    # judged as it will be read: a tree may hold what its text does not say
                    document = parse_checked(etree.tostring(part, with_tail=False))
                    if self._checker.check(document, explain=False):
                        problem = Checker(catalog).check(document)[0]
                        raise ServiceBroken(
                            f"The answer of {who} does not follow its schema: {problem} Mend the "
                            "handler, then release the message.",
                            code="handler.answer-invalid",
                        )
            except ConfigError as error:
                raise SchemaUnusable(
                    f"The answer of {who} cannot be judged: {error.message} Mend the schema, then release the message."
                ) from error
