-- name: take_processed_ids(ports: Sequence[PortName], services: Sequence[str | None],
--     operations: Sequence[str | None], message_ids: Sequence[UUID], requests: Sequence[MessageKey]) -> many
-- First come, first served: the key decides between two claims at the same time. Returns what was new.
INSERT INTO processed_id (port, service, operation, message_id, request_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[]) AS new (port, service, operation, message_id, request_id)
ORDER BY 1, 2, 3, 4
ON CONFLICT DO NOTHING
RETURNING request_id

-- name: take_processed_contents(port: PortName, service: str | None, operation: str | None, digests: Sequence[bytes],
--     requests: Sequence[MessageKey], seconds: float) -> many
-- As take_processed_ids; what was processed longer ago than $6 seconds makes room. Of the same content twice here, the
-- first message counts: a statement may write a row once only.
INSERT INTO processed_content (port, service, operation, digest, request_id)
SELECT DISTINCT ON (digest) $1, $2, $3, digest, request_id
FROM unnest($4::bytea[], $5::bigint[]) AS new (digest, request_id)
ORDER BY digest, request_id
ON CONFLICT (port, service, operation, digest) DO UPDATE SET request_id = excluded.request_id, at = clock_timestamp()
WHERE processed_content.at < clock_timestamp() - make_interval(secs => $6)
RETURNING request_id

-- name: lock_processed_ids(port: PortName, service: str | None, operation: str | None,
--     message_ids: Sequence[UUID]) -> none
-- What take_processed_ids found taken. Whoever holds these locks says who goes on: nobody begins, gives up or takes over
-- meanwhile. The holders are read after it, by a statement of its own: one that waits for a lock goes on to see the
-- queue as it was before. take_processed_contents has locked what it did not change.
SELECT FROM processed_id
WHERE port = $1 AND service = $2 AND operation = $3 AND message_id = ANY($4::uuid[])
ORDER BY message_id FOR UPDATE

-- name: first_processed(port: PortName, service: str | None, operation: str | None,
--     message_ids: Sequence[UUID]) -> many FirstById
-- Who has a MessageId. It was processed; or it is in work, or about to be; or it stands still and may never be, or waits
-- for others of its lane, which may be who asks. The message of one that was processed may be gone from the history.
SELECT p.message_id, p.request_id, p.at, v.display,
       CASE WHEN m.outcome = 'deleted' OR q.status IN ('hold', 'error') THEN 'given_up'
            WHEN q.reason = 'behind_in_lane' AND h.head IS NULL THEN 'given_up'
            WHEN q.message_id IS NOT NULL THEN 'at_work' ELSE 'processed' END AS holder
FROM processed_id p
LEFT JOIN message m ON m.id = p.request_id LEFT JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN queue q ON q.message_id = p.request_id
LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
WHERE p.port = $1 AND p.service = $2 AND p.operation = $3 AND p.message_id = ANY($4::uuid[])

-- name: first_processed_content(port: PortName, service: str | None, operation: str | None,
--     digests: Sequence[bytes]) -> many FirstByContent
SELECT p.digest, p.request_id, p.at, v.display,
       CASE WHEN m.outcome = 'deleted' OR q.status IN ('hold', 'error') THEN 'given_up'
            WHEN q.reason = 'behind_in_lane' AND h.head IS NULL THEN 'given_up'
            WHEN q.message_id IS NOT NULL THEN 'at_work' ELSE 'processed' END AS holder
FROM processed_content p
LEFT JOIN message m ON m.id = p.request_id LEFT JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN queue q ON q.message_id = p.request_id
LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
WHERE p.port = $1 AND p.service = $2 AND p.operation = $3 AND p.digest = ANY($4::bytea[])

-- name: take_over_id(port: PortName, service: str | None, operation: str | None, message_id: UUID,
--     earlier: MessageKey, request: MessageKey) -> maybe
UPDATE processed_id SET request_id = $6, at = clock_timestamp()
WHERE port = $1 AND service = $2 AND operation = $3 AND message_id = $4 AND request_id = $5
RETURNING request_id

-- name: take_over_content(port: PortName, service: str | None, operation: str | None, digest: bytes,
--     earlier: MessageKey, request: MessageKey) -> maybe
UPDATE processed_content SET request_id = $6, at = clock_timestamp()
WHERE port = $1 AND service = $2 AND operation = $3 AND digest = $4 AND request_id = $5
RETURNING request_id

-- name: give_up_ids(ports: Sequence[PortName], services: Sequence[str | None], operations: Sequence[str | None],
--     message_ids: Sequence[UUID], requests: Sequence[MessageKey]) -> none
DELETE FROM processed_id p
USING unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[]) AS mine (port, service, operation, message_id, request_id)
WHERE (p.port, p.service, p.operation, p.message_id, p.request_id)
    = (mine.port, mine.service, mine.operation, mine.message_id, mine.request_id)

-- name: give_up_contents(ports: Sequence[PortName], services: Sequence[str | None], operations: Sequence[str | None],
--     digests: Sequence[bytes], requests: Sequence[MessageKey]) -> none
DELETE FROM processed_content p
USING unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[]) AS mine (port, service, operation, digest, request_id)
WHERE (p.port, p.service, p.operation, p.digest, p.request_id)
    = (mine.port, mine.service, mine.operation, mine.digest, mine.request_id)

-- name: answers_given(requests: Sequence[MessageKey]) -> many AnswerGiven
-- The responses to requests, oldest first; content is null when the document is not kept.
SELECT request.id AS request_id, request.entity_keys, d.content
FROM message answer
JOIN message request ON request.id = answer.request_id
LEFT JOIN document d ON d.message_id = answer.id AND d.version = 0
WHERE answer.request_id = ANY($1::bigint[]) AND answer.direction = 'out' AND NOT answer.is_fault
ORDER BY answer.id
