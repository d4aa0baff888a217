"""What a check says of what stands outside of the gateway; in tests/unit/channels/test_outside.py, how it looks."""

import os
from pathlib import Path

import pytest

from gateway.config.load import parse
from gateway.runtime.check_outside import check_outside
from gateway.runtime.checked import Verdict

PORT = (
    "services: {S: {kind: python, operations: {o: {handler: 'm:f'}}}}\n"
    "ports: {orders: {receive: {folder: ./in}, operations: [S.o]}}\n"
)


async def told(text: str, site: Path) -> dict[str, str]:
    """Return what is told, by the option it is told of."""
    settings = parse(text.encode(), file="c.yaml", base=site, environ={})
    found = await check_outside(settings, site)
    assert all(one.verdict is Verdict.WARNING for one in found)
    return {".".join(map(str, one.path)): one.text for one in found}


async def test_everything_outside_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    found = await told(
        "mail: {host: mail.invalid}\n"
        "alerts: {webhook: {url: 'http://hook.invalid/x'}, command: [./tell]}\n"
        "users: {no-such-account: partner, 4711: partner}\n"
        "jobs:\n  j:\n    tasks:\n"
        "      a: {run: command, with: {command: [./x]}}\n"
        "      b: {run: command, with: {command: [sh], folder: ./nowhere}}\n"
        "      c: {run: http, with: {url: 'https://shop.invalid/'}}\n",
        tmp_path,
    )
    assert set(found) == {
        "mail.host", "alerts.webhook.url", "alerts.command", "users.no-such-account",
        "jobs.j.tasks.a.with", "jobs.j.tasks.b.with", "jobs.j.tasks.c.with",
    }  # fmt: skip
    assert found["jobs.j.tasks.a.with"] == f"task a: there is no file {tmp_path}/x"
    assert found["jobs.j.tasks.b.with"] == f"task b: the working folder {tmp_path}/nowhere does not exist"


async def test_what_can_be_used_is_fine(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    text = (
        f"{PORT}alerts: {{command: [sh]}}\njobs: {{j: {{tasks: {{a: {{run: command, with: {{command: [sh]}}}}}}}}}}\n"
    )
    assert await told(text, tmp_path) == {}


async def test_a_folder_whose_owner_has_no_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.setattr("gateway.runtime.check_outside.has_name", lambda _: False)
    owner = os.getuid()
    found = await told(PORT, tmp_path)
    assert found["ports.orders.receive.folder"].startswith(
        f"the folder belongs to the account number {owner}, which has"
    )
    assert await told(f"{PORT}users: {{{owner}: partner}}\n", tmp_path) == {}
    default = PORT.replace("[S.o]", "[S.o], security: {default_user: partner}")
    assert await told(default, tmp_path) == {}


async def test_what_printing_needs_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "logo.png").touch()
    found = await told(
        "posting:\n  print:\n    letterhead: {logo: logo.png}\n    fonts: [thai.ttf]\n"
        "    printers:\n      HP4: {command: [no-such-lp, '{file}']}\n      own: {command: [sh, '{file}']}\n",
        tmp_path,
    )
    assert set(found) == {"posting.print.fonts", "posting.print.printers.HP4.command"}
    assert found["posting.print.fonts"] == f"there is no file {tmp_path}/thai.ttf"
