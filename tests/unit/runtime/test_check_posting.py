"""What a check says of posting; how many documents match, with a store, in tests/integration/runtime."""

from pathlib import Path

from gateway.config.load import parse
from gateway.runtime.check_posting import check_posting, count_documents
from gateway.runtime.checked import Verdict

BATCH = "run: batch_post, with: {kind: SalesOrder, all: true}"


def told(text: str, site: Path) -> dict[str, tuple[Verdict, str]]:
    """Return what is told, by the option it is told of."""
    settings = parse(text.encode(), file="c.yaml", base=site, environ={})
    return {".".join(map(str, one.path)): (one.verdict, one.text) for one in check_posting(settings)}


def test_handlers_of_posting_are_imported(tmp_path: Path) -> None:
    found = told(
        "posting:\n  handlers:\n"
        "    Sheet: {document: '{urn:example:sheets}Sheet', handler: 'tests.posting_handlers:post'}\n"
        "    Trip: {document: '{urn:example:trips}Trip', handler: 'tests.posting_handlers:nothing'}\n"
        "    SalesOrder: {document: '{urn:example:orders}Order', handler: 'tests.posting_handlers:post'}\n",
        tmp_path,
    )
    assert found["posting.handlers.Sheet.handler"] == (Verdict.OK, "tests.posting_handlers:post")
    verdict, text = found["posting.handlers.Trip.handler"]
    assert verdict is Verdict.ERROR and "has no 'nothing'" in text
    verdict, text = found["posting.handlers.SalesOrder"]
    assert verdict is Verdict.ERROR and "give this one another name" in text


def test_a_task_that_posts_what_nobody_can_is_told(tmp_path: Path) -> None:
    found = told(
        f"posting: {{}}\njobs:\n  evening:\n    tasks:\n      good: {{{BATCH}}}\n"
        "      bad: {run: batch_post, with: {kind: SalesOder, all: true}}\n"
        "      one: {run: post, with: {kind: Sheet, number: '1'}}\n",
        tmp_path,
    )
    assert set(found) == {"jobs.evening.tasks.bad.with", "jobs.evening.tasks.one.with"}
    verdict, text = found["jobs.evening.tasks.bad.with"]
    assert verdict is Verdict.ERROR and "did you mean 'SalesOrder'?" in text


async def test_nobody_knows_how_many_documents_match_before_there_is_a_database(tmp_path: Path) -> None:
    text = f"posting: {{}}\njobs: {{evening: {{tasks: {{post: {{{BATCH}}}}}}}}}\n"
    settings = parse(text.encode(), file="c.yaml", base=tmp_path, environ={})
    (found,) = await count_documents(settings, None, tmp_path)
    assert found.verdict is Verdict.OK
    assert found.text == "task post: how many documents it matches is not known before there is a database"
