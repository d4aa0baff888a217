"""Files that tasks make, kept in the store with their run: every node can show them, and they go with its history."""

from hashlib import sha256
from typing import Final

from gateway.batch.statements import run_log_sql
from gateway.batch.statements.run_log_sql import RunFile
from gateway.db.open import Store
from gateway.kernel.errors import FileNotKept
from gateway.kernel.ids import RunId, RunTaskId

MOST_FILE_BYTES: Final = 64_000_000
MOST_RUN_BYTES: Final = 256_000_000
"""All files of one run together."""
LONGEST_NAME: Final = 200


async def keep_file(store: Store, run_id: RunId, run_task_id: RunTaskId, name: str, content: bytes) -> None:
    """Keep a file of a task; the same name again, also of a later attempt, replaces it.

    Raises: FileNotKept when the name is not one plain file name, or the limits are passed.
    """
    check_file(name, content)
    async with store.transaction(long=True) as connection:
        others = await run_log_sql.bytes_of_run_files(connection, run_id, run_task_id, name)
        if others is None:
            raise FileNotKept(f"The file {name} is not kept: the run {run_id} is gone.")
        if others + len(content) > MOST_RUN_BYTES:
            raise FileNotKept(
                f"The file {name} is not kept: the run has {others:,} bytes of files already, and may have "
                f"{MOST_RUN_BYTES:,}."
            )
        digest = sha256(content).digest()
        await run_log_sql.put_run_file(connection, run_id, run_task_id, name, len(content), digest, content)


def check_file(name: str, content: bytes) -> None:
    """Make sure that a run could keep a file, whatever it has already. Raises: FileNotKept."""
    if not name or len(name) > LONGEST_NAME or name in {".", ".."} or "/" in name or not name.isprintable():
        raise FileNotKept(
            f"{name[:LONGEST_NAME]!a} cannot be the name of a file of a run: use up to {LONGEST_NAME} printable "
            "characters without '/'."
        )
    if len(content) > MOST_FILE_BYTES:
        raise FileNotKept(f"The file {name} has {len(content):,} bytes; a run keeps files up to {MOST_FILE_BYTES:,}.")


async def list_run_files(store: Store, run_id: RunId) -> list[RunFile]:
    """Return the files of a run in the order they were first made."""
    async with store.transaction() as connection:
        return await run_log_sql.run_files(connection, run_id)


async def read_run_file(store: Store, number: int) -> tuple[str, bytes] | None:
    """Return name and content of a file; None when there is none of that number.

    Raises: FileNotKept when the content is not what was kept.
    """
    async with store.transaction(long=True) as connection:
        row = await run_log_sql.read_run_file(connection, number)
    if row is None:
        return None
    if sha256(row.content).digest() != row.sha256:
        raise FileNotKept(f"The content of the file {row.name} was changed in the database.", code="file.changed")
    return row.name, row.content
