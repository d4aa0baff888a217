-- name: take_processed_ids
-- First come, first served: the key decides between two claims at the same time. Returns what was new.
INSERT INTO processed_id (port, service, operation, message_id, request_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[]) AS new (port, service, operation, message_id, request_id)
ORDER BY 1, 2, 3, 4
ON CONFLICT DO NOTHING
RETURNING request_id

-- name: take_processed_contents
-- As take_processed_ids; what was processed longer ago than $6 seconds makes room. Of the same content twice here, the
-- first message counts: a statement may write a row once only.
INSERT INTO processed_content (port, service, operation, digest, request_id)
SELECT DISTINCT ON (digest) $1, $2, $3, digest, request_id
FROM unnest($4::bytea[], $5::bigint[]) AS new (digest, request_id)
ORDER BY digest, request_id
ON CONFLICT (port, service, operation, digest) DO UPDATE SET request_id = excluded.request_id, at = clock_timestamp()
WHERE processed_content.at < clock_timestamp() - make_interval(secs => $6)
RETURNING request_id

-- name: first_processed
-- Where a MessageId was processed first; its message may be gone from the history.
SELECT p.message_id, p.request_id, p.at, v.display FROM processed_id p
LEFT JOIN message m ON m.id = p.request_id LEFT JOIN delivery v ON v.claim_id = m.claim_id
WHERE p.port = $1 AND p.service = $2 AND p.operation = $3 AND p.message_id = ANY($4::uuid[])

-- name: first_processed_content
SELECT p.digest, p.request_id, p.at, v.display FROM processed_content p
LEFT JOIN message m ON m.id = p.request_id LEFT JOIN delivery v ON v.claim_id = m.claim_id
WHERE p.port = $1 AND p.service = $2 AND p.operation = $3 AND p.digest = ANY($4::bytea[])

-- name: answers_given
-- The responses to requests, oldest first; content is null when the document is not kept.
SELECT answer.request_id, request.entity_keys, d.content
FROM message answer
JOIN message request ON request.id = answer.request_id
LEFT JOIN document d ON d.message_id = answer.id AND d.version = 0
WHERE answer.request_id = ANY($1::bigint[]) AND answer.direction = 'out' AND NOT answer.is_fault
ORDER BY answer.id
