"""Can programs and hosts outside of the gateway be used? A look at them for checks, which asks nothing of anybody.

Shape: a sentence about what is wrong, None when nothing is.
"""

import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

PROGRAM_FOLDERS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of programs that the gateway starts."""
_SECONDS: Final = 5.0


def unusable_program(name: str, folder: Path) -> str | None:
    """Say why a program cannot be started with *folder* as its working folder; blocks."""
    if "/" not in name:
        if shutil.which(name, path=PROGRAM_FOLDERS) is None:
            return f"there is no program {name!a} in {PROGRAM_FOLDERS}; write its path"
        return None
    path = folder / name
    if not path.is_file():
        return f"there is no file {path}"
    return None if os.access(path, os.X_OK) else f"{path} may not be executed by this account"


async def unreachable_address(url: str) -> str | None:
    """Say why nothing answers at a web address."""
    parts = urlsplit(url)
    return await unreachable_host(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


async def unreachable_host(host: str, port: int) -> str | None:
    """Say why no connection can be made; one that is made is closed at once."""
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"{host}:{port} does not answer within {_SECONDS:g} seconds from here"
    except socket.gaierror as error:
        return f"{host} cannot be found from here: {error.strerror}"
    except OSError as error:
        said = os.strerror(error.errno) if error.errno is not None else str(error)
        return f"{host}:{port} cannot be reached from here: {said}"
    except UnicodeError:
        return f"{host!a} is no name that a host can have"
    writer.transport.abort()
    return None
