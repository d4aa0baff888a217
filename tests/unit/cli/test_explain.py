"""`gateway explain`: messages, files, ports and lanes, each in two sentences that name what is involved."""

import asyncio
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from asyncpg import connect

from tests.unit.cli.conftest import DONE_ID, FAILED_ID, RESPONSE_ID, Cli


def explained(cli: Cli, what: str) -> list[dict[str, Any]]:
    result = cli.run("explain", what, "--json")
    found = json.loads(result.stdout)["explanations"]
    assert result.exit_code == int(any(one["wrong"] for one in found)), result.stdout
    assert all(one["why"].endswith(".") and one["way_out"].endswith(".") for one in found)
    return list(found)


def codes(cli: Cli, what: str) -> Sequence[str]:
    return [one["code"] for one in explained(cli, what)]


def execute(database_url: str, sql: str) -> None:
    async def run() -> None:
        connection = await connect(database_url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    asyncio.run(run())


@pytest.mark.usefixtures("history")
def test_finished_request_tells_its_answer_with_file_and_time(cli: Cli) -> None:
    (one,) = explained(cli, str(DONE_ID))
    assert one["code"] == "message.processed"
    assert "batch.000001.xml" in one["why"] and "was delivered at" in one["why"]


def answer_stands(database_url: str, reason: str, attempts: int) -> None:
    """Put the answer to the request that was processed back into the queue."""

    async def put_back() -> None:
        connection = await connect(database_url)
        try:
            await connection.execute("UPDATE message SET outcome = NULL, finished_at = NULL WHERE direction = 'out'")
            await connection.execute(
                "INSERT INTO queue (message_id, port, direction, status, reason, attempts, error, not_before)"
                " SELECT id, port, 'out', 'ready', $1::text, $2::smallint,"
                " CASE WHEN $2::smallint > 0 THEN 'The folder is away.' END,"
                " CASE $1::text WHEN 'address_unavailable' THEN now() END FROM message WHERE direction = 'out'",
                reason, attempts,
            )  # fmt: skip
            await connection.execute("DELETE FROM queue WHERE direction = 'in'")
        finally:
            await connection.close()

    asyncio.run(put_back())


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("reason", ["address_unavailable", "ready"])
def test_request_and_file_whose_answer_cannot_be_delivered_are_not_finished(
    cli: Cli, database_url: str, reason: str
) -> None:
    answer_stands(database_url, reason, attempts=3)
    (one,) = explained(cli, str(DONE_ID))
    assert one["code"] == "message.answer-stuck" and one["wrong"]
    assert "is not delivered: The folder is away." in one["why"]
    assert f"gateway explain {one['messages'][-1]}" in one["way_out"]
    found = explained(cli, "batch.xml")
    assert "file.answers-stuck" in [one["code"] for one in found]
    assert f"message {one['messages'][-1]}" in [one["subject"] for one in found], "the answer is explained, too"


@pytest.mark.usefixtures("history")
def test_request_whose_answer_is_on_its_way_says_so(cli: Cli, database_url: str) -> None:
    answer_stands(database_url, "ready", attempts=0)
    (one,) = explained(cli, str(DONE_ID))
    assert one["code"] == "message.processed" and "is on its way" in one["why"] and not one["wrong"]


@pytest.mark.usefixtures("history")
def test_sent_response_tells_its_folder(cli: Cli) -> None:
    (one,) = explained(cli, "{" + str(RESPONSE_ID).upper() + "}")
    assert one["code"] == "message.sent" and str(cli.config.parent / "out") in one["why"]


@pytest.mark.usefixtures("history")
def test_failed_request_tells_its_error_and_how_to_try_again(cli: Cli) -> None:
    (one,) = explained(cli, str(FAILED_ID))
    number = one["messages"][0]
    assert one["code"] == "message.failed" and "breaks its schema" in one["why"] and "It failed at 20" in one["why"]
    assert f"gateway queue release {number}" in one["way_out"]


@pytest.mark.usefixtures("history", "as_ann")
def test_held_and_deleted_messages_tell_who_did_it_when_and_why(cli: Cli) -> None:
    number = str(cli.json("queue", "list", "--status", "ready")["messages"][0]["key"])
    assert cli.run("queue", "hold", number, "--reason", "The price is wrong.", "--yes").exit_code == 0
    (one,) = explained(cli, number)
    assert "It was held by ann at 2" in one["why"] and "(The price is wrong)" in one["why"]
    assert cli.run("queue", "delete", number, "--yes").exit_code == 0
    (one,) = explained(cli, number)
    assert "It was deleted from the queue by ann at 2" in one["why"]


def stop(database_url: str) -> None:
    """Say that the process which made the history has ended; it is this one."""

    async def end() -> None:
        connection = await connect(database_url)
        try:
            await connection.execute("UPDATE incarnation SET stopped_at = clock_timestamp()")
        finally:
            await connection.close()

    asyncio.run(end())


@pytest.mark.usefixtures("history")
def test_waiting_request_without_a_gateway_says_that_none_runs(cli: Cli, database_url: str) -> None:
    stop(database_url)
    (one,) = [
        one for one in explained(cli, "batch.xml") if one["subject"].startswith("message") and "ready" in one["why"]
    ]
    assert one["code"] == "gateway.not-running" and "gateway run" in one["way_out"]


@pytest.mark.usefixtures("history")
def test_taken_file_tells_how_far_its_messages_are_and_explains_those_that_wait(cli: Cli) -> None:
    assert [code for code in codes(cli, "batch.xml") if code.startswith("file.")] == ["file.in-queue", "file.stopped"]


@pytest.mark.usefixtures("history")
def test_our_own_file_name_means_its_message(cli: Cli) -> None:
    assert codes(cli, "batch.000001.xml") == ["message.sent"]


@pytest.mark.usefixtures("history")
def test_refused_file_tells_its_reason(cli: Cli) -> None:
    refused = explained(cli, "bad\x1b[2J.xml")
    assert [one["code"] for one in refused] == ["file.refused", "message.malformed"]
    assert "No DOCTYPE" in refused[0]["why"]


@pytest.mark.usefixtures("history")
def test_refused_file_is_over_when_a_newer_one_of_its_name_was_accepted(cli: Cli, database_url: str) -> None:
    name = "bad\x1b[2J.xml"
    execute(
        database_url,
        "INSERT INTO delivery (claim_id, port, name, display, size_bytes, owner_uid, modified_at, envelopes, outcome,"
        " settlement, received_at) SELECT gen_random_uuid(), port, name, display, size_bytes, owner_uid, modified_at,"
        " 1, 'ingested', 'archive', received_at + interval '1 hour' FROM delivery WHERE outcome = 'refused'",
    )
    newer, older = explained(cli, name)
    assert (newer["code"], older["code"]) == ("file.finished", "file.replaced")
    assert "No DOCTYPE" in older["why"] and "accepted a newer file of this name" in older["why"]
    assert f"gateway queue delete {older['messages'][0]}" in older["way_out"]
    assert cli.run("explain", name).exit_code == 0
    execute(database_url, "UPDATE delivery SET port = 'asleep' WHERE outcome = 'ingested'")
    assert "file.refused" in codes(cli, name), "what another port accepted is another file"


def test_refused_file_that_lies_there_is_put_back_with_the_command_that_is_told(cli: Cli) -> None:
    error = cli.config.parent / "data" / "error" / "orders"
    error.mkdir(parents=True)
    (error / "01920000-0000-7000-8000-000000000000~it%27s.xml").write_text("<Envelope/>")
    (one,) = explained(cli, "it's.xml")
    assert one["code"] == "file.put-aside"
    assert cli.run(*shlex.split(one["way_out"].split("`")[1])[1:]).exit_code == 0
    assert (cli.config.parent / "in" / "it's.xml").read_text() == "<Envelope/>", "under the name it came with"


@pytest.mark.usefixtures("history")
def test_set_is_named_by_its_number_or_batch_id(cli: Cli) -> None:
    number = cli.json("queue", "list", "--status", "error")["messages"][0]["set_key"]
    (one,) = explained(cli, f"set:{number}")
    assert one["code"] == "set.error" and "batch.xml" in one["file"]


def test_port_that_is_switched_off_says_so(cli: Cli) -> None:
    (one,) = explained(cli, "asleep")
    assert one["code"] == "gateway.not-running"
    result = cli.run("explain", "asleep")
    assert "why:" in result.stdout and "then:" in result.stdout


@pytest.mark.usefixtures("history")
def test_lane_in_which_nothing_stands_any_more_is_empty(cli: Cli, database_url: str) -> None:
    execute(database_url, "UPDATE message SET conversation_id = 'once/1' WHERE outcome = 'processed'")
    (one,) = explained(cli, "orders/conversation:once/1")
    assert one["code"] == "lane.empty" and one["lane"] == "orders/conversation:once/1" and not one["wrong"]
    execute(database_url, "UPDATE message SET conversation_id = repeat('c', 300) WHERE outcome = 'processed'")
    assert codes(cli, f"orders/conversation:{'c' * 100}~{'0' * 64}") == ["lane.empty"]


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("name", ["conversation:none", "set:0", "set:99999999999999999999", "port", "anything"])
def test_lane_that_never_was_says_so(cli: Cli, name: str) -> None:
    (one,) = explained(cli, f"orders/{name}")
    assert one["code"] == "lane.never-seen" and one["wrong"] and "gateway lanes list --port orders" in one["way_out"]


def test_sequential_port_has_one_lane(cli: Cli) -> None:
    assert codes(cli, "asleep/port") == ["lane.empty"]
    assert codes(cli, "asleep/conversation:a") == ["lane.never-seen"]


def test_name_that_nothing_has_names_the_folders_that_were_looked_into(cli: Cli) -> None:
    (one,) = explained(cli, "nowhere.xml")
    assert one["code"] == "file.never-seen" and str(cli.config.parent / "in") in one["why"]


def put(folder: Path, kind: str) -> None:
    """Make an entry that is not taken, called order.xml as far as possible."""
    file = folder / "order.xml"
    match kind:
        case "temporary":
            (folder / ".order.xml.part").write_text("<Envelope/>")
        case "pattern":
            (folder / "order.csv").write_text("a;b")
        case "incomplete":
            file.write_text("<Envelope><Header>")
        case "symlink":
            file.symlink_to("/etc/hostname")
        case "subfolder":
            (folder / "sub").mkdir()
            (folder / "sub" / "order.xml").write_text("<Envelope/>")
        case "fifo":
            os.mkfifo(file)


@pytest.mark.parametrize(
    ("kind", "asked", "code", "word"),
    [
        ("temporary", "order.xml", "file.not-matched", "hidden, temporary"),
        ("pattern", "order.csv", "file.not-matched", "does not match *.xml"),
        ("symlink", "order.xml", "file.entry.symlink", "a symlink"),
        ("subfolder", "order.xml", "file.entry.in-subfolder", "subfolder sub"),
        ("fifo", "order.xml", "file.entry.fifo", "not a regular file"),
    ],
)
def test_file_that_is_not_taken_tells_why(cli: Cli, kind: str, asked: str, code: str, word: str) -> None:
    put(cli.config.parent / "in", kind)
    (one,) = explained(cli, asked)
    assert one["code"] == code and word in one["why"], one


def test_whole_file_waits_for_a_gateway_to_run(cli: Cli) -> None:
    (cli.config.parent / "in" / "order.xml").write_text("<Envelope/>")
    assert codes(cli, "order.xml") in (["gateway.not-running"], ["file.being-written"])


def test_file_under_claim_that_the_store_does_not_know_says_who_took_it(cli: Cli) -> None:
    work = cli.config.parent / "data" / "work" / "orders"
    work.mkdir(parents=True)
    (work / "01920000-0000-7000-8000-000000000000~order.xml").write_text("<Envelope/>")
    (one,) = explained(cli, "order.xml")
    assert one["code"] == "gateway.not-running" and "took it at" in one["why"]


@pytest.mark.usefixtures("history")
def test_archived_file_tells_where_it_lies(cli: Cli) -> None:
    (refused, *_) = explained(cli, "bad\x1b[2J.xml")
    claim = refused["why"].partition("claim ")[2].partition(")")[0]
    day = cli.config.parent / "data" / "archive" / "orders" / "2031-02-03"
    day.mkdir(parents=True)
    (day / f"{claim}~bad%1B%5B2J.xml").write_text("<Envelope/>")
    (refused, *_) = explained(cli, "bad\x1b[2J.xml")
    assert str(day) in refused["way_out"]
