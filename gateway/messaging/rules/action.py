"""The grammar of actions: namespace "/" service "/" operation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """An action, split. `namespace` is as written."""

    namespace: str
    service: str
    operation: str


def split_action(text: str) -> Action | None:
    """Split an action from the right; None when it has not three parts.

    Rule: the last segment is the operation, the one before it the service, the rest the namespace.
    Source: AIF reference, section 6.1.
    """
    namespace, _, tail = text.rpartition("/")
    namespace, _, service = namespace.rpartition("/")
    if not (namespace and service and tail):
        return None
    return Action(namespace, service, tail)
