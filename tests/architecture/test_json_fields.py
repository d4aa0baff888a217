"""docs/json.md names every field of the JSON that commands print, in order, and no other."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from gateway.batch.statements.runs_sql import AttemptRow, LogLine, Run, RunTask
from gateway.batch.statements.tasks_sql import OperatorTask
from gateway.cli.explain import finding_record
from gateway.exchange import SessionRow, StatusMessageRow, TroubleRow
from gateway.explanations.finding import Finding
from gateway.messaging.statements.lanes_sql import LaneRow
from gateway.operations.documents import DocumentRow, PostResult
from gateway.operations.entries import EntryRow
from gateway.operations.entries import QueueRow as JobQueueRow
from gateway.operations.inbox import Report
from gateway.operations.jobs import JobRow
from gateway.operations.nodes import Node
from gateway.operations.reads.alerts import AlertRow
from gateway.operations.reads.messages import ExceptionRow, QueueRow
from gateway.operations.servers import GroupRow, ServerRow
from gateway.operations.sessions import RetentionRow, StoreReport
from gateway.operations.statements.admin_sql import DeliveryRow, ExceptionCauseRow, HistoryRow, OutcomeRow
from gateway.operations.statements.audit_sql import ActionRow
from gateway.operations.statements.selection_sql import CauseRow
from gateway.operations.status import PortReport
from gateway.operations.tasks import TaskRow
from gateway.queues.log import EntryRun
from gateway.queues.printing.printing import PrintResult

FINDINGS = "What doctor finds"
PAGE = Path(__file__).parents[2] / "docs" / "json.md"
RECORDS: dict[str, type] = {
    "Ports": PortReport,
    "Unfinished messages": QueueRow,
    "Unfinished messages by cause": CauseRow,
    "Finished messages": HistoryRow,
    "Finished messages by outcome": OutcomeRow,
    "Received files": DeliveryRow,
    "Exceptions": ExceptionRow,
    "Exceptions by cause": ExceptionCauseRow,
    "Nodes": Node,
    "Lanes": LaneRow,
    "Jobs": JobRow,
    "Tasks of jobs": TaskRow,
    "Runs": Run,
    "Tasks of a run": RunTask,
    "Attempts of a run": AttemptRow,
    "Log of a run": LogLine,
    "Tasks that wait for a person": OperatorTask,
    "Groups": GroupRow,
    "Servers": ServerRow,
    "Alerts": AlertRow,
    "Actions of operators": ActionRow,
    "Job queue entries": EntryRow,
    "Runs of job queue entries": EntryRun,
    "Job queues": JobQueueRow,
    "Documents to post": DocumentRow,
    "What came of posting": PostResult,
    "What was printed": PrintResult,
    "Report inbox": Report,
    "Sessions": SessionRow,
    "Status messages": StatusMessageRow,
    "Status messages that were not copied": TroubleRow,
    "Message stores": StoreReport,
    "Retention of sessions": RetentionRow,
}


def sections() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            found[line.removeprefix("## ")] = []
        elif (field := re.match(r"\| `([a-z_]+)` \|", line)) is not None:
            list(found.values())[-1].append(field[1])
    return found


def test_every_section_has_its_record() -> None:
    assert sections().keys() == {*RECORDS, FINDINGS}


@pytest.mark.parametrize("section", RECORDS)
def test_every_field_is_described(section: str) -> None:
    record = RECORDS[section]
    assert sections()[section] == ([*getattr(record, "_fields", ())] or [one.name for one in fields(record)])


def test_every_field_of_a_finding_is_described() -> None:
    assert sections()[FINDINGS] == list(finding_record(Finding(code="folder-away", port="orders", what=(), count=1)))
