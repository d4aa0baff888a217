"""Values come in from the environment and from secret files."""

from pathlib import Path

import pytest

from gateway.config.document import Document, Substituted
from gateway.config.environment import MAX_SECRET_BYTES, substitute
from gateway.config.yaml import read
from tests.unit.config.conftest import Build, Told


def fill(text: str, environ: dict[str, str], base: Path = Path("/")) -> Document:
    return substitute(read(text.encode()), environ, base)


@pytest.mark.parametrize(
    ("written", "environ", "value"),
    [
        ("a-${X}-b", {"X": "1"}, "a-1-b"),
        ("${X}${X}", {"X": "1"}, "11"),
        ("${env:X}", {"X": "v"}, "v"),
        ("${X:-default}", {}, "default"),
        ("${X:-default}", {"X": ""}, "default"),
        ("${X:-default}", {"X": "set"}, "set"),
        ("a${X:-}b", {}, "ab"),
        ("${X}", {"X": ""}, None),
        ("${X:-null}", {}, None),
        ("${X}", {"X": "${Y}", "Y": "no"}, "${Y}"),
        ("$${X}", {"X": "1"}, "${X}"),
        ("$X costs 5$", {"X": "1"}, "$X costs 5$"),
        ('"${X}"', {"X": "7"}, "7"),
    ],
)
def test_references_are_filled(written: str, environ: dict[str, str], value: object) -> None:
    document = fill(f"key: {written}\n", environ)
    assert document.value == {"key": value}
    assert document.findings == ()


def test_a_value_of_one_reference_may_become_a_number_or_a_switch(build: Build) -> None:
    settings = build(
        """
        queue: {max_ready: "${READY}", min_free_bytes: "${FREE}"}
        shutdown:
          drain_seconds: ${DRAIN}
        default_company: ${COMPANY}
        services: {Ping: {kind: python, operations: {ping: {handler: "a:b", idempotent: "${SWITCH}"}}}}
        ports:
          p: {receive: {folder: in}, operations: [Ping.ping], process: {mode: "${MODE}"}}
        """,
        {"READY": "7", "FREE": "3 MiB", "DRAIN": "1.5", "COMPANY": "010", "SWITCH": "true", "MODE": "parallel"},
    )
    assert settings.queue.max_ready == 7
    assert settings.queue.min_free_bytes == 3 * 1024 * 1024
    assert settings.shutdown.drain_seconds == 1.5
    assert settings.default_company == "010"
    assert settings.services["Ping"].operations["ping"].idempotent is True  # type: ignore[call-overload]
    assert settings.ports["p"].process.mode == "parallel"


def test_only_a_single_reference_is_read_again() -> None:
    values = fill("{a: '${X}', b: '${X}0'}", {"X": "1"}).value
    assert isinstance(values, dict)
    assert isinstance(values["a"], Substituted)
    assert type(values["b"]) is str


def test_missing_variable_is_named_with_its_line_and_nothing_else_is_said(told: Told) -> None:
    problems = told("queue:\n  max_ready: ${REDY}\n  min_free_bytes: ${A}${B}\n", {"READY": "5"})
    assert problems == [
        (2, "queue.max_ready", "the environment variable REDY is not set; did you mean 'READY'?"),
        (3, "queue.min_free_bytes", "the environment variable A is not set"),
        (3, "queue.min_free_bytes", "the environment variable B is not set"),
    ]


@pytest.mark.parametrize("written", ["${}", "${a b}", "${X", "${1X}"])
def test_malformed_references_are_refused(written: str, told: Told) -> None:
    ((line, path, text),) = told(f"default_company: 'a {written}'\n", {"X": "1"})
    assert (line, path) == (1, "default_company")
    assert "${" in text


def test_secret_files_are_read_from_the_folder_of_the_file(tmp_path: Path, build: Build) -> None:
    (tmp_path / "url").write_text("postgresql://u:hush@db/gateway\n")
    assert build("store: ${file:url}\n").store == "postgresql://u:hush@db/gateway"
    assert build(f"store: ${{file:{tmp_path}/url}}\n").store == "postgresql://u:hush@db/gateway"


def test_secret_files_that_cannot_be_used_are_named(tmp_path: Path, told: Told) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    text = "schemas:\n" + "".join(f"  - ${{file:{name}}}\n" for name in ("absent", "binary", "long", ""))
    text += '  - "${file:\\ud800}"\n'
    problems = told(text)
    assert [line for line, _, _ in problems] == [2, 3, 4, 5, 6]
    assert "cannot be read: No such file" in problems[0][2]
    assert "not UTF-8" in problems[1][2]
    assert "longer than" in problems[2][2]
    assert "names no file" in problems[3][2]
    assert "cannot be the name of a file" in problems[4][2]


def test_a_wrong_value_from_outside_is_not_shown(told: Told) -> None:
    problems = told(
        "store: ${A}\nqueue: {max_ready: '${A}'}\nlogging: {level: '${A}'}\n"
        "data: ${A}\nshutdown: {drain_seconds: '${A}'}\n",
        {"A": "~hush"},
    )
    assert len(problems) == 5
    assert "hush" not in str(problems)
