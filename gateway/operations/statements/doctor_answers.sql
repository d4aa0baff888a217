-- What stands between a partner and an answer, by a cause that is known. Asked by `gateway doctor` only; writes nothing.

-- name: unanswered(seconds: float) -> many Unanswered
-- Per port and kind: how many, the first, and what is known of that one. $1: how long in seconds a request may be tried.
-- A failed request whose fault went out has its answer; when its service does not work, somebody has to mend that.
SELECT w.code, w.port, w.number, w.first AS "first!", w.error, w.since AS "since!",
       coalesce(v.display, m.file_name) AS file FROM (
SELECT code, port, count(*) AS number, min(id) AS first, (array_agg(error ORDER BY id))[1] AS error, min(since) AS since
FROM (
    SELECT CASE WHEN q.direction = 'out' THEN 'answer-not-delivered'
                WHEN q.status = 'malformed' THEN 'file-refused'
                WHEN q.status = 'hold' THEN 'request-held'
                WHEN q.status = 'error' AND EXISTS (
                    SELECT 1 FROM message a WHERE a.request_id = q.message_id AND a.is_fault) THEN 'service-fails'
                WHEN q.status = 'error' THEN 'request-failed'
                ELSE 'request-retried' END AS code, q.port, q.message_id AS id, q.error, q.changed_at AS since
    FROM queue q
    WHERE CASE q.direction
        WHEN 'out' THEN q.reason IN ('address_unavailable', 'backoff') OR q.reason = 'ready' AND q.attempts > 0
          OR q.status IN ('hold', 'error')
        ELSE q.status IN ('hold', 'malformed')
          OR q.status = 'error' AND (
              q.reason = 'poison'
              OR (SELECT e.code ~ '^(operation|handler|store)[.]' AND e.code <> 'operation.rejected' FROM exception e
                  WHERE e.message_key = q.message_id AND e.severity = 'error' ORDER BY e.id DESC LIMIT 1)
              OR NOT EXISTS (SELECT 1 FROM message a WHERE a.request_id = q.message_id AND a.is_fault))
          OR q.reason = 'backoff' AND EXISTS (
              SELECT 1 FROM message m
              WHERE m.id = q.message_id AND m.created_at < clock_timestamp() - make_interval(secs => $1)) END
    UNION ALL
    SELECT 'document-not-sent', port, id, error, changed_at FROM send_request
    WHERE status = 'error' OR reason = 'backoff' AND created_at < clock_timestamp() - make_interval(secs => $1)
) AS waiting
GROUP BY code, port
) AS w LEFT JOIN message m ON m.id = w.first AND m.direction = 'in' LEFT JOIN delivery v ON v.claim_id = m.claim_id
ORDER BY code, port

-- name: failing_ports(seconds: float, many: int) -> many FailingPort
-- Ports where in the $1 seconds up to the latest failure at least $2 requests failed, and more than succeeded since.
SELECT f.port, n.number, n.first AS "first!", n.error, n.since AS "since!"
FROM (SELECT port, max(changed_at) AS latest FROM queue WHERE direction = 'in' AND status = 'error' GROUP BY port) AS f
CROSS JOIN LATERAL (
    SELECT count(*) AS number, min(q.message_id) AS first, (array_agg(q.error ORDER BY q.message_id))[1] AS error,
           min(q.changed_at) AS since
    FROM queue q
    WHERE q.port = f.port AND q.direction = 'in' AND q.status = 'error'
      AND q.changed_at > f.latest - make_interval(secs => $1)
) AS n
WHERE n.number >= $2 AND n.number > (
    SELECT count(*) FROM message m
    WHERE m.port = f.port AND m.direction = 'in' AND m.outcome = 'processed'
      AND m.created_at > f.latest - interval '2 days' AND m.finished_at > f.latest - make_interval(secs => $1))
ORDER BY f.port

-- name: stopped_lanes(most: int) -> many StoppedLane
SELECT l.port, l.name, coalesce(l.blocked_by, l.parked_by) AS "message!", l.blocked_by IS NOT NULL AS blocked, q.error,
       q.changed_at AS since
FROM lane l LEFT JOIN queue q ON q.message_id = coalesce(l.blocked_by, l.parked_by)
WHERE l.blocked_by IS NOT NULL OR l.parked_by IS NOT NULL ORDER BY l.port, l.name LIMIT $1

-- name: archived_digests(claims: Sequence[UUID]) -> many ArchivedDigest
-- The SHA-256 of files as they were received, of those that were to be archived.
SELECT claim_id::text AS claim_id, sha256 AS "sha256!" FROM delivery
WHERE claim_id = ANY($1::uuid[]) AND settlement = 'archive' AND sha256 IS NOT NULL
