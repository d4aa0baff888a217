"""What of posting needs somebody: documents to handle, and documents that wait in a queue that is not started."""

from typing import Final

from gateway.db.open import Store
from gateway.explanations.facts import quoted
from gateway.explanations.finding import Place
from gateway.operations.documents import kind_of

_MOST: Final = 100


async def find_documents(store: Store) -> list[Place]:
    """Return the documents whose posting failed, and the stopped queues in which others are scheduled."""
    async with store.reading() as connection:
        failed = await connection.fetch(store.queries.failed_documents, _MOST)
        stopped = await connection.fetch(store.queries.documents_in_stopped_queues)
    found = [
        Place(
            "document-failed", None, f"{kind_of(row['document']).title} {row['key']} of company {row['company']} "
            f"({quoted(row['error'])})", f"{kind_of(row['document']).name}/{row['key']}", row["changed_at"],
        )
        for row in failed
    ]  # fmt: skip
    found += [
        Place(
            "documents-wait-for-queue", None,
            f"job queue {row['queue']}: {row['documents']} document{'s' if row['documents'] != 1 else ''}",
            row["queue"], row["since"],
        )
        for row in stopped
    ]  # fmt: skip
    return found
