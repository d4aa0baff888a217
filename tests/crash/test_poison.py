"""P20: poison never stops the line: whatever the code of a message does, the message ends in Error with a fault."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from signal import SIGABRT

import pytest
from lxml import etree

from gateway.domain.poison import MOST_CRASHES
from gateway.services.marks import MARKS_NAME
from tests.crash.bad_code import __name__ as BAD_CODE
from tests.crash.proof import calm
from tests.crash.site import CrashSite
from tests.documents import SERVICES, envelope, guid, single
from tests.site import until

FAILS_AT_ONCE = ("raises", "raises_the_unspeakable", "exits", "answers_nonsense", "allocates")
TIMES_OUT = ("loops", "loops_in_a_thread", "matches_for_ever", "sleeps", "waits")
TRIES = 2
CODES = {
    **dict.fromkeys(FAILS_AT_ONCE, "operation.failed"), "answers_nonsense": "handler.result",
    **dict.fromkeys(TIMES_OUT, "operation.timeout"), "aborts": "poison",
}  # fmt: skip
FAULTS = {**dict.fromkeys(CODES, "RequestFailed"), **dict.fromkeys(TIMES_OUT, "Timeout")}


@dataclass
class Line:
    """A port in parallel mode with a bad service, what was dropped, and how often the gateway died of it."""

    site: CrashSite
    dropped: dict[str, str] = field(default_factory=dict)
    """What each request does, by its MessageId."""
    deaths: int = 0
    build: str = "little_memory"

    def __post_init__(self) -> None:
        operations = {name: {"handler": f"{BAD_CODE}:{name}", "timeout_seconds": 0.5} for name in ("good", *CODES)}
        operations["allocates"]["timeout_seconds"] = 60.0
        self.site.services["Bad"] = {"kind": "python", "operations": operations}
        self.site.add_port(
            operations=["Bad.*"], process={"mode": "parallel", "retries": TRIES, "conversations": "port"}
        )

    def drop(self, operations: Iterable[str], conversation: str = "") -> None:
        header = f"<ConversationId>{conversation}</ConversationId>" if conversation else ""
        for operation in operations:
            message_id = guid(len(self.dropped) + 1)
            action = f"{SERVICES}/Bad/{operation}"
            content = single(envelope(message_id=message_id, action=action, header=header))
            self.site.drop(f"{len(self.dropped):06}.xml", content)
            self.dropped[message_id] = operation

    async def run(self, most_deaths: int, seconds: float = 110) -> None:
        """Start the gateway again whenever it dies, until everything is answered or it died too often."""
        if self.site.process is None:
            self.site.launch(build=self.build)

        async def over() -> bool:
            process = self.site.process
            assert process is not None
            if process.returncode is not None:
                assert process.returncode == -SIGABRT, self.site.tail()
                self.deaths += 1
                if self.deaths > most_deaths:
                    return True
                self.site.launch(build=self.build)
            return len(list(self.site.outbound().iterdir())) >= len(self.dropped)

        await until(over, "everything is answered", seconds=seconds, tell=self.site.tail)

    def answers(self) -> dict[str, str]:
        """Return what each request was answered with: the code of its fault, or nothing."""
        roots = [etree.fromstring(content) for content in self.site.answers().values()]
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
            assert row["reason"] == ("poison" if what == "aborts" else "failed")
            tries = TRIES if what in TIMES_OUT else 1
            if what == "aborts":
                assert (row["attempts"], row["crashes"]) == (MOST_CRASHES + 1, MOST_CRASHES)
            else:  # it may have been at work when another one ended the process, once
                assert row["crashes"] <= 1
                assert tries <= row["attempts"] <= tries + row["crashes"], what
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
    [(1, 60), pytest.param(5, 1000, marks=[pytest.mark.full, pytest.mark.timeout(0)])],
    ids=["few", "many"],
)
async def test_bad_code_ends_in_error_and_good_code_goes_on(crash_site: CrashSite, each: int, good_ones: int) -> None:
    line = Line(crash_site)
    line.drop(among_good_ones([*CODES] * each, good_ones))
    await line.run(most_deaths=MOST_CRASHES * each, seconds=100 + 100 * each)
    assert MOST_CRASHES <= line.deaths <= MOST_CRASHES * each
    await line.check()


async def test_poison_holds_only_its_conversation(crash_site: CrashSite) -> None:
    line = Line(crash_site)
    line.drop(["good", "aborts", "good"], conversation="of poison")
    line.drop(["good"] * 5, conversation="another")
    line.drop(["good"] * 5)
    await line.run(most_deaths=2)
    assert line.deaths == 2
    await line.check()


async def test_nobody_is_blamed_who_only_stood_beside_poison(crash_site: CrashSite) -> None:
    """Two ports, two workers: while one dies the other is at work, twice, and still nobody else becomes poison."""
    line = Line(crash_site)
    crash_site.services["Bad"]["operations"]["waits"]["timeout_seconds"] = 5.0
    crash_site.add_port("slow", operations=["Bad.*"], process={"retries": 1})
    crash_site.drop("slow.xml", single(envelope(action=f"{SERVICES}/Bad/waits")), "slow")
    await crash_site.run(build=line.build)

    async def at_work() -> bool:
        return bool(await crash_site.query("SELECT 1 FROM queue WHERE port = 'slow' AND status = 'in_process'"))

    await until(at_work, "the slow one is at work", tell=crash_site.tail)
    line.drop(["aborts"] * 2)
    await line.run(most_deaths=4)
    assert line.deaths >= 3, "the first time both may have been at work"
    (answer,) = (await crash_site.wait_answers(1, "slow")).values()
    assert etree.fromstring(answer).findtext(".//{*}Code") == "Timeout"
    await calm(crash_site, resting=("error",), taken=False)
    rows = await crash_site.query("SELECT port, reason FROM queue WHERE status = 'error' ORDER BY message_id")
    assert sorted(tuple(row.values()) for row in rows) == [("orders", "poison")] * 2 + [("slow", "failed")]


async def test_suspects_that_do_not_run_alone_get_others_blamed(crash_site: CrashSite) -> None:
    """The proof can fail: who only waits beside one that ends the process becomes poison as well."""
    line = Line(crash_site, build="open_door")
    crash_site.services["Bad"]["operations"]["waits"]["timeout_seconds"] = 3600.0
    crash_site.add_port("slow", operations=["Bad.*"])
    crash_site.drop("slow.xml", single(envelope(action=f"{SERVICES}/Bad/waits")), "slow")

    async def blamed() -> bool:
        return bool(await crash_site.query("SELECT 1 FROM queue WHERE port = 'slow' AND reason = 'poison'"))

    for _ in range(5):
        line.drop(["aborts"])
        await line.run(most_deaths=20)
        if await blamed():
            break
    assert await blamed()


@pytest.mark.parametrize("operation", ["sleeps", "loops_in_a_thread", "waits"])
async def test_code_in_the_middle_does_not_hold_up_the_end_and_is_not_blamed_for_it(
    crash_site: CrashSite, operation: str
) -> None:
    assert await marks_left_by_an_end(crash_site, operation) == set()
    rows = await crash_site.query("SELECT status, attempts, crashes FROM queue")
    assert [tuple(row.values()) for row in rows] == [("ready", 0, 0)]


async def test_blame_for_an_end_in_good_order_is_seen(crash_site: CrashSite) -> None:
    """The proof can fail: the next start takes the end for a crash of the message that was at work."""
    assert await marks_left_by_an_end(crash_site, "sleeps", "blame_kept") != set()
    await crash_site.run(build="blame_kept")
    rows = await crash_site.query("SELECT crashes FROM queue")
    assert [row["crashes"] for row in rows] == [1]


async def marks_left_by_an_end(site: CrashSite, operation: str, build: str = "") -> set[int]:
    """Stop a gateway while the code of a message is in the middle; return what its page of marks says then."""
    line = Line(site)
    site.services["Bad"]["operations"][operation]["timeout_seconds"] = 3600.0
    site.extra["shutdown"] = {"drain_seconds": 0.2}
    line.drop([operation])
    site.launch(build=build)
    page = site.data / MARKS_NAME

    async def at_work() -> bool:
        return page.exists() and any(page.read_bytes())

    await until(at_work, "the code runs", tell=site.tail)
    assert await site.stop(seconds=25) == 0
    return set(page.read_bytes()) - {0}


async def test_without_marks_poison_stops_the_line(crash_site: CrashSite) -> None:
    line = Line(crash_site, build="unmarked")
    line.drop(["aborts", "good"])
    await line.run(most_deaths=4)
    assert line.deaths > 4
    assert not line.answers()
