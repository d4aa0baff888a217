"""Small files that say how something stands now: each replaces the one before, and is never seen half written.

Nothing depends on them: they can be written again at any time. Everything blocks and runs in one thread.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

from adapters.file.errors import Place, folder_errors
from adapters.file.folder import opened

_MODE = 0o644


def write_states(place: Place, files: Mapping[str, bytes]) -> None:
    """Write files by name into a folder, all durable when this returns. Raises: AdapterUnavailable."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with folder_errors(place), opened(place.path) as folder:
        for name, content in files.items():
            with os.fdopen(os.open(f".{name}.tmp", flags, _MODE, dir_fd=folder.fd), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # before the rename: no name may lead to a file that a power cut empties
            os.rename(f".{name}.tmp", name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
        os.fsync(folder.fd)


def remove_states(place: Place, names: Iterable[str]) -> None:
    """Remove such files; those that are gone are fine. Raises: AdapterUnavailable."""
    with folder_errors(place), opened(place.path) as folder:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder.fd)
