"""Error policies from files to answers, and how an operator goes on from there."""

import asyncio
import json
import sys
from typing import Any

import pytest
from lxml import etree

from tests.documents import batch, envelope, order
from tests.site import Site, until

BAD = envelope(order("many"))


async def gateway(site: Site, *words: str) -> Any:
    """Run a command beside the gateway and return what it tells."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *words, "--config", str(site.config), "--json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return json.loads(output)


async def answered(site: Site, number: int) -> list[str]:
    """Wait for so many answers; returns for each by position whether it is a response or a fault."""
    answers = await site.wait_answers(number)
    found = {name.split(".")[1]: etree.fromstring(content) for name, content in answers.items()}
    return [f"{int(place)} {'fault' if root.find('.//{*}Code') is not None else 'response'}"
            for place, root in sorted(found.items())]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "answers", "left"),
    [
        ("continue", ["1 response", "2 fault", "3 response"], ["error"]),
        ("halt", ["1 response", "2 fault"], ["error", "skipped"]),
        ("rollback", ["2 fault"], ["rolled back", "error", "rolled back"]),
    ],
)
async def test_file_with_a_bad_message_is_stopped_as_the_policy_says_and_goes_on_without_it(
    site: Site, policy: str, answers: list[str], left: list[str]
) -> None:
    site.add_port(process={"on_error": policy})
    await site.start()
    site.drop("orders.xml", batch([envelope(), BAD, envelope()]))
    assert await answered(site, len(answers)) == answers

    async def settled() -> bool:
        return len((await gateway(site, "queue", "list"))["messages"]) == len(left)

    await until(settled, "the answers are sent", tell=site.tail)
    waiting = (await gateway(site, "queue", "list"))["messages"]
    assert [message["set_status"] for message in waiting] == left
    failed = next(str(message["key"]) for message in waiting if message["status"] == "error")
    await gateway(site, "queue", "delete", failed, "--yes")
    held = [str(message["key"]) for message in waiting if message["status"] == "hold"]
    if held:
        await gateway(site, "queue", "release", held[0], "--yes")
    assert await answered(site, 3) == ["1 response", "2 fault", "3 response"]
    history = (await gateway(site, "history", "list", "--direction", "in"))["messages"]
    assert sorted(message["outcome"] for message in history) == ["deleted", "processed", "processed"]


async def test_blocked_lane_goes_on_when_its_message_is_deleted(site: Site) -> None:
    site.add_port(process={"on_lane_error": "block"})
    await site.start()
    site.drop("a.xml", batch([BAD, envelope()]))
    assert await answered(site, 1) == ["1 fault"]

    async def blocked() -> bool:
        return bool((await gateway(site, "lanes", "list", "--stopped"))["lanes"])

    await until(blocked, "the lane is blocked", tell=site.tail)
    (lane,) = (await gateway(site, "lanes", "list", "--stopped"))["lanes"]
    assert (lane["port"], lane["name"], lane["waiting"]) == ("orders", "port", 1)
    await gateway(site, "queue", "delete", str(lane["blocked_by"]), "--yes")
    assert await answered(site, 2) == ["1 fault", "2 response"]


async def test_reload_lets_a_blocked_lane_go_on(site: Site) -> None:
    site.add_port(process={"on_lane_error": "block"})
    await site.start()
    site.drop("a.xml", batch([BAD, envelope()]))
    await site.wait_answers(1)
    site.ports["orders"]["process"]["on_lane_error"] = "continue"
    site.write_config()
    assert await answered(site, 2) == ["1 fault", "2 response"]
