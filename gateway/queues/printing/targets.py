"""Where a printed document goes: into a folder, or to a program such as lp."""

import asyncio
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from gateway.batch.alerts.channels.command import run_program
from gateway.config.models_posting import Printer
from gateway.kernel.errors import GatewayError
from gateway.queues.printing.process import PrintFailed


async def deliver(name: str, printer: Printer, file: str, content: bytes) -> str:
    """Give a PDF to a printer; returns where it is now, in words. *file* is its name.

    Raises: PrintFailed. Then nothing of it is in the folder; a program may have printed all the same.
    """
    if printer.folder is not None:
        path = await asyncio.to_thread(_write, printer.folder, file, content)
        return str(path)
    assert printer.command is not None
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-print-") as folder:
            path = await asyncio.to_thread(_write, Path(folder), file, content)
            command = [part.replace("{file}", str(path)).replace("{printer}", name) for part in printer.command]
            await run_program(command, Path(folder), {}, seconds=printer.timeout_seconds)
    except PrintFailed:
        raise
    except GatewayError as error:
        raise PrintFailed(f"The printer {name} did not print {file}: {error.message}", code=error.code) from error
    except OSError as error:
        raise PrintFailed(f"{file} cannot be written for the printer {name}: {error.strerror}.") from error
    return f"the printer {name}"


def _write(folder: Path, file: str, content: bytes) -> Path:
    """Write a file so that it is there complete or not at all; blocks.

    What others have left of it unfinished, because they were killed, is removed.
    """
    path, unfinished = folder / file, folder / f".{file}.{os.getpid()}.tmp"
    try:
        folder.mkdir(exist_ok=True)  # not those above it: a share may not be mounted
        with unfinished.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        unfinished.rename(path)
        for left in folder.iterdir():
            if left.name.startswith(f".{file}.") and left.suffix == ".tmp":
                left.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.exists():
            return path  # who has printed the same just now took ours for left over
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise PrintFailed(
            f"{path} cannot be written: {error.strerror}. Make room in the folder or give the gateway the right to "
            "write there, then print again.",
            code="print.folder",
        ) from error
    return path
