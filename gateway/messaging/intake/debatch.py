"""Make queue messages of what the reader found in a file: ids, lanes, action names, submitter."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from gateway.config.models import Settings
from gateway.config.models_ports import Conversations
from gateway.db.slices import cooperative_map
from gateway.kernel.ids import SetKey, parse_message_id
from gateway.messaging.flow.port import OpenInbound
from gateway.messaging.rules.action import split_action
from gateway.messaging.rules.delivery import Claim
from gateway.messaging.rules.envelope import FileHead, Header, ReadEnvelope
from gateway.messaging.rules.lane import lane_of
from gateway.messaging.rules.message import NewMessage

_LONGEST_ACTION = 1000


def submitter_of(claim: Claim, port: OpenInbound, settings: Settings) -> str | None:
    """Return who sent a file: the owner by the configured map, else the account, else the port's default user.

    Source: rulings, "Submitter".
    """
    mapped = None if claim.owner_uid is None else settings.users.get(claim.owner_uid)
    if mapped is None and claim.owner is not None:
        mapped = settings.users.get(claim.owner)
    return mapped or claim.owner or port.settings.security.default_user


async def new_messages(
    envelopes: Sequence[ReadEnvelope], head: FileHead, set_key: SetKey | None, port: OpenInbound
) -> list[NewMessage]:
    """Return the messages of a piece of a file, in document order."""
    return await cooperative_map(lambda envelope: _new_message(envelope, head, set_key, port), envelopes)


def _new_message(envelope: ReadEnvelope, head: FileHead, set_key: SetKey | None, port: OpenInbound) -> NewMessage:
    header = envelope.header
    sent = header.message_id
    message_id = None if sent is None else parse_message_id(sent)
    action = split_action(header.action) if header.action and len(header.action) <= _LONGEST_ACTION else None
    return NewMessage(
        position=envelope.position,
        message_id=message_id or uuid4(),
        message_id_sent=sent,
        namespace=envelope.namespace,
        header=_bounded(header),
        service=action.service[:200] if action else None,
        operation=action.operation[:200].lower() if action else None,
        conversation_id=header.conversation_id,
        lane=lane_of(
            sequential=port.sequential,
            policy=port.policy,
            set_key=set_key,
            batch_conversation=head.conversation_id,
            own_conversation=header.conversation_id,
            spans_sets=port.settings.process.conversations is Conversations.PORT,
        ),
        parts=envelope.parts,
        checked=envelope.schema,
        problems=(*envelope.header_problems, *envelope.body_problems),
        content=envelope.content,
    )


def _bounded(header: Header) -> Header:
    """Cut a senseless action; the reader has already said what is wrong with it or the look-up will."""
    if header.action and len(header.action) > _LONGEST_ACTION:
        return replace(header, action=header.action[:_LONGEST_ACTION])
    return header


class Ignored:
    """Members of a set whose own conversation is ignored, counted piece by piece: the operator may want to know."""

    def __init__(self, head: FileHead) -> None:
        self._conversation = head.conversation_id
        self._count = 0
        self._first: NewMessage | None = None

    def count(self, messages: Sequence[NewMessage]) -> None:
        """Count those among the next messages of the set."""
        if self._conversation is None:
            return
        ignored = [m for m in messages if m.conversation_id not in (None, self._conversation)]
        self._count += len(ignored)
        if ignored and self._first is None:
            self._first = ignored[0]

    def warnings(self) -> list[tuple[str, str]]:
        """Return what to tell of the set: pairs of code and text."""
        if self._first is None:
            return []
        return [
            (
                "conversation.ignored",
                f"{self._count} messages name a conversation of their own, first '{self._first.conversation_id}' at "
                f"position {self._first.position}; the batch's conversation '{self._conversation}' stands over it.",
            )
        ]
