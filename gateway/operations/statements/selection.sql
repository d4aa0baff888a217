-- Messages chosen by what they are, for lists and for what operators do to many at once.

-- name: choose_queued(port: PortName | None, statuses: Sequence[str] | None, reasons: Sequence[str] | None,
--     direction: str | None, since: datetime | None, until: datetime | None, file: str | None, user: str | None,
--     code: str | None, limit: int | None) -> many Chosen
-- Unfinished messages, and send requests that are to become messages, in order of arrival, with the number of all that
-- fit. A code is that of the last failure; what waits for another try has it before its text.
SELECT key AS "key!: MessageKey", count(*) OVER () AS total FROM (
    SELECT q.message_id AS key
    FROM queue q LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
    WHERE ($1::text IS NULL OR q.port = $1) AND ($2::text[] IS NULL OR q.status = ANY($2))
      AND ($3::text[] IS NULL OR CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END = ANY($3))
      AND ($4::text IS NULL OR q.direction = $4)
      AND ($5::timestamptz IS NULL OR q.changed_at >= $5) AND ($6::timestamptz IS NULL OR q.changed_at <= $6)
      AND ($7::text IS NULL OR EXISTS (
          SELECT 1 FROM message m LEFT JOIN delivery v ON v.claim_id = m.claim_id
          WHERE m.id = q.message_id AND coalesce(v.display, m.file_name) ILIKE $7))
      AND ($8::text IS NULL OR EXISTS (SELECT 1 FROM message m WHERE m.id = q.message_id AND m.submitter = $8))
      AND ($9::text IS NULL OR CASE WHEN q.status IN ('error', 'malformed') THEN (
              SELECT e.code FROM exception e WHERE e.message_key = q.message_id AND e.severity = 'error'
              ORDER BY e.id DESC LIMIT 1)
          ELSE substring(q.error FROM '^([a-z]+\.[a-z.-]+): ') END LIKE $9)
    UNION ALL
    SELECT r.id FROM send_request r
    WHERE ($1::text IS NULL OR r.port = $1) AND ($2::text[] IS NULL OR r.status = ANY($2))
      AND ($3::text[] IS NULL OR r.reason = ANY($3)) AND ($4::text IS NULL OR $4 = 'out')
      AND ($5::timestamptz IS NULL OR r.changed_at >= $5) AND ($6::timestamptz IS NULL OR r.changed_at <= $6)
      AND $7::text IS NULL AND ($8::text IS NULL OR r.submitter = $8)
      AND ($9::text IS NULL OR CASE WHEN r.status = 'error' THEN (
              SELECT e.code FROM exception e WHERE e.message_key = r.id AND e.severity = 'error' ORDER BY e.id DESC LIMIT 1)
          ELSE substring(r.error FROM '^([a-z]+\.[a-z.-]+): ') END LIKE $9)
) AS fitting
ORDER BY key LIMIT $10

-- name: group_queued(keys: Sequence[MessageKey]) -> many CauseRow
-- Unfinished messages by what they wait for and why, most of one kind first.
SELECT port, direction, status, reason, code, count(*) AS messages, count(DISTINCT file) AS files, min(since) AS "oldest!",
       max(since) AS "newest!", min(key) AS "first!", min(error) AS error
FROM (
    SELECT q.message_id AS key, q.port, q.direction, q.status,
           CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END AS reason, q.changed_at AS since, q.error,
           coalesce(m.claim_id::text, m.file_name) AS file,
           CASE WHEN q.status IN ('error', 'malformed') THEN (
                    SELECT e.code FROM exception e WHERE e.message_key = q.message_id AND e.severity = 'error'
                    ORDER BY e.id DESC LIMIT 1)
           ELSE substring(q.error FROM '^([a-z]+\.[a-z.-]+): ') END AS code
    FROM queue q JOIN message m ON m.id = q.message_id
    LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
    WHERE q.message_id = ANY($1::bigint[])
    UNION ALL
    SELECT r.id, r.port, 'out', r.status, r.reason, r.changed_at, r.error, NULL,
           CASE WHEN r.status = 'error' THEN (
                    SELECT e.code FROM exception e WHERE e.message_key = r.id AND e.severity = 'error'
                    ORDER BY e.id DESC LIMIT 1)
           ELSE substring(r.error FROM '^([a-z]+\.[a-z.-]+): ') END
    FROM send_request r WHERE r.id = ANY($1::bigint[])
) AS chosen
GROUP BY port, direction, status, reason, code ORDER BY messages DESC, port, status, reason, code

-- name: list_queued(keys: Sequence[MessageKey]) -> many QueuedRow
SELECT q.message_id AS key, q.port, m.message_id, q.direction, q.status,
       CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END AS reason, m.company, m.service, m.operation, q.error,
       coalesce(v.display, m.file_name) AS file, m.position, q.attempts, q.changed_at AS since, q.not_before,
       q.set_id AS set_key, q.lane
FROM queue q JOIN message m ON m.id = q.message_id LEFT JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
WHERE q.message_id = ANY($1::bigint[])
UNION ALL
SELECT id, port, message_id, 'out', status, reason, company, service, operation, error, NULL, 1, attempts, changed_at,
       not_before, NULL, NULL
FROM send_request WHERE id = ANY($1::bigint[])
ORDER BY key
