"""The report of a day: what came in, went out and failed on it, and on no other day."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.batch.handlers.report import ReportParameters, ReportTask, bounds
from gateway.db.open import Store
from tests.integration.batch.test_alert_rows import rows
from tests.task_contexts import Occasion

DAY = datetime(2031, 5, 5, tzinfo=UTC)
"""The day before the planned start of an `Occasion`."""


async def a_day(store: Store, day: datetime) -> None:
    """A file with two requests of which one fails, an answer and a fault, a run that went well and one that failed."""
    moment = day + timedelta(hours=10)
    await rows(
        store,
        "INSERT INTO delivery (claim_id, port, name, display, size_bytes, owner_uid, modified_at, received_at,"
        " outcome, settlement) VALUES (gen_random_uuid(), 'orders', 'x', 'x', 100, 0, $1, $1, 'ingested', 'archive')",
        moment,
    )
    for direction, outcome, is_fault in (
        ("in", "processed", False), ("in", None, False), ("out", "sent", False), ("out", "sent", True),
    ):  # fmt: skip
        await rows(
            store,
            "INSERT INTO message (id, direction, port, position, message_id, namespace, size_bytes, is_fault,"
            " created_at, outcome, finished_at) VALUES (nextval('message_key'), $1, 'orders', 1, gen_random_uuid(),"
            " 'n', 1, $3, $4, $2, CASE WHEN $2::text IS NOT NULL THEN $4::timestamptz END) RETURNING 1",
            direction, outcome, is_fault, moment,
        )  # fmt: skip
    await rows(
        store, "INSERT INTO exception (code, text, port, at) VALUES ('x', 'x', 'orders', $1) RETURNING 1", moment
    )
    for status, error in (("ended", None), ("error", "T: exit code 3")):
        await rows(
            store,
            "INSERT INTO run (job, partition_key, company, created_by, run_as, cause, planned_at, started_at, ended_at,"
            " status, error) VALUES ('nightly', 'initial', 'DAT', 'ann', 'ann', 'operator', $1, $1, $2, $3, $4)",
            moment, moment + timedelta(seconds=90), status, error,
        )  # fmt: skip


async def test_a_report_has_its_own_day_only(store: Store) -> None:
    for days in (-1, 0, 1):
        await a_day(store, DAY + timedelta(days=days))
    occasion = Occasion()
    await ReportTask(store, ReportParameters()).run(occasion.context)
    report = json.loads(occasion.files["report-2031-05-05.json"])
    (port,), (job,) = report["ports"], report["jobs"]
    assert port == {
        "port": "orders", "files": 1, "refused": 0, "bytes": 100, "requests": 2, "processed": 1, "sent": 1, "faults": 1,
        "failures": 1, "unfinished": 0, "in_error": 0, "held": 0,
    }  # fmt: skip
    assert (job["runs"], job["ended"], job["failed"], job["longest_seconds"]) == (2, 1, 1, 90.0)
    text = occasion.files["report-2031-05-05.txt"].decode()
    assert "Report of 2031-05-05 (UTC)" in text and "  nightly: T: exit code 3" in text
    assert occasion.log.texts == ["2031-05-05: 2 requests, 1 failures, 1 failed runs of jobs."]


async def test_a_report_of_an_empty_day_says_so(store: Store) -> None:
    occasion = Occasion()
    await ReportTask(store, ReportParameters()).run(occasion.context)
    assert occasion.files["report-2031-05-05.txt"].decode().count("none") == 2


@pytest.mark.parametrize(
    ("planned", "day", "begin", "hours"),
    [
        (datetime(2031, 5, 5, 22, 30, tzinfo=UTC), date(2031, 5, 5), datetime(2031, 5, 4, 22, tzinfo=UTC), 24),
        (datetime(2031, 3, 31, 1, tzinfo=UTC), date(2031, 3, 30), datetime(2031, 3, 29, 23, tzinfo=UTC), 23),
    ],
)
def test_a_day_is_one_of_its_zone(planned: datetime, day: date, begin: datetime, hours: int) -> None:
    found, first, last = bounds(planned, ReportParameters(zone="Europe/Copenhagen"))
    assert (found, first, last - first) == (day, begin, timedelta(hours=hours))
