"""Single options: what they accept, what they mean, what they refuse."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config.models import (
    InboundPort,
    NumberSequence,
    OutboundPort,
    PortFolders,
    ReceiveFolders,
    Respond,
    SendFolders,
    Settings,
)
from gateway.config.models_base import Section
from gateway.config.models_ports import Limits, Process, Send, response_fields
from gateway.config.models_services import PythonOperation
from gateway.config.refusals import fields
from tests.unit.config.conftest import Build, Told

PORT = {"receive": {"folder": "in"}, "operations": ["S.create"]}


def sections(model: type[Section]) -> set[type[Section]]:
    """Return every section reachable from *model*."""
    return {model, *(below for child in model.__subclasses__() for below in sections(child))}


def test_everything_has_a_default_but_the_folders_and_operations_of_a_port() -> None:
    port = Settings.model_validate({"ports": {"p": PORT}}).ports["p"]
    assert isinstance(port, InboundPort)
    assert port.receive.settle_seconds == 2.0
    assert port.receive.grace_seconds == 600.0
    assert port.respond is None
    assert port.process.on_error == "continue"
    assert port.limits.max_file_bytes == 2_000_000_000
    assert port.limits.max_envelope_bytes == 10_000_000


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().store = "other"


def test_every_option_is_described() -> None:
    missing = [
        f"{section.__name__}.{key}"
        for section in sections(Section)
        for key, field in fields(section).items()
        if not field.description
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (2048, 2048),
        ("10 MB", 10_000_000),
        ("10MB", 10_000_000),
        ("10 mb", 10_000_000),
        ("1.5 GB", 1_500_000_000),
        ("10 MiB", 10 * 2**20),
        ("4096 B", 4096),
    ],
)
def test_sizes_are_bytes_or_carry_a_unit(written: object, size: int) -> None:
    assert Limits.model_validate({"max_file_bytes": written}).max_file_bytes == size


@pytest.mark.parametrize("written", ["10", "10 XB", "MB", "-1 MB", "1e3 MB", "1.5", 1.5, True, 0, -1, None])
def test_other_sizes_are_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate({"max_file_bytes": written})


@pytest.mark.parametrize(
    "name",
    [
        "{stem}.{position:06}.{response_id}.xml",
        "{response_id}.xml",
        "{date}_{request_message_id}.{response_id}.xml",
    ],
)
def test_response_names_that_cannot_collide_are_accepted(name: str) -> None:
    assert Respond.model_validate({"folder": "out", "name": name}).name == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("{stem}.{position}.xml", "must hold {response_id}"),
        ("{response_id}.txt", "must end in .xml"),
        (".{response_id}.xml", "hidden"),
        ("{response_id}.{user}.xml", "unknown placeholder {user}"),
        ("{response_id.__class__}.xml", "unknown placeholder"),
        ("{response_id!r}.xml", "a width to the position only"),
        ("{response_id:>900}.xml", "a width to the position only"),
        ("{response_id}{position:0900}.xml", "a width to the position only"),
        ("../{response_id}.xml", "may hold only letters"),
        ("out put {response_id}.xml", "may hold only letters"),
        ("{response_id.xml", "brace"),
        ("{response_id}" + "x" * 100 + ".xml", "at most 120"),
        ("{response_id}{request_message_id}{port}.xml", "at most 120"),
    ],
)
def test_response_names_that_could_do_harm_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Respond.model_validate({"folder": "out", "name": name})


@pytest.mark.parametrize("field", ["stem", "position:06", "request_message_id"])
def test_name_of_what_is_sent_knows_no_request(field: str) -> None:
    with pytest.raises(ValidationError, match="there is no request"):
        Send.model_validate({"folder": "out", "name": f"{{{field}}}.{{response_id}}.xml"})


@pytest.mark.parametrize("name", ["{port}.{response_id}.xml", "copy-{date}-{response_id}.xml"])
def test_name_of_what_is_sent_holds_what_is_known(name: str) -> None:
    assert Send.model_validate({"folder": "out", "name": name}).name == name


def test_direction_decides_what_a_port_holds() -> None:
    sending = {"direction": "outbound", "send": {"folder": "out"}, "operations": ["S.read"]}
    ports = Settings.model_validate({"ports": {"p": PORT, "q": sending}}).ports
    assert isinstance(ports["p"], InboundPort)
    assert isinstance(ports["q"], OutboundPort)
    assert ports["q"].process.retries == 3


@pytest.mark.parametrize(
    ("port", "path", "expected"),
    [
        ("{direction: sideways}", "ports.p", "needs a direction: inbound or outbound"),
        ("{direction: outbond}", "ports.p", "did you mean 'outbound'?"),
        ("{direction: outbound, operations: [S.read]}", "ports.p.send", "is missing"),
        (
            "{direction: outbound, send: {folder: o}, operations: [S.read], receive: {folder: i}}",
            "ports.p.receive",
            "unknown key",
        ),
        ("{receive: {folder: i}, operations: [S.read], send: {folder: o}}", "ports.p.send", "unknown key"),
        ("[]", "ports.p", "must be a mapping"),
    ],
)
def test_a_port_of_the_wrong_shape_is_told_where(port: str, path: str, expected: str, told: Told) -> None:
    service = "services: {S: {kind: document, document: D, entity: E, key: K}}\n"
    assert [(where, expected in text) for _, where, text in told(f"{service}ports:\n  p: {port}\n")] == [(path, True)]


def test_response_name_is_split_into_literals_and_placeholders() -> None:
    assert response_fields("a-{position:06}.xml") == (("a-", "position", "06"), (".xml", None, ""))


@pytest.mark.parametrize("text", ["SO-{number:06}", "{number}", "{number:6d}", "A{number}B"])
def test_number_formats_hold_the_number_once(text: str) -> None:
    assert NumberSequence.model_validate({"name": "n", "format": text}).format.format(number=7)


@pytest.mark.parametrize("text", ["SO-", "{number}{number}", "{id}", "{number!r}", "{number:x}", "{number", "{0}"])
def test_other_number_formats_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        NumberSequence.model_validate({"name": "n", "format": text})


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        ("SalesOrder", "{http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder}SalesOrder"),
        ("{urn:x}Order", "{urn:x}Order"),
        ("{https://schemas.microsoft.com/d}Order", "{http://schemas.microsoft.com/d}Order"),
    ],
)
def test_document_names_are_expanded_to_canonical_form(written: str, expanded: str) -> None:
    service = {"kind": "document", "document": written, "entity": "E", "key": "K"}
    settings = Settings.model_validate({"services": {"S": service}})
    assert settings.services["S"].document == expanded  # type: ignore[union-attr]


def test_namespaces_are_canonical_without_the_last_slash() -> None:
    service = {
        "kind": "python",
        "namespaces": ["https://schemas.microsoft.com/dynamics/2008/01/services", "http://tempuri.org/"],
        "operations": {"o": "a:b"},
    }
    assert Settings.model_validate({"services": {"S": service}}).services["S"].namespaces == (
        "http://schemas.microsoft.com/dynamics/2008/01/services",
        "http://tempuri.org",
    )


@pytest.mark.parametrize("handler", ["module", "module:", ":f", "a-b:c", "a.b:c d", "a..b:c", "a/b.py:c"])
def test_handlers_are_written_module_and_object(handler: str) -> None:
    with pytest.raises(ValidationError, match="module:object"):
        PythonOperation.model_validate(handler)
    assert PythonOperation.model_validate("package.module:Class.method").handler == "package.module:Class.method"


def test_validate_is_the_name_in_the_file() -> None:
    assert Process.model_validate({"validate": False}).validate_documents is False
    with pytest.raises(ValidationError):
        Process.model_validate({"validate_documents": False})


def test_grace_is_not_shorter_than_settling() -> None:
    with pytest.raises(ValidationError, match="grace_seconds must not be shorter"):
        InboundPort.model_validate({**PORT, "receive": {"folder": "in", "settle_seconds": 5, "grace_seconds": 4}})


@pytest.mark.parametrize("name", ["1st", "a b", "a/b", "../up", "ä", "a" * 41, "", "a."])
def test_port_names_make_safe_folders(name: str, told: Told) -> None:
    problems = told(f"ports:\n  {name!r}: {{receive: {{folder: in}}, operations: [S.create]}}\n".replace("'", '"'))
    assert [line for line, _, text in problems if "a name is a letter" in text] == [2]


def test_paths_are_absolute_from_the_folder_of_the_file(build: Build, tmp_path: Path) -> None:
    settings = build(
        """
        schemas: [../shared, /etc/xsd]
        services: {P: {kind: python, operations: {o: "a:b"}}}
        ports:
          p:
            receive: {folder: ./in/../inbound, error: /elsewhere/error}
            respond: {folder: out, staging: stage}
            operations: [P.o]
          q: {receive: {folder: q}, operations: [P.o]}
          r: {direction: outbound, send: {folder: copies}, operations: [P.o]}
        """
    )
    folders = settings.port_folders("p")
    assert settings.schemas == (tmp_path.parent / "shared", Path("/etc/xsd"))
    assert folders.receive == ReceiveFolders(
        inbound=tmp_path / "inbound",
        work=tmp_path / "data/work/p",
        archive=tmp_path / "data/archive/p",
        error=Path("/elsewhere/error"),
    )
    out = tmp_path / "out"
    assert folders.send == SendFolders(staging=tmp_path / "stage", outbound=out, faults=out)
    assert settings.postgres_folder == tmp_path / "data/postgres"
    assert settings.port_folders("q").send is None
    copies = tmp_path / "copies"
    assert settings.port_folders("r") == PortFolders(
        receive=None, send=SendFolders(staging=tmp_path / "data/staging/r", outbound=copies, faults=copies)
    )


@pytest.mark.parametrize("path", ["", ".", "~/in", '"a\\0b"', '"a\\nb"', "5", "[a]"])
def test_paths_that_mislead_are_refused(path: str, told: Told) -> None:
    problems = told(f"data: {path or repr('')}\n")
    assert [(line, where) for line, where, _ in problems] == [(1, "data")]


def test_exposed_operations_are_told_once_each(build: Build) -> None:
    settings = build(
        """
        services:
          A: {kind: python, operations: {x: "m:x", y: "m:y"}}
          B: {kind: document, document: D, entity: E, key: K}
        ports:
          p: {receive: {folder: in}, operations: [A.y, A.*, B.read]}
          q: {active: false, receive: {folder: q}, operations: [B.*]}
        """
    )
    assert settings.exposed("p") == (("A", "y"), ("A", "x"), ("B", "read"))
    assert settings.exposed("q") == (("B", "create"), ("B", "read"))
    assert settings.active_ports() == ("p",)


def test_the_store_is_never_shown(build: Build) -> None:
    settings = build("store: postgresql://me:${PW}@db/gateway?password=${PW}\n", {"PW": "hush"})
    assert settings.store == "postgresql://me:hush@db/gateway?password=hush"
    for shown in (repr(settings), str(settings), settings.model_dump_json(), settings.store_shown):
        assert "hush" not in shown
    assert settings.store_shown == "postgresql://me:***@db/gateway?password=***"
    assert Settings().store_shown == "embedded"


@pytest.mark.parametrize(
    "store", ["embeded", "sqlite:///x", "mysql://u@h/db", "postgresql:/db", "postgresql://", "http://h"]
)
def test_only_postgresql_is_a_store(store: str, told: Told) -> None:
    ((line, path, text),) = told(f"# first\nstore: {store}\n")
    assert (line, path) == (2, "store")
    assert "embedded" in text


@pytest.mark.parametrize(
    "store",
    ["postgresql://u@h1:5432,h2/db?sslmode=require", "postgres:///db?host=/run/postgresql", "postgresql://h/db"],
)
def test_urls_of_postgresql_are_a_store(store: str, build: Build) -> None:
    assert build(f"store: {store}\n").embedded is False


@pytest.mark.parametrize("value", [5, "5%", "12.5 %"])
def test_failures_may_be_counted_or_a_part_of_the_file(value: int | str) -> None:
    assert Process.model_validate({"max_failed": value}).max_failed == value


@pytest.mark.parametrize(
    ("options", "text"),
    [({"max_failed": "most"}, "percentage"), ({"max_failed": 0}, "must be 1 or"), ({"max_failed": True}, "percentage"),
     ({"max_failed": 5, "on_error": "halt"}, "goes with on_error: continue")],
)  # fmt: skip
def test_failures_without_meaning_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Process.model_validate(options)
