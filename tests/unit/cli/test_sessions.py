"""What the commands tell about data-exchange sessions, their status messages and stores."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.db.data_folder import Use
from gateway.db.open import open_store
from tests.unit.cli.conftest import Cli

SESSIONS = """
INSERT INTO exchange_session (store, station, direction, number, status, rank, status_at, status_id, text, job) VALUES
('shops', 'STORE-12', 'upload', 7, 'applied', 6, '2026-01-31 07:15Z', gen_random_uuid(), NULL, 'P-0001'),
('shops', 'STORE-12', 'download', 8, 'no_data', 5, '2026-01-31 07:15Z', gen_random_uuid(), NULL, NULL),
('shops', 'STORE-12', 'download', 9, 'apply_failed', 4, '2026-01-31 07:15Z', gen_random_uuid(), 'bad \x1b[2J', NULL);
INSERT INTO status_message (store, message_id, station, direction, number, status, rank, failed, at, session_id) VALUES
('shops', gen_random_uuid(), 'STORE-12', 'upload', 7, 'applied', 6, false, '2026-01-31 07:15Z', 1),
('shops', gen_random_uuid(), 'STORE-99', 'upload', 1, 'applied', 6, false, '2026-01-31 07:15Z', NULL);
UPDATE status_message SET uploaded_at = now() - interval '2 days';
INSERT INTO status_message_trouble (store, copy, name, tries, refused, text) VALUES
('shops', 'a', 'a.xml', 1, true, 'Line 3: no such status.');
INSERT INTO message_store (store, tried_at, error) VALUES ('shops', now(), 'It is away.');
"""


@pytest.fixture
def cli(cli: Cli, database_url: str, tmp_path: Path) -> Cli:
    cli.config.write_text(
        cli.config.read_text() + "data_exchange: {upload_session_days: -1, stores: {shops: {folder: ./status}}}\n"
        "jobs: {upload: {tasks: {upload: {run: status_messages}}}}\n"
    )

    async def fill() -> None:
        visit = open_store(database_url, tmp_path / "data", use=Use.VISIT)
        async with visit as store, store.transaction() as connection:
            await connection.execute(SESSIONS)

    asyncio.run(fill())
    return cli


def test_sessions_without_data_are_shown_with_all_only(cli: Cli) -> None:
    assert [one["number"] for one in cli.json("sessions", "list")["sessions"]] == [9, 7]
    assert [one["number"] for one in cli.json("sessions", "list", "--all")["sessions"]] == [9, 8, 7]
    assert [one["number"] for one in cli.json("sessions", "list", "--status", "no_data")["sessions"]] == [8]
    assert "apply failed" in cli.run("sessions", "list").stdout and "\x1b[2J" not in cli.run("sessions", "list").stdout


def test_session_is_shown_with_its_messages(cli: Cli) -> None:
    shown = cli.json("sessions", "show", "STORE-12/7")
    assert (shown["session"]["status"], len(shown["messages"])) == ("applied", 1)
    assert "Session 1: applied" in cli.run("sessions", "show", "1").stdout
    assert cli.run("sessions", "show", "STORE-12/99").exit_code == 1


def test_session_is_canceled_and_rerun_is_refused_with_what_is_possible(cli: Cli) -> None:
    refused = cli.run("sessions", "rerun", "3")
    assert refused.exit_code == 1 and "its station has to do it again" in refused.stderr.lower()
    assert cli.json("sessions", "cancel", "3", "--reason", "bad data")["session"]["status"] == "canceled"
    assert cli.run("sessions", "cancel", "1").exit_code == 1
    assert [row["action"] for row in cli.json("audit")["actions"]] == ["session.cancel"] * 2 + ["session.rerun"]


def test_status_messages_and_what_is_wrong_with_them(cli: Cli) -> None:
    assert len(cli.json("status-messages", "list")["messages"]) == 2
    (waiting,) = cli.json("status-messages", "list", "--waiting")["messages"]
    assert (waiting["station"], waiting["problem"]) == ("STORE-99", "unknown_session")
    assert "its session is not known" in cli.run("status-messages", "list", "--waiting").stdout
    (refused,) = cli.json("status-messages", "refused")["messages"]
    assert (refused["name"], refused["refused"]) == ("a.xml", True)
    (store,) = cli.json("status-messages", "stores")["stores"]
    assert (store["kind"], store["error"], store["waiting"], store["refused"]) == ("folder", "It is away.", 1, 1)
    assert [(one["days"], one["meaning"]) for one in cli.json("status-messages", "retention")["retention"]] == [
        (-1, "removed at once"),
        (30, "kept for 30 days"),
    ]
    assert "no job copies" in cli.run("status-messages", "run").stderr, "the gateway has not read its jobs yet"


def test_explain_and_doctor_know_sessions(cli: Cli) -> None:
    explained = cli.run("explain", "STORE-12/9")
    assert explained.exit_code == 1 and "Its data could not be applied" in explained.stdout
    assert "gateway sessions cancel 3" in explained.stdout
    done = cli.run("explain", "session:1")
    assert done.exit_code == 0 and "Its data were applied." in done.stdout
    result = cli.run("doctor", "--json")
    assert result.exit_code == 1
    found = {one["code"] for one in json.loads(result.stdout)["findings"]}
    assert {"message-store-away", "status-message-refused", "status-message-waits", "session-failed"} <= found
