"""Stands around every command: refuses arguments nobody can mean, and tells trouble of the machine from bugs."""

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

import typer

from gateway.runtime.visible import visible
from gateway.workers.limits import limit_reached

LARGEST: Final = 2**63 - 1
"""The largest number that the database can hold."""


def guard(command: Any) -> Any:  # Any: typer brings click along without its types
    """Return a command, or a group of them, whose arguments are checked before anything is done.

    Rule: a number that the database cannot hold, and a text that is not UTF-8, is wrong usage. Paths are left alone.
    """
    for inner in getattr(command, "commands", {}).values():
        guard(inner)
    if command.callback is not None:
        command.callback = _checked(command.callback)
    return command


def trouble_of_machine(error: BaseException) -> str | None:
    """Return a sentence for an error that the machine or the rights of the account explain, None for any other."""
    leaves = list(_leaves(error))
    told = [_told(one) for one in leaves]
    return None if None in told else told[0]


def _checked(callback: Callable[..., object]) -> Callable[..., object]:
    def checked(**values: object) -> object:
        for name, value in values.items():
            for one in value if isinstance(value, (list, tuple)) else (value,):
                _check(name, one)
        return callback(**values)

    return checked


def _check(name: str, value: object) -> None:
    if isinstance(value, int) and abs(value) > LARGEST:
        raise typer.BadParameter(f"{name.replace('_', ' ')} {value} is larger than any number can be here.")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            shown = visible(os.fsencode(value).decode("utf-8", "backslashreplace"))
            raise typer.BadParameter(
                f"{name.replace('_', ' ')} {shown} is not UTF-8. Write the name as the gateway shows it."
            ) from None


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _told(error: BaseException) -> str | None:
    if (limit := limit_reached(error)) is not None:
        return limit
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {os.strerror(error.errno)}"
    return "the disk is full; make room and try again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
