"""How people name messages and ports, and what they are told when nothing has that name."""

import difflib
from dataclasses import dataclass
from uuid import UUID

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.kernel.errors import GatewayError
from gateway.kernel.ids import PortName, format_message_id, parse_message_id
from gateway.kernel.remedy import Action, do
from gateway.operations.reads.messages import find_messages
from gateway.operations.statements.admin_sql import Found

_LARGEST_KEY = 2**63 - 1


class NotFound(GatewayError):
    """Nothing has the name or number that was asked for."""

    code = "not-found"


class Ambiguous(GatewayError):
    """Several messages have this MessageId; the text lists their numbers."""

    code = "ambiguous"


@dataclass(frozen=True, slots=True)
class Reference:
    """A message as people name it: by our number or by its MessageId; one of the two is None."""

    key: int | None
    message_id: UUID | None


def parse_reference(text: str) -> Reference:
    """Read a message number, or a MessageId in any case with or without braces.

    Raises: NotFound when it is neither.
    """
    plain = text.strip()
    if plain.isascii() and plain.isdecimal() and int(plain) <= _LARGEST_KEY:
        return Reference(int(plain), None)
    message_id = parse_message_id(plain)
    if message_id is None:
        raise NotFound(f"{text!a} is neither the number of a message nor a MessageId (a GUID, braces are optional)")
    return Reference(None, message_id)


async def resolve(store: Store, text: str, *, queued: bool, either: bool = False) -> Found:
    """Return the message that *text* means; of several with one MessageId the one that is (not) *queued* counts.

    With *either* a message on the other side is fine as well.

    Raises: NotFound, Ambiguous.
    """
    reference = parse_reference(text)
    found = await find_messages(store, key=reference.key, message_id=reference.message_id)
    if not found:
        raise NotFound(f"there is no message {text}")
    fitting = [message for message in found if message.queued is queued]
    if len(fitting) == 1:
        return fitting[0]
    if either and len(found) == 1:
        return found[0]
    if not fitting and len(found) == 1:
        place = Action.SHOW_FINISHED if queued else Action.SHOW_MESSAGE
        state = "finished" if queued else "not finished"
        raise NotFound(f"the message {text} is {state}").remedied(do(place, found[0].key, then="It shows it."))
    numbers = ", ".join(str(message.key) for message in fitting or found)
    raise Ambiguous(f"several messages have the id {format_message_id(found[0].message_id)}: give a number, {numbers}")


def known_port(settings: Settings, name: str | None) -> PortName | None:
    """Return the name of a configured port, None for None.

    Raises: NotFound naming the ports there are.
    """
    return None if name is None else require_port(settings, name)


def require_port(settings: Settings, name: str) -> PortName:
    """Return the name of a configured port.

    Raises: NotFound naming the ports there are.
    """
    if name in settings.ports:
        return PortName(name)
    near = difflib.get_close_matches(name, settings.ports, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(settings.ports) or 'none'}"
    raise NotFound(f"there is no port {name!a}{hint}")
