"""Lanes and deletions on the command line, on a real database with a stopped lane."""

import asyncio
import json

import pytest

from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.messaging.intake.writing import ingestion
from gateway.messaging.processing.claims import InboundResult, claim_inbound, record_inbound
from gateway.messaging.queue.lanes import set_port_rule
from gateway.messaging.rules.message import Failure
from gateway.messaging.rules.states import LaneRule, Policy
from tests.factories import ORDERS, a_claim, a_file, a_message
from tests.unit.cli.conftest import Cli

LANE = "orders/conversation:a/1"


@pytest.fixture(params=[LaneRule.BLOCK, LaneRule.PARK])
def rule(request: pytest.FixtureRequest, cli: Cli, database_url: str) -> LaneRule:
    """What happened to a lane of three messages when the first one failed."""
    rule = LaneRule(request.param)
    asyncio.run(_stop_a_lane(database_url, cli, rule))
    return rule


async def _stop_a_lane(url: str, cli: Cli, rule: LaneRule) -> None:
    async with open_store(url, cli.config.parent / "data", use=Use.VISIT) as store:
        await set_port_rule(store, ORDERS, rule)
        claim = a_claim()
        async with ingestion(store) as ingesting:
            messages = [a_message(n, lane="conversation:a/1") for n in (1, 2, 3)]
            await ingesting.add_messages(ORDERS, claim.id, "partner", None, Policy.CONTINUE, messages)
            await ingesting.end_file(a_file(claim), None, [])
        claimed = await claim_inbound(store, 1, ORDERS, 10)
        assert claimed is not None
        failing, *others = claimed.items
        async with store.transaction() as connection:
            failure = Failure(work=failing, code="schema", text="wrong")
            await record_inbound(store, connection, claimed.fence, InboundResult(failed=[failure], released=others))


def test_stopped_lane_is_listed_with_who_is_in_the_way(cli: Cli, rule: LaneRule) -> None:
    (lane,) = cli.json("lanes", "list", "--stopped")["lanes"]
    (failed,) = cli.json("queue", "list", "--status", "error")["messages"]
    assert (lane["port"], lane["name"], lane["on_error"], lane["failed"]) == ("orders", "conversation:a/1", rule, 1)
    by, counted = ("blocked_by", "waiting") if rule is LaneRule.BLOCK else ("parked_by", "held")
    assert (lane[by], lane[counted]) == (failed["key"], 2)
    shown = cli.run("lanes", "list").stdout
    assert LANE in shown and ("blocked" if rule is LaneRule.BLOCK else "parked") in shown


def test_lane_is_shown_with_its_messages_in_order(cli: Cli, rule: LaneRule) -> None:
    shown = cli.json("lanes", "show", LANE)
    assert [message["position"] for message in shown["messages"]] == [1, 2, 3]
    assert f"{rule} (as the port says)" in cli.run("lanes", "show", LANE).stdout


def test_release_of_a_lane_tells_what_runs_again(cli: Cli, rule: LaneRule) -> None:
    released = cli.json("lanes", "release", LANE)["released"]
    keys = [message["key"] for message in cli.json("lanes", "show", LANE)["messages"]]
    assert released == (keys[:1] if rule is LaneRule.BLOCK else keys[1:])
    assert cli.json("lanes", "list", "--stopped")["lanes"] == []


def test_operator_decides_for_one_lane_and_takes_it_back(cli: Cli, rule: LaneRule) -> None:
    assert cli.json("lanes", "set", LANE, "--on-error", "continue") == {"lane": LANE, "on_error": "continue"}
    (decided,) = cli.json("lanes", "list")["rules"]
    assert (decided["name"], decided["on_error"]) == ("conversation:a/1", "continue")
    cli.run("lanes", "set", LANE, "--on-error", "port")
    found = cli.json("lanes", "list")
    assert (found["rules"], found["lanes"][0]["on_error"]) == ([], rule)


def explained(cli: Cli) -> str:
    (one,) = json.loads(cli.run("explain", LANE, "--json").stdout)["explanations"]
    return str(one["why"])


def test_explain_tells_who_decided_for_a_lane_and_why(cli: Cli, rule: LaneRule) -> None:
    assert "was set for this lane" not in explained(cli)
    other = LaneRule.PARK if rule is LaneRule.BLOCK else LaneRule.BLOCK
    cli.run("lanes", "set", LANE, "--on-error", other, "--reason", "no")
    cli.run("lanes", "set", LANE, "--on-error", rule, "--reason", "ask Bob first")
    assert f"`{rule}` was set for this lane by " in explained(cli) and "(ask Bob first)." in explained(cli)


@pytest.mark.parametrize("rule", [LaneRule.BLOCK], indirect=True)
@pytest.mark.usefixtures("rule")
def test_explain_tells_who_holds_the_message_that_blocks_a_lane(cli: Cli) -> None:
    first, second, _ = cli.json("lanes", "show", LANE)["messages"]
    cli.run("queue", "hold", str(second["key"]), "--reason", "ask Bob first", "--yes")
    cli.run("queue", "delete", str(first["key"]), "--yes")
    assert f"message {second['key']}, which was held by " in explained(cli) and "(ask Bob first)" in explained(cli)


@pytest.mark.parametrize(("lane", "told"), [("orders/port", "conversation:…"), ("asleep/orders", "asleep/port")])
def test_what_can_be_no_lane_of_a_port_is_refused(cli: Cli, lane: str, told: str) -> None:
    refused = cli.run("lanes", "set", lane, "--on-error", "block")
    assert refused.exit_code == 1
    assert told in refused.stderr
    assert cli.json("lanes", "list")["rules"] == []


def test_deleted_message_is_in_the_history(cli: Cli, rule: LaneRule) -> None:
    (failed,) = cli.json("queue", "list", "--status", "error")["messages"]
    assert cli.json("queue", "delete", str(failed["key"]), "--yes") == {"deleted": [failed["key"]], "left": []}
    (gone,) = cli.json("history", "list")["messages"]
    assert (gone["key"], gone["outcome"]) == (failed["key"], "deleted")


def test_waiting_message_is_not_deleted(cli: Cli, rule: LaneRule) -> None:
    key = cli.json("lanes", "show", LANE)["messages"][1]["key"]
    status = "ready" if rule is LaneRule.BLOCK else "hold"
    left = cli.json("queue", "delete", str(key), "--yes")
    assert left == ({"deleted": [], "left": [{"number": key, "status": status}]} if status == "ready" else
                    {"deleted": [key], "left": []})  # fmt: skip


@pytest.mark.parametrize("lane", ["nowhere/port", "orders/conversation:none", "orders"])
def test_lane_that_is_not_there_is_a_known_error(cli: Cli, lane: str) -> None:
    result = cli.run("lanes", "show", lane)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
