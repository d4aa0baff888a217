"""The YAML section of a job or an entry, as a person hands it over."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from gateway.config.models import Settings
from gateway.kernel.errors import ConfigError, ConfigProblem
from gateway.runtime.jobs import runnables_to_check

Section = TypeVar("Section")
SectionArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="A YAML file with the section; - reads standard input.")
]
_STANDARD_INPUT: Final = "-"


async def read_section(file: str, config: Path, settings: Settings, parse: Callable[..., Section]) -> Section:
    """Read a section and check it with *parse*. Raises: ConfigError with the lines of the file."""
    name = "standard input" if file == _STANDARD_INPUT else file
    try:
        content = await asyncio.to_thread(_read, file)
    except OSError as error:
        problem = ConfigProblem(file=name, line=None, path="", text=f"cannot be read: {error.strerror}")
        raise ConfigError([problem]) from None
    return parse(
        content, file=name, base=config.absolute().parent, environ=os.environ, settings=settings,
        runnables=runnables_to_check(config),
    )  # fmt: skip


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == _STANDARD_INPUT else Path(file).read_bytes()
