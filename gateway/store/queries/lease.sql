-- name: start_incarnation
INSERT INTO incarnation (node, host, pid, version) VALUES ($1, $2, $3, $4) RETURNING id

-- name: stop_incarnation
UPDATE incarnation SET stopped_at = clock_timestamp() WHERE id = $1

-- name: take_lease
INSERT INTO lease (fence, owner, stage, port, until)
VALUES (nextval('fence'), $1, $2, $3, clock_timestamp() + make_interval(secs => $4))
RETURNING fence

-- name: drop_lease
-- The guard of every completion: no row means that the work is somebody else's by now.
DELETE FROM lease WHERE fence = $1 RETURNING fence

-- name: hold_lease
-- The same guard where the work goes on after this transaction.
UPDATE lease SET until = clock_timestamp() + make_interval(secs => $2) WHERE fence = $1 RETURNING fence

-- name: extend_leases
-- Only what is really being worked on: a claim whose commit took effect while its reply got lost must run out.
UPDATE lease SET until = clock_timestamp() + make_interval(secs => $2)
WHERE owner = $1 AND fence = ANY($3::bigint[]) RETURNING fence

-- name: expired_leases
-- Locked, so that a completion that is just committing wins.
SELECT fence FROM lease WHERE until < clock_timestamp() FOR UPDATE SKIP LOCKED

-- name: leases_of_the_dead
-- Leases of earlier incarnations of this node: whoever holds the data folder's lock knows that they ended.
SELECT fence FROM lease JOIN incarnation i ON i.id = lease.owner
WHERE i.node = $1 AND i.id < $2 FOR UPDATE OF lease

-- name: reap
-- Ready again, in its own place; an interruption is not an attempt.
WITH requests AS (
    UPDATE send_request SET status = 'ready', reason = 'ready', fence = NULL, attempts = greatest(attempts - 1, 0),
                            changed_at = clock_timestamp()
    WHERE fence = ANY($1::bigint[])
)
UPDATE queue SET status = 'ready', reason = CASE WHEN lane IS NULL THEN 'ready' ELSE 'behind_in_lane' END,
                 fence = NULL, attempts = greatest(attempts - 1, 0), changed_at = clock_timestamp()
WHERE fence = ANY($1::bigint[])

-- name: drop_leases
DELETE FROM lease WHERE fence = ANY($1::bigint[])

-- name: wake_due
-- Waiting messages and send requests whose time has come; messages in a lane wait for their lane.
WITH messages AS (
    UPDATE queue SET reason = 'ready', not_before = NULL
    WHERE not_before <= clock_timestamp() AND lane IS NULL AND fence IS NULL
    RETURNING direction
), requests AS (
    UPDATE send_request SET reason = 'ready', not_before = NULL WHERE not_before <= clock_timestamp()
    RETURNING id
)
SELECT DISTINCT CASE direction WHEN 'in' THEN 'inbound' ELSE 'send' END AS stage FROM messages
UNION SELECT 'outbound' FROM requests

-- name: next_due
SELECT extract(epoch FROM min(due) - clock_timestamp())::float8 FROM (
    SELECT min(not_before) AS due FROM queue WHERE not_before IS NOT NULL
    UNION ALL SELECT min(not_before) FROM lane WHERE not_before IS NOT NULL AND fence IS NULL
    UNION ALL SELECT min(not_before) FROM send_request WHERE not_before IS NOT NULL
) AS waiting

-- name: ports_with_work
-- Ports that have something for a stage to claim now. Leading columns of partial indexes: cost does not grow with the
-- queue.
SELECT DISTINCT port FROM unnest($2::text[]) AS known (port)
WHERE CASE $1::text
    WHEN 'outbound' THEN EXISTS (SELECT 1 FROM send_request r WHERE r.port = known.port AND r.reason = 'ready')
    WHEN 'send' THEN EXISTS (SELECT 1 FROM queue q WHERE q.direction = 'out' AND q.port = known.port
                             AND q.reason = 'ready' AND q.lane IS NULL)
    ELSE EXISTS (SELECT 1 FROM queue q WHERE q.direction = 'in' AND q.port = known.port
                 AND q.reason = 'ready' AND q.lane IS NULL)
      OR EXISTS (SELECT 1 FROM lane l WHERE l.port = known.port AND l.fence IS NULL
                 AND (l.not_before IS NULL OR l.not_before <= clock_timestamp()))
END
