"""Arguments and options that several commands take: what they are called and what their help says."""

from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.kernel.window import FORMS

DEFAULT_CONFIG: Final = Path("config.yaml")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="GATEWAY_CONFIG", help="The configuration file.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
PartitionOption = Annotated[
    str | None, typer.Option("--partition", help="The partition to look at. Default: `default_partition`.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why you do it; `gateway audit` shows it.")]
MineOption = Annotated[bool, typer.Option("--mine", "-m", help="Only your own.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

PortOption = Annotated[str | None, typer.Option("--port", "-p", help="Only this port.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Most rows to show.")]
BeforeOption = Annotated[int | None, typer.Option("--before", help="Only those older than this number.")]
SinceOption = Annotated[str | None, typer.Option("--since", help=f"Not before: {FORMS}.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Not after this time; a date includes the whole day.")]
FileOption = Annotated[str | None, typer.Option("--file", help="Only messages of this file; * for any text.")]
CategoryOption = Annotated[str | None, typer.Option("--category", help="Only entries of this category.")]
ByCauseOption = Annotated[bool, typer.Option("--by-cause", help="Group by cause and count.")]
JobOption = Annotated[str | None, typer.Option("--job", "-j", help="Only this job.")]
WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Wait for the answers and show them.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="How many seconds to wait.")]
TextOption = Annotated[bool, typer.Option("--text/--no-text", help="Show the text of the answers.")]

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The name of a job.")]
RunArgument = Annotated[int, typer.Argument(metavar="RUN", min=1, help="The number of a run.")]
MessageArgument = Annotated[
    str, typer.Argument(metavar="MESSAGE", help="A number, or a MessageId: any case, with or without braces.")
]
TargetArgument = Annotated[Path, typer.Argument(metavar="TARGET", help="A folder, or the name of a new file.")]
