"""Commands as an operator gives them beside a running gateway, run in this process.

To start a process for each would cost a second of the processor and prove no more: `test_command_line.py` does it.
"""

import asyncio
import json
import logging
from typing import Any

import structlog
from typer.testing import CliRunner

from gateway.cli.main import commands
from tests.site import Site


async def gateway(site: Site, *words: str, text: str = "") -> tuple[int, str, str]:
    """Run a command, *text* on its standard input; returns exit code, output and errors."""
    log = logging.getLogger()
    handlers, level = log.handlers[:], log.level
    run, command = CliRunner().invoke, commands(words[0])
    arguments = [*words, "--config", str(site.config)]
    try:
        result = await asyncio.to_thread(run, command, arguments, input=text, catch_exceptions=False)
    finally:  # commands set it up for a process of their own
        structlog.reset_defaults()
        log.handlers[:] = handlers
        log.setLevel(level)
    return result.exit_code, result.stdout, result.stderr


async def ask(site: Site, *words: str, text: str = "") -> Any:
    """Run a command that works, and return its JSON."""
    code, out, err = await gateway(site, *words, "--json", text=text)
    assert code == 0, err or out
    return json.loads(out)
