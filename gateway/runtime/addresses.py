"""The folders of a port, as the file adapter wants to be told of them."""

from adapters.file import FileReceiveSettings, FileSendSettings, NameOrder
from gateway.config.models import InboundPort, OutboundPort, Settings
from gateway.kernel.ids import PortName


def receive_settings(name: PortName, settings: Settings) -> FileReceiveSettings | None:
    """Return how a port takes files, None when it is outbound.

    Raises: KeyError when there is no such port.
    """
    port, folders = settings.ports[name], settings.port_folders(name).receive
    if not isinstance(port, InboundPort) or folders is None:
        return None
    return FileReceiveSettings(
        port=name,
        inbound=folders.inbound,
        work=folders.work,
        archive=folders.archive,
        error=folders.error,
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
    faults = None if folders.faults == folders.outbound else folders.faults
    port = settings.ports[name]
    section, out = ("send", port.send) if isinstance(port, OutboundPort) else ("respond", port.respond)
    assert out is not None
    return FileSendSettings(
        port=name,
        staging=folders.staging,
        outbound=folders.outbound,
        faults=faults,
        section=section,
        file_mode=int(out.file_mode, 8),
        group=out.group,
    )
