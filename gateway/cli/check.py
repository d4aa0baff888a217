"""Commands on the configuration: is it and all that it names in order, and which shape has it?"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway.cli.commands import Answer, tell
from gateway.cli.common import fail, load_settings, perform
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from gateway.cli.render import NARROW, Part, Rows, console, counted, record
from gateway.config import yaml
from gateway.config.document import Document
from gateway.config.export import json_schema
from gateway.kernel.errors import ConfigError, GatewayError
from gateway.runtime.check import check as check_settings
from gateway.runtime.checked import Finding, Verdict
from gateway.runtime.jobs import runnables_to_check


def check(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Check the configuration and everything it names, without starting the gateway.

    Shows all problems at once, each with its file and line. Exit code 1 when there is one.
    """
    try:
        settings = load_settings(config, runnables_to_check)
    except ConfigError as error:
        if not as_json:
            fail(error)
        problems = [
            {"subject": "configuration", "verdict": "error", "text": one.text, "path": one.path, "file": one.file,
             "line": one.line}
            for one in error.problems
        ]  # fmt: skip
        tell(Answer({"ok": False, "findings": problems}, failed=True), as_json=True)
        return
    written = yaml.read(config.read_bytes())
    found = perform(check_settings(settings, config.absolute().parent, written))
    findings = [Finding(subject="configuration", verdict=Verdict.OK, text="every option is known and allowed",
                        file=str(config)), *_with_lines(found, config, written)]  # fmt: skip
    errors = sum(one.verdict is Verdict.ERROR for one in findings)
    records = [record(one, path=".".join(map(str, one.path))) for one in findings]
    tell(
        Answer({"ok": not errors, "findings": records}, *parts_of(findings, errors), failed=errors > 0), as_json=as_json
    )


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


def _with_lines(findings: list[Finding], config: Path, written: Document) -> list[Finding]:
    """Say of each finding about an option where that stands in the file."""
    return [
        replace(one, file=str(config), line=written.line_of(one.path)) if one.path and one.file is None else one
        for one in findings
    ]


def parts_of(findings: list[Finding], errors: int) -> Iterator[Part]:
    """Return what was found for people; *errors* of it are problems."""
    if console().width < NARROW:
        narrow = [
            (one.verdict.value, one.subject, ": ".join(filter(None, (_place(one), one.text)))) for one in findings
        ]
        yield Rows(("", "what", "found"), narrow)
    else:
        rows = [(one.verdict.value, one.subject, one.text, _place(one)) for one in findings]
        yield Rows(("", "what", "found", "where"), rows)
    if errors:
        yield Text(f"{counted(errors, 'problem')}: the gateway would not work as configured.", style="bold red")
    else:
        yield Text("The gateway can run with this configuration.", style="green")


def _place(finding: Finding) -> str | None:
    if finding.file is None:
        return None
    return finding.file if finding.line is None else f"{finding.file}:{finding.line}"
