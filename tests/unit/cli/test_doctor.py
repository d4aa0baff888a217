"""`gateway doctor`: says what is not in order and what to do, and ends with 1; 0 when all is well."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.finding import RULES, Place, grouped, unread_too_long, unsettled_too_long
from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_explain import stop

CLAIM = "01920000-0000-7000-8000-000000000000"


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
    assert [(one["code"], one["severity"], one["port"]) for one in told] == [("gateway-away", "stuck", "orders")]


def test_old_file_in_work_that_the_store_does_not_know_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    work = cli.config.parent / "data" / "work" / "orders"
    work.mkdir(parents=True)
    (work / f"{CLAIM}~order.xml").write_text("<Envelope/>")
    assert cli.run("doctor").exit_code == 0, "it was claimed a moment ago"
    monkeypatch.setattr("gateway.domain.finding._SETTLE", timedelta(seconds=-1))
    result = cli.run("doctor")
    assert result.exit_code == 1 and "file-not-read" in result.stdout and "order.xml" in result.stdout


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


@pytest.mark.parametrize("code", RULES)
def test_every_rule_says_what_to_do(code: str) -> None:
    rule = RULES[code]
    assert rule.way_out.endswith(".") and not rule.text.endswith(".")
