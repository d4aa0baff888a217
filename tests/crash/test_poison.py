"""P20: poison never stops the line: whatever the code of a message does, the message ends in Error with a fault.

The gateway itself goes on all the time: what ends is a process that runs services, and another takes its place.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from signal import SIGABRT, SIGKILL

import pytest
from lxml import etree

from gateway.messaging.rules.poison import MOST_CRASHES
from gateway.workers.launcher import ending
from tests.crash.bad_code import __name__ as BAD_CODE
from tests.crash.proof import calm
from tests.crash.site import CrashSite
from tests.documents import SERVICES, envelope, guid, single
from tests.site import until

FAILS_AT_ONCE = ("raises", "raises_the_unspeakable", "exits", "answers_nonsense", "allocates")
TIMES_OUT = ("loops", "loops_in_a_thread", "matches_for_ever", "sleeps", "waits")
ENDS = ("aborts", "segfaults", "leaves", "leaves_a_child_behind")
TRIES = 2
CODES = {
    **dict.fromkeys(FAILS_AT_ONCE, "operation.failed"), "answers_nonsense": "handler.result",
    **dict.fromkeys(TIMES_OUT, "operation.timeout"), **dict.fromkeys(ENDS, "poison"),
}  # fmt: skip
OTHERS = ("good", "naps", "is_killed", "hoards", "holds_everything", "blocks")
FAULTS = {**dict.fromkeys(CODES, "RequestFailed"), **dict.fromkeys(TIMES_OUT, "Timeout")}


@dataclass
class Line:
    """Ports in parallel mode with bad services, and what was dropped."""

    site: CrashSite
    dropped: dict[str, str] = field(default_factory=dict)
    """What each request does, by its MessageId."""
    build: str = "little_memory short_standstills"

    def __post_init__(self) -> None:
        operations = {
            name: {"handler": f"{BAD_CODE}:{name}", "timeout_seconds": 0.5 if name in TIMES_OUT else 60.0}
            for name in (*OTHERS, *CODES)
        }
        self.site.services["Bad"] = {"kind": "python", "operations": operations}
        self.add_port()

    def add_port(self, name: str = "orders", retries: int = TRIES) -> None:
        process = {"mode": "parallel", "retries": retries, "conversations": "port"}
        self.site.add_port(name, operations=["Bad.*"], process=process)

    def allow(self, operation: str, seconds: float) -> None:
        self.site.services["Bad"]["operations"][operation]["timeout_seconds"] = seconds

    def drop(self, operations: Iterable[str], conversation: str = "", port: str = "orders") -> None:
        header = f"<ConversationId>{conversation}</ConversationId>" if conversation else ""
        for operation in operations:
            message_id = guid(len(self.dropped) + 1)
            action = f"{SERVICES}/Bad/{operation}"
            content = single(envelope(message_id=message_id, action=action, header=header))
            self.site.drop(f"{len(self.dropped):06}.xml", content, port)
            self.dropped[message_id] = operation

    async def run(self, seconds: float = 200) -> None:
        """Start the gateway and wait until everything is answered."""
        if self.site.process is None:
            self.site.launch(build=self.build)

        async def over() -> bool:
            assert self.site.process is not None and self.site.process.returncode is None, self.site.tail()
            answers = sum(len(list(self.site.outbound(port).iterdir())) for port in self.site.ports)
            return answers >= len(self.dropped)

        await until(over, "everything is answered", seconds=seconds, tell=self.site.tail)

    @property
    def deaths(self) -> list[str]:
        """How the processes that ended did, one by one."""
        return [str(event["how"]) for event in self.site.happened("worker.ended")]

    def answers(self) -> dict[str, str]:
        """Return what each request was answered with: the code of its fault, or nothing."""
        contents = [content for port in self.site.ports for content in self.site.answers(port).values()]
        roots = [etree.fromstring(content) for content in contents]
        return {
            str(root.findtext("{*}Header/{*}RequestMessageId")): root.findtext(".//{*}Code") or "" for root in roots
        }

    async def check(self) -> None:
        """Each bad one is in Error with its reason and was answered once with a fault; each good one ran once."""
        answers = self.answers()
        assert answers == {message_id: FAULTS.get(what, "") for message_id, what in self.dropped.items()}
        rows = await self.site.query(
            "SELECT m.message_id_sent, q.status, q.reason, q.attempts, q.crashes, e.code FROM queue q"
            " JOIN message m ON m.id = q.message_id JOIN exception e ON e.message_key = m.id AND e.severity = 'error'"
        )
        expected = {message_id: what for message_id, what in self.dropped.items() if what != "good"}
        assert {row["message_id_sent"]: row["code"] for row in rows} == {m: CODES[what] for m, what in expected.items()}
        for row in rows:
            what = expected[row["message_id_sent"]]
            assert row["status"] == "error"
            assert row["reason"] == ("poison" if what in ENDS else "failed")
            tries = TRIES if what in TIMES_OUT else 1
            if what in ENDS:
                assert (row["attempts"], row["crashes"]) == (MOST_CRASHES + 1, MOST_CRASHES)
            else:  # it may have been at work when another one ended its process, or took all memory for threads
                assert row["crashes"] <= 1
                assert tries <= row["attempts"] <= TRIES + row["crashes"], what
        effects = await self.site.query("SELECT count(*) AS good, max(next) AS most FROM number_sequence")
        assert dict(effects[0]) == {"good": list(self.dropped.values()).count("good"), "most": 1}
        await calm(self.site, resting=("error",), taken=False)
        assert await self.site.stop() == 0, "left-behind code does not hold up the end"


def among_good_ones(bad: Sequence[str], good_ones: int) -> list[str]:
    every = max(1, good_ones // len(bad))
    mixed: list[str] = []
    for one in bad:
        mixed += ["good"] * every + [one]
    return mixed + ["good"] * every


@pytest.mark.parametrize(
    ("each", "good_ones"),
    [(1, 28), pytest.param(5, 1000, marks=[pytest.mark.full, pytest.mark.timeout(0)])],
    ids=["few", "many"],
)
async def test_bad_code_ends_in_error_and_good_code_goes_on(crash_site: CrashSite, each: int, good_ones: int) -> None:
    """Also what is behind it in its conversation."""
    line = Line(crash_site)
    line.drop(["good", "aborts", "good"], conversation="of poison")
    line.drop(["good"] * 3, conversation="another")
    line.drop(among_good_ones([*CODES] * each, good_ones))
    await line.run(seconds=150 + 100 * each)
    deaths = len(line.deaths) - sum("held its event loop" in how for how in line.deaths)
    assert MOST_CRASHES * each <= deaths <= len(crash_site.happened("message.crashed")), "each is of somebody"
    await line.check()


async def test_nobody_is_blamed_who_only_stood_beside_poison(crash_site: CrashSite) -> None:
    """Another port waits in the same process when that ends: it begins again, and is not blamed."""
    line = Line(crash_site)
    line.allow("waits", 3600.0)
    line.add_port("slow", retries=1)
    line.drop(["waits"], port="slow")
    await crash_site.run(build=line.build)
    await says(crash_site, "waits")
    line.drop(["aborts"] * 2)
    await crash_site.wait_answers(2)
    await says(crash_site, "waits", times=2)
    assert len(line.deaths) >= MOST_CRASHES
    rows = await crash_site.query("SELECT port, reason, crashes FROM queue WHERE status = 'error' OR port = 'slow'")
    assert sorted((row["port"], row["crashes"]) for row in rows) == [("orders", 2)] * 2 + [("slow", 0)]
    assert {row["reason"] for row in rows if row["port"] == "orders"} == {"poison"}
    assert {event["port"] for event in crash_site.happened("message.crashed")} == {"orders"}
    assert [event["port"] for event in crash_site.happened("port.confined")] == ["orders"]
    assert crash_site.said().split().count("waits") == 2, "it began again once, after the first of the deaths"


async def test_suspects_run_alone_so_that_the_innocent_among_them_is_found(crash_site: CrashSite) -> None:
    line = Line(crash_site, build="")
    line.drop(["naps"])
    await crash_site.run()
    await says(crash_site, "naps")
    line.drop(["aborts"])
    await line.run()
    assert line.answers() == {message_id: FAULTS.get(what, "") for message_id, what in line.dropped.items()}
    assert line.deaths == [ending(-SIGABRT)] * MOST_CRASHES


async def test_suspects_that_run_beside_one_another_are_blamed_for_each_other(crash_site: CrashSite) -> None:
    """The proof can fail: one that works in a thread whenever another ends the process becomes poison as well."""
    line = Line(crash_site, build="suspects_among_others")
    line.allow("sleeps", 3600.0)
    line.drop(["sleeps"])
    await crash_site.run(build=line.build)

    async def blamed() -> bool:
        rows = await crash_site.query(
            "SELECT 1 FROM queue q JOIN message m ON m.id = q.message_id WHERE q.reason = 'poison'"
            " AND m.message_id_sent = $1", guid(1),
        )  # fmt: skip
        return bool(rows)

    def begun() -> int:
        return crash_site.said().split().count("sleeps")

    seen = 0
    while not await blamed():

        async def begins_again(before: int = seen) -> bool:
            return begun() > before or await blamed()

        await until(begins_again, "it sleeps again, or is blamed", tell=crash_site.tail)
        seen, deaths = begun(), len(line.deaths)
        line.drop(["aborts"])

        async def died(before: int = deaths) -> bool:
            return len(line.deaths) > before

        await until(died, "the process ends", tell=crash_site.tail)


async def test_code_that_ends_its_process_in_any_way_harms_nobody_else(crash_site: CrashSite) -> None:
    """One is killed (nobody is blamed before the third time), one takes all memory, one holds its event loop."""
    line = Line(crash_site, build="short_standstills")
    crash_site.extra["workers"] = {"xml": 1, "memory_bytes": "300 MB"}
    line.allow("hoards", 60.0)
    line.allow("is_killed", 60.0)
    line.allow("blocks", 20.0)
    for port in ("blocks", "hoards", "is_killed"):
        line.add_port(port)
    await crash_site.run()

    async def confined() -> bool:
        return crash_site.told("port.confined")

    line.drop(["blocks", "good"], port="blocks")
    await until(confined, "its port gets a process of its own", tell=crash_site.tail)
    line.drop(["good"] * 5)
    await crash_site.wait_answers(5)
    for port in ("hoards", "is_killed"):
        line.drop([port, "good"], port=port)
        await crash_site.wait_answers(2, port)
    await line.run()
    expected = {**dict.fromkeys(("hoards", "is_killed"), "RequestFailed"), "blocks": "Timeout", "good": ""}
    assert line.answers() == {message_id: expected[what] for message_id, what in line.dropped.items()}
    rows = await crash_site.query(
        "SELECT q.port, q.crashes, e.code FROM queue q JOIN exception e ON e.message_key = q.message_id"
        " WHERE q.status = 'error' AND e.severity = 'error'"
    )
    found = {row["port"]: (row["code"], row["crashes"]) for row in rows}
    assert found == {"hoards": ("poison", 2), "is_killed": ("poison", 2), "blocks": ("operation.timeout", 0)}
    assert line.deaths.count(ending(-SIGKILL)) >= 3 * MOST_CRASHES
    assert sum("more memory" in how for how in line.deaths) == MOST_CRASHES
    assert sum("held its event loop" in how for how in line.deaths) == TRIES, "each end is one of its tries"
    assert Counter(event["port"] for event in crash_site.happened("message.crashed")) == {"hoards": 2, "is_killed": 2}
    await calm(crash_site, resting=("error",), taken=False)
    assert await crash_site.stop() == 0


async def test_code_that_holds_the_interpreter_is_ended_and_becomes_poison(crash_site: CrashSite) -> None:
    line = Line(crash_site)
    line.add_port("held")
    line.drop(["holds_everything"], port="held")
    line.drop(["good"] * 3)
    await line.run()
    rows = await crash_site.query("SELECT port, reason, crashes FROM queue WHERE status = 'error'")
    assert [tuple(row.values()) for row in rows] == [("held", "poison", 2)]
    await calm(crash_site, resting=("error",), taken=False)


async def test_code_in_the_middle_does_not_hold_up_the_end_and_is_not_blamed_for_it(crash_site: CrashSite) -> None:
    in_the_middle = ("sleeps", "waits", "loops_in_a_thread", "blocks")  # which holds the loop of its process: the last
    await stopped_in_the_middle(crash_site, in_the_middle)
    rows = await crash_site.query("SELECT status, attempts, crashes FROM queue")
    assert [tuple(row.values()) for row in rows] == [("ready", 0, 0)] * len(in_the_middle)


async def test_blame_for_an_end_in_good_order_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: the end is taken for a crash of the message that was at work."""
    await stopped_in_the_middle(crash_site, ["blocks"], "always_blamed")
    rows = await crash_site.query("SELECT crashes FROM queue")
    assert [row["crashes"] for row in rows] == [1]


async def stopped_in_the_middle(site: CrashSite, operations: Sequence[str], build: str = "") -> None:
    """Stop a gateway while the code of messages, begun one after the other, is in the middle."""
    line = Line(site)
    site.extra["shutdown"] = {"drain_seconds": 0.2}
    for operation in operations:
        line.allow(operation, 3600.0)
    await site.run(build=f"hurried_ends {build}")
    for operation in operations:
        line.drop([operation])
        await says(site, operation)
    assert await site.stop() == 0


async def says(site: CrashSite, operation: str, times: int = 1) -> None:
    """Wait until the code of an operation runs, or has begun so often."""

    async def at_work() -> bool:
        return site.said().split().count(operation) >= times

    await until(at_work, f"{operation} is at work", tell=site.tail)


async def test_without_the_journal_poison_stops_the_line(crash_site: CrashSite) -> None:
    """The proof can fail: nobody knows who ends the processes, so it goes on for ever."""
    line = Line(crash_site, build="unmarked")
    line.drop(["aborts", "good"])
    crash_site.launch(build=line.build)

    async def again_and_again() -> bool:
        return len(line.deaths) > MOST_CRASHES + 1

    await until(again_and_again, "its processes end again and again", tell=crash_site.tail)
    rows = await crash_site.query("SELECT max(crashes) AS crashes FROM queue")
    assert rows[0]["crashes"] == 0
