"""What `gateway explain` tells to do is done, word for word, and things move."""

import re

from gateway.cli.remedies import worded
from gateway.config.load import load
from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.explanations.facts import Explanation
from gateway.operations.explain import explain
from gateway.runtime.folders import finder
from tests.documents import batch, envelope, order, single
from tests.e2e.operator import ask
from tests.factories import operator
from tests.site import Site, until

BAD = envelope(order("many"))


async def told(site: Site, what: str, code: str, advice: str = "") -> str:
    """Wait until *what* is explained with that code and that advice; return what would move it."""
    settings = load(site.config, {})
    found: list[Explanation] = []

    def fitting() -> list[str]:
        return [told for one in found if one.code == code and advice in (told := worded(*one.remedies))]

    async with open_store(settings.store, settings.data, use=Use.VISIT) as store:

        async def explained() -> bool:
            found[:] = await explain(operator(store, settings=settings), what, finder(settings))
            return bool(fitting())

        await until(explained, f"{what} is {code}", tell=lambda: f"{found}\n{site.tail()}", pause=0.3)
    return fitting()[0]


async def follow(site: Site, way_out: str, verb: str) -> None:
    """Run the command that was told, as one who need not be asked."""
    commands = re.findall(r"`gateway ([^`]+)`", way_out)
    asked = ("--yes",) if verb.startswith("queue") else ()
    await ask(site, *next(command for command in commands if command.startswith(verb)).split(), *asked)


async def test_blocked_lane_is_explained_and_goes_on_as_told(site: Site) -> None:
    site.add_port(process={"on_lane_error": "block"})
    await site.start()
    site.drop("a.xml", batch([BAD, envelope()]))
    way_out = await told(site, "a.xml", "message.lane-blocked", "queue delete")
    await follow(site, way_out, "queue delete")
    await site.wait_answers(2)
    await told(site, "a.xml", "file.finished")


async def test_withheld_job_is_explained_and_goes_on_as_told(site: Site) -> None:
    site.add_port()
    await site.start()
    await ask(site, "jobs", "hold", "gateway")
    site.drop("b.xml", single(envelope()))
    way_out = await told(site, "b.xml", "gateway.job-stopped")
    assert site.answers() == {}
    await follow(site, way_out, "jobs release")
    await site.wait_answers(1)
