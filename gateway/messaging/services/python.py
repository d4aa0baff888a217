"""Services written in Python by the people who run the gateway."""

import asyncio
import importlib
import inspect
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypedDict, Unpack

from lxml import etree

from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.kernel.errors import GatewayError, ServiceBroken
from gateway.kernel.text import clean
from gateway.messaging.services.answers import Answers
from gateway.messaging.services.usercode import Function, UserCode

Handler = Callable[[Request, ServiceContext], Reply | Awaitable[Reply]]


class HandlerNotFound(GatewayError):
    """The configured handler cannot be imported."""

    code = "handler.not-found"


def load_handler(reference: str) -> Handler:
    """Import `module:object`; a class is instantiated once, without arguments, and must be callable.

    Raises: HandlerNotFound saying which part is missing, or what the imported code raised and where.
    """
    target = load_object(reference)
    if inspect.isclass(target):
        with _strange_code(f"The handler '{reference}' cannot be made"):
            target = target()
    if not callable(target):
        raise HandlerNotFound(f"The handler '{reference}' is not a function or a class with __call__.")
    handler: Handler = target
    return handler


def load_object(reference: str) -> Any:  # Any: whatever stands there
    """Import `module:object` as it is. Raises: HandlerNotFound, as `load_handler`."""
    module_name, _, attribute = reference.partition(":")
    with _strange_code(f"The handler '{reference}' cannot be imported"):
        target: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        if not hasattr(target, part):
            raise HandlerNotFound(f"The handler '{reference}' does not exist: '{module_name}' has no '{attribute}'.")
        target = getattr(target, part)
    return target


@contextmanager
def _strange_code(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into one line: type, text, file and line."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a module may end in anything, even in exit()
        said = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
        text = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise HandlerNotFound(f"{what}: {text}{_place_of(error)}.") from error


def _place_of(error: BaseException) -> str:
    """Say in which line of which file it was raised; empty when that is in none of the user's."""
    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})" if error.filename else ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    inside = [frame for frame in frames if frame.filename not in (__file__, importlib.__file__)]
    return f" ({inside[-1].filename}, line {inside[-1].lineno})" if inside else ""


class Options(TypedDict):
    """What the configuration says of an operation; see `ServiceOperation`."""

    expects: tuple[str, ...] | None
    undoable: bool
    idempotent: bool
    timeout_seconds: float


class PythonOperation:
    """One function as a service operation.

    An `async` function runs on the event loop and may use the transaction of its context; a plain function
    runs in a thread and only computes.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        code: UserCode,
        answers: Answers,
        **options: Unpack[Options],
    ) -> None:
        self.expects = options["expects"]
        self.undoable = options["undoable"]
        self.idempotent = options["idempotent"]
        self.timeout_seconds = options["timeout_seconds"]
        self._handler = handler
        self._code = code
        self._answers = answers

    async def call(self, request: Request, context: ServiceContext) -> Reply:
        """Run the handler for one request.

        Raises: OperationTimeout after the configured seconds; ServiceBroken when the result is no Reply that can be
        written, or breaks its schema; SchemaUnusable; whatever the handler raises.
        """
        who = f"{request.service}.{request.operation}"
        result = await self._code.call(self._handler, request, context, self.timeout_seconds)
        wrong = _wrong_with(result)
        if wrong is not None:
            raise ServiceBroken(
                f"The handler of {who} returned {wrong}. Mend it, then release the message.", code="handler.result"
            )
        assert isinstance(result, Reply)
        if result.parts and not result.keys_only:
            await asyncio.to_thread(self._answers.check, result.parts, who)
        return result


class CompensatedPythonOperation(PythonOperation):
    """A function whose effects outside the database another function takes back."""

    def __init__(
        self, handler: Handler, compensation: Function, *, code: UserCode, answers: Answers, **options: Unpack[Options]
    ) -> None:
        super().__init__(handler, code=code, answers=answers, **options)
        self._compensation = compensation

    async def compensate(self, request: Request, context: ServiceContext) -> None:
        """Run the compensation of one request; what it returns does not matter."""
        await self._code.call(self._compensation, request, context, self.timeout_seconds, what="the compensation of ")


def _wrong_with(result: object) -> str | None:
    """Say why a result cannot be written as an answer; answers are written when it is too late to fail."""
    if not isinstance(result, Reply):
        return f"{type(result).__name__}, not a Reply"
    if not all(isinstance(part, etree._Element) and isinstance(part.tag, str) for part in result.parts):
        return "a Reply whose parts are not all elements"
    for key in result.entity_keys:
        for pair in key:
            if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
                return "a Reply whose entity_keys are not pairs of texts"
            if any(clean(text, len(text)) != text for text in pair):
                return "a Reply whose entity_keys hold characters that XML forbids"
    return None
