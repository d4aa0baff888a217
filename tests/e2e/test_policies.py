"""Error policies from files to answers, and how an operator goes on from there; one gateway, a port for each case."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lxml import etree

from tests.crash.process_factory import ProcessFactory
from tests.documents import batch, envelope, order
from tests.e2e.operator import ask
from tests.site import Site, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD = envelope(order("many"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    tmp_path_factory: pytest.TempPathFactory, module_database_url: str, process_factory: ProcessFactory
) -> AsyncIterator[Site]:
    site = Site(tmp_path_factory.mktemp("policies"), module_database_url, process_factory)
    for policy in ("continue", "halt", "rollback"):
        site.add_port(policy, process={"on_error": policy})
    for name in ("blocked", "reloaded"):
        site.add_port(name, process={"on_lane_error": "block"})
    async with running(site):
        yield site


async def answered(site: Site, number: int, port: str) -> list[str]:
    """Wait for so many answers; returns for each by position whether it is a response or a fault."""
    answers = await site.wait_answers(number, port)
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
    site.drop("orders.xml", batch([envelope(), BAD, envelope()]), policy)
    assert await answered(site, len(answers), policy) == answers

    async def settled() -> bool:
        return len((await ask(site, "queue", "list", "--port", policy))["messages"]) == len(left)

    await until(settled, "the answers are sent", tell=site.tail, pause=0.2)
    waiting = (await ask(site, "queue", "list", "--port", policy))["messages"]
    assert [message["set_status"] for message in waiting] == left
    failed = next(str(message["key"]) for message in waiting if message["status"] == "error")
    await ask(site, "queue", "delete", failed, "--yes")
    held = [str(message["key"]) for message in waiting if message["status"] == "hold"]
    if held:
        await ask(site, "queue", "release", held[0], "--yes")
    assert await answered(site, 3, policy) == ["1 response", "2 fault", "3 response"]
    history = (await ask(site, "history", "list", "--direction", "in", "--port", policy))["messages"]
    assert sorted(message["outcome"] for message in history) == ["deleted", "processed", "processed"]


async def test_blocked_lane_goes_on_when_its_message_is_deleted(site: Site) -> None:
    site.drop("a.xml", batch([BAD, envelope()]), "blocked")
    assert await answered(site, 1, "blocked") == ["1 fault"]

    async def blocked() -> bool:
        return bool((await ask(site, "lanes", "list", "--stopped", "--port", "blocked"))["lanes"])

    await until(blocked, "the lane is blocked", tell=site.tail, pause=0.2)
    (lane,) = (await ask(site, "lanes", "list", "--stopped", "--port", "blocked"))["lanes"]
    assert (lane["port"], lane["name"], lane["waiting"]) == ("blocked", "port", 1)
    await ask(site, "queue", "delete", str(lane["blocked_by"]), "--yes")
    assert await answered(site, 2, "blocked") == ["1 fault", "2 response"]


async def test_reload_lets_a_blocked_lane_go_on(site: Site) -> None:
    site.drop("a.xml", batch([BAD, envelope()]), "reloaded")
    await site.wait_answers(1, "reloaded")
    site.ports["reloaded"]["process"]["on_lane_error"] = "continue"
    site.write_config()
    assert await answered(site, 2, "reloaded") == ["1 fault", "2 response"]
