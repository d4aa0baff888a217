"""The command that looks whether everything is in order."""

from concurrent.futures import ThreadPoolExecutor

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, KNOWN_ERROR, ConfigOption, JsonOption, open_site, perform
from gateway.cli.remedies import worded
from gateway.cli.render import console, plain, print_json
from gateway.explanations.facts import at
from gateway.explanations.finding import Finding, Severity
from gateway.operations.doctor import examine
from gateway.runtime.folders import folders_of
from gateway.runtime.plugins import key_lengths
from gateway.runtime.visible import visible

STYLES = {Severity.WRONG: "bold red", Severity.STUCK: "yellow", Severity.ATTENTION: "yellow"}


def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Check that everything is in order: nothing lost, nothing twice, nothing stuck, every partner answered.

    Exit code 1 when something is not in order.
    """
    found = perform(_examine(config))
    if as_json:
        print_json({"findings": [record(finding) for finding in found]})
    else:
        _print(found)
    if found:
        raise typer.Exit(KNOWN_ERROR)


async def _examine(config: ConfigOption) -> list[Finding]:
    async with open_site(config) as site:
        with ThreadPoolExecutor(1) as threads:
            folders = folders_of(lambda: site.settings, lambda _: threads)
            return await examine(
                site.store, site.settings, folders, longest_key=key_lengths(site.settings),
                config_problems=site.config_problems,
            )  # fmt: skip


def record(finding: Finding) -> dict[str, object]:
    """Return a finding as `--json` shows it; `docs/json.md` describes the fields."""
    fields = plain(finding)
    assert isinstance(fields, dict)
    rule = finding.rule
    remedy = plain(finding.remedy)
    return {
        "severity": rule.severity.value, **fields, "text": rule.text, "way_out": _way_out(finding), "remedy": remedy,
    }  # fmt: skip


def _way_out(finding: Finding) -> str:
    return finding.rule.way_out if finding.remedy is None else worded(finding.remedy)


def _print(found: list[Finding]) -> None:
    out = console()
    if not found:
        out.print(Text("Everything is in order.", style="green"))
        return
    for finding in found:
        rule = finding.rule
        more = f" and {finding.count - len(finding.what)} more" if finding.count > len(finding.what) else ""
        known = [
            f"port {finding.port}" if finding.port else "", f"since {at(finding.since)}" if finding.since else ""
        ]  # fmt: skip
        where = ", ".join(filter(None, known))
        head = Text.assemble((rule.severity.value, STYLES[rule.severity]), f"  {finding.code}")
        if where:
            head.append(f"  ({visible(where)})")
        out.print(head, soft_wrap=True)
        out.print(Text(f"  {visible(', '.join(finding.what))}{more}: {rule.text}."), soft_wrap=True)
        out.print(Text(f"  {visible(_way_out(finding))}"), soft_wrap=True)
