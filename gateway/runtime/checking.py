"""Checking a configuration with everything that its tasks run: in a process of its own, because that is imported."""

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from gateway.batch.processes.inside import MOST_BYTES
from gateway.config.load import parse
from gateway.config.models import Settings
from gateway.kernel.errors import ConfigError, ConfigProblem
from gateway.runtime.jobs import runnables_to_check
from gateway.workers.launcher import Child, Launcher, ending, launched
from gateway.workers.limits import limit_memory
from gateway.workers.link import Link, packed, read_message

CHECK: Final = "check"
"""The role of these processes."""
CHECK_SECONDS: Final = 60.0
_LAST_WORDS_SECONDS: Final = 1.0


async def parse_checked(launcher: Launcher, config: Path, content: bytes) -> Settings:
    """Return the settings that *content* of the file *config* describes, checked with all that its tasks run.

    Raises: ConfigError with every problem, in the order of lines; NotLaunched.
    """
    async with launched(launcher, CHECK) as (child, link):
        link.tell("check", str(config), body=content)
        problems = await _answer(child, link)
    if isinstance(problems, str):
        text = f"cannot be checked: importing what they run {problems}"
        raise ConfigError([ConfigProblem(file=str(config), line=None, path="jobs", text=text)])
    if problems:
        raise ConfigError(problems)
    return await asyncio.to_thread(parse, content, file=str(config), base=config.parent, environ=os.environ)


async def _answer(child: Child, link: Link) -> Sequence[ConfigProblem] | str:
    """Return what is wrong with the configuration, or why nobody knows."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            message = await link.receive()
    except TimeoutError:
        return f"took more than {CHECK_SECONDS:g} seconds"
    if message is None:
        return f"ended the process that did it, which {ending(await child.end(seconds=_LAST_WORDS_SECONDS))}"
    return [ConfigProblem(**problem) for problem in message.fields[0]]


def check_config(connection: socket.socket, _: Sequence[int]) -> None:
    """Be the process that checks: answer with everything that is wrong."""
    limit_memory(MOST_BYTES)
    message = read_message(connection.makefile("rb"))
    if message is None:
        return
    config = Path(message.fields[0])
    problems: Sequence[ConfigProblem] = ()
    try:
        parse(
            message.body, file=str(config), base=config.parent, environ=os.environ,
            runnables=runnables_to_check(config),
        )  # fmt: skip
    except ConfigError as error:
        problems = error.problems
    connection.sendall(packed("checked", [asdict(problem) for problem in problems]))
