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
from tests.site import Site, until


async def command(site: Site, *words: str) -> tuple[int, str]:
    """Run the program on the site's configuration; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *words, "--config", str(site.config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def findings(site: Site) -> dict[str, str]:
    """Return what `gateway check` has against the configuration, by option."""
    site.write_config()
    code, said = await command(site, "check", "--json")
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


async def test_124_work_folder_on_another_file_system_is_told_with_the_setting(site: Site, elsewhere: Path) -> None:
    site.add_port(receive={"work": str(elsewhere / "work")}).add_port("good")
    bad = await findings(site)
    text = bad["ports.orders.receive.work"]
    assert "another file system" in text and "Set ports.orders.receive.work to a folder beside" in text
    await site.start()
    site.drop("a.xml", single(envelope(message_id=guid(1))))

    async def degraded() -> bool:
        rows = await site.query("SELECT reason FROM port_status WHERE port = 'orders' AND state = 'degraded'")
        return bool(rows) and "another file system" in rows[0]["reason"]

    await until(degraded, "the port says why it takes nothing", tell=site.tail)
    site.drop("b.xml", single(envelope(message_id=guid(2))), "good")
    await site.wait_answers(1, "good")
    assert [path.name for path in site.inbound().iterdir()] == ["a.xml"]
    assert list(site.outbound().iterdir()) == []
    assert await site.stop() == 0


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
    code, text = await command(site, "run")
    assert code == 1 and all(said in text for _, _, said in wrong.values()) and "Traceback" not in text


async def test_125_inbound_folder_that_is_a_link_is_told_and_never_entered(site: Site) -> None:
    site.add_port()
    inbound = site.inbound()
    real = inbound.with_name("real")
    inbound.rename(real)
    inbound.symlink_to(real)
    (real / "a.xml").write_bytes(single(envelope()))
    bad = await findings(site)
    assert "is a symbolic link" in bad["ports.orders.receive.folder"]
    assert f"Set ports.orders.receive.folder to {real}" in bad["ports.orders.receive.folder"]
    await site.start()

    async def degraded() -> bool:
        rows = await site.query("SELECT reason FROM port_status WHERE port = 'orders' AND state = 'degraded'")
        return bool(rows) and "symbolic link" in rows[0]["reason"]

    await until(degraded, "the port says why it takes nothing", tell=site.tail)
    assert (real / "a.xml").exists()
    assert await site.stop() == 0
