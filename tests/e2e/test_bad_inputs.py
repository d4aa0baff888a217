"""The catalogue of bad inputs against the real process: every row ends as it must, and the next good file is taken.

All rows are sent at once, so that they are also in each other's way.
"""

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.crash.process_factory import ProcessFactory
from tests.e2e.load import SECRET, Load, load
from tests.e2e.rows import ROWS, Row

pytestmark = pytest.mark.asyncio(loop_scope="module")
MOST_MEMORY = 1_000_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    module_database_url: str,
    process_factory: ProcessFactory,
) -> AsyncIterator[Load]:
    """A gateway that was sent the rows of the tests that run; all light ones when only the load itself is tested."""
    here = [item for item in request.session.items if item.path == request.path]
    chosen = [getattr(item, "callspec", None) for item in here]
    rows = [spec.params["row"] for spec in chosen if spec is not None] or [row for row in ROWS if not row.heavy]
    folder = tmp_path_factory.mktemp("load")
    async with load(folder, module_database_url, process_factory, rows) as running:
        yield running
    if not request.session.testsfailed:  # what a failure left is looked at
        shutil.rmtree(folder)


CASES = [pytest.param(row, id=row.id, marks=[pytest.mark.full] if row.heavy else []) for row in ROWS]


@pytest.mark.parametrize("row", CASES)
async def test_input_ends_as_the_catalogue_says(everything: Load, row: Row) -> None:
    await everything.check(row)


async def test_hostile_crowd_reads_nothing_connects_nowhere_and_is_bounded(everything: Load) -> None:
    for sent in everything.sent.values():
        await everything.check(sent.row)
    with pytest.raises(BlockingIOError):
        everything.trap.accept()
    assert 0 < everything.memory.most < MOST_MEMORY
    assert await everything.holding(SECRET) == []
    assert {"entity.content", "document.content"} <= set(await everything.holding("100002")), "it finds what is there"
    assert [event for event in everything.site.events() if event.get("level") in (None, "error")] == []
