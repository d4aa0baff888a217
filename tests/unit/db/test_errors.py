"""Every exception of the driver has its place: transient, or not ours to hide."""

import inspect
import socket
import ssl

import asyncpg
import pytest

from gateway.db.errors import database_errors, is_transient, unavailable
from gateway.kernel.errors import StoreUnavailable

PASSING_CLASSES = {"08", "40", "53", "57", "58"}
LASTING_CLASSES = {
    "02", "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25", "26", "27", "28",
    "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "42", "44", "54", "55", "72", "F0", "HV", "P0", "XX",
}  # fmt: skip
PASSING_EXCEPTIONS = {"0A000 InvalidCachedStatementError", "25006", "25P03", "25P04", "55006", "55P03", "72000"}
LASTING_EXCEPTIONS = {"08P01", "40002", "53400", "57P04", "58P01", "58P02", "58P03"}


def driver_exceptions() -> list[type[BaseException]]:
    """Every exception class that the driver exports, warnings aside."""
    return [
        found
        for found in vars(asyncpg.exceptions).values()
        if inspect.isclass(found) and issubclass(found, Exception) and not issubclass(found, Warning)
    ]


@pytest.mark.parametrize("kind", driver_exceptions(), ids=lambda kind: kind.__name__)
def test_every_driver_exception_is_placed_by_its_sqlstate(kind: type[BaseException]) -> None:
    code = getattr(kind, "sqlstate", None)
    if code is None:
        passing = issubclass(kind, asyncpg.InternalClientError) or kind is asyncpg.InterfaceError
    else:
        names = {code, f"{code} {kind.__name__}"}
        assert code[:2] in PASSING_CLASSES | LASTING_CLASSES, f"no decision about class {code[:2]}"
        passing = (code[:2] in PASSING_CLASSES and code not in LASTING_EXCEPTIONS) or bool(names & PASSING_EXCEPTIONS)
    assert is_transient(kind("text")) is passing


@pytest.mark.parametrize(
    "error", [OSError(5, "x"), ConnectionResetError(), TimeoutError(), socket.gaierror(), ssl.SSLError()]
)
def test_trouble_on_the_way_to_the_server_may_pass(error: OSError) -> None:
    assert is_transient(error)


def test_certificate_that_is_not_trusted_stays() -> None:
    assert not is_transient(ssl.SSLCertVerificationError())


def test_full_disk_is_told_as_such() -> None:
    with pytest.raises(StoreUnavailable, match="disk of the database is full") as caught, database_errors():
        raise asyncpg.DiskFullError("could not extend file")
    assert isinstance(caught.value.__cause__, asyncpg.DiskFullError)


def test_lost_connection_while_committing_leaves_the_outcome_unknown() -> None:
    with pytest.raises(StoreUnavailable) as caught, database_errors(committing=True):
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("error", [asyncpg.SerializationError("x"), asyncpg.DeadlockDetectedError("x")])
def test_commit_that_the_server_undid_is_known(error: asyncpg.PostgresError) -> None:
    with pytest.raises(StoreUnavailable) as caught, database_errors(committing=True):
        raise error
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError("a partner's file"), TimeoutError(), asyncpg.UniqueViolationError("twice"), KeyError("x")],
)
def test_what_is_not_the_databases_fault_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, database_errors():
        raise error
    assert caught.value is error


async def test_refused_connection_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"), database_errors():
        await asyncpg.connect(host="127.0.0.1", port=1, user="x", timeout=5, ssl=False)


async def test_server_that_never_answers_is_unavailable() -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # the kernel accepts, nobody reads
    port = silent.getsockname()[1]
    with silent, pytest.raises(StoreUnavailable, match="too late"), database_errors():
        await asyncpg.connect(host="127.0.0.1", port=port, user="x", timeout=0.05, ssl=False)


def test_text_without_words_names_the_exception() -> None:
    assert "InternalClientError" in unavailable(asyncpg.InternalClientError()).message
