"""The command that shows the nodes."""

from collections.abc import Sequence

from gateway.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, open_site, perform
from gateway.cli.render import print_json, print_rows
from gateway.operations import nodes as operations
from gateway.operations.nodes import Node


def nodes(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show the nodes (gateway processes) of this database: data folder, whether each runs, what it works on."""
    found = perform(_nodes(config))
    if as_json:
        print_json({"nodes": found})
        return
    columns = (
        "node",
        "server",
        "process",
        "host",
        "pid",
        "version",
        "started",
        "last beat",
        "beats",
        "leases",
        "stopped",
        "lost",
    )
    rows = [
        (one.node, one.server, one.alive, one.host, one.pid, one.version, one.started_at, one.beat_at, one.beats,
         one.leases, one.stopped_at, one.lost_at)
        for one in found
    ]  # fmt: skip
    narrow = ("server", "process", "host", "pid", "last beat")
    print_rows(columns, rows, nothing="No gateway has run on this database.", narrow=narrow)


async def _nodes(config: ConfigOption) -> Sequence[Node]:
    async with open_site(config) as site:
        return await operations.nodes(site.store)
