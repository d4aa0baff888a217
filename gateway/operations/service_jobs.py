"""Which jobs run the four services, and who put them on hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.batch.rules.job import JobStatus
from gateway.db.open import Store
from gateway.explanations.facts import JobFacts
from gateway.messaging.rules.states import Stage
from gateway.operations.audit import last_deed
from gateway.operations.reads import places


async def service_jobs(store: Store) -> Mapping[Stage, Sequence[JobFacts]]:
    """Return the jobs by the service that they run; empty before a gateway has ever run."""
    found = await places.service_jobs(store)
    held = {job.name for jobs in found.values() for job in jobs if job.status is JobStatus.WITHHOLD}
    deeds = {name: await last_deed(store, "job.hold", subject=name) for name in held}
    return {stage: [replace(job, held=deeds.get(job.name)) for job in jobs] for stage, jobs in found.items()}
