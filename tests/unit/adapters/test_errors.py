"""Every error of the operating system becomes a sentence that says where and what to do."""

import errno
import os
from pathlib import Path

import pytest

from adapters.file.errors import PortFolder, folder_errors, unavailable
from gateway.kernel.errors import AdapterUnavailable

NEAR = PortFolder(path=Path("/srv/in"), setting="ports.orders.receive.folder", port="orders")
FAR = PortFolder(path=Path("/data/work"), setting="ports.orders.receive.work", port="orders")


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_number_has_a_code_and_names_folder_and_setting(number: int) -> None:
    error = unavailable(OSError(number, os.strerror(number)), NEAR, FAR)
    assert error.code.startswith("address.")
    assert "/srv/in" in error.message
    assert "ports.orders.receive.folder" in error.message
    assert error.message.endswith(".")
    assert error.context["errno"] == number


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOENT, "address.missing", "does not exist"),
        (errno.ENOTDIR, "address.no-folder", "symbolic link"),
        (errno.ENOSPC, "address.full", "disk is full"),
        (errno.EDQUOT, "address.full", "quota is used up"),
        (errno.EROFS, "address.read-only", "Remount"),
        (errno.EACCES, "address.not-permitted", "rights"),
        (errno.EPERM, "address.not-permitted", "immutable"),
        (errno.EXDEV, "address.other-file-system", "/data/work"),
        (errno.ESTALE, "address.away", "mount"),
        (errno.EIO, "address.unavailable", "cannot be used"),
    ],
)
def test_common_errors_say_what_to_do(number: int, code: str, words: str) -> None:
    error = unavailable(OSError(number, os.strerror(number)), NEAR, FAR)
    assert error.code == code
    assert words in error.message


def test_our_own_errors_pass_through_and_the_cause_is_kept() -> None:
    own = AdapterUnavailable("inner")
    with pytest.raises(AdapterUnavailable, match="inner"), folder_errors(NEAR):
        raise own
    with pytest.raises(AdapterUnavailable) as caught, folder_errors(NEAR):
        raise PermissionError(errno.EACCES, "no")
    assert isinstance(caught.value.__cause__, PermissionError)
