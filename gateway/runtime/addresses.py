"""The folders of a port, as the file adapter wants to be told of them."""

from functools import partial
from pathlib import Path

from adapters.file import FileReceiveSettings, FileSendSettings, NameOrder, PortFolder
from gateway.config.models import InboundPort, OutboundPort, Settings
from gateway.kernel.ids import PortName


def receive_settings(name: PortName, settings: Settings) -> FileReceiveSettings | None:
    """Return how a port takes files, None when it is outbound.

    Raises: KeyError when there is no such port.
    """
    port, folders = settings.ports[name], settings.port_folders(name).receive
    if not isinstance(port, InboundPort) or folders is None:
        return None
    folder = partial(_folder, name, "receive")
    return FileReceiveSettings(
        port=name,
        inbound=folder("folder", folders.inbound),
        work=folder("work", folders.work),
        archive=folder("archive", folders.archive),
        error=folder("error", folders.error),
        pattern=port.receive.pattern,
        order=NameOrder(port.receive.order.value),
        settle_seconds=port.receive.settle_seconds,
        grace_seconds=port.receive.grace_seconds,
        done_marker=port.receive.done_marker,
        force_polling=port.receive.force_polling,
        sweep_seconds=port.receive.sweep_seconds,
    )


def send_settings(name: PortName, settings: Settings) -> FileSendSettings | None:
    """Return how a port delivers files, None when it delivers none.

    Raises: KeyError when there is no such port.
    """
    folders = settings.port_folders(name).send
    if folders is None:
        return None
    port = settings.ports[name]
    section, out = ("send", port.send) if isinstance(port, OutboundPort) else ("respond", port.respond)
    assert out is not None
    folder = partial(_folder, name, section)
    return FileSendSettings(
        port=name,
        outbound=folder("folder", folders.outbound),
        staging=folder("staging", folders.staging),
        faults=None if folders.faults == folders.outbound else folder("faults", folders.faults),
        file_mode=int(out.file_mode, 8),
        group=out.group,
        group_setting=f"ports.{name}.{section}.group",
    )


def _folder(port: PortName, section: str, key: str, path: Path) -> PortFolder:
    return PortFolder(path=path, setting=f"ports.{port}.{section}.{key}", port=port)
