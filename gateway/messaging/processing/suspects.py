"""What has ended the process that worked on it runs again in a process of its port, and there beside nothing else."""

from collections.abc import Callable

from gateway.kernel.ids import PortName
from gateway.messaging.rules.message import Claimed, Work
from gateway.messaging.rules.outbound import SendRequest

HandOver = Callable[[PortName], bool]
"""Leave a port to a process of its own, when this one serves others too; returns whether another one takes over."""


def keep(_: PortName) -> bool:
    """Hand over nothing: this process is the one."""
    return False


def has_crash_suspect(claimed: Claimed[Work] | Claimed[SendRequest]) -> bool:
    """Tell whether something that is claimed was at work when a process ended.

    Rule: it runs with nobody beside it, so that when the process ends again nobody else can be blamed.
    """
    return any(item.crashes for item in claimed.items)
