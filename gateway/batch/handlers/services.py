"""The runnables `receive`, `inbound`, `outbound` and `send`: the four stages that move messages."""

from collections.abc import Callable

from gateway.config.models_base import Options
from gateway.contracts.task import Runnable, TaskHandler
from gateway.messaging.rules.states import Stage

_DOES = {
    Stage.RECEIVE: "takes files from inbound folders into the queue",
    Stage.INBOUND: "runs the services that requests call",
    Stage.OUTBOUND: "makes messages of send requests",
    Stage.SEND: "delivers responses and other messages as files",
}


class NoParameters(Options):
    """A service handles what it finds: there is nothing to say."""


def service_runnable(stage: Stage, handler: Callable[[], TaskHandler]) -> Runnable:
    """Describe a stage; *handler* returns the one of this gateway.

    An interruption costs nothing: every stage goes on from the store.
    """
    return Runnable(
        name=stage.value,
        description=_DOES[stage],
        parameters=NoParameters,
        make=lambda _: handler(),
        idempotent=True,
        retryable=True,
        timeout_seconds=None,
    )
