"""Runnables of the users' own, written `module:object`, and handlers made of parameters.

Who calls this imports and runs code of the users.
"""

from collections.abc import Mapping
from pathlib import Path

from gateway.contracts.task import UNPACK, Mask, Runnable, TaskHandler
from gateway.kernel.errors import GatewayError, TaskRefused
from gateway.messaging.services.python import HandlerNotFound, load_object


def own_runnable(name: str) -> Runnable:
    """Import the runnable that `module:object` stands for. Raises: TaskRefused with the code `task.unknown`."""
    try:
        thing = load_object(name)
    except HandlerNotFound as error:
        raise TaskRefused(error.message, code="task.unknown") from error
    if not isinstance(thing, Runnable):
        raise TaskRefused(
            f"'{name}' is no Runnable of gateway.contracts.task; to call a function write "
            f"`run: python, with: {{call: {name}}}`.",
            code="task.unknown",
        )
    return thing


def make_handler(
    runnable: Runnable, parameters: Mapping[str, object], version: int | None, *, mask: Mask, base: Path
) -> TaskHandler:
    """Check filled parameters and make the handler; what code of the users says of them is masked.

    Raises: TaskRefused with the code `task.unpack`; other GatewayErrors of those that come with the gateway.
    """
    try:
        return runnable.make(runnable.check(parameters, version, base=base))
    except TaskRefused as error:
        raise TaskRefused(mask(error.message), code=error.code) from None
    except GatewayError:
        raise
    except Exception as error:  # of the code of the users: neither its text nor its traceback may be shown as it is
        text = f"{runnable.name} cannot be made of its parameters: {type(error).__name__}: {error}"
        raise TaskRefused(mask(text), code=UNPACK) from None
