"""The folders of a port, as the file adapter wants to be told of them."""

from adapters.file.names import NameOrder
from adapters.file.settings import FileReceiveSettings, FileSendSettings
from gateway.config.models import Settings
from gateway.domain.ids import PortName


def receive_settings(name: PortName, settings: Settings) -> FileReceiveSettings:
    """Return how a port takes files.

    Raises: KeyError when there is no such port.
    """
    receive, folders = settings.ports[name].receive, settings.port_folders(name)
    return FileReceiveSettings(
        port=name,
        inbound=folders.inbound,
        work=folders.work,
        archive=folders.archive,
        error=folders.error,
        pattern=receive.pattern,
        order=NameOrder(receive.order.value),
        settle_seconds=receive.settle_seconds,
        grace_seconds=receive.grace_seconds,
        done_marker=receive.done_marker,
        force_polling=receive.force_polling,
        sweep_seconds=receive.sweep_seconds,
    )


def send_settings(name: PortName, settings: Settings) -> FileSendSettings | None:
    """Return how a port delivers responses, None when it sends none.

    Raises: KeyError when there is no such port.
    """
    folders = settings.port_folders(name)
    if folders.outbound is None or folders.staging is None:
        return None
    faults = None if folders.faults == folders.outbound else folders.faults
    return FileSendSettings(port=name, staging=folders.staging, outbound=folders.outbound, faults=faults)
