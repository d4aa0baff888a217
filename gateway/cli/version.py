"""The command that says which version this is."""

import sys
from importlib.metadata import version as installed_version
from typing import Final

from gateway.cli.options import JsonOption
from gateway.cli.render import console, print_json

DISTRIBUTION: Final = "aif-gateway"


def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    python = ".".join(map(str, sys.version_info[:3]))
    if as_json:
        print_json({"version": installed_version(DISTRIBUTION), "python": python})
    else:
        console().print(f"gateway {installed_version(DISTRIBUTION)} (Python {python})")
