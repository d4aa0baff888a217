"""What of posting needs somebody: documents to handle, and documents that wait in a queue that is not started."""

from typing import Final

from asyncpg import Record

from gateway.config.models import Settings
from gateway.db.open import Store
from gateway.explanations.facts import quoted
from gateway.explanations.finding import Place
from gateway.operations.documents import kinds_by_document
from gateway.queues.posting.posting import local_name

_MOST: Final = 100


async def find_documents(store: Store, settings: Settings) -> list[Place]:
    """Return the documents whose posting failed, and the stopped queues in which others are scheduled."""
    kinds = kinds_by_document(settings)

    def failed_one(row: Record) -> Place:
        kind = kinds.get(row["document"])  # None: its handler is not in the configuration any more
        name, title = (kind.name, kind.title) if kind is not None else (local_name(row["document"]),) * 2
        what = f"{title} {row['key']} of company {row['company']} ({quoted(row['error'])})"
        return Place("document-failed", None, what, f"{name}/{row['key']}", row["changed_at"])

    async with store.reading() as connection:
        failed = await connection.fetch(store.queries.failed_documents, _MOST)
        stopped = await connection.fetch(store.queries.documents_in_stopped_queues)
    found = [failed_one(row) for row in failed]
    found += [
        Place(
            "documents-wait-for-queue", None,
            f"job queue {row['queue']}: {row['documents']} document{'s' if row['documents'] != 1 else ''}",
            row["queue"], row["since"],
        )
        for row in stopped
    ]  # fmt: skip
    return found
