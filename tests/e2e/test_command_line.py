"""A new site, as a new user makes it: init, check, run, submit, look, stop."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import operator
from tests.site import Site

GATEWAY = (sys.executable, "-m", "gateway.cli.main")


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> Iterator[Path]:
    """A site made by `gateway init`, running; it is stopped at the end when the test did not."""
    folder = tmp_path / "site"
    subprocess.run([*GATEWAY, "init", str(folder)], check=True, capture_output=True, umask=0)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("store: embedded", f"store: {json.dumps(database_url)}"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*GATEWAY, "run"], cwd=folder, stderr=log, umask=0)
    yield folder
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, (folder / "log").read_text()


def ask(folder: Path, *words: str, code: int = 0) -> Any:
    result = subprocess.run(
        [*GATEWAY, *words, "--json"], cwd=folder, capture_output=True, text=True, check=False, timeout=90
    )
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout)


def look(folder: Path, *words: str) -> Any:
    """Do the same in this process, where the command is nothing new."""
    return asyncio.run(operator.ask(Site(folder), *words))


def test_new_site_answers_its_samples_and_tells_about_it(site: Path) -> None:
    (one,) = ask(site, "submit", "samples/timesheets.xml", "--port", "timesheets", "--wait")["submitted"]
    assert one["done"] is True
    created, total = one["answers"]
    assert "<Value>TS-000001</Value>" in Path(created["path"]).read_text()
    assert "14.25" in Path(total["path"]).read_text()
    assert total["text"] == Path(total["path"]).read_text()

    assert [path for path in site.rglob("*") if path.lstat().st_mode & 0o002 and path.is_dir()] == []
    assert (site / "config.yaml").stat().st_mode & 0o002 == 0
    history = look(site, "history", "list")["messages"]
    assert sorted(message["direction"] for message in history) == ["in", "in", "out", "out"]
    status = ask(site, "status")
    assert status["running"] is True
    assert [(port["port"], port["state"]) for port in status["ports"]] == [("timesheets", "open")]
    assert look(site, "queue", "list") == {"messages": [], "total": 0}

    (site / "worse.xml").write_text("<!DOCTYPE a><a/>")
    (worse,) = ask(site, "submit", "worse.xml", "--port", "timesheets", "--wait", code=1)["submitted"]
    assert worse["delivery"]["code"] == "dtd.forbidden"
    (malformed,) = look(site, "queue", "list")["messages"]
    shown = look(site, "queue", "show", str(malformed["key"]))
    assert [entry["code"] for entry in shown["exceptions"]] == ["dtd.forbidden"]
