"""Where the lines of a table break over pages. Pure."""

from collections.abc import Sequence
from typing import Final

_WITH_END: Final = 2
"""So many lines stand before the totals on the last page, so that these never stand alone."""


def break_pages(heights: Sequence[float], *, first: float, later: float, carry: float, end: float) -> list[list[int]]:
    """Return for each page the lines on it, by their indexes.

    *first* and *later* are the rooms of the first page and of the others; *carry* is the height of what is carried
    forward and brought forward, *end* that of what follows the last line.
    """
    pages: list[list[int]] = [[]]
    left = first
    for index, height in enumerate(heights):
        rest = len(heights) - index
        needed = height + carry
        if rest <= _WITH_END:
            together = sum(heights[index:]) + end
            needed = max(height, together if rest == _WITH_END or len(heights) == 1 else height + end)
        if pages[-1] and needed > left:
            pages.append([])
            left = later - carry
        pages[-1].append(index)
        left -= height
    if end > left:  # two lines that fill a page by themselves
        pages.append([])
    return pages
