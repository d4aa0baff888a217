"""Who asks, for which partition, and what of it is theirs."""

from dataclasses import dataclass

from gateway.config.models import Settings
from gateway.config.suggest import did_you_mean
from gateway.kernel.errors import GatewayError
from gateway.operations.references import NotFound


class NotAllowed(GatewayError):
    """This person may not do this; nothing was changed."""

    code = "not-allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody at a terminal or a console.

    `partition` is the one they look at: jobs and history of others do not exist for them. With `mine` they see and
    change only what they own. `reason` is why they do it, in their words. Source: batch reference, sections 3.3 and 15.
    """

    name: str
    partition: str
    mine: bool = False
    reason: str | None = None

    def check_owner(self, what: str, owner: str) -> None:
        """Refuse to touch what belongs to others, for somebody who works on their own jobs. Raises: NotAllowed."""
        if self.mine and owner != self.name:
            raise NotAllowed(f"{what} belongs to {owner}; with --mine {self.name} may change their own only")


def person(
    settings: Settings, name: str, *, partition: str | None = None, mine: bool = False, reason: str | None = None
) -> Principal:
    """Return who asks.

    Rule: where accounts are listed, one that has partitions of its own may look into no others.
    Raises: NotAllowed.
    """
    wanted = partition or settings.default_partition
    account = settings.accounts.get(name)
    if account is not None and account.partitions is not None and wanted not in account.partitions:
        allowed = ", ".join(account.partitions) or "none"
        raise NotAllowed(f"the account {name} has no access to the partition {wanted}; it has: {allowed}")
    return Principal(name=name, partition=wanted, mine=mine, reason=reason)


def known_account(settings: Settings, name: str, *, partition: str, company: str) -> None:
    """Refuse a name that could not run or hear of a job. As long as no accounts are listed every name is good.

    Raises: NotFound, NotAllowed.
    """
    if not settings.accounts:
        return
    account = settings.accounts.get(name)
    if account is None:
        known = ", ".join(sorted(settings.accounts))
        raise NotFound(f"there is no account {name!a}{did_you_mean(name, settings.accounts) or f'; known are {known}'}")
    if not account.enabled:
        raise NotAllowed(f"the account {name} is switched off")
    if account.partitions is not None and partition not in account.partitions:
        raise NotAllowed(f"the account {name} has no access to the partition {partition}")
    if account.companies is not None and company not in account.companies:
        raise NotAllowed(f"the account {name} has no access to the company {company}")
