"""Giving up answers that were prepared in a staging folder that is lost for good.

As long as the folder may come back, its promises wait: only its content tells what was published. An operator who knows
that it is gone decides that a partner may rather get an answer twice than never.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config.models import InboundPort, Settings
from gateway.db.open import Store
from gateway.kernel.errors import IllegalTransition
from gateway.kernel.ids import MessageKey
from gateway.messaging.delivery.staging import Prepared, give_up_promises, prepared_beside
from gateway.messaging.rules.states import LoggingMode
from gateway.operations.audit import recorded
from gateway.operations.nodes import Alive, nodes
from gateway.operations.person import Principal
from gateway.operations.references import resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An answer in a lost folder; one that is `published` lies in the outbound folder still."""

    prepared: Prepared
    published: bool


async def lost_with(store: Store, settings: Settings, references: Sequence[str]) -> list[Lost]:
    """Return the answers named, by number or MessageId, with all others in the same staging folders.

    Raises: NotFound, Ambiguous; IllegalTransition when one is not prepared in a folder that nobody uses.
    """
    keys = [MessageKey((await resolve(store, text, queued=True)).key) for text in references]
    found = await prepared_beside(store, keys)
    prepared = {one.key: one for one in found}
    for key in keys:
        if key not in prepared:
            raise IllegalTransition(f"no file is prepared for message {key}: see `gateway explain {key}`")
    if not any(node.alive is Alive.RUNNING for node in await nodes(store)):
        raise IllegalTransition(
            "no gateway runs, so nobody can tell whether the folder is lost: start it, and it publishes what it finds"
        )
    for one in found:
        if one.reachable:
            raise IllegalTransition(
                f"message {one.key} is prepared {one.where}, and a gateway that runs uses that folder: it publishes it "
                f"by itself; see `gateway explain {one.key}`"
            )
    return await asyncio.to_thread(lambda: [Lost(prepared=one, published=_published(settings, one)) for one in found])


async def restage(store: Store, settings: Settings, who: Principal, lost: Sequence[Lost]) -> list[MessageKey]:
    """Let lost answers be prepared anew; those that lie in the outbound folder are sent. Returns what was changed."""
    async with recorded(store, who, "queue.restage", messages=[one.prepared.key for one in lost]):
        published = {one.prepared.key: _kept(settings, one.prepared) for one in lost if one.published}
        return await give_up_promises(store, [one.prepared for one in lost], published=published, by=who.name)


def _kept(settings: Settings, one: Prepared) -> LoggingMode:
    port = settings.ports.get(one.port)
    return port.logging if isinstance(port, InboundPort) else LoggingMode.ORIGINAL


def _published(settings: Settings, one: Prepared) -> bool:
    """Tell whether the answer lies where it is published: names of answers are given once."""
    folders = settings.port_folders(one.port).send if one.port in settings.ports else None
    if folders is None:
        return False
    return ((folders.faults if one.is_fault else folders.outbound) / one.file).exists()
