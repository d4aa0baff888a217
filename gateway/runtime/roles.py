"""What the processes do that a gateway launches: each role by its name."""

from collections.abc import Mapping
from typing import Final

from gateway.workers.launcher import Role

ROLES: Final[Mapping[str, Role]] = {}
