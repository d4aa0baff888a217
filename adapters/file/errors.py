"""The one place that turns an OSError of a folder into a sentence for the operator."""

import errno
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.file.folder import ForeignLink
from gateway.kernel.errors import AdapterUnavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
REFUSED = frozenset({errno.EACCES, errno.EPERM})
AWAY = frozenset(
    {
        errno.ESTALE,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
        errno.ETIMEDOUT,
        errno.ENODEV,
        errno.ENXIO,
        errno.EREMOTEIO,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder of a port and the setting that names it, e.g. `ports.orders.receive.folder`."""

    path: Path
    setting: str
    port: str


def unavailable(error: OSError, place: Place, other: Place | None = None) -> AdapterUnavailable:
    """Say why *place* cannot be used; *other* is the far end when something was moved between the two."""
    code, sentence = _say(error, place, other)
    return AdapterUnavailable(
        sentence, code=code, port=place.port, folder=str(place.path), setting=place.setting, errno=error.errno
    )


def account(uid: int) -> str:
    """Name an account for a sentence."""
    try:
        return f"the account {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the account with the number {uid}"


def _say(error: OSError, place: Place, other: Place | None) -> tuple[str, str]:
    where, number = f"The folder {place.path} ({place.setting})", error.errno
    result: tuple[str, str]
    if isinstance(error, ForeignLink):
        result = (
            "address.foreign-link",
            f"{where} is reached through {error.link}, a symbolic link of {account(error.owner)}, who could lead the "
            f"gateway to any other folder by it. Set {place.setting} to the folder itself, or let root make the link.",
        )
    elif number == errno.EXDEV:
        far = f"{other.path} ({other.setting})" if other else "the folder it belongs to"
        result = (
            "address.other-file-system",
            f"{where} is on another file system than {far}, so nothing can be moved at one stroke. "
            f"Set {place.setting} to a folder on the same file system.",
        )
    elif number == errno.ENOENT:
        result = "address.missing", f"{where} does not exist. Make it, mount it, or change the setting."
    elif number in (errno.ENOTDIR, errno.ELOOP):
        result = (
            "address.no-folder",
            f"{where} is a file or a symbolic link. Set {place.setting} to the folder itself.",
        )
    elif number in FULL:
        reason = "its quota is used up" if number == errno.EDQUOT else "its disk is full"
        result = (
            "address.full",
            f"{where} cannot take anything more: {reason}. Make room; work goes on by itself.",
        )
    elif number == errno.EROFS:
        result = (
            "address.read-only",
            f"{where} is on a file system that is mounted read-only. Remount it writable.",
        )
    elif number in REFUSED:
        result = (
            "address.not-permitted",
            f"{where} does not let the gateway's account read, write and rename in it: {error.strerror}. "
            "Give it these rights; look at the sticky bit and at the immutable and append-only flags too.",
        )
    elif number in AWAY:
        result = (
            "address.away",
            f"{where} does not answer: {error.strerror}. Look at its server and its mount.",
        )
    else:
        result = "address.unavailable", f"{where} cannot be used: {error.strerror or error}."
    return result


@contextmanager
def folder_errors(place: Place, other: Place | None = None) -> Iterator[None]:
    """Turn any OSError inside into AdapterUnavailable about *place*."""
    try:
        yield
    except OSError as error:
        raise unavailable(error, place, other) from error
