"""The fault campaign in its shortest form; `make crash` runs it in full."""

from pathlib import Path
from random import Random

import pytest

from tests.crash import campaign as module
from tests.crash.campaign import campaign
from tests.crash.process_factory import ProcessFactory


@pytest.mark.parametrize(("nodes", "kills"), [(1, 4), (2, 2)], ids=["one-node", "two-nodes"])
async def test_faults_of_every_kind_lose_nothing_double_nothing_and_keep_the_order(
    server_folder: Path, process_factory: ProcessFactory, chance: Random, nodes: int, kills: int
) -> None:
    tallies = await campaign(server_folder, process_factory, chance, nodes=nodes, kills=kills)
    assert all(one.faults and one.answered_once == len(one.requests) for one in tallies)
    assert [one.harm for one in tallies] == [0] * len(tallies)


@pytest.mark.full
async def test_table_shows_the_harm_of_a_broken_rule(
    server_folder: Path, process_factory: ProcessFactory, chance: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POINTS", ("send.before_sent",))
    monkeypatch.setattr(module, "TIMES", (1,))
    tallies = await campaign(server_folder, process_factory, chance, nodes=1, kills=4, build="rename_then_mark")
    assert sum(one.doubled for one in tallies) > 0
