"""The command that looks whether everything is in order."""

from concurrent.futures import ThreadPoolExecutor

import typer
from rich.text import Text

from gateway.cli.common import DEFAULT_CONFIG, KNOWN_ERROR, ConfigOption, JsonOption, open_site, perform
from gateway.cli.render import console, plain, print_json
from gateway.domain.finding import Finding, Severity
from gateway.operations.doctor import examine
from gateway.runtime.look import folders_of
from gateway.runtime.visible import visible

STYLES = {Severity.WRONG: "bold red", Severity.STUCK: "yellow"}


def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Look whether everything is in order: nothing lost, nothing twice, nothing stuck. Ends with 1 when not."""
    found = perform(_examine(config))
    if as_json:
        print_json({"findings": [_record(finding) for finding in found]})
    else:
        _print(found)
    if found:
        raise typer.Exit(KNOWN_ERROR)


async def _examine(config: ConfigOption) -> list[Finding]:
    async with open_site(config) as site:
        with ThreadPoolExecutor(1) as threads:
            return await examine(site.store, site.settings, folders_of(lambda: site.settings, lambda _: threads))


def _record(finding: Finding) -> dict[str, object]:
    record = plain(finding)
    assert isinstance(record, dict)
    rule = finding.rule
    return {"severity": rule.severity.value, **record, "text": rule.text, "way_out": rule.way_out}


def _print(found: list[Finding]) -> None:
    out = console()
    if not found:
        out.print(Text("Everything is in order.", style="green"))
        return
    for finding in found:
        rule = finding.rule
        more = f" and {finding.count - len(finding.what)} more" if finding.count > len(finding.what) else ""
        where = f"  (port {finding.port})" if finding.port else ""
        head = Text.assemble((rule.severity.value, STYLES[rule.severity]), f"  {finding.code}{visible(where)}")
        out.print(head, soft_wrap=True)
        out.print(Text(f"  {visible(', '.join(finding.what))}{more}: {rule.text}."), soft_wrap=True)
        out.print(Text(f"  {rule.way_out}"), soft_wrap=True)
