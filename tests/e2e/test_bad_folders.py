"""Rows 124, 125 and 130 of the catalogue of bad inputs: folders that cannot work are told before anything starts."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documents import envelope, guid, single
from tests.e2e.operator import gateway
from tests.site import Site, running, until


async def findings(site: Site) -> dict[str, str]:
    """Return what `gateway check` has against the configuration, by option."""
    site.write_config()
    code, said, _ = await gateway(site, "check", "--json")
    report: dict[str, Any] = json.loads(said)
    bad = {one["path"]: one["text"] for one in report["findings"] if one["verdict"] != "ok"}
    assert code == (0 if report["ok"] else 1)
    return bad


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the site's."""
    here = tmp_path.stat().st_dev
    parent = next(
        path
        for path in map(Path, ("/dev/shm", "/run/lock", "/run", "/tmp", str(Path.home())))
        if path.is_dir() and path.stat().st_dev != here and os.access(path, os.W_OK)
    )
    folder = Path(tempfile.mkdtemp(dir=parent))
    yield folder
    shutil.rmtree(folder)


async def test_124_125_work_folder_on_another_file_system_and_inbound_folder_that_is_a_link(
    site: Site, elsewhere: Path
) -> None:
    """Each is told with the setting that mends it, and neither keeps another port from its work."""
    site.add_port(receive={"work": str(elsewhere / "work")}).add_port("linked").add_port("good")
    inbound = site.inbound("linked")
    real = inbound.with_name("real")
    inbound.rename(real)
    inbound.symlink_to(real)
    (real / "a.xml").write_bytes(single(envelope()))
    bad = await findings(site)
    text = bad["ports.orders.receive.work"]
    assert "another file system" in text and "Set ports.orders.receive.work to a folder beside" in text
    text = bad["ports.linked.receive.folder"]
    assert "is a symbolic link" in text and f"Set ports.linked.receive.folder to {real}" in text

    async def degraded(port: str, reason: str) -> bool:
        rows = await site.query("SELECT reason FROM port_status WHERE port = $1 AND state = 'degraded'", port)
        return bool(rows) and reason in rows[0]["reason"]

    async with running(site):
        site.drop("a.xml", single(envelope(message_id=guid(1))))
        for port, reason in (("orders", "another file system"), ("linked", "symbolic link")):
            why = "the port says why it takes nothing"
            await until(lambda port=port, reason=reason: degraded(port, reason), why, tell=site.tail)
        site.drop("b.xml", single(envelope(message_id=guid(2))), "good")
        await site.wait_answers(1, "good")
        assert [path.name for path in site.inbound().iterdir()] == ["a.xml"]
        assert list(site.outbound().iterdir()) == []
        assert (real / "a.xml").exists()


async def test_125_folders_in_each_others_way_are_all_refused_at_the_start(site: Site) -> None:
    site.add_port()
    wrong: dict[str, tuple[dict[str, Any], str, str]] = {
        "shared": ({"receive": {"folder": "./orders/in"}}, "receive.folder", "an inbound folder of its own"),
        "nested": ({"receive": {"folder": "./orders/in/nested"}}, "receive.folder", "lies in"),
        "looping": ({"respond": {"folder": "./looping/in"}}, "re", "looping/in"),
        "inside": ({"receive": {"work": "./inside/in/work"}}, "receive.work", "inside/in"),
    }
    for name, (options, _, _) in wrong.items():
        site.add_port(name, **options)
    bad = await findings(site)
    for name, (_, option, said) in wrong.items():
        found = [text for path, text in bad.items() if path.startswith(f"ports.{name}.{option}")]
        assert found and said in found[0], (name, bad)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "run", "--config", str(site.config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    said, _ = await process.communicate()
    text = said.decode()
    assert process.returncode == 1 and all(why in text for _, _, why in wrong.values()) and "Traceback" not in text
