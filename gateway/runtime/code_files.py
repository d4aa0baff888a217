"""Files with code of the users: which of them a process has loaded, and whether they have changed since."""

import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path

Signature = tuple[int, int, int] | str
"""What differs when a file was written or replaced, or why it cannot be looked at."""


def signature(path: Path) -> Signature:
    """Look at a file."""
    try:
        status = path.stat()
    except OSError as error:
        return error.strerror or str(error)
    return status.st_ino, status.st_mtime_ns, status.st_size


def loaded_besides(before: Collection[str]) -> dict[str, Signature]:
    """Return the files of the modules that this process has loaded, but those in *before* and what is installed."""
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    modules = [module for name, module in list(sys.modules.items()) if name not in before]
    paths = {Path(file) for module in modules if (file := getattr(module, "__file__", None))}
    return {
        str(path): signature(path) for path in paths if not any(path.is_relative_to(folder) for folder in installed)
    }
