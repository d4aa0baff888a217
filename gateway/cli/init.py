"""The command that makes a working site out of nothing."""

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from gateway.cli.common import fail
from gateway.cli.render import console
from gateway.config.load import is_utf8
from gateway.kernel.errors import GatewayError


class Part(StrEnum):
    """What a new site can have instead of the plain example."""

    POSTING = "posting"


@dataclass(frozen=True, slots=True)
class _Template:
    """What a new site is made of: a folder of this package, empty folders beside it, and what to try first."""

    folder: str
    empty: tuple[str, ...]
    steps: tuple[str, ...]


_CHECK: Final = "gateway check                                                # is everything in order?"
_RUN: Final = "gateway run                                                  # start; Ctrl-C ends it"
_PLAIN: Final = _Template(
    "site",
    ("in", "out"),
    (
        _CHECK,
        _RUN,
        "gateway submit samples/timesheets.xml -p timesheets --wait   # in another terminal: two answers",
    ),
)
_TEMPLATES: Final = {
    Part.POSTING: _Template(
        "site_posting",
        ("in", "out", "posted"),
        (
            _CHECK,
            _RUN,
            "gateway submit samples/1-master-data.xml -p documents --wait # in another terminal: what documents name",
            "gateway submit samples/2-documents.xml -p documents --wait   # documents of the eight kinds",
            "gateway documents list                                       # what can be posted",
            "gateway documents post PurchaseOrder PO-000001               # goods come in; look into posted/",
            "gateway documents post SalesOrder SO-000001                  # and go out",
        ),
    )
}


class SiteExists(GatewayError):
    """There is something in the folder already."""

    code = "init.exists"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to create. If it exists, it must be empty.")
    ],
    part: Annotated[
        Part | None, typer.Option("--with", help="A site for this instead: posting of sales and purchase documents.")
    ] = None,
) -> None:
    """Create a working site: configuration, folders, a schema with samples, a handler in Python."""
    template = _PLAIN if part is None else _TEMPLATES[part]
    try:
        made = make_site(folder, template)
    except GatewayError as error:
        fail(error)
    out = console()
    for path in made:
        out.print(Text(f"  {folder / path}", style="dim"))
    out.print(Text("\nThe site is ready. Next:", style="bold"))
    for step in (f"cd {folder}", *template.steps):
        out.print(Text(f"  {step}"))


def make_site(folder: Path, template: _Template) -> list[Path]:
    """Write the files of a new site; returns their paths inside *folder*.

    Raises: SiteExists when the folder holds anything; GatewayError when it cannot be made.
    """
    if not is_utf8(folder.absolute()):
        raise GatewayError(f"{folder.absolute()} is not UTF-8: name a folder that is", code="init.failed")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SiteExists(f"{folder} is there already and not empty: name a new folder")
    try:
        source = Path(__file__).with_name(template.folder)
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for name in template.empty:
            (folder / name).mkdir()
    except OSError as error:
        raise GatewayError(f"{folder} cannot be made: {error.strerror}", code="init.failed") from error
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
