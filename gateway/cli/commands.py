"""How commands are made. What all share is said here once; a command says which operation it calls and what it shows.

A command is a coroutine function. Its first parameter is the session of the person at the terminal. Its other
parameters are its own arguments and options, as typer reads them, with these additions:

- a parameter that is a dataclass stands for one option for each field that is annotated as one, and gets the record
  made of them, which may refuse what does not go together before anything is opened;
- a parameter of the type Launcher gets one that was started before anything else of the process;
- `config`, `as_json` and `yes` are the options that commands have anyway.

It returns an `Answer`, a `Question` that is to be asked first, or None when it has printed all by itself.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import MISSING, dataclass, fields, is_dataclass
from inspect import Parameter, Signature
from typing import Annotated, Any, Final, Literal, get_origin

import typer

from gateway.cli.common import KNOWN_ERROR, consent, find_handlers_beside, open_session, perform
from gateway.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    MineOption,
    PartitionOption,
    ReasonOption,
    YesOption,
)
from gateway.cli.render import Part, dim, print_json, show
from gateway.operations.messages import Page
from gateway.operations.principal import OperatorSession
from gateway.runtime.roles import ROLES
from gateway.workers.launcher import Launcher


class Answer:
    """What a command answers: *data* for programs, *parts* for people; with *failed* the exit code is 1."""

    def __init__(self, data: object, *parts: Part, failed: bool = False) -> None:
        self.data = data
        self.parts: Iterable[Part] = parts
        self.failed = failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person has to agree to first, who sees *parts* before; with --yes nobody is asked.

    `then` does it, in a session of its own: none is open while somebody thinks.
    """

    text: str
    parts: Sequence[Part] = ()
    then: Callable[[OperatorSession], Awaitable[Answer]]


Option = Literal["partition", "mine", "yes", "reason"]
Handler = Callable[..., Awaitable[Answer | Question | None]]
Command = Callable[..., None]


def _option(name: str, annotation: object, default: object) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_COMMON: Final = {
    one.name: one
    for one in (
        _option("yes", YesOption, False),
        _option("partition", PartitionOption, None),
        _option("mine", MineOption, False),
        _option("reason", ReasonOption, None),
        _option("config", ConfigOption, DEFAULT_CONFIG),
        _option("as_json", JsonOption, False),
    )
}
"""The options of which most commands have some, in the order in which the help shows them."""


class Commands(typer.Typer):
    """A group of commands. With *shared* they are about what all partitions share, and nobody is refused."""

    def __init__(self, about: str, *, shared: bool = False) -> None:
        super().__init__(no_args_is_help=True, help=about)
        self._shared = shared

    def query(self, name: str, *options: Option) -> Callable[[Handler], Command]:
        """Add a command that only asks; *options* are those of `partition` and `mine` that it takes."""
        return self._add(name, options)

    def action(self, name: str, *options: Option) -> Callable[[Handler], Command]:
        """Add a command that changes something: it takes a reason, too, and `yes` when it may ask first."""
        return self._add(name, (*options, "reason"))

    def _add(self, name: str, options: Sequence[Option]) -> Callable[[Handler], Command]:
        return lambda handler: self.command(name)(as_command(handler, *options, shared=self._shared))


def query(*options: Option, shared: bool = False) -> Callable[[Handler], Command]:
    """Make a command that stands by itself, and only asks."""
    return lambda handler: as_command(handler, *options, shared=shared)


def as_command(handler: Handler, *options: Option, shared: bool = False) -> Command:
    """Return the function for typer of a command with these common options."""
    takes: set[str] = {"config", "as_json", *options}
    shown: list[Parameter] = []
    records: dict[str, type[Any]] = {}
    launcher_name: str | None = None
    own = inspect.signature(handler).parameters
    for parameter in list(own.values())[1:]:
        if parameter.annotation is Launcher:
            launcher_name = parameter.name
        elif is_dataclass(parameter.annotation) and isinstance(parameter.annotation, type):
            records[parameter.name] = parameter.annotation
            shown += _options_of(parameter.annotation)
        elif parameter.name not in _COMMON or get_origin(parameter.annotation) is Annotated:
            shown.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
    shown += [parameter for name, parameter in _COMMON.items() if name in takes]

    def command(**given: Any) -> None:
        arguments = {name: value for name, value in given.items() if name in own}
        for name, record in records.items():
            arguments[name] = record(**{one.name: given[one.name] for one in _options_of(record)})
        if launcher_name is None:
            _run(handler, arguments, given, shared=shared)
            return
        find_handlers_beside(given["config"])
        # now: this process has no event loop yet, no thread, no connection
        with closing(Launcher.start(ROLES)) as launcher:
            _run(handler, {**arguments, launcher_name: launcher}, given, shared=shared)

    command.__name__, command.__doc__ = getattr(handler, "__name__", "command"), handler.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    vars(command)["__signature__"] = Signature(shown)
    return command


def older(page: Page[Any]) -> list[Part]:
    """Say that there are older ones than those of a page, and how to see them; nothing at the end."""
    if page.before is None:
        return []
    text = f"The newest {len(page.rows)} are shown; --before {page.before} goes on from there, --limit shows more."
    return [dim(text)]


def _options_of(record: type[Any]) -> Iterable[Parameter]:
    for one in fields(record):
        if get_origin(one.type) is Annotated:
            yield _option(one.name, one.type, Parameter.empty if one.default is MISSING else one.default)


def _run(handler: Handler, arguments: Mapping[str, Any], given: Mapping[str, Any], *, shared: bool) -> None:
    asked = given.get("yes", False)

    async def visit(work: Callable[[OperatorSession], Awaitable[Answer | Question | None]]) -> Answer | Question | None:
        async with open_session(
            given["config"], partition=given.get("partition"), mine=given.get("mine", False),
            reason=given.get("reason"), shared=shared,
        ) as session:  # fmt: skip
            found = await work(session)
            return await found.then(session) if asked and isinstance(found, Question) else found

    found = perform(visit(lambda session: handler(session, **arguments)))
    if isinstance(found, Question):
        if not given["as_json"]:
            show(found.parts)
        consent(found.text)
        found = perform(visit(found.then))
    if isinstance(found, Answer):
        tell(found, as_json=given["as_json"])


def tell(answer: Answer, *, as_json: bool) -> None:
    """Print an answer as it was asked for. Raises: typer.Exit when it is that something failed."""
    if as_json:
        print_json(answer.data)
    else:
        show(answer.parts)
    if answer.failed:
        raise typer.Exit(KNOWN_ERROR)
