"""A folder of a port with the setting that names it, and the one place where an OSError becomes a sentence about it."""

import errno
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.file.folder import Folder, ForeignLink, opened
from gateway.kernel.errors import AdapterUnavailable

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
AWAY: Final = frozenset({
    errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO,
})  # fmt: skip

_NOT_A_FOLDER = ("address.no-folder", "is a file or a symbolic link. Set {setting} to the folder itself.")
_NOT_PERMITTED = (
    "address.not-permitted",
    "does not let the gateway's account read, write and rename in it: {reason}. Give it these rights; look at the "
    "sticky bit and at the immutable and append-only flags too.",
)
_SENTENCES: Final = {
    errno.ENOENT: ("address.missing", "does not exist. Make it, mount it, or change the setting."),
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.ELOOP: _NOT_A_FOLDER,
    errno.ENOSPC: (
        "address.full", "cannot take anything more: its disk is full. Make room; work goes on by itself.",
    ),
    errno.EDQUOT: (
        "address.full", "cannot take anything more: its quota is used up. Make room; work goes on by itself.",
    ),
    errno.EROFS: ("address.read-only", "is on a file system that is mounted read-only. Remount it writable."),
    errno.EACCES: _NOT_PERMITTED,
    errno.EPERM: _NOT_PERMITTED,
    **dict.fromkeys(
        AWAY, ("address.away", "does not answer: {reason}. Look at its server and its mount.")
    ),
}  # fmt: skip
"""Code and the rest of the sentence about the folder, by error number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFolder:
    """A folder of a port and the setting that names it, e.g. `ports.orders.receive.folder`."""

    path: Path
    setting: str
    port: str

    @contextmanager
    def opened(self, other: "PortFolder | None" = None) -> Iterator[Folder]:
        """Open the folder. Raises: AdapterUnavailable, also for any OSError inside the block."""
        with folder_errors(self, other), opened(self.path) as folder:
            yield folder

    def unavailable(self, code: str, sentence: str, **context: object) -> AdapterUnavailable:
        """Return the error that says of this folder why it cannot be used."""
        return AdapterUnavailable(
            sentence, code=code, port=self.port, folder=str(self.path), setting=self.setting, **context
        )


def unavailable(error: OSError, place: PortFolder, other: PortFolder | None = None) -> AdapterUnavailable:
    """Say why *place* cannot be used; *other* is the far end when something was moved between the two."""
    where, reason = f"The folder {place.path} ({place.setting})", error.strerror or str(error)
    if isinstance(error, ForeignLink):
        code, rest = (
            "address.foreign-link",
            f"is reached through {error.link}, a symbolic link of {account(error.owner)}, who could lead the gateway "
            f"to any other folder by it. Set {place.setting} to the folder itself, or let root make the link.",
        )
    elif error.errno == errno.EXDEV:
        far = f"{other.path} ({other.setting})" if other else "the folder it belongs to"
        code, rest = (
            "address.other-file-system",
            f"is on another file system than {far}, so nothing can be moved at one stroke. Set {place.setting} to a "
            "folder on the same file system.",
        )
    else:
        code, rest = _SENTENCES.get(error.errno or 0, ("address.unavailable", "cannot be used: {reason}."))
        rest = rest.format(setting=place.setting, reason=reason)
    return place.unavailable(code, f"{where} {rest}", errno=error.errno)


def account(uid: int) -> str:
    """Name an account for a sentence."""
    try:
        return f"the account {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the account with the number {uid}"


@contextmanager
def folder_errors(place: PortFolder, other: PortFolder | None = None) -> Iterator[None]:
    """Turn any OSError inside into AdapterUnavailable about *place*."""
    try:
        yield
    except OSError as error:
        raise unavailable(error, place, other) from error
