"""An address with a password is taken apart in one way only, or refused without a word of it."""

import os
from pathlib import Path

import pytest

from gateway.config.addresses import database_address, web_address
from gateway.config.environment import read_file
from tests.unit.config.conftest import Told

PASSWORDS = ["x@y:TopSecret42", "x/TopSecret42", "x#TopSecret42", "Top?Secret42", "Top?Sec=ret42", "[TopSecret42",
             "12/TopSecret42", "12?Top=Secret42", "x:TopSecret42@", "@/TopSecret42"]  # fmt: skip


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(password: str, told: Told) -> None:
    ((line, path, text),) = told("store: postgresql://u:${PW}@127.0.0.1:1/x\n", {"PW": password})
    assert (line, path) == (1, "store")
    assert "percent-encode special characters" in text
    assert "Top" not in text and "ret42" not in text
    with pytest.raises(ValueError, match="percent-encode"):
        database_address(f"postgresql://u:{password}@127.0.0.1:1/x")


@pytest.mark.parametrize(
    "address",
    ["postgresql://u:p%40%2F@h/db", "postgres://u:a:b@[::1]:5433,h2/db?sslmode=require", "postgresql:///db?host=/run&user=x",
     "postgresql://h", "postgresql://u@h1:1,h2:2", "postgresql:///x?password=a@b"],
)  # fmt: skip
def test_addresses_of_a_database(address: str) -> None:
    assert database_address(address) == address


@pytest.mark.parametrize("address", ["postgresql://h:99999/x", "postgresql://h:0/x", "http://h/x", "postgresql://"])
def test_what_is_no_address_of_a_database(address: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be taken apart|must be an address"):
        database_address(address)


@pytest.mark.parametrize(
    "address", ["http://u:TopSecret/x@h/", "https://[TopSecret/", "http://h:99999/", "ftp://h/", "http://"]
)
def test_what_is_no_address_of_the_web(address: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be taken apart|must be an address") as refused:
        web_address(address)
    assert "Top" not in str(refused.value)


def test_a_secret_file_that_is_a_pipe_is_refused_at_once(tmp_path: Path, told: Told) -> None:
    os.mkfifo(tmp_path / "pipe")
    ((_, path, text),) = told("store: ${file:pipe}\n")
    assert (path, text) == ("store", "the file 'pipe' cannot be read: it is not a regular file")
    for odd in ("pipe", ".", "/dev/zero"):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            read_file(tmp_path / odd, 10)
