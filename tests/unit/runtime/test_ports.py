"""What is made and read when a port is opened."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from gateway.config.models import InboundPort, Settings
from gateway.kernel.ids import PortName
from gateway.runtime import ports as ports_module
from gateway.runtime.ports import documents_of, make_folders, prepare_folders, read_rules


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def made(site: Path, inbound: Path, data: Path | None = None, **receive: Path) -> Path:
    """Make the folders of a port with this inbound folder; returns that."""
    settings = Settings.model_validate({
        "data": data or site / "data",
        "services": {"Ping": {"kind": "python", "operations": {"ping": "m:ping"}}},
        "ports": {"p": {
            "receive": {"folder": inbound, **receive}, "respond": {"folder": inbound.parent / "out"},
            "operations": ["Ping.ping"],
        }},
    })  # fmt: skip
    make_folders(PortName("p"), settings, site)
    return inbound


def test_folders_beside_the_configuration_are_made_with_their_parents(site: Path) -> None:
    assert made(site, site / "demo" / "orders" / "in").is_dir()
    assert (site / "demo" / "orders" / "out").is_dir()
    assert (site / "data" / "work" / "p").stat().st_mode & 0o777 == 0o700


def test_folder_elsewhere_is_made_when_its_parent_is_there(site: Path, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    assert made(site, tmp_path / "share" / "in").is_dir()


def test_nothing_is_made_where_a_partners_link_leads(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "b").mkdir()
    (site / "a").symlink_to("b")
    made(site, site / "a" / "in")
    assert sorted(path.name for path in (site / "b").iterdir()) == ["in", "out"], "our own link is followed"
    (site / "c").mkdir()
    (site / "d").symlink_to("c")
    if os.geteuid() == 0:
        os.lchown(site / "d", 4242, 4242)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4242)  # then it is somebody else's
    made(site, site / "d" / "in")
    assert list((site / "c").iterdir()) == []


def test_nothing_is_made_where_a_share_may_not_be_mounted(site: Path, tmp_path: Path) -> None:
    made(site, tmp_path / "share" / "in", work=tmp_path / "share" / "gateway" / "work")
    assert not (tmp_path / "share").exists()


def test_folders_in_a_data_folder_elsewhere_are_made_with_their_parents(site: Path, tmp_path: Path) -> None:
    made(site, site / "in", data=tmp_path / "state" / "gateway")
    assert (tmp_path / "state" / "gateway" / "archive" / "p").is_dir()


def test_folder_that_cannot_be_made_is_left_to_the_port_to_tell(site: Path) -> None:
    (site / "in").touch()
    assert made(site, site / "in").is_file()
    assert (site / "out").is_dir()


def test_documents_of_all_services_are_known() -> None:
    settings = Settings.model_validate({
        "services": {
            "Orders": {"kind": "document", "document": "SalesOrder", "entity": "SalesTable", "key": "SalesId"},
            "Others": {"kind": "python", "operations": {
                "ping": "m:ping", "note": {"handler": "m:note", "expects": ["{urn:x}Note", "{urn:x}Note"]},
            }},
        },
    })  # fmt: skip
    order = "{http://schemas.microsoft.com/dynamics/2008/01/documents/SalesOrder}SalesOrder"
    assert documents_of(settings) == (order, "{urn:x}Note")


def version(folder: Path) -> str:
    settings = Settings.model_validate({
        "schemas": [folder],
        "services": {"Ping": {"kind": "python", "operations": {"ping": "m:ping"}}},
        "ports": {"p": {"receive": {"folder": folder / "in"}, "operations": ["Ping.ping"]}},
    })  # fmt: skip
    port = settings.ports["p"]
    assert isinstance(port, InboundPort)
    return read_rules(port, settings).schema_version


def test_any_change_of_a_schema_makes_readers_read_anew(tmp_path: Path) -> None:
    schema = tmp_path / "ORDER.XSD"
    schema.write_text("<x/>")
    before = version(tmp_path)
    assert before == version(tmp_path)
    schema.write_text("<longer/>")
    assert version(tmp_path) != before


def test_schema_folder_with_a_dangling_link_or_a_strange_name_stops_no_port(tmp_path: Path) -> None:
    (tmp_path / "gone.xsd").symlink_to("nowhere")
    with open(os.fsencode(tmp_path) + b"/Gr\xf6\xdfe.xsd", "wb"):
        pass
    assert version(tmp_path)


async def test_start_does_not_wait_for_a_folder_that_hangs(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Event()

    def hangs(*_: object) -> None:
        answers.wait()

    monkeypatch.setattr(ports_module, "make_folders", hangs)
    monkeypatch.setattr(ports_module, "FOLDERS_SECONDS", 0.05)
    with ThreadPoolExecutor(1) as its_own:
        try:
            await prepare_folders(PortName("p"), Settings.model_validate({"data": site / "data"}), site, its_own)
        finally:
            answers.set()
