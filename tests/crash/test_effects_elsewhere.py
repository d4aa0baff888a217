"""P38: what a handler does outside the database happens at least once, always with the same idempotency key."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import pytest
from lxml import etree

from gateway.db.data_folder import Use
from gateway.db.open import open_store
from gateway.messaging.queue.operate import release
from tests.crash.outside import Outside
from tests.crash.outside import __name__ as OUTSIDE
from tests.crash.proof import calm
from tests.crash.site import CrashSite
from tests.documents import SERVICES, batch, envelope, guid, order, single
from tests.site import until

BOOK = f"{SERVICES}/Books/book"


def request(number: int, outside: Outside, customer: str = "good") -> str:
    body = order(customer=customer).replace(">P0<", f">{outside.port}<")
    return envelope(body, message_id=guid(number), action=BOOK)


def add_port(site: CrashSite, **process: str) -> None:
    operation = {"handler": f"{OUTSIDE}:book", "undoable": False, "compensate": f"{OUTSIDE}:cancel"}
    site.services["Books"] = {"kind": "python", "operations": {"book": operation}}
    site.add_port(operations=["Books.book"], process=process)


def plain(number: int) -> str:
    """Return the id of a request as the service sees it."""
    return guid(number).strip("{}")


def changing_keys(outside: Outside) -> list[str]:
    """Return the messages that were booked under more than one key."""
    return [message_id for message_id, keys in outside.keys("book").items() if len(keys) > 1]


def compensation_failed(outside: Outside) -> list[str]:
    """Return the messages whose bookings were not cancelled, or booked again after that."""
    booked, cancelled = outside.keys("book"), outside.keys("cancel")
    last = {call.message_id: call.what for call in outside.calls}
    return [one for one, keys in booked.items() if cancelled.get(one) != keys or last[one] != "cancel"]


async def killed_while_it_calls(site: CrashSite, outside: Outside, chance: Random, *, surely: bool) -> None:
    """Kill the gateway, or the process that runs services, a moment after its next call arrived, *surely* within it.

    The gateway is started when it does not run; when there is nothing left to call, it is killed as well.
    """
    if surely:
        outside.answers.clear()
    before = len(outside.calls)
    if site.process is None or site.process.returncode is not None:
        site.launch()
    runs = len(site.happened("run.ended"))

    async def calls() -> bool:
        return len(outside.calls) > before or len(site.happened("run.ended")) > runs

    await until(calls, "it calls", tell=site.tail)
    await asyncio.sleep(chance.uniform(0, 0.05))
    if chance.random() < 0.5:
        await site.kill()
    else:
        for worker in site.workers():
            with suppress(psutil.NoSuchProcess):
                worker.kill()
    outside.answers.set()


async def release_poison(site: CrashSite, folder: Path) -> None:
    """Do what an operator does about messages that were killed twice in their call."""
    rows = await site.query("SELECT message_id FROM queue WHERE reason = 'poison'")
    if not rows:
        return
    async with open_store(site.store, folder, pool_size=2, use=Use.VISIT) as store:
        await release(store, [row["message_id"] for row in rows])


@pytest.mark.parametrize(
    "kills", [8, pytest.param(200, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["few", "many"]
)
async def test_calls_repeated_after_a_crash_have_the_same_key(
    crash_site: CrashSite, chance: Random, kills: int, tmp_path: Path
) -> None:
    add_port(crash_site, mode="parallel")
    number = 0
    with Outside() as outside:
        for kill in range(kills):
            for _ in range(chance.randint(1, 5)):
                number += 1
                crash_site.drop(f"{number:06}.xml", single(request(number, outside)))
            await killed_while_it_calls(crash_site, outside, chance, surely=kill == 0)
        await crash_site.kill()
        await crash_site.run()

        async def done() -> bool:
            await release_poison(crash_site, tmp_path / "operator")
            (row,) = await crash_site.query("SELECT count(*) AS done FROM message WHERE outcome = 'processed'")
            return bool(row["done"] == number)

        await until(done, "everything is processed", tell=crash_site.tail)
        await calm(crash_site, taken=False)
        assert await crash_site.stop() == 0
    keys = outside.keys("book")
    assert len(keys) == number, "each at least once"
    assert changing_keys(outside) == []
    assert len(set.union(*keys.values())) == number, "which is its own"
    assert len(outside.calls) > number, "no call was repeated: this proved nothing"
    assert not outside.keys("cancel")


@pytest.mark.parametrize(
    "kills", [6, pytest.param(100, marks=[pytest.mark.full, pytest.mark.timeout(0)])], ids=["few", "many"]
)
async def test_what_a_rolled_back_set_did_elsewhere_is_taken_back(
    crash_site: CrashSite, chance: Random, kills: int
) -> None:
    """Sets whose fourth message fails are killed again and again; in the end each of their bookings is cancelled."""
    add_port(crash_site, on_error="rollback")
    sets = 0

    async def at_rest() -> bool:
        rows = await crash_site.query(
            "SELECT (SELECT count(*) FROM message_set) AS sets,"
            " (SELECT count(*) FROM queue WHERE status NOT IN ('error', 'hold')) AS moving"
        )
        return (rows[0]["sets"], rows[0]["moving"]) == (sets, 0)

    with Outside() as outside:
        for kill in range(kills):
            if await at_rest():  # a set that was killed often enough has failed for good
                members = [request(5 * sets + n, outside, "bad" if n == 4 else "good") for n in range(1, 6)]
                crash_site.drop(f"set_{sets}.xml", batch(members))
                sets += 1
            await killed_while_it_calls(crash_site, outside, chance, surely=kill == 0)
        await crash_site.kill()
        await crash_site.run()

        async def answered() -> bool:
            return len(crash_site.answers()) >= sets

        await until(answered, "the failures are told", tell=crash_site.tail)
        await calm(crash_site, resting=("error", "hold"), taken=False)
        assert await crash_site.stop() == 0
    for content in crash_site.answers().values():
        assert etree.fromstring(content).findtext(".//{*}Code") == "RequestFailed"
    rows = await crash_site.query("SELECT reason FROM queue WHERE direction = 'in'")
    reasons = Counter(row["reason"] for row in rows)
    assert reasons["set_rolled_back"] == 4 * sets and reasons["failed"] + reasons["poison"] == sets
    assert outside.keys("book"), "nothing was done: this proved nothing"
    assert compensation_failed(outside) == []


async def test_key_of_its_own_for_each_attempt_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: what is called again after a crash looks like another booking."""
    add_port(crash_site, mode="parallel")
    with Outside() as outside:
        crash_site.drop("a.xml", single(request(1, outside)))
        await crash_site.run(build="key_of_the_attempt", faults="inbound.before_commit:1:kill")
        await crash_site.ended()
        await crash_site.run(build="key_of_the_attempt")
        await crash_site.wait_answers(1)
    assert changing_keys(outside) == [plain(1)]


@pytest.mark.parametrize(
    ("build", "left"),
    [("", []), ("beginnings_forgotten", [plain(2)]), ("nothing_taken_back_elsewhere", [plain(1), plain(2)])],
    ids=["shipped", "beginnings-forgotten", "nothing-taken-back"],
)
async def test_bookings_of_a_life_that_ended_are_taken_back_though_the_next_one_makes_none(
    crash_site: CrashSite, build: str, left: list[str]
) -> None:
    """The proof can fail: a gateway that knows only of its own calls, or takes nothing back, leaves bookings there."""
    add_port(crash_site, on_error="rollback")
    with Outside() as outside:
        crash_site.drop("set.xml", batch([request(n, outside) for n in (1, 2)]))
        await crash_site.run(build=build, faults="inbound.before_commit:1:kill")
        await crash_site.ended()
        outside.is_closed = True
        await crash_site.run(build=build)
        await crash_site.wait_answers(1)
    assert compensation_failed(outside) == left
