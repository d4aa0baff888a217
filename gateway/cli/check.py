"""The command that checks the configuration and everything it names."""

from pathlib import Path

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, KNOWN_ERROR, ConfigOption, JsonOption, fail, load_settings, perform
from gateway.cli.render import NARROW, console, plain, print_json, table
from gateway.config import yaml
from gateway.config.place import Document
from gateway.kernel.errors import ConfigError
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
        print_json({"ok": False, "findings": problems})
        raise typer.Exit(KNOWN_ERROR) from None
    written = yaml.read(config.read_bytes())
    found = perform(check_settings(settings, config.absolute().parent, written))
    findings = [Finding(subject="configuration", verdict=Verdict.OK, text="every option is known and allowed",
                        file=str(config)), *_with_lines(found, config, written)]  # fmt: skip
    errors = [one for one in findings if one.verdict is Verdict.ERROR]
    if as_json:
        print_json(
            {"ok": not errors, "findings": [{**_plain(one), "path": ".".join(map(str, one.path))} for one in findings]}
        )
    else:
        _print(findings, errors)
    if errors:
        raise typer.Exit(KNOWN_ERROR)


def _plain(finding: Finding) -> dict[str, object]:
    record = plain(finding)
    assert isinstance(record, dict)
    return record


def _with_lines(findings: list[Finding], config: Path, written: Document) -> list[Finding]:
    """Say of each finding about an option where that stands in the file."""
    return [
        Finding(subject=one.subject, verdict=one.verdict, text=one.text, path=one.path, file=str(config),
                line=written.line_of(one.path))
        if one.path and one.file is None
        else one
        for one in findings
    ]  # fmt: skip


def _print(findings: list[Finding], errors: list[Finding]) -> None:
    out = console()
    if out.width < NARROW:
        narrow = [
            (one.verdict.value, one.subject, ": ".join(filter(None, (_place(one), one.text)))) for one in findings
        ]
        out.print(table(("", "what", "found"), narrow))
    else:
        rows = [(one.verdict.value, one.subject, one.text, _place(one)) for one in findings]
        out.print(table(("", "what", "found", "where"), rows))
    if errors:
        text = f"{len(errors)} problem{'s' if len(errors) != 1 else ''}: the gateway would not work as configured."
        out.print(Text(text, style="bold red"))
    else:
        out.print(Text("The gateway can run with this configuration.", style="green"))


def _place(finding: Finding) -> str | None:
    if finding.file is None:
        return None
    return finding.file if finding.line is None else f"{finding.file}:{finding.line}"
