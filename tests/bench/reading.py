"""Measure that reading costs no more than the bytes of a file: `python -m tests.bench.reading`.

Each row is one way to make a reader work hard, at growing sizes. What counts is the ratio from one size to the next:
about ten for ten times the bytes. A file that is refused, or over a limit, is done when the reader says so.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

import schemas
from gateway.kernel.errors import FileRefused
from gateway.xml.catalog import Catalog
from gateway.xml.limits import ReadRules, WorkClock
from gateway.xml.locate import Locator
from gateway.xml.reading import read_envelopes
from gateway.xml.verdict import Checker
from tests.hostile import ACTION, batch, declaring, envelope, line, order

_MOST_RATIO = 12
"""Ten times the bytes may take twelve times as long: caches do not grow with the file."""
_NIL = '<x xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"/>'


_LEAST_SECONDS = 0.05
"""What is shorter counts as this long: a fixed cost is no ratio."""


def _distinct(n: int) -> str:
    return "".join(f"<n{number}/>" for number in range(n))


def _under_declarations(n: int) -> str:
    """Return a document of elements that use a prefix, below nearly as many declarations as are allowed."""
    return order(declaring(10, 90, '<y p0_0:a="1"/>' * n))


def _header(inside: str) -> str:
    return envelope().replace(ACTION, ACTION + inside, 1)


KINDS: dict[str, Callable[[int], str]] = {
    "good messages (a tenth)": lambda n: batch(*[envelope()] * (n // 10)),
    "the same mistake in each (a tenth)": lambda n: batch(*[envelope(order(line("ten")))] * (n // 10)),
    "bad lines of one message": lambda n: envelope(order(line("x") * n)),
    "parts of one name": lambda n: envelope("<b/>" * n),
    "parts of distinct names": lambda n: envelope(_distinct(n)),
    "parts with xsi:type": lambda n: envelope(_NIL.replace("nil", "type") * n),
    "wrong elements, one name": lambda n: envelope(order("<a/>" * n)),
    "wrong elements, distinct names": lambda n: envelope(order(_distinct(n))),
    "unknown header elements, one name": lambda n: _header("<x/>" * n),
    "unknown header elements, distinct names": lambda n: _header(_distinct(n)),
    "repeated header elements": lambda n: _header("<Company>a</Company><MessageId>1</MessageId>" * (n // 2)),
    "unknown elements of Envelope, distinct names": lambda n: envelope().replace("<Body>", _distinct(n) + "<Body>", 1),
    "a prefix below many declarations": lambda n: envelope(_under_declarations(n)),
    "a declaration on each element": lambda n: envelope(order(_NIL * n)),
    "nested elements": lambda n: envelope(order(("<a>" * 100 + "</a>" * 100) * (n // 100))),
}


def read(content: str, checker: Checker, locator: Locator, clock: WorkClock) -> tuple[float, str]:
    """Read one file; return the seconds of processor time it took, and what came out."""
    fd = os.memfd_create("reading")
    problems = 0
    try:
        view = memoryview(content.encode())
        while view:
            view = view[os.write(fd, view) :]
        began = time.process_time()
        try:
            for item in read_envelopes(fd, ReadRules(), checker, locator, clock):
                problems += len(getattr(item, "header_problems", ())) + len(getattr(item, "body_problems", ()))
            end = f"{problems} problems"
        except FileRefused as refused:
            end = refused.code
        return time.process_time() - began, end
    finally:
        os.close(fd)


def main(given: list[str]) -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(prog="python -m tests.bench.reading", description=__doc__)
    arguments.add_argument("--sizes", default="1000,10000,100000", help="comma-separated numbers of elements")
    arguments.add_argument("--kind", default="", help="only kinds with this in their name")
    options = arguments.parse_args(given)
    sizes = [int(size) for size in options.sizes.split(",")]
    catalog = Catalog([schemas.FOLDER])
    judges = Checker(catalog), Locator(), catalog.clock
    read(KINDS["bad lines of one message"](10), *judges)  # compiles the schemas
    table = Table(title="processor seconds to read a file of n elements")
    for column in ("kind", *(f"n = {size:,}" for size in sizes), "worst ratio", "s/MB", "ends with"):
        table.add_column(column, justify="left" if column in ("kind", "ends with") else "right", no_wrap=True)
    for kind, make in KINDS.items():
        if options.kind not in kind:
            continue
        times = []
        for size in sizes:
            content = make(size)
            took, end = read(content, *judges)
            times.append(took)
        pairs = zip(zip(sizes, times, strict=True), zip(sizes[1:], times[1:], strict=True), strict=False)
        ratios = [
            10 * (later / max(earlier, _LEAST_SECONDS)) / (large / small) for (small, earlier), (large, later) in pairs
        ]
        worst = max(ratios, default=0.0)
        table.add_row(
            kind, *(f"{each:.3f}" for each in times), f"[{'red' if worst > _MOST_RATIO else 'green'}]{worst:.1f}",
            f"{times[-1] / len(content) * 1e6:.2f}", end,
        )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
