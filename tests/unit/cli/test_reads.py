"""What the commands tell about queue, history, exceptions and the gateway; the keys of their JSON are promised."""

import asyncio

import pytest

from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.messaging.queue.requests import RequestResult, claim_requests, put_send_requests, record_requests
from gateway.messaging.rules.outbound import RequestFailure
from tests.factories import COPIES, a_send_request
from tests.unit.cli.conftest import DONE_ID, FAILED_ID, RESPONSE_ID, Cli

pytestmark = pytest.mark.usefixtures("history")


def braces(value: object) -> str:
    return f"{{{str(value).upper()}}}"


def test_queue_lists_what_is_unfinished_with_the_reason(cli: Cli) -> None:
    messages = cli.json("queue", "list")["messages"]
    assert [(m["status"], m["reason"], m["file"]) for m in messages] == [
        ("error", "failed", "batch.xml"),
        ("ready", "ready", "batch.xml"),
        ("malformed", "malformed", "bad\x1b[2J.xml"),
    ]
    assert messages[0].keys() == {
        "key", "port", "message_id", "direction", "status", "reason", "company", "service", "operation", "error",
        "file", "position", "attempts", "since", "not_before", "set_key", "set_status", "lane",
    }  # fmt: skip
    assert messages[0]["message_id"] == braces(FAILED_ID)
    assert (messages[0]["service"], messages[0]["operation"]) == ("SalesOrderService", "create")


@pytest.mark.parametrize(
    ("words", "statuses"),
    [
        (("--status", "error"), ["error"]),
        (("--port", "asleep"), []),
        (("--direction", "out"), []),
        (("--limit", "1"), ["error"]),
    ],
)
def test_queue_is_filtered(cli: Cli, words: tuple[str, ...], statuses: list[str]) -> None:
    assert [m["status"] for m in cli.json("queue", "list", *words)["messages"]] == statuses


@pytest.mark.parametrize("reference", [str(FAILED_ID), str(FAILED_ID).upper(), braces(FAILED_ID), f"{{{FAILED_ID}}}"])
def test_message_is_found_by_its_id_however_it_is_written(cli: Cli, reference: str) -> None:
    shown = cli.json("queue", "show", reference)
    assert shown["message"]["message_id"] == braces(FAILED_ID)
    assert shown["document"] == "<Envelope>Grüße 2</Envelope>"
    assert shown["message_set"]["members"] == 2
    (entry,) = shown["exceptions"]
    assert (entry["code"], entry["details"][0]["line"]) == ("schema", 12)


def test_message_is_found_by_its_number(cli: Cli) -> None:
    number = cli.json("queue", "list")["messages"][0]["key"]
    assert cli.json("queue", "show", str(number))["message"]["message_id"] == braces(FAILED_ID)


def test_history_correlates_request_and_response(cli: Cli) -> None:
    response, request = cli.json("history", "list")["messages"]
    assert (request["direction"], request["outcome"]) == ("in", "processed")
    assert (response["direction"], response["outcome"], response["file"]) == ("out", "sent", "batch.000001.xml")
    assert request["other_message_id"] == response["message_id"] == braces(RESPONSE_ID)
    assert response["other_key"] == request["key"]


def test_finished_message_shows_its_other_side(cli: Cli) -> None:
    shown = cli.json("history", "show", str(DONE_ID))
    assert [c["file_name"] for c in shown["correlated"]] == ["batch.000001.xml"]
    assert shown["message"]["entity_keys"] == ["SalesId=SO-1"]


def test_document_alone_is_printed_decoded(cli: Cli) -> None:
    result = cli.run("history", "show", str(RESPONSE_ID), "--xml")
    assert result.stdout == '<?xml version="1.0" encoding="UTF-16"?><Envelope>SO-1</Envelope>\n'


def test_message_on_the_other_side_is_pointed_at(cli: Cli) -> None:
    result = cli.run("queue", "show", str(DONE_ID))
    assert result.exit_code == 1
    assert "gateway history show" in result.stderr


def test_received_files_say_what_became_of_them(cli: Cli) -> None:
    files = cli.json("history", "files")["files"]
    assert sorted((f["outcome"], f["envelopes"], f["code"] or "") for f in files) == [
        ("ingested", 1, ""),
        ("ingested", 2, ""),
        ("refused", 0, "dtd.forbidden"),
    ]


def test_exceptions_are_listed_and_shown(cli: Cli) -> None:
    refused, failed = cli.json("exceptions", "list")["exceptions"]
    assert (refused["code"], refused["line"]) == ("dtd.forbidden", 2)
    assert (failed["code"], failed["message_id"]) == ("schema", braces(FAILED_ID))
    assert cli.json("exceptions", "show", str(failed["id"]))["text"] == "The document breaks its schema."
    assert [e["id"] for e in cli.json("exceptions", "list", "--message", str(FAILED_ID))["exceptions"]] == [
        failed["id"]
    ]


def test_status_counts_and_names_ports(cli: Cli) -> None:
    status = cli.json("status")
    assert status.keys() == {"running", "store", "nodes", "ports", "queue", "lanes", "leases", "runs", "jobs"}
    orders, asleep = status["ports"]
    assert (orders["port"], orders["waiting"], orders["failed"]) == ("orders", 1, 2)
    assert asleep["state"] == "inactive"
    assert len(status["nodes"]) == 1


def test_ports_show_their_folders(cli: Cli) -> None:
    orders, asleep = cli.json("ports")["ports"]
    assert orders["inbound"] == str(cli.config.parent / "in")
    assert asleep["outbound"] is None


def test_control_characters_of_partners_never_reach_a_terminal(cli: Cli) -> None:
    for words in (("queue", "list"), ("exceptions", "list"), ("history", "files"), ("status",), ("ports",)):
        result = cli.run(*words)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
    assert "bad\\x1b[2J.xml" in cli.run("queue", "list").stdout


def test_tables_show_one_message(cli: Cli) -> None:
    shown = cli.run("queue", "show", str(FAILED_ID)).stdout
    for text in ("Request", "SalesOrderService.create", "Message set", "ten is no number", "Grüße 2"):
        assert text in shown


@pytest.fixture
def failed_request(cli: Cli, database_url: str) -> int:
    """A send request for two orders whose document could not be read; returns its number."""

    async def ask() -> int:
        async with open_store(database_url, cli.config.parent / "data", use=Use.RUN) as store:
            (key,) = await put_send_requests(store, [a_send_request("SO-1", "SO=2")])
            claimed = await claim_requests(store, 1, COPIES, 1)
            assert claimed is not None
            failure = RequestFailure(request=claimed.items[0], code="operation.rejected", text="There is no SO-1.")
            async with store.transaction() as connection:
                await record_requests(store, connection, claimed.fence, RequestResult(failed=[failure]))
            return key

    return asyncio.run(ask())


def test_failed_send_request_is_listed_and_explained(cli: Cli, failed_request: int) -> None:
    (listed,) = cli.json("queue", "list", "--direction", "out")["messages"]
    assert (listed["key"], listed["status"], listed["error"]) == (failed_request, "error", "There is no SO-1.")
    shown = cli.run("queue", "show", str(failed_request)).stdout
    assert f"Send request {failed_request}" in shown
    assert "SalesId=SO-1, SalesId=SO=2" in shown
    assert "operation.rejected" in shown
    assert "could not be read, so nothing was sent" in shown
    assert f"gateway queue release {failed_request}" in shown
    assert "bytes" not in shown


def test_released_send_request_waits_for_its_document(cli: Cli, failed_request: int) -> None:
    cli.run("queue", "release", str(failed_request))
    shown = cli.run("queue", "show", str(failed_request)).stdout
    assert "There is no document yet" in shown


def test_nodes_are_shown_with_their_beats(cli: Cli) -> None:
    (node,) = cli.json("nodes")["nodes"]
    assert (node["alive"], node["beats"], node["leases"], node["lost_at"]) == ("running", 0, 0, None)
    assert "running" in cli.run("nodes").output
