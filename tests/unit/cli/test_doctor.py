"""`gateway doctor`: says what is not in order and what to do, and ends with 1; 0 when all is well."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from asyncpg import connect

from gateway.cli.remedies import worded
from gateway.db.data_folder import DataLock, Use
from gateway.explanations.finding import RULES, Place, grouped, unread_too_long, unsettled_too_long
from gateway.runtime.in_use import KeptConfig
from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_explain import stop

CLAIM = "01920000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.operations.doctor.AGAIN_SECONDS", 0.0)


def execute(database_url: str, sql: str, *arguments: object) -> None:
    async def run() -> None:
        connection = await connect(database_url)
        try:
            await connection.execute(sql, *arguments)
        finally:
            await connection.close()

    asyncio.run(run())


def test_empty_site_is_in_order(cli: Cli) -> None:
    result = cli.run("doctor")
    assert (result.exit_code, result.stdout.strip()) == (0, "Everything is in order.")
    assert cli.json("doctor") == {"findings": []}


@pytest.mark.usefixtures("history")
def test_unfinished_work_without_a_gateway_is_told_with_what_to_do(cli: Cli, database_url: str) -> None:
    stop(database_url)
    result = cli.run("doctor")
    assert result.exit_code == 1
    assert "gateway-away" in result.stdout and "gateway run" in result.stdout
    told = json.loads(cli.run("doctor", "--json").stdout)["findings"]
    assert [(one["code"], one["severity"], one["port"]) for one in told] == [
        ("gateway-away", "stuck", "orders"), ("request-failed", "attention", "orders"),
        ("file-refused", "attention", "orders"),
    ]  # fmt: skip
    assert told[1]["remedy"]["action"] == "explain" and f"gateway explain {told[1]['target']}" in told[1]["way_out"]


def test_file_that_waits_while_no_gateway_runs_is_told(cli: Cli) -> None:
    folder = cli.config.parent
    (folder / "in" / "order.xml").write_text("<Envelope/>")
    (folder / "in" / "readme.txt").write_text("")
    (folder / "asleep" / "order.xml").write_text("<Envelope/>")
    result = cli.run("doctor")
    assert result.exit_code == 1 and "file order.xml" in result.stdout and "gateway-away" in result.stdout
    assert "readme" not in result.stdout and "asleep" not in result.stdout, "nobody would take these"


def test_database_that_is_away_is_told_with_what_to_do(cli: Cli, database_url: str) -> None:
    text = cli.config.read_text()
    assert database_url in text
    cli.config.write_text(text.replace(database_url, "postgresql://nobody@127.0.0.1:1/nothing"))
    result = cli.run("doctor")
    assert result.exit_code == 1 and "cannot be reached" in result.stderr
    assert "Start the PostgreSQL" in result.stderr and "goes on by itself" in result.stderr


def test_broken_configuration_on_disk_is_told(cli: Cli) -> None:
    data = cli.config.parent / "data"
    lock = DataLock(data, Use.RUN)
    lock.acquire(0)
    KeptConfig(data, cli.config, cli.config.read_bytes())
    cli.config.write_text(cli.config.read_text() + "nonsense: [")
    result = cli.run("doctor")
    lock.release()
    assert result.exit_code == 1 and "config-refused" in result.stdout and "`gateway check`" in result.stdout


@pytest.fixture
def archived(cli: Cli, database_url: str) -> Path:
    """Return a file in the archive, as it was received."""
    day = cli.config.parent / "data" / "archive" / "orders" / "2031-02-03"
    day.mkdir(parents=True)
    file = day / f"{CLAIM}~order.xml"
    file.write_text("<Envelope/>")
    execute(
        database_url,
        "INSERT INTO delivery (claim_id, port, name, display, size_bytes, sha256, owner_uid, modified_at, outcome,"
        " settlement) VALUES ($1, 'orders', 'order.xml', 'order.xml', 11, $2, 0, now(), 'ingested', 'archive')",
        UUID(CLAIM), sha256(file.read_bytes()).digest(),
    )  # fmt: skip
    return file


def test_archived_file_that_was_changed_is_told(cli: Cli, archived: Path) -> None:
    (archived.parent / "not-ours.xml").write_text("somebody put it there")
    assert cli.run("doctor").exit_code == 0
    archived.write_text("<Forged/>")
    result = cli.run("doctor")
    assert result.exit_code == 1
    assert f"2031-02-03/{CLAIM}~order.xml: not what was received" in result.stdout


def test_link_in_place_of_an_archived_file_is_told_and_a_removed_one_is_not(cli: Cli, archived: Path) -> None:
    elsewhere = archived.rename(archived.parent.parent / "elsewhere")
    assert cli.run("doctor").exit_code == 0, "the archive is pruned"
    archived.symlink_to(elsewhere)
    assert cli.run("doctor").exit_code == 1


def test_large_archive_is_read_a_few_seconds_at_a_time(
    cli: Cli, archived: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setattr("adapters.file.inspect._DIGEST_SECONDS", -1.0)
    later = archived.with_name(f"{CLAIM[:-1]}1~order.xml")
    later.write_text("<Forged/>")
    execute(
        database_url,
        "INSERT INTO delivery (claim_id, port, name, display, size_bytes, sha256, owner_uid, modified_at, outcome,"
        " settlement) SELECT $1, port, name, display, size_bytes, sha256, owner_uid, modified_at, outcome, settlement"
        " FROM delivery",
        UUID(f"{CLAIM[:-1]}1"),
    )  # fmt: skip
    assert f"2031-02-03/{later.name}: not what was received" in cli.run("doctor").stdout


def test_sequence_that_is_nearly_used_up_is_told(cli: Cli, database_url: str) -> None:
    text = cli.config.read_text()
    sequence = 'number_sequence: {name: orders, format: "SO-0000000000000-{number}"}'
    cli.config.write_text(text.replace("key: SalesId}", f"key: SalesId, {sequence}}}"))
    assert cli.run("doctor").exit_code == 0, "it was never used"
    execute(database_url, "INSERT INTO number_sequence VALUES ('orders', 20)")
    assert cli.run("doctor").exit_code == 0
    execute(database_url, "UPDATE number_sequence SET next = 950")
    result = cli.run("doctor")
    assert result.exit_code == 1 and "numbers-end" in result.stdout
    assert "sequence orders of service SalesOrderService (next SO-0000000000000-950, 50 numbers left)" in result.stdout


def test_old_file_in_work_that_the_store_does_not_know_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    work = cli.config.parent / "data" / "work" / "orders"
    work.mkdir(parents=True)
    (work / f"{CLAIM}~order.xml").write_text("<Envelope/>")
    assert cli.run("doctor").exit_code == 0, "it was claimed a moment ago"
    monkeypatch.setattr("gateway.explanations.finding._SETTLE", timedelta(seconds=-1))
    result = cli.run("doctor")
    assert result.exit_code == 1 and "file-not-read" in result.stdout and "order.xml" in result.stdout


def test_file_in_work_of_a_paused_port_is_not_stuck(
    cli: Cli, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = cli.config.parent / "data" / "work" / "orders"
    work.mkdir(parents=True)
    (work / f"{CLAIM}~order.xml").write_text("<Envelope/>")
    execute(
        database_url,
        "INSERT INTO port_status (port, state, reason, incarnation) VALUES ('orders', 'paused', 'full', 1)",
    )
    monkeypatch.setattr("gateway.explanations.finding._SETTLE", timedelta(seconds=-1))
    assert cli.run("doctor").exit_code == 0


def test_folder_that_cannot_be_looked_into_is_told(cli: Cli) -> None:
    work = cli.config.parent / "data" / "work"
    work.mkdir(parents=True)
    os.symlink("/nowhere", work / "orders")
    result = cli.run("doctor")
    assert result.exit_code == 1 and "folder-away" in result.stdout


def test_large_file_may_be_read_for_longer() -> None:
    since = datetime(2031, 2, 3, 12, tzinfo=UTC)
    now = since + timedelta(minutes=5)
    assert unread_too_long(since, 1000, now) and not unread_too_long(since, 1_000_000_000, now)
    assert unsettled_too_long(since, now) and not unsettled_too_long(since, since)


def test_findings_of_one_rule_and_port_stand_together() -> None:
    places = [Place("message-lost", "orders", f"message {n}") for n in range(7)] + [Place("lease-missing", None, "x")]
    first, second = grouped(places)
    assert (first.code, second.code, second.count, len(second.what)) == ("lease-missing", "message-lost", 7, 5)


def test_oldest_of_a_finding_tells_since_when() -> None:
    then = datetime(2031, 2, 3, 12, tzinfo=UTC)
    places = [Place("port-stopped", "orders", "x", "orders", at) for at in (then, then - timedelta(hours=1), None)]
    (finding,) = grouped(places)
    assert finding.since == then - timedelta(hours=1)


@pytest.mark.parametrize("code", RULES)
def test_every_rule_says_what_to_do(code: str) -> None:
    rule = RULES[code]
    (finding,) = grouped([Place(code, "orders", "it", "x y")])
    way_out = worded(*finding.remedies)
    assert way_out.endswith(".") and not rule.text.endswith(".")
    assert "{" not in way_out and "[" not in way_out and "PORT" not in way_out, "commands can be pasted"
