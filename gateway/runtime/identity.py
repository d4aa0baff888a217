"""Whether a task may run as its user in its company, by the accounts of the configuration."""

from gateway.batch.store.tasks import ClaimedTask
from gateway.config.models import Settings
from gateway.config.models_jobs import GATEWAY_JOB
from gateway.kernel.errors import GatewayError
from gateway.operations.principal import known_account


def refused_identity(settings: Settings, task: ClaimedTask) -> str | None:
    """Say why a task must not run, None when it may; the gateway's own account may always.

    Source: batch reference, section 15.
    """
    if task.user == GATEWAY_JOB:
        return None
    try:
        known_account(settings, task.user, partition=task.partition, company=task.company)
    except GatewayError as error:
        return error.message
    return None
