-- name: claim_outbound(port: PortName, fence: Fence, most: int, most_bytes: int, staging: UUID | None) -> many
-- Oldest first, up to a number and, after the first, a number of bytes; of promised ones those in our staging folder.
-- Limits as in claim_lanes.
WITH next AS (
    SELECT message_id FROM (
        SELECT message_id FROM queue
        WHERE direction = 'out' AND port = $1 AND status = 'ready' AND not_before IS NULL AND lane IS NULL
          AND (staged_in IS NULL OR staged_in = $5)
        ORDER BY message_id NULLS FIRST LIMIT (SELECT $3::bigint) FOR UPDATE SKIP LOCKED
    ) AS free LIMIT 10000
), sized AS MATERIALIZED (
    SELECT message_id, (SELECT m.size_bytes FROM message m WHERE m.id = next.message_id) AS size FROM next
), chosen AS (
    SELECT message_id
    FROM (SELECT message_id, sum(size) OVER (ORDER BY message_id) - size AS bytes_before FROM sized) AS summed
    WHERE bytes_before < $4
)
UPDATE queue SET status = 'in_transport', reason = 'running', fence = $2, attempts = attempts + 1,
                 changed_at = clock_timestamp()
WHERE message_id = ANY(ARRAY(SELECT message_id FROM chosen))
RETURNING message_id

-- name: read_sending(fence: Fence) -> many SendingRow
SELECT m.id, q.port, m.file_name AS "file_name!", m.is_fault, q.attempts, q.staged_name, q.staged_in, d.content
FROM queue q
JOIN message m ON m.id = q.message_id
JOIN document d ON d.message_id = q.message_id AND d.version = q.version
WHERE q.fence = $1
ORDER BY m.id

-- name: promise_staged(keys: Sequence[MessageKey], names: Sequence[str], fence: Fence, staging: UUID) -> many
-- From here the staged file is promised: only the rename that publishes it may remove it. A row that is under our fence
-- is its own guard: whoever takes the lease back changes it, too.
UPDATE queue SET staged_name = staged.name, staged_in = $4 FROM unnest($1::bigint[], $2::text[]) AS staged (id, name)
WHERE queue.message_id = staged.id AND queue.fence = $3
RETURNING queue.message_id

-- name: finish_outbound(keys: Sequence[MessageKey]) -> none
WITH gone AS (DELETE FROM queue WHERE message_id = ANY($1::bigint[]))
UPDATE message SET outcome = 'sent', finished_at = clock_timestamp() WHERE id = ANY($1::bigint[])

-- name: postpone_outbound(keys: Sequence[MessageKey], texts: Sequence[str], delays: Sequence[float]) -> none
UPDATE queue SET status = 'ready', reason = 'address_unavailable', fence = NULL, error = later.text,
                 not_before = clock_timestamp() + make_interval(secs => later.delay), changed_at = clock_timestamp()
FROM unnest($1::bigint[], $2::text[], $3::float8[]) AS later (id, text, delay) WHERE queue.message_id = later.id

-- name: fail_outbound(keys: Sequence[MessageKey], texts: Sequence[str]) -> none
UPDATE queue SET status = 'error', reason = 'failed', fence = NULL, error = failed.text, changed_at = clock_timestamp()
FROM unnest($1::bigint[], $2::text[]) AS failed (id, text) WHERE queue.message_id = failed.id
