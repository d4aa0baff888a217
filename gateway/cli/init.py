"""The command that makes a working site out of nothing."""

import shutil
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.cli.common import fail
from gateway.cli.render import console
from gateway.config.load import is_utf8
from gateway.domain.errors import GatewayError

TEMPLATE: Final = Path(__file__).with_name("site")
FOLDERS: Final = ("in", "out")


class SiteExists(GatewayError):
    """There is something in the folder already."""

    code = "init.exists"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to create. If it exists, it must be empty.")
    ],
) -> None:
    """Create a working site: configuration, folders, a schema with samples, a handler in Python."""
    try:
        made = make_site(folder)
    except GatewayError as error:
        fail(error)
    out = console()
    for path in made:
        out.print(Text(f"  {folder / path}", style="dim"))
    out.print(Text("\nThe site is ready. Next:", style="bold"))
    for step in (
        f"cd {folder}",
        "gateway check                                                # is everything in order?",
        "gateway run                                                  # start; Ctrl-C ends it",
        "gateway submit samples/timesheets.xml -p timesheets --wait   # in another terminal: two answers",
    ):
        out.print(Text(f"  {step}"))


def make_site(folder: Path) -> list[Path]:
    """Write the files of a new site; returns their paths inside *folder*.

    Raises: SiteExists when the folder holds anything; GatewayError when it cannot be made.
    """
    if not is_utf8(folder.absolute()):
        raise GatewayError(f"{folder.absolute()} is not UTF-8: name a folder that is", code="init.failed")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SiteExists(f"{folder} is there already and not empty: name a new folder")
    try:
        shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FOLDERS:
            (folder / name).mkdir()
    except OSError as error:
        raise GatewayError(f"{folder} cannot be made: {error.strerror}", code="init.failed") from error
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
