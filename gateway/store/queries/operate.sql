-- name: queued_with_sets
-- The messages named and, for members of a set, all unfinished members of the same direction; locked in order.
SELECT q.message_id, q.port, q.direction, q.status, q.lane, q.set_id
FROM queue q
WHERE q.message_id = ANY($1::bigint[])
   OR (q.direction = 'in' AND q.set_id IN (SELECT n.set_id FROM queue n
                                           WHERE n.message_id = ANY($1::bigint[]) AND n.direction = 'in'))
ORDER BY q.message_id
FOR UPDATE

-- name: hold
-- Only what has not started: a running message is not waited for.
UPDATE queue SET status = 'hold', reason = 'held_by_operator', not_before = NULL, changed_at = clock_timestamp()
WHERE message_id = ANY($1::bigint[]) AND status = 'ready'
RETURNING message_id

-- name: release
-- Back to work, in its own place; failed messages begin their tries anew.
UPDATE queue SET status = 'ready', reason = CASE WHEN lane IS NULL THEN 'ready' ELSE 'behind_in_lane' END,
                 error = NULL, attempts = 0, not_before = NULL, changed_at = clock_timestamp()
WHERE message_id = ANY($1::bigint[]) AND status IN ('hold', 'error')
RETURNING message_id, port, lane

-- name: release_requests
-- Failed send requests begin their tries anew; told is what every one that was named had been.
WITH named AS (
    SELECT id, status FROM send_request WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE
), released AS (
    UPDATE send_request r SET status = 'ready', reason = 'ready', error = NULL, attempts = 0, changed_at = clock_timestamp()
    FROM named WHERE r.id = named.id AND named.status = 'error'
)
SELECT id AS message_id, status FROM named ORDER BY id

-- name: reopen_sets
UPDATE message_set SET status = 'ready' WHERE id = ANY($1::bigint[])

-- name: lock_named_lanes
SELECT l.port, l.name FROM lane l
JOIN unnest($1::text[], $2::text[]) AS touched (port, name) ON l.port = touched.port AND l.name = touched.name
ORDER BY l.port, l.name
FOR UPDATE OF l

-- name: move_lane_heads
-- For lanes nobody works on: the head is the first workable message, a lane without one goes.
WITH next AS (
    SELECT l.port, l.name, front.message_id AS head, front.not_before
    FROM lane l
    JOIN unnest($1::text[], $2::text[]) AS touched (port, name) ON l.port = touched.port AND l.name = touched.name
    LEFT JOIN LATERAL (
        SELECT q.message_id, q.not_before FROM queue q
        WHERE q.port = l.port AND q.lane = l.name AND q.reason IN ('ready', 'behind_in_lane', 'backoff')
        ORDER BY q.message_id LIMIT 1
    ) AS front ON true
    WHERE l.fence IS NULL
), emptied AS (
    DELETE FROM lane USING next WHERE next.head IS NULL AND lane.port = next.port AND lane.name = next.name
), moved AS (
    UPDATE lane SET head = next.head, not_before = next.not_before FROM next
    WHERE next.head IS NOT NULL AND lane.port = next.port AND lane.name = next.name
)
UPDATE queue q SET reason = CASE WHEN q.message_id = next.head THEN 'ready' ELSE 'behind_in_lane' END
FROM next
WHERE q.port = next.port AND q.lane = next.name AND q.reason IN ('ready', 'behind_in_lane')
  AND (q.message_id = next.head) <> (q.reason = 'ready')
