"""Sections must fit together."""

from pathlib import Path

import pytest

from gateway.config.checks.folders import one_folder_by_two_paths
from tests.unit.config.conftest import Build, Told

SERVICES = """
services:
  Doc: {kind: document, document: D, entity: E, key: K}
  Py: {kind: python, operations: {safe: "m:a", lasting: {handler: "m:b", undoable: false}}}
"""


CODE = """
services:
  Doc: {kind: document, document: D, entity: E, key: K}
  Code:
    kind: python
    operations:
      read: "m:read"
      Update: "m:update"
      find: {handler: "m:find", expects: ["{urn:x}Criteria"]}
      export:
        handler: "m:export"
        expects: ["{https://schemas.microsoft.com/dynamics/2006/02/documents/EntityKeyList}EntityKeyList"]
"""


def port(name: str, receive: str, respond: str = "null", more: str = "") -> str:
    return f"  {name}: {{receive: {{{receive}}}, respond: {respond}, operations: [Doc.create]{more}}}\n"


def with_ports(*ports: str, top: str = "") -> str:
    return top + SERVICES + "ports:\n" + "".join(ports)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("Dock.create", "there is no service 'Dock'; did you mean 'Doc'?"),
        ("Zebra.create", "there is no service 'Zebra'; known are Doc, Py"),
        ("Doc.creat", "the service Doc has no operation 'creat'; did you mean 'create'?"),
        ("Doc.update", "the service Doc has no operation 'update'; it has create, read"),
        ("Doc.Create", "the service Doc has no operation 'Create'; did you mean 'create'?"),
        ("Doc", "'Doc' must be written Service.operation or Service.*"),
        ("Doc.", "'Doc.' must be written Service.operation or Service.*"),
    ],
)
def test_references_name_what_exists(reference: str, expected: str, told: Told) -> None:
    text = f"{SERVICES}ports:\n  p:\n    receive: {{folder: in}}\n    operations:\n      - Py.*\n      - {reference}\n"
    assert told(text) == [(10, "ports.p.operations[1]", expected)]


@pytest.mark.parametrize("reference", ["Py.lasting", "Py.*"])
def test_rollback_needs_operations_that_can_be_undone(reference: str, told: Told, build: Build) -> None:
    text = (
        SERVICES + f"ports: {{p: {{receive: {{folder: in}}, operations: [Py.safe, {reference}], process: {{on_error: "
    )
    ((_, path, problem),) = told(text + "rollback}}}")
    assert path == "ports.p.operations[1]"
    assert problem.startswith("cannot be undone: lasting; with process.on_error: rollback")
    assert build(text + "halt}}}")


def test_rollback_takes_what_is_compensated(build: Build) -> None:
    services = SERVICES.replace("undoable: false", 'undoable: false, compensate: "m:back"')
    assert build(services + "ports: {p: {receive: {folder: in}, operations: [Py.*], process: {on_error: rollback}}}")


def test_compensation_is_named_as_the_way_out(told: Told) -> None:
    text = SERVICES + "ports: {p: {receive: {folder: in}, operations: [Py.*], process: {on_error: rollback}}}"
    ((_, _, problem),) = told(text)
    assert "compensate: module:function" in problem


def test_what_is_undoable_needs_no_compensation(told: Told) -> None:
    text = SERVICES.replace("undoable: false", 'compensate: "m:back"')
    ((_, path, problem),) = told(text + "ports: {p: {receive: {folder: in}, operations: [Doc.*]}}")
    assert path.startswith("services.Py.operations.lasting")
    assert "say undoable: false" in problem


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", "replay sends a response again, and this port has none"),
        (", respond: {folder: out}, logging: header", "logging: header does not keep them"),
        (", respond: {folder: out}, logging: 'off'", "logging: off does not keep them"),
    ],
)
def test_responses_that_are_not_kept_cannot_be_repeated(more: str, expected: str, told: Told) -> None:
    port = f"{{receive: {{folder: in}}, operations: [Doc.*], process: {{on_duplicate: replay}}{more}}}"
    ((_, path, problem),) = told(SERVICES + f"ports: {{p: {port}}}")
    assert path == "ports.p.process.on_duplicate"
    assert expected in problem


def test_rollback_is_fine_where_everything_can_be_undone(build: Build) -> None:
    assert build(
        SERVICES + "ports: {p: {receive: {folder: in}, operations: [Py.safe, Doc.*], process: {on_error: rollback}}}"
    )


COPIES = "ports: {{p: {{direction: outbound, send: {{folder: out}}, operations: [{}]}}}}"


@pytest.mark.parametrize(
    ("reference", "wrong"),
    [
        ("Doc.create", "create"),
        ("Doc.*", "create"),
        ("Code.Update", "Update"),
        ("Code.find", "find"),
        ("Code.*", "Update, find"),
    ],
)
def test_outbound_ports_refuse_what_does_not_read_by_key(reference: str, wrong: str, told: Told) -> None:
    ((_, path, problem),) = told(CODE + COPIES.format(f"Doc.read, {reference}"))
    assert path == "ports.p.operations[1]"
    assert problem.startswith(f"cannot be sent: {wrong}; an outbound port offers only operations that read")


@pytest.mark.parametrize("reference", ["Doc.read", "Code.read", "Code.export"])
def test_outbound_ports_take_what_reads_by_key(reference: str, build: Build) -> None:
    assert build(CODE + COPIES.format(reference))


def test_outbound_ports_name_operations_that_exist(told: Told) -> None:
    ((_, path, problem),) = told(CODE + COPIES.format("Doc.raed"))
    assert (path, problem) == ("ports.p.operations[0]", "the service Doc has no operation 'raed'; did you mean 'read'?")


def test_shared_sequences_are_described_alike(told: Told, build: Build) -> None:
    text = """\
services:
  A: {kind: document, document: A, entity: E, key: K, number_sequence: {name: n, first: 5}}
  B: {kind: document, document: B, entity: E, key: K, number_sequence: {name: n, first: %s}}
"""
    ((line, path, problem),) = told(text % 6)
    assert (line, path) == (3, "services.B.number_sequence")
    assert "differs from the sequence 'n' of the service A" in problem
    assert build(text % 5)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (with_ports(port("orders", "folder: a"), port("Orders", "folder: b")), "ports.Orders"),
        (
            "services: {S: {kind: python, operations: {o: 'm:o'}}, s: {kind: python, operations: {o: 'm:o'}}}",
            "services.s",
        ),
        ("services: {S: {kind: python, operations: {get: 'm:o', Get: 'm:o'}}}", "services.S.operations.Get"),
    ],
)
def test_names_differ_by_more_than_case(text: str, path: str, told: Told) -> None:
    ((_, where, problem),) = told(text)
    assert where == path
    assert "only by case" in problem


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        (
            with_ports(port("a", "folder: in"), port("b", "folder: ./x/../in")),
            "ports.b.receive.folder",
            "the inbound folder of port b is also the inbound folder of port a",
        ),
        (
            with_ports(port("a", "folder: in/deep/er"), port("b", "folder: in")),
            "ports.a.receive.folder",
            "the inbound folder of port a lies in the inbound folder of port b",
        ),
        (
            with_ports(port("a", "folder: in", "{folder: in}")),
            "ports.a.respond.folder",
            "responses would come in as requests",
        ),
        (
            with_ports(port("a", "folder: a", "{folder: b}"), port("b", "folder: b")),
            "ports.a.respond.folder",
            "the outbound folder of port a is also the inbound folder of port b",
        ),
        (
            with_ports(port("a", "folder: in", "{folder: out, faults: in}")),
            "ports.a.respond.faults",
            "responses would come in as requests",
        ),
        (
            with_ports(port("a", "folder: in, work: in/work")),
            "ports.a.receive.work",
            "partners must not reach what belongs to the gateway",
        ),
        (
            with_ports(port("a", "folder: in", "{folder: out, staging: out}")),
            "ports.a.respond.staging",
            "partners must not reach what belongs to the gateway",
        ),
        (
            with_ports(port("a", "folder: share"), top="data: share/data\n"),
            "data",
            "the data folder of the gateway lies in the inbound folder of port a",
        ),
        (
            with_ports(port("a", "folder: data/work/a/in")),
            "ports.a.receive.folder",
            "partners cannot reach what belongs to the gateway",
        ),
        (
            with_ports(port("a", "folder: in", "{folder: data/postgres/out}")),
            "ports.a.respond.folder",
            "the outbound folder of port a lies in the database folder of the gateway",
        ),
        (
            with_ports(
                port("a", "folder: in"), "  b: {direction: outbound, send: {folder: in}, operations: [Doc.read]}\n"
            ),
            "ports.b.send.folder",
            "the outbound folder of port b is also the inbound folder of port a",
        ),
        (
            with_ports("  b: {direction: outbound, send: {folder: out, staging: out}, operations: [Doc.read]}\n"),
            "ports.b.send.staging",
            "partners must not reach what belongs to the gateway",
        ),
        (
            with_ports(port("a", "folder: a, work: w"), port("b", "folder: b, work: w")),
            "ports.b.receive.work",
            "the work folder of port b is also the work folder of port a",
        ),
        (
            with_ports(port("a", "folder: a, archive: kept, error: kept/error")),
            "ports.a.receive.error",
            "the error folder of port a lies in the archive folder of port a",
        ),
    ],
)
def test_folders_that_overlap_are_refused_once(text: str, path: str, expected: str, told: Told) -> None:
    ((_, where, problem),) = told(text)
    assert where == path
    assert expected in problem


@pytest.mark.parametrize(
    "text",
    [
        with_ports(port("a", "folder: in-a"), port("b", "folder: in")),
        with_ports(port("a", "folder: a/in", "{folder: out}"), port("b", "folder: b/in", "{folder: out}")),
        with_ports(port("a", "folder: share", "{folder: share/out, faults: share/out/faults}")),
        with_ports(port("a", "folder: in", "{folder: out, faults: out}")),
        with_ports(port("a", "folder: data/inbound")),
        with_ports(
            port("a", "folder: in, work: /srv/w, archive: /srv/a, error: /srv/e", "{folder: out, staging: /srv/s}")
        ),
    ],
)
def test_folders_that_do_not_disturb_each_other_are_accepted(text: str, build: Build) -> None:
    assert build(text)


def test_one_folder_by_two_paths_is_found_on_the_disk(build: Build, tmp_path: Path) -> None:
    for folder in ("shared/in", "out"):
        (tmp_path / folder).mkdir(parents=True)
    for way in ("way", "path", "road"):
        (tmp_path / way).symlink_to("shared")
    settings = build(
        with_ports(
            port("a", "folder: shared/in", "{folder: out}"),
            port("b", "folder: way/in", "{folder: way/../out}"),
            port("c", "folder: other/in", "{folder: path/in}"),
            port("d", "folder: missing/in, work: road/in/work"),
        )
    )
    assert [(".".join(map(str, found.path)), found.text) for found in one_folder_by_two_paths(settings)] == [
        ("ports.b.receive.folder", f"{tmp_path}/way/in leads there too: the inbound folder of port b is also the "
         f"inbound folder of port a ({tmp_path}/shared/in); each needs an inbound folder of its own"),
        ("ports.c.respond.folder", f"{tmp_path}/path/in leads there too: the outbound folder of port c is also the "
         f"inbound folder of port a ({tmp_path}/shared/in); responses would come in as requests"),
        ("ports.d.receive.work", f"{tmp_path}/road/in/work leads there too: the work folder of port d lies in the "
         f"inbound folder of port a ({tmp_path}/shared/in); partners must not reach what belongs to the gateway"),
    ]  # fmt: skip
