"""Who asks, for which partition, what of it is theirs, and on which gateway they work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.config.models import Settings
from gateway.config.suggest import did_you_mean
from gateway.db.clock import database_clock
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError
from gateway.kernel.local_time import zone_named
from gateway.operations.references import NotFound


class NotAllowed(GatewayError):
    """This person may not do this; nothing was changed."""

    code = "not-allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody at a terminal or a console, or a program that asks in their name.

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
            raise NotAllowed(f"{what} belongs to {owner}; {self.name} works on their own only, and asked for that")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSession:
    """A principal at work on a gateway: what every operation here is given first.

    `now` is the moment at which the session began, by the database's clock. `config_problems` are those of a
    configuration file that the running gateway has refused: it goes on with `settings`, those from before.
    """

    store: Store
    settings: Settings
    principal: Principal
    now: datetime
    config_problems: Sequence[str] = ()

    @property
    def actor(self) -> str:
        """The account in whose name things are done."""
        return self.principal.name

    @property
    def partition(self) -> str:
        """The partition that is looked at."""
        return self.principal.partition

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which this account writes times and is shown them."""
        return zone_of(self.settings, self.actor)

    def own(self) -> "OperatorSession":
        """Return the session of somebody who looks at their own only."""
        return replace(self, principal=replace(self.principal, mine=True))

    async def later(self) -> "OperatorSession":
        """Return the session at this moment, for one that goes on for long."""
        return replace(self, now=await database_clock(self.store))


def zone_of(settings: Settings, account: str) -> ZoneInfo:
    """Return the time zone of an account: the one it names, else UTC."""
    found = settings.accounts.get(account)
    return zone_named("UTC" if found is None else found.zone)


def principal_of(
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
