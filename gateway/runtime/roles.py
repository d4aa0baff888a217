"""What the processes do that a gateway launches: each role by its name."""

from collections.abc import Mapping
from typing import Final

from gateway.runtime.processing.worker import work
from gateway.runtime.processing.workers import ROLE as PROCESSING
from gateway.workers.launcher import Role

ROLES: Final[Mapping[str, Role]] = {PROCESSING: work}
