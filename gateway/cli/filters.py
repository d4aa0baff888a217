"""Options by which messages and exceptions are chosen, and what a list says at its end."""

from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.render import console
from gateway.kernel.window import FORMS
from gateway.messaging.rules.states import Direction, Status

StatusOption = Annotated[
    list[Status] | None, typer.Option("--status", "-s", help="Only messages with this status; repeatable.")
]
DirectionOption = Annotated[
    Direction | None, typer.Option("--direction", "-d", help="Only requests (in) or answers (out).")
]
CodeOption = Annotated[
    str | None, typer.Option("--code", help="Only messages that failed with this code; * for any text.")
]
FileOption = Annotated[str | None, typer.Option("--file", help="Only messages of this file; * for any text.")]
UserOption = Annotated[str | None, typer.Option("--user", help="Only messages that this account submitted.")]
SinceOption = Annotated[str | None, typer.Option("--since", help=f"Not before: {FORMS}.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Not after this time; a date includes the whole day.")]
BeforeOption = Annotated[int | None, typer.Option("--before", help="Only those older than this number.")]
ByCauseOption = Annotated[bool, typer.Option("--by-cause", help="Group by cause and count.")]


def tell_cut(shown: int, total: int) -> None:
    """Say that a list does not show everything."""
    if shown < total:
        text = f"{shown} of {total} are shown; --limit shows more, --by-cause counts them."
        console().print(Text(text, style="dim"), soft_wrap=True)


def tell_older(shown: int, before: int | None) -> None:
    """Say that there are older ones, and how to see them."""
    if before is not None:
        text = f"The newest {shown} are shown; --before {before} goes on from there, --limit shows more."
        console().print(Text(text, style="dim"), soft_wrap=True)
