"""Commands about the program itself: its version, the shape of its configuration."""

import json
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.common import JsonOption, fail
from gateway.cli.render import console, print_json
from gateway.config.export import json_schema
from gateway.kernel.errors import GatewayError

DISTRIBUTION: Final = "aif-gateway"


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of printing.")
    ] = None,
) -> None:
    """Print the JSON Schema of the configuration, for editors that complete and check YAML.

    In VS Code: save it as gateway.schema.json and put this line at the top of config.yaml:
    # yaml-language-server: $schema=gateway.schema.json
    """
    text = json.dumps(json_schema(), indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            fail(GatewayError(f"{output} cannot be written: {error.strerror}", code="schema.not-written"))


def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    python = ".".join(map(str, sys.version_info[:3]))
    if as_json:
        print_json({"version": installed_version(DISTRIBUTION), "python": python})
    else:
        console().print(f"gateway {installed_version(DISTRIBUTION)} (Python {python})")
