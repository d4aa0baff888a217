"""What must fit together around posting: categories that exist, documents that somebody keeps."""

from collections.abc import Iterator, Set

from gateway.config.consistency_jobs import is_known
from gateway.config.models import Settings
from gateway.config.place import Finding, Path


def check_posting(settings: Settings, *, gone: Set[Path] = frozenset()) -> Iterator[Finding]:
    """Yield everything about posting that does not fit together; *gone* as in `check_jobs`."""
    posting = settings.posting
    if posting is None:
        return
    for option in ("sales_category", "purchase_category"):
        category = getattr(posting, option)
        if category is not None:
            known = settings.job_queues.categories
            yield from is_known(("posting", option), ("job_queues", "categories"), category, known, gone)
    if posting.print is not None:
        for number, selection in enumerate(posting.print.selections):
            path = ("posting", "print", "selections", number, "printer")
            yield from is_known(path, ("posting", "print", "printers"), selection.printer, posting.print.printers, gone)
