"""A reload touches only what changed."""

import pytest

from gateway.config.changes import AT_ONCE, EVERY_PORT, RESTART, Changes, compare
from gateway.config.models import Settings
from gateway.config.refusals import fields
from gateway.kernel.ids import PortName
from tests.unit.config.conftest import Build


def names(*ports: str) -> tuple[PortName, ...]:
    return tuple(PortName(port) for port in ports)


BEFORE = """
store: embedded
services:
  A: {kind: python, operations: {x: "m:x", y: "m:y"}}
  B: {kind: document, document: D, entity: E, key: K}
ports:
  one: {receive: {folder: one}, operations: [A.x]}
  two: {receive: {folder: two}, operations: [B.*]}
"""


def test_every_top_level_option_says_what_its_change_means() -> None:
    assert sorted((*RESTART, *EVERY_PORT, *AT_ONCE, "ports", "services")) == sorted(fields(Settings))


def test_equal_configurations_change_nothing(build: Build) -> None:
    changes = compare(build(BEFORE), build(BEFORE + "# a comment\n"))
    assert changes == Changes()
    assert not changes


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("folder: one", "folder: uno", Changes(changed=names("one"))),
        ("  one:", "  three:", Changes(added=names("three"), removed=names("one"))),
        ('x: "m:x"', 'x: "m:z"', Changes(changed=names("one"))),
        ("key: K", "key: L", Changes(changed=names("two"))),
        ("store: embedded", "data: elsewhere", Changes(restart_needed=("data",))),
        (
            "store: embedded",
            "workers: {xml: 3}\nqueue: {max_ready: 9}",
            Changes(at_once=("queue",), restart_needed=("workers",)),
        ),
        ("store: embedded", "logging: {level: debug}", Changes(at_once=("logging",))),
        ("store: embedded", "users: {1: bob}", Changes(changed=names("one", "two"))),
        ("store: embedded", "default_company: X", Changes(changed=names("one", "two"))),
        ("store: embedded", "store: postgresql://u@h/db", Changes(restart_needed=("store",))),
    ],
)
def test_changes_are_told_apart(old: str, new: str, expected: Changes, build: Build) -> None:
    assert old in BEFORE
    changes = compare(build(BEFORE), build(BEFORE.replace(old, new)))
    assert changes == expected
    assert changes


def test_a_service_nobody_offers_changes_no_port(build: Build) -> None:
    unused = '  C: {kind: python, operations: {z: "m:z"}}\n'
    after = BEFORE.replace("ports:", unused + "ports:")
    assert compare(build(BEFORE), build(after)) == Changes()
    assert compare(build(after), build(after.replace("m:z", "m:q"))) == Changes()
