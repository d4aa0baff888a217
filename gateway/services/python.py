"""Services written in Python by the people who run the gateway."""

import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.domain.errors import GatewayError, OperationRejected, OperationTimeout

PlainHandler = Callable[[Request, ServiceContext], Reply]
Handler = Callable[[Request, ServiceContext], Reply | Awaitable[Reply]]


class HandlerNotFound(GatewayError):
    """The configured handler cannot be imported."""

    code = "handler.not-found"


def load_handler(reference: str) -> Handler:
    """Import `module:object`; a class is instantiated once, without arguments, and must be callable.

    Raises: HandlerNotFound saying which part is missing.
    """
    module_name, _, attribute = reference.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise HandlerNotFound(f"The handler '{reference}' cannot be imported: {error}.") from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            raise HandlerNotFound(f"The handler '{reference}' does not exist: '{module_name}' has no '{attribute}'.")
        target = getattr(target, part)
    if inspect.isclass(target):
        target = target()
    if not callable(target):
        raise HandlerNotFound(f"The handler '{reference}' is not a function or a class with __call__.")
    handler: Handler = target
    return handler


class PythonOperation:
    """One function as a service operation.

    An `async` function runs on the event loop and may use the transaction of its context; a plain function
    runs in a thread and only computes.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        expects: tuple[str, ...] | None,
        undoable: bool,
        idempotent: bool,
        timeout_seconds: float,
    ) -> None:
        self.expects = expects
        self.undoable = undoable
        self.idempotent = idempotent
        self._timeout = timeout_seconds
        self._handler = handler
        self._on_loop = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 an instance of a class with an async __call__
        )

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        """Run the handler for one request.

        Raises: OperationTimeout after the configured seconds; OperationRejected when the result is no Reply.
        """
        try:
            async with asyncio.timeout(self._timeout):
                if self._on_loop:
                    result = await cast("Awaitable[Reply]", self._handler(request, context))
                else:
                    result = await asyncio.to_thread(cast("PlainHandler", self._handler), request, context)
        except TimeoutError as error:
            raise OperationTimeout(
                f"{request.service}.{request.operation} took longer than {self._timeout:g} seconds."
            ) from error
        if not isinstance(result, Reply):
            raise OperationRejected(
                f"The handler of {request.service}.{request.operation} returned {type(result).__name__}, not a Reply.",
                code="handler.result",
            )
        return result
