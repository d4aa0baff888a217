-- name: put_send_requests(keys: Sequence[MessageKey], ports: Sequence[PortName], services: Sequence[str],
--     operations: Sequence[str], entity_keys: Sequence[str], companies: Sequence[str | None], partitions: Sequence[str | None],
--     conversations: Sequence[str | None], submitters: Sequence[str | None], message_ids: Sequence[UUID]) -> none
INSERT INTO send_request (id, port, service, operation, entity_keys, company, partition_key, conversation_id, submitter,
                          message_id)
SELECT id, port, service, operation, keys::jsonb, company, partition_key, conversation_id, submitter, message_id
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::uuid[])
     AS new (id, port, service, operation, keys, company, partition_key, conversation_id, submitter, message_id)

-- name: claim_requests(port: PortName, fence: Fence, most: int) -> many ClaimedRequest
-- Oldest first; SKIP LOCKED passes what somebody else is just claiming. Limits as in claim_lanes.
WITH chosen AS (
    SELECT id FROM (
        SELECT id FROM send_request WHERE port = $1 AND reason = 'ready'
        ORDER BY id NULLS FIRST LIMIT (SELECT $3::bigint) FOR UPDATE SKIP LOCKED
    ) AS free LIMIT 10000
)
UPDATE send_request SET status = 'in_process', reason = 'running', fence = $2, attempts = attempts + 1,
                        changed_at = clock_timestamp()
WHERE id = ANY(ARRAY(SELECT id FROM chosen))
RETURNING id, message_id, port, service, operation, entity_keys::text, company, partition_key, conversation_id, submitter,
          attempts, crashes, held_loop, store_waits, created_at

-- name: finish_requests(keys: Sequence[MessageKey]) -> none
DELETE FROM send_request WHERE id = ANY($1::bigint[])

-- name: fail_requests(keys: Sequence[MessageKey], texts: Sequence[str], most_crashes: int) -> none
UPDATE send_request SET status = 'error', fence = NULL, error = failed.text, changed_at = clock_timestamp(),
                        reason = CASE WHEN crashes >= $3 THEN 'poison' ELSE 'failed' END
FROM unnest($1::bigint[], $2::text[]) AS failed (id, text) WHERE send_request.id = failed.id

-- name: retry_requests(keys: Sequence[MessageKey], texts: Sequence[str], delays: Sequence[float],
--     are_free: Sequence[bool]) -> none
-- As retry_inbound.
UPDATE send_request SET status = 'ready', reason = 'backoff', fence = NULL, error = retry.text, held_loop = false,
                        attempts = greatest(attempts - retry.free::int, 0),
                        store_waits = CASE WHEN retry.free THEN store_waits + 1 ELSE 0 END,
                        not_before = clock_timestamp() + make_interval(secs => retry.delay),
                        changed_at = clock_timestamp()
FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::bool[]) AS retry (id, text, delay, free)
WHERE send_request.id = retry.id

-- name: progress_of_requests(keys: Sequence[MessageKey]) -> many ProgressOfRequest
-- Where requests are: not processed yet, a message in the queue, or finished. Those never made or purged are missing.
SELECT id AS key, port, status, error, NULL::text AS outcome, NULL::text AS file_name
FROM send_request WHERE id = ANY($1::bigint[])
UNION ALL
SELECT m.id, m.port, q.status, q.error, m.outcome, m.file_name
FROM message m LEFT JOIN queue q ON q.message_id = m.id WHERE m.id = ANY($1::bigint[])
ORDER BY key
