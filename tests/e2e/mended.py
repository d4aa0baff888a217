"""A service whose other side is away until a test mends it; it runs in the process of the gateway."""

import os
from pathlib import Path
from typing import Any, Final

from gateway.contracts.service import Reply, Request, ServiceContext
from tests.documents import SERVICES

SIGN: Final = "MENDED_SIGN"
"""The environment variable that names the file which says that the other side works."""
SERVICE: Final[dict[str, Any]] = {
    "kind": "python",
    "namespaces": [SERVICES],
    "operations": {"create": f"{__name__}:create"},
}


async def create(_: Request, __: ServiceContext) -> Reply:
    """Answer, when the other side can be reached."""
    if not Path(os.environ[SIGN]).exists():
        raise ConnectionRefusedError(111, "Connection refused")
    return Reply(parts=[])
