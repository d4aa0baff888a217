"""The order in which effects happen, as the database itself sees it."""

from collections import defaultdict

from asyncpg import connect

from tests.site import Site

_WITNESS = """
CREATE TABLE observed (n bigserial, request_id bigint, transaction bigint);
CREATE FUNCTION observe() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO observed (request_id, transaction) VALUES (NEW.request_id, txid_current());
    PERFORM pg_sleep(0.004);
    RETURN NULL;
END $$;
CREATE TRIGGER observe AFTER INSERT ON entity FOR EACH ROW EXECUTE FUNCTION observe();
"""
_SEEN = """
SELECT coalesce(s.conversation_id, m.conversation_id), v.display, w.transaction FROM observed w
JOIN message m ON m.id = w.request_id JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN message_set s ON s.id = m.set_id
WHERE coalesce(s.conversation_id, m.conversation_id) IS NOT NULL ORDER BY w.n
"""


async def watch_effects(site: Site) -> None:
    """Let the database write down in which order effects happen, and make each take a moment."""
    connection = await connect(site.store)
    try:
        await connection.execute(_WITNESS)
    finally:
        await connection.close()


async def out_of_order(site: Site) -> list[str]:
    """Return the files that took effect before an earlier one, or in the middle of another transaction's work."""
    files: dict[str, list[str]] = defaultdict(list)
    transactions: dict[str, list[int]] = defaultdict(list)
    wrong: list[str] = []
    for row in await site.query(_SEEN):
        conversation, name, transaction = row.values()
        earlier = transactions[conversation]
        if (files[conversation] and name < files[conversation][-1]) or transaction in earlier[:-1]:
            wrong.append(name)
        files[conversation].append(name)
        if transaction not in earlier[-1:]:
            earlier.append(transaction)
    return wrong
