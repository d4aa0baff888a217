"""What the database driver raises, turned into our errors in one place.

    StoreUnavailable    the database is away or restarting: try again later
      StoreBusy         it answers, and is full, out of memory, too slow, or undid the work for another's: likewise
    StoreRefused        this database cannot be used as it is; somebody has to change something
      DataFolderInUse   another gateway works on the data folder
      SchemaMismatch    its schema is older or newer than this program, or was changed by hand

Everything else (broken SQL, violated constraints, bad values) is a bug or a decision of the caller and
passes unchanged.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final

import asyncpg
from asyncpg import Connection

from gateway.kernel.errors import GatewayError, StoreBusy, StoreUnavailable


class StoreRefused(GatewayError):
    """This database cannot be used as it is; the text says what to change."""

    code = "store.refused"


class DataFolderInUse(StoreRefused):
    """Another gateway works on this data folder."""

    code = "store.in-use"


class SchemaMismatch(StoreRefused):
    """The schema of the database is not the one this program was written for."""

    code = "store.schema"


DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything the driver raises; OSError includes TimeoutError."""

TRANSIENT_CLASSES: Final = frozenset({"08", "40", "53", "57", "58"})
"""SQLSTATE classes that may pass by themselves: connection, rollback, resources, operator, system."""

TRANSIENT_CODES: Final = frozenset(
    {
        "25006",  # read-only: a standby that was or will be promoted
        "25P03",  # idle in transaction for too long: we were frozen
        "25P04",  # transaction took too long
        "55006",  # object in use: the database is being copied or dropped
        "55P03",  # lock not available in time
        "72000",  # snapshot too old
    }
)
PERMANENT_CODES: Final = frozenset(
    {
        "08P01",  # protocol violation: a bug, or no PostgreSQL at the other end
        "40002",  # a constraint was violated at the end of the transaction
        "53400",  # configuration limit exceeded
        "57P04",  # the database was dropped
        "58P01",  # a file of the server is missing
        "58P02",  # a file of the server exists twice
        "58P03",  # a file name is too long
    }
)
"""Exceptions to their class: waiting does not mend them."""

_SENTENCES: Final = {
    "25006": "the database is read-only: a standby server, or one that is about to change its role",
    "25P03": "the database answers too late: {detail}",
    "25P04": "the database answers too late: {detail}",
    "40": "the database undid the transaction because of another one: {detail}",
    "53": "the database is out of resources: {detail}",
    "53100": "the disk of the database is full: free some space",
    "53300": "the database has no free connection: raise its max_connections or lower the pool size here",
    "55P03": "the database answers too late: {detail}",
    "57014": "the database answers too late: {detail}",
}

_EVERYWHERE: Final = frozenset({"25006", "53", "58"})
"""What stands in the way of all work: read-only, no resources, a failing disk."""
_BUSY: Final = _EVERYWHERE | {"40", "55006", "55P03", "57014", "72000"}
"""What a server says of a statement while it goes on to serve the connection."""

_ROLLED_BACK_FOR_SURE: Final = frozenset({"40001", "40P01", "40000", "53100", "53200", "55P03"})


def is_transient(error: BaseException) -> bool:
    """Tell whether the same operation may succeed later, by class and SQLSTATE, never by text.

    `InterfaceError` and `InternalClientError` count as a lost connection here; a caller that knows its
    connection to be alive must treat them as bugs.
    """
    if isinstance(error, asyncpg.OutdatedSchemaCacheError | asyncpg.InvalidCachedStatementError):
        return True  # a migration ran beside us; the next connection knows the new tables
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state not in PERMANENT_CODES and (state[:2] in TRANSIENT_CLASSES or state in TRANSIENT_CODES)
    if isinstance(error, ValueError | asyncpg.UnsupportedClientFeatureError | asyncpg.UnsupportedServerFeatureError):
        return False  # ValueError: the driver's own errors about values and settings
    # OSError includes TimeoutError and ConnectionError
    return isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError)


@contextmanager
def database_errors(connection: Connection | None = None, *, committing: bool = False) -> Iterator[None]:
    """Raise StoreUnavailable for trouble with the database that may pass; let everything else through.

    Shape: `connection`, when given, tells a lost connection from a misused one; `committing` marks the one
    statement whose failure leaves the outcome unknown.
    Rule: OSError and TimeoutError count only when the driver itself raised them, so that other work done
    inside the block keeps its own errors.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        if not is_transient(error) or _is_misuse(error, connection):
            raise
        if isinstance(error, OSError) and not _raised_by_driver(error.__traceback__):
            raise
        raise unavailable(error, committing=committing) from error


def is_lost(connection: Connection) -> bool:
    """Tell whether a connection that we still hold has ended."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # the pool took the ended connection out of our hands


def unavailable(error: BaseException, *, committing: bool = False) -> StoreUnavailable:
    """Return the StoreUnavailable that tells *error* to a person, a StoreBusy when the server itself said it.

    `outcome_unknown` is set when *committing* failed in a way that does not say whether it took effect.
    """
    state = getattr(error, "sqlstate", None) or ""
    outcome_unknown = committing and state not in _ROLLED_BACK_FOR_SURE
    text, cause = _sentence(error, state), type(error).__name__
    if not _BUSY & {state, state[:2]}:
        return StoreUnavailable(text, outcome_unknown=outcome_unknown, sqlstate=state, cause=cause)
    everywhere = bool(_EVERYWHERE & {state, state[:2]})
    return StoreBusy(text, everywhere=everywhere, outcome_unknown=outcome_unknown, sqlstate=state, cause=cause)


def _sentence(error: BaseException, state: str) -> str:
    if isinstance(error, TimeoutError):
        return "the database answers too late: no answer in time"
    words = _SENTENCES.get(state) or _SENTENCES.get(state[:2]) or "the database cannot be reached: {detail}"
    return words.format(detail=str(error) or type(error).__name__)


def _is_misuse(error: BaseException, connection: Connection | None) -> bool:
    """Tell whether the driver complains about its caller: the connection is still good."""
    if not isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return False
    if isinstance(error, asyncpg.OutdatedSchemaCacheError):
        return False
    return connection is not None and not is_lost(connection)


def _raised_by_driver(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "asyncpg":
            return True
        traceback = traceback.tb_next
    return False
