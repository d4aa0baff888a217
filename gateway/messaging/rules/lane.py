"""Which lane a message belongs to.

Rule: a sequential port is one lane. On a parallel port a conversation is a lane; so is a set that must stop or be
undone at its first error, because its messages run one after another. Everything else runs freely.
Source: AIF reference, section 26; rulings, "Batch conversation".
"""

from hashlib import sha256

from gateway.kernel.ids import LaneName, SetKey
from gateway.messaging.rules.states import Policy

WHOLE_PORT = LaneName("port")
_LONGEST = 200


def lane_of(
    *,
    sequential: bool,
    policy: Policy,
    set_key: SetKey | None,
    batch_conversation: str | None,
    own_conversation: str | None,
    spans_sets: bool,
) -> LaneName | None:
    """Return the lane of one message, None when nothing orders it.

    `batch_conversation` is the attribute of the batch and stands over the member's own id; `spans_sets` lets
    the ids of members order them together with other files.
    """
    if sequential:
        return WHOLE_PORT
    if batch_conversation is not None:
        return _named("conversation", batch_conversation)
    if set_key is not None and policy is not Policy.CONTINUE:
        return LaneName(f"set:{set_key}")
    if own_conversation is None:
        return None
    if set_key is None or spans_sets:
        return _named("conversation", own_conversation)
    return _named(f"set:{set_key}:conversation", own_conversation)


def may_be_lane(name: LaneName, *, sequential: bool) -> bool:
    """Tell whether a port of this kind can have a lane of this name."""
    return name == WHOLE_PORT if sequential else name.startswith(("conversation:", "set:"))


def _named(kind: str, text: str) -> LaneName:
    """Long ids keep their beginning, for people, and a digest, for uniqueness."""
    if len(text) > _LONGEST:
        text = f"{text[:100]}~{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return LaneName(f"{kind}:{text}")
