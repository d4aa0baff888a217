"""The page that shows the way of a file names what there is."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`((?:gateway|adapters)(?:\.\w+)+(?::\w+(?:\.\w+)?)?)`", PAGE)))
STEPS = re.findall(r"^\d+\. ", PAGE.partition("## The life of a job")[0], re.MULTILINE)


@pytest.mark.parametrize("name", NAMED)
def test_every_named_module_function_and_class_is_there(name: str) -> None:
    module, _, place = name.partition(":")
    found: object = importlib.import_module(module)
    for part in filter(None, place.split(".")):
        found = getattr(found, part)


def test_the_way_of_a_file_has_at_most_sixty_steps() -> None:
    assert 30 < len(STEPS) <= 60
