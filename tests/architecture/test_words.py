"""Old words of the house are no names in its code any more. The words that it speaks: docs/glossary.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GONE = (
    "Desk", "open_desk", "busy_period", "Lent", "Standstill", "bear_silence", "watch_silence", "by_hand", "run_by_hand",
    "Person", "Room", "Trouble", "Said", "Performed", "Performance", "TryAgain", "taken_back", "not_taken_back",
    "one_round", "instant_of", "map_sliced", "LeftInPlace", "can_ask", "Lies", "lies_at", "settle_lanes", "settle_runs",
    "settle_wave", "call_in_promised", "call_in_postponed", "bury_the_dead", "lose_nodes", "Happening", "tell_lateness",
    "Spoiled", "NotYours", "Unheard", "hold_lane_still", "calm_the_collector", "OwnThread", "leave_behind", "Marks",
    "Nursery", "nursery", "witness", "worlds", "bad_builds", "Parts",
)  # fmt: skip
NAME = re.compile(r"(?:class|def) (\w+)|^ *(\w+)(?:: [^=]+)? = |[(,] *(\w+): ", re.MULTILINE)


@pytest.mark.parametrize("folder", ["gateway", "adapters", "tests"])
def test_names_are_words_of_the_house(folder: str) -> None:
    found = {
        (str(path.relative_to(ROOT)), name.lstrip("_"))
        for path in (ROOT / folder).rglob("*.py") if path != Path(__file__)
        for match in NAME.finditer(path.read_text("utf-8")) for name in match.groups() if name
    }  # fmt: skip
    assert found and {(path, name) for path, name in found if name in GONE} == set()
