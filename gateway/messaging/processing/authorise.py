"""May this submitter do this, here? Checked per message, in a fixed order.

Source: AIF reference, section 20; reliability reference, section 7, rule 8.
"""

from dataclasses import dataclass

from gateway.config.models import Settings
from gateway.kernel.errors import NotAuthorized, UnknownAction
from gateway.messaging.flow.port import ServedInbound
from gateway.messaging.rules.message import Work
from gateway.messaging.services.registry import Found, Registry


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who the request runs as, in which company and partition, and what it calls."""

    user: str
    company: str
    partition: str
    found: Found


def authorise(work: Work, port: ServedInbound, registry: Registry, settings: Settings) -> Allowed:
    """Return what the message may do.

    Raises: NotAuthorized, UnknownAction, each naming what was refused and what is allowed.
    """
    security = port.settings.security
    submitter = work.submitter
    if submitter is None:
        raise NotAuthorized(
            f"The owner of the file '{work.file_display}' is no user of the gateway. The operator of the port "
            f"'{port.name}' can name one under users, or set security.default_user.",
            code="owner.unknown",
        )
    _check_user(submitter, port)
    user = submitter
    if work.logon_as_user is not None and submitter in security.trusted_intermediaries:
        user = _known_user(work.logon_as_user, settings)
        _check_user(user, port)  # trust in who sends the file opens the port to nobody else
    company = work.company or settings.default_company
    if security.company is not None and company != security.company:
        if work.company is not None:
            raise NotAuthorized(
                f"The port '{port.name}' does not accept the company '{company}', only '{security.company}'.",
                code="company.not-allowed",
            )
        company = security.company
    partition = work.partition_key or settings.default_partition
    if security.partition is not None and partition != security.partition:
        if work.partition_key is not None:
            raise NotAuthorized(
                f"The port '{port.name}' does not accept the partition '{partition}', only '{security.partition}'.",
                code="partition.not-allowed",
            )
        partition = security.partition
    found = registry.find(work.action or "")
    if (found.service, found.name) not in port.exposed:
        raise UnknownAction(f"The port '{port.name}' does not offer {found.service}.{found.name}.")
    return Allowed(user, company, partition, found)


def _check_user(user: str, port: ServedInbound) -> None:
    users = port.settings.security.users
    if users is not None and user not in users:
        raise NotAuthorized(
            f"The user '{user}' may not submit to the port '{port.name}'. Its operator can allow it in security.users.",
            code="user.not-allowed",
        )


def _known_user(name: str, settings: Settings) -> str:
    """Return the gateway user that LogonAsUser names, with or without its domain."""
    known = set(settings.users.values())
    short = name.rpartition("\\")[2]
    for candidate in (name, short):
        if candidate in known:
            return candidate
    raise NotAuthorized(
        f"LogonAsUser names '{name}', which is no user of the gateway. Leave it out, or name a user.",
        code="user.unknown",
    )
