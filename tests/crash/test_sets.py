"""P21, P22: Rollback is all or nothing, Halt stops exactly there, whenever the process is killed."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from tests.crash.counted import REFUSED, SEQUENCE
from tests.crash.counted import __name__ as COUNTED
from tests.crash.partner import NOTHING, Partner
from tests.crash.proof import calm, effects
from tests.crash.site import CrashSite
from tests.crash.test_random_kills import WINDOW_SECONDS, moment, reached
from tests.documents import SERVICES, batch, envelope, order
from tests.site import until

POINTS = ("inbound.before_effects", "inbound.before_commit", "inbound.after_commit")


@dataclass(frozen=True)
class File:
    """A batch: the ids of its requests, and the place of the one that fails (None: all are good)."""

    ids: list[str]
    bad: int | None

    def done(self, policy: str) -> list[str]:
        """Return which of them take effect and are answered with a response."""
        if self.bad is None:
            return self.ids
        return self.ids[: self.bad] if policy == "halt" else []


@dataclass
class Sets:
    """A port under an error policy, and the files that were dropped."""

    site: CrashSite
    policy: str
    partner: Partner
    chance: Random
    files: list[File] = field(default_factory=list)

    def drop(self, number: int, size: int) -> None:
        """Drop batches, four of five with one request that fails."""
        for _ in range(number):
            bad = self.chance.randrange(size) if self.chance.random() < 0.8 else None
            ids = self.partner.new_ids(size)
            members = [
                envelope(order(REFUSED if place == bad else "1"), message_id=one, action=f"{SERVICES}/Counted/create")
                for place, one in enumerate(ids)
            ]
            self.site.drop(f"{len(self.files):06}.xml", batch(members))
            self.files.append(File(ids, bad))

    async def calm(self) -> None:
        """Wait until everything is taken and nothing can move any more; what failed or is held waits for a person."""

        async def taken() -> bool:
            (row,) = await self.site.query("SELECT count(*) AS sets FROM message_set")
            return bool(row["sets"] == len(self.files))

        await until(taken, "everything is taken", seconds=90 + len(self.files), tell=self.site.tail)
        await calm(self.site, resting=("error", "hold"), seconds=60 + len(self.files))
        with self.partner.taking:  # the last answer is written down
            pass

    async def wrong(self) -> list[str]:
        """Return everything that is not as the policy says."""
        found = [f"{count} {what}" for what, count in self._verdict().items() if count]
        done = [one for file in self.files for one in file.done(self.policy)]
        counted = await effects(self.site)
        if counted != dict.fromkeys(done, 1):
            found.append(f"effects: {counted.total()} of {len(done)}")
        if set(self.partner.values) != set(done):
            found.append(f"responses: {len(self.partner.values)} of {len(done)}")
        (row,) = await self.site.query(
            "SELECT (SELECT next FROM number_sequence WHERE name = $1) AS next,"
            " (SELECT count(*) FROM entity) AS given, (SELECT max(key::int) FROM entity) AS last",
            SEQUENCE,
        )
        if row["given"] and not row["given"] == row["last"] == row["next"] - 1:
            found.append(f"numbers: {row['given']} given, the last is {row['last']}, the next {row['next']}")
        queued = {
            row["id"]: row["state"]
            for row in await self.site.query(
                "SELECT m.message_id_sent AS id, q.status || '/' || q.reason AS state"
                " FROM queue q JOIN message m ON m.id = q.message_id"
            )
        }
        if queued != dict(self._left()):
            found.append(f"queue: {len(queued)} instead of {len(dict(self._left()))}")
        return found

    def _verdict(self) -> dict[str, int]:
        failing = [file.ids[file.bad] for file in self.files if file.bad is not None]
        silent = {one for file in self.files for one in file.ids} - set(self.partner.answered)
        expected = len([one for file in self.files for one in file.ids]) - len(failing)
        expected -= len([one for file in self.files for one in file.done(self.policy)])
        verdict = self.partner.verdict()
        return {
            **{what: verdict[what] for what in NOTHING if what not in {"lost", "faults"}},
            "unanswered": abs(len(silent) - expected),
            "faults too many or too few": abs(len(self.partner.faults) - len(failing)),
        }

    def _left(self) -> Iterator[tuple[str, str]]:
        """Yield what stays in the queue, and how."""
        for file in self.files:
            for place, one in enumerate(file.ids):
                if file.bad is None or one in file.done(self.policy):
                    continue
                held = "set_halted" if self.policy == "halt" else "set_rolled_back"
                yield one, "error/failed" if place == file.bad else f"hold/{held}"


@pytest.fixture
def sets(crash_site: CrashSite, policy: str, chance: Random) -> Iterator[Sets]:
    """A port under the policy of the test, with a partner who takes the answers away."""
    crash_site.services["Counted"] = {"kind": "python", "operations": {"create": f"{COUNTED}:create"}}
    crash_site.add_port(operations=["Counted.create"], process={"on_error": policy, "mode": "parallel"})
    with Partner(crash_site, seed=chance.random()) as partner:
        yield Sets(crash_site, policy, partner, chance)


@pytest.mark.parametrize("policy", ["rollback", "halt"])
@pytest.mark.parametrize(
    ("files", "size", "kills"),
    [(8, 5, 4), pytest.param(50, 20, 100, marks=[pytest.mark.full, pytest.mark.timeout(0)])],
    ids=["few", "many"],
)
async def test_set_with_a_failing_message_ends_as_its_policy_says_however_often_the_process_is_killed(
    sets: Sets, chance: Random, files: int, size: int, kills: int
) -> None:
    for kill in range(kills):
        sets.drop(files * (kill + 1) // kills - files * kill // kills, size)
        life = sets.site.launch()
        await moment(reached(sets.site, sets.partner, chance.choice(("start", "claim", "answer"))), seconds=5.0)
        await asyncio.sleep(chance.uniform(0, WINDOW_SECONDS))
        assert life.returncode is None, sets.site.tail()
        await sets.site.kill()
    await sets.site.run()
    await sets.calm()
    assert await sets.wrong() == []


@pytest.mark.parametrize("policy", ["rollback", "halt"])
async def test_death_around_the_commit_of_a_set_changes_nothing(sets: Sets) -> None:
    sets.drop(3, 4)
    for point in POINTS:
        sets.drop(1, 4)
        await sets.site.run(faults=f"{point}:1:kill")
        assert await sets.site.ended() != 0
    await sets.site.run()
    await sets.calm()
    assert await sets.wrong() == []


@pytest.mark.parametrize(("policy", "build"), [("rollback", "rollback_without_savepoint"), ("halt", "halt_goes_on")])
async def test_broken_policy_is_seen(sets: Sets, build: str) -> None:
    sets.drop(6, 5)
    await sets.site.run(build=build)
    await sets.calm()
    assert any(one.startswith("effects") for one in await sets.wrong())
