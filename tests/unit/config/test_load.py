"""A file becomes settings, or everything wrong with it at once."""

from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.kernel.errors import ConfigError
from tests.unit.config.conftest import Build, Told

WINDOWS = "is a path of Windows; write the path that the folder has on this machine, such as /mnt/orders"


def test_all_problems_are_told_at_once_with_their_lines(told: Told) -> None:
    problems = told(
        """\
        store: postgresql://me:secret@db/gateway
        data: &d ./data
        services:
          Orders:
            kind: document
            document: SalesOrder
            entity: SalesTable
            operations: [create, raed]
          Other: {kind: documnt}
        ports:
          orders:
            settle_seconds: 3
            receive:
              folder: in
              settle_second: 3
              done_marker: yes
            respond:
              folder: in
              encoding: utf-8
            operations: [Order.create, Orders.update]
            process: {retries: "${RETRIES}"}
          orders: {}
          customers:
            receive: {folder: in/deep}
            operations: [Nobody.read]
        workers: {xml: 0}
        queue: 12:30
        """
    )
    assert [(line, path) for line, path, _ in problems] == [
        (1, "store"),
        (2, "data"),
        (4, "services.Orders.key"),
        (8, "services.Orders.operations[1]"),
        (9, "services.Other"),
        (12, "ports.orders.settle_seconds"),
        (15, "ports.orders.receive.settle_second"),
        (16, "ports.orders.receive.done_marker"),
        (18, "ports.orders.respond.folder"),
        (19, "ports.orders.respond.encoding"),
        (20, "ports.orders.operations[0]"),
        (21, "ports.orders.process.retries"),
        (22, "ports.orders"),
        (24, "ports.customers.receive.folder"),
        (25, "ports.customers.operations[0]"),
        (26, "workers.xml"),
        (27, "queue"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ports: {p: {settle_seconds: 1}}", "unknown key; it belongs in ports.<name>.receive"),
        ("mail: {server: m.example.com}", "known are host, port, tls, user, password, from; server is an option of"),
        ("ports: {p: {receive: {operations: [S.read]}}}", "unknown key; it belongs in ports.<name>"),
        ("operations: [S.read]", "unknown key; it belongs in ports.<name>"),
        ("logging: {levl: info}", "unknown key; did you mean 'level'?"),
        ("zzz: 1", "unknown key; known are site, store, data,"),
        (
            "services: {S: {kind: python, operations: {o: {handler: 'a:b', timeout: 3}}}}",
            "did you mean 'timeout_seconds'?",
        ),
        ("services: {S: {kind: document, document: D, entity: E, key: K, number_sequence: {nam: x}}}", "mean 'name'?"),
        ("services: {S: {kind: document, operation: [read]}}", "did you mean 'operations'?"),
        ("ports: {p: {respond: {fault: x}}}", "did you mean 'faults'?"),
        ("ports: {p: {process: {validate_documents: true}}}", "unknown key"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_known(text: str, expected: str, told: Told) -> None:
    assert any(expected in problem for _, _, problem in told(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ports: {p: {active: yes}}", "must be true or false, found 'yes'"),
        ("ports: {p: {active: 1}}", "must be true or false, found 1"),
        ("workers: {xml: two}", "must be a whole number, found 'two'"),
        ("workers: {xml: 010}", "must be a whole number, found '010'"),
        ("workers: {xml: '2'}", "must be a whole number, found '2'"),
        ("workers: {xml: 1.5}", "must be a whole number, found 1.5"),
        ("workers: {xml: true}", "must be a whole number, found true"),
        ("workers: {xml: 65}", "must be at most 64, found 65"),
        ("shutdown: {drain_seconds: 12:30}", "must be a number, found '12:30'"),
        ("jobs: {gateway: {max_seconds: 0}}", "must be more than 0.0, found 0"),
        ("logging: {level: Info}", "must be 'debug', 'info', 'warning' or 'error', found 'Info'; did you mean 'info'?"),
        ("ports: {p: {logging: false}}", "must be 'original', 'header' or 'off', found false"),
        ("ports: {p: {direction: both}}", "needs a direction: inbound or outbound"),
        ("default_company: 1.50", "must be text, in quotes where it looks like something else, found 1.5"),
        ("default_company: [DAT]", "must be text, in quotes where it looks like something else, found a list"),
        ("default_company: ''", "must not be empty"),
        ('default_company: "a\\u202eb"', "must be one line of printable text"),
        ("data: 'C:\\gateway\\data'", WINDOWS),
        ("data: '\\\\server\\share'", WINDOWS),
        ("data: C:/gateway/data", WINDOWS),
        ("alerts: {webhook: {url: 'https://:80/'}}", "must be an address such as https://example.com/path"),
        ("schemas: xsd", "must be a list: entries below one another, each after '- ', found 'xsd'"),
        ("ports: [orders]", "must be a mapping: keys with values, indented below, found a list"),
        ("ports: {p: {receive: }}", "must be a mapping: keys with values, indented below, found nothing"),
        ("ports: {p: {operations: []}}", "must have at least one entry"),
        ("ports: {p: {operations: [S.o]}}", "is missing. Where requests come from."),
        ("services: {S: {}}", "needs a kind: document or python"),
        ("services: {S: {kind: [a]}}", "needs a kind: document or python"),
        ("services: {S: {kind: documnt}}", "needs a kind: document or python; did you mean 'document'?"),
        ("services: {S: a.b:c}", "must be a mapping: keys with values, indented below, found 'a.b:c'"),
        ("users: {-1: bob}", "must be the number or the name of an account"),
        ("5", "must be a mapping: keys with values, indented below, found 5"),
        ("", "holds nothing"),
        ("# only a comment", "holds nothing"),
    ],
)
def test_wrong_values_are_told_with_what_is_allowed(text: str, expected: str, told: Told) -> None:
    assert expected in [problem for _, _, problem in told(text)]


def test_numbers_and_codes_are_text_where_text_is_wanted(build: Build) -> None:
    settings = build("default_company: 100\ndefault_partition: 010\nusers: {1000: 7, bob: no}\n")
    assert settings.default_company == "100"
    assert settings.default_partition == "010"
    assert settings.users == {1000: "7", "bob": "no"}


def test_sections_with_nothing_below_are_as_good_as_absent(build: Build) -> None:
    settings = build("users:\nschemas:\nports:\n  # none yet\nqueue:\nworkers:\n  xml: 3\n")
    assert settings.users == {}
    assert settings.schemas == ()
    assert settings.queue.max_ready == 200_000
    assert settings.workers.xml == 3


def test_what_stands_in_a_broken_section_is_not_called_unknown(told: Told) -> None:
    problems = told(
        """\
        services:
          P: {kind: python, operations: {x: nothing, y: "m:y"}}
          Q: {kind: documnt}
        ports:
          p: {receive: {folder: in}, operations: [P.x, P.y, Q.read, R.read]}
        """
    )
    assert [(line, path) for line, path, _ in problems] == [
        (2, "services.P.operations.x.handler"),
        (3, "services.Q"),
        (5, "ports.p.operations[3]"),
    ]


def test_references_are_not_judged_while_no_service_is_readable(told: Told) -> None:
    problems = told("services: 5\nports: {p: {receive: {folder: in}, operations: [S.o]}}\n")
    assert [path for _, path, _ in problems] == ["services"]


def test_aliases_cause_no_second_problem(told: Told) -> None:
    problems = told("data: &d ./data\nlogging: *d\nqueue: {max_ready: *d}\n")
    assert [(line, path) for line, path, _ in problems] == [(1, "data"), (2, "logging"), (3, "queue.max_ready")]


@pytest.mark.parametrize(
    "store",
    [
        "postgresql://me:hunter2@db/gateway",
        "postgresql://me:${PW:-hunter2}@db/gateway",
        "postgresql://me:${PW}hunter2@db/gateway",
        "postgresql://me:se/cr@et@db/gateway",
        "postgresql://db/gateway?user=me&password=hunter2",
        "postgresql://db/gateway?sslpassword=hunter2",
        "${URL:-postgresql://me:hunter2@db/gateway}",
    ],
)
def test_a_password_in_the_file_is_refused_and_not_repeated(store: str, told: Told) -> None:
    problems = told(f"# store\nstore: {store}\n", {"PW": "x"})
    assert [(line, path) for line, path, text in problems if "holds a password" in text] == [(2, "store")]
    assert "hunter2" not in str(problems)


@pytest.mark.parametrize(
    "store",
    [
        "postgresql://me:${PW}@db/gateway",
        "postgresql://${USER_NAME}:${env:PW}@db:5432/gateway?sslmode=require",
        "postgresql://me@db/gateway?password=${PW}",
        "postgresql://me:${file:pw}@db/gateway",
        "${URL}",
    ],
)
def test_a_password_from_outside_is_accepted(store: str, build: Build, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hush\n")
    environ = {"PW": "hush", "USER_NAME": "me", "URL": "postgresql://me:hush@db/gateway"}
    assert "hush" in build(f"store: {store}\n", environ).store


def test_load_reads_the_file_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "site" / "config.yaml"
    path.parent.mkdir()
    path.write_text("data: here\n")
    assert load(path, {}).data == tmp_path / "site" / "here"
    path.write_text("dat: here\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value) == f"{path}:1: dat: unknown key; did you mean 'data'?"


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(path, {})


def test_syntax_errors_carry_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("data: x\nports: {\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(path), 3)


def test_unusual_keys_are_shown_escaped(told: Told) -> None:
    ((_, path, _),) = told('"a\\u001b[31m.b": 1\n')
    assert path == "['a\\x1b[31m.b']"
