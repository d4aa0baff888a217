"""P2: a process that dies at any named point loses nothing and repeats nothing; nor when it dies again in recovery.

Deaths come in chains: each life finds what the one before left, gets new files, and dies at the next point.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from adapters.file.fsops import FAULT_POINTS as FILE_POINTS
from gateway.messaging.flow.faultpoints import FAULT_POINTS as STAGE_POINTS
from tests.crash.partner import Partner, left_behind
from tests.crash.proof import drained, everything_happened_once
from tests.crash.site import KILLED, CrashSite
from tests.site import until

LONG_NAME = "_" + "x" * 220
FILES = 6


@dataclass(frozen=True, kw_only=True)
class Death:
    """Where to die; `first` is trouble that leads there, `few` that only a small group of responses does."""

    point: str
    first: str = ""
    few: bool = False

    @property
    def faults(self) -> str:
        return f"{self.first}{self.point}:1:kill"


@dataclass(frozen=True, kw_only=True)
class Port:
    """A kind of port, what its partner drops beside the usual, and the deaths on its way."""

    options: dict[str, Any]
    deaths: tuple[Death, ...]
    suffix: str = ""
    broken: bool = False


TROUBLE = {
    "claim.put_back": "claim.inbound.flush:1:eio,claim.inbound.flush:3:eio,",  # the first may be of the recovery
    "stage.unlink": "stage.syncfs:1:eio,stage.fsync:1+:eio,",
    "stage.unlinked": "stage.syncfs:1:eio,stage.fsync:1+:eio,",
}
ODD = {"claim.name_kept", "claim.unmark", "claim.unmarked", "settle.reason", "settle.reason_written", "settle.unlink",
       "settle.unlinked"}  # fmt: skip
ALL = [Death(point=one, first=TROUBLE.get(one, ""), few=one.startswith("stage.fsync")) for one in
       (*FILE_POINTS, *STAGE_POINTS)]  # fmt: skip
USUAL = Port(options={"process": {"mode": "parallel"}}, deaths=tuple(one for one in ALL if one.point not in ODD))
IN_ORDER = replace(
    USUAL, options={"process": {"mode": "sequential"}}, deaths=tuple(one for one in ALL if one.point in STAGE_POINTS)
)
MARKED = Port(
    options={"receive": {"done_marker": True, "after": "delete"}},
    deaths=tuple(one for one in ALL if one.point in ODD),
    suffix=LONG_NAME,
    broken=True,
)


@dataclass
class Chain:
    """One installation that dies again and again."""

    site: CrashSite
    partner: Partner
    port: Port
    refused: list[str] = field(default_factory=list)

    async def die(self, death: Death, build: str = "") -> None:
        """Start with new files and die at the point; what does not lead there at once gets more files."""
        self.drop(FILES if not death.few else 1)
        if death.point == "settle.folder_made":
            self.forget_today()
        life = self.site.launch(faults=death.faults, build=build)
        for _ in range(10):
            if await self.ended_or_idle(life):
                break
            self.drop(1 if death.few else FILES)
        assert life.returncode in KILLED, f"{death.point} was not reached\n{self.site.tail()}"

    async def ended_or_idle(self, life: Any) -> bool:
        async def over() -> bool:
            done = self.partner.complete and not left_behind(self.site)
            return life.returncode is not None or done

        await until(over, "it dies or has nothing to do", tell=self.site.tail)
        return life.returncode is not None

    def drop(self, files: int) -> None:
        before = set(self.site.inbound().iterdir())
        self.partner.drop(files, most=3 if files > 1 else 1, suffix=self.port.suffix)
        if self.port.broken:
            name = f"broken_{len(self.refused):03}.xml"
            self.refused.append(name)
            self.site.drop(name, b"<Batch>")
        if self.port.options.get("receive", {}).get("done_marker"):
            for path in set(self.site.inbound().iterdir()) - before:
                path.with_name(marker_of(path.name)).touch()

    def forget_today(self) -> None:
        """Take the archive of the day away, so that it has to be made again."""
        archive = self.site.data / "archive" / "orders"
        if archive.is_dir():
            for day in archive.iterdir():
                day.rename(self.site.folder / f"{day.name}-{len(list(self.site.folder.iterdir()))}")

    async def conclude(self, build: str = "") -> None:
        """Live on, answer everything, and have done everything once."""
        await self.site.run(build=build)
        await drained(self.site, self.partner)
        await everything_happened_once(self.site, self.partner)
        errors = self.site.data / "error" / "orders"
        kept = sorted(path.name.split("~", 1)[1] for path in errors.iterdir() if path.suffix == ".xml")
        assert kept == self.refused
        assert len([path for path in errors.iterdir() if path.suffix == ".txt"]) == len(kept)
        assert await self.site.stop() == 0


def marker_of(name: str) -> str:
    return f"{name}.done"


async def chain_of_deaths(site: CrashSite, port: Port, deaths: list[Death], build: str = "") -> None:
    site.add_port(**port.options)
    with Partner(site) as partner:
        chain = Chain(site, partner, port)
        for death in deaths:
            await chain.die(death, build)
        await chain.conclude(build)


@pytest.mark.parametrize(
    ("port", "part"),
    [(USUAL, 0), (USUAL, 1), (IN_ORDER, 0), (MARKED, None)],
    ids=["parallel-1", "parallel-2", "sequential", "marked"],
)
async def test_every_point_survives_a_death_during_the_recovery_from_another(
    crash_site: CrashSite, chance: Random, port: Port, part: int | None
) -> None:
    """Two parallel ports share the points; a sequential one, whose files are like theirs, takes half of the stages'."""
    deaths = list(port.deaths if part is None else port.deaths[part::2])
    chance.shuffle(deaths)
    if port is IN_ORDER:
        deaths = deaths[: len(deaths) // 2]
    await chain_of_deaths(crash_site, port, deaths)


@pytest.mark.full
@pytest.mark.timeout(0)
@pytest.mark.parametrize("port", [USUAL, MARKED], ids=["parallel", "marked"])
async def test_every_ordered_pair_of_deaths(crash_site: CrashSite, port: Port) -> None:
    """One chain in which every point follows every other once."""
    await chain_of_deaths(crash_site, port, every_pair(port.deaths))


def every_pair(deaths: tuple[Death, ...]) -> list[Death]:
    """Return a walk that takes each ordered pair once: a round through a graph with all edges (Hierholzer)."""
    left = {death: list(deaths) for death in deaths}
    path, walk = [deaths[0]], list[Death]()
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop())
        else:
            walk.append(path.pop())
    return walk[::-1]
