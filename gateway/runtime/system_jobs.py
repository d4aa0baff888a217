"""The jobs that the gateway brings along; nobody has to write them, and nobody can cancel or delete them."""

from gateway.batch.rules.definition import JobDefinition, TaskDefinition
from gateway.batch.rules.job import HistoryMode, JobStatus
from gateway.config.models import Settings

HOUSEKEEPING = "housekeeping"


def system_jobs(settings: Settings) -> list[tuple[JobDefinition, JobStatus]]:
    """Return them with the status each is born with.

    Rule: a job of the configuration that has the name of one stands in its place.
    """
    if HOUSEKEEPING in settings.jobs:
        return []
    house = JobDefinition(
        name=HOUSEKEEPING,
        description="Removes what was kept long enough",
        partition=settings.default_partition,
        company=settings.default_company,
        recurrence={"every": "1 hour"},
        history=HistoryMode.ERRORS,
        is_system=True,
        tasks=(TaskDefinition(name=HOUSEKEEPING, handler=HOUSEKEEPING),),
    )
    return [(house, JobStatus.WAITING)]
