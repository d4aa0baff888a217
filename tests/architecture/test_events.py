"""docs/events.md lists every event that the code writes, with its levels and fields, and no other."""

import re

import pytest

from tests.architecture.events import ROOT, written_events

_ROW = re.compile(r"^\| `([a-z_.]+)` \| ([a-z, ]+) \|([^|]*)\| ([^|]+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def listed() -> dict[str, tuple[set[str], set[str]]]:
    text = (ROOT / "docs" / "events.md").read_text("utf-8")
    return {
        name: ({level.strip() for level in levels.split(",")}, set(re.findall(r"`([a-z_0-9]+)`", fields)))
        for name, levels, fields, _ in _ROW.findall(text)
    }


def test_every_event_is_listed(listed: dict[str, tuple[set[str], set[str]]]) -> None:
    missing = {name: event.places for name, event in written_events().items() if name not in listed}
    assert missing == {}


def test_every_listed_event_is_written(listed: dict[str, tuple[set[str], set[str]]]) -> None:
    assert set(listed) - set(written_events()) == set()


def test_levels_and_fields_are_as_listed(listed: dict[str, tuple[set[str], set[str]]]) -> None:
    written = written_events()
    found = {name: (event.levels, event.fields) for name, event in written.items() if name in listed}
    assert {name: listed[name] for name in found} == found


def test_events_are_named_subject_and_what_happened() -> None:
    assert [name for name in written_events() if not re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", name)] == []
