"""What the processes do that a gateway launches: each role by its name."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from gateway.batch.processes.inside import run_task
from gateway.batch.processes.process import TASK
from gateway.queues.posting.own import POSTING, be_poster
from gateway.queues.printing.process import PRINT, be_printer
from gateway.runtime.checking import CHECK, check_config
from gateway.runtime.logs import configure_logs
from gateway.runtime.processing.worker import work
from gateway.runtime.processing.workers import ROLE as PROCESSING
from gateway.workers.forking import Role

ROLES: Final[Mapping[str, Role]] = {
    PROCESSING: work,
    CHECK: check_config,
    PRINT: be_printer,
    POSTING: partial(be_poster, set_up=configure_logs),
    TASK: partial(run_task, set_up=configure_logs),
}
