"""The command that runs the gateway."""

from gateway.cli.common import find_handlers_beside, perform
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption
from gateway.runtime.app import serve
from gateway.runtime.roles import ROLES
from gateway.workers.launcher import Launcher


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the gateway until Ctrl-C or SIGTERM.

    It finishes what it is doing before it ends; a second signal ends it at once, and the next start goes on
    from the queue. The configuration is read again when its file changes.
    """
    find_handlers_beside(config)
    launcher = Launcher.start(ROLES)  # now: this process has no event loop yet, no thread, no connection
    perform(serve(config, launcher))
