-- name: start_incarnation(node: str, host: str, pid: int, version: str) -> one
INSERT INTO incarnation (node, host, pid, version) VALUES ($1, $2, $3, $4) RETURNING id

-- name: start_worker(parent: int, pid: int) -> one
INSERT INTO incarnation (node, host, pid, version, parent)
SELECT node, host, $2, version, id FROM incarnation WHERE id = $1 RETURNING id

-- name: leases_of_worker(worker: int) -> many
-- Waits for a completion that is just committing: the worker may have died after it said so.
SELECT fence FROM lease WHERE owner = $1 ORDER BY fence FOR UPDATE

-- name: stop_incarnation(incarnation: int) -> none
UPDATE incarnation SET stopped_at = clock_timestamp() WHERE id = $1

-- name: draw_fence(idle_timeout: str) -> one NewFence
-- What this transaction claims next is asked all the time, and one plan serves it for any values. Left to itself, the
-- server plans a claim anew every time, for good, when the table grew a little before the first plan for any values.
-- A process that is frozen in the middle of its claim loses it soon ($1).
SELECT nextval('fence') AS "fence: Fence", set_config('plan_cache_mode', 'force_generic_plan', true) AS plan,
       set_config('idle_in_transaction_session_timeout', $1, true) AS idle_timeout

-- name: take_lease(fence: Fence, incarnation: int, stage: Stage, port: PortName, messages: int) -> none
INSERT INTO lease (fence, owner, stage, port, messages) VALUES ($1, $2, $3, $4, $5)

-- name: drop_lease(fence: Fence, idle_timeout: str) -> maybe DroppedLease
-- The guard of every completion: no row means that the work is somebody else's by now. With it comes what is known of the
-- services of the port, so that of those that work nothing more need be asked. From here on no code of others runs in
-- the transaction: a process that is frozen now loses its locks ($2) before those who wait for them give up.
DELETE FROM lease WHERE fence = $1
RETURNING awaited, (SELECT h.failures FROM port_health h WHERE h.port = lease.port) AS failures,
          set_config('idle_in_transaction_session_timeout', $2, true) AS idle_timeout

-- name: hold_lease(fence: Fence) -> maybe
-- The same guard where the work goes on after this transaction.
SELECT fence FROM lease WHERE fence = $1 FOR UPDATE

-- name: beat(incarnation: int, held: Sequence[Fence]) -> one
-- Only what is really being worked on: a claim whose commit took effect while its reply got lost must stand still.
-- A lease that is just being completed needs no beat; waiting for it would hold up all the others.
WITH working AS (
    SELECT fence FROM lease WHERE owner = $1 AND fence = ANY($2::bigint[]) FOR UPDATE SKIP LOCKED
), held AS (
    UPDATE lease SET beats = beats + 1 FROM working WHERE lease.fence = working.fence
), before AS (
    SELECT id, lost_at FROM incarnation WHERE id = $1 FOR UPDATE
)
UPDATE incarnation SET beats = beats + 1, beat_at = clock_timestamp(), lost_at = NULL
FROM before WHERE incarnation.id = before.id
RETURNING before.lost_at IS NOT NULL

-- name: beats_of_others(incarnation: int) -> many ProcessBeats
-- Workers do not beat while they hold nothing: their leases tell of them.
SELECT id, beats FROM incarnation WHERE stopped_at IS NULL AND lost_at IS NULL AND id <> $1 AND parent IS NULL

-- name: beats_of_leases() -> many LeaseBeats
SELECT fence, beats FROM lease

-- name: still_leases(fences: Sequence[Fence], beats: Sequence[int]) -> many
-- Locked, so that a completion that is just committing wins; and only while nobody has counted on.
SELECT lease.fence FROM lease
JOIN unnest($1::bigint[], $2::bigint[]) AS seen (fence, beats) ON lease.fence = seen.fence AND lease.beats = seen.beats
FOR UPDATE OF lease SKIP LOCKED

-- name: declare_nodes_lost(incarnations: Sequence[int], beats: Sequence[int]) -> many LostNode
-- One of several observers gets the row.
UPDATE incarnation SET lost_at = clock_timestamp()
FROM unnest($1::bigint[], $2::bigint[]) AS seen (id, beats)
WHERE incarnation.id = seen.id AND incarnation.beats = seen.beats AND stopped_at IS NULL AND lost_at IS NULL
RETURNING incarnation.id AS incarnation, node, host, pid

-- name: leases_of(incarnations: Sequence[int]) -> many
SELECT fence FROM lease WHERE owner = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED

-- name: mark_incarnations_lost(node: str, incarnation: int) -> none
-- Nobody needs to observe the earlier starts of this node any more, nor what they said of ports.
WITH said AS (
    DELETE FROM port_status s USING incarnation i WHERE i.id = s.incarnation AND i.node = $1 AND i.id < $2
)
UPDATE incarnation SET lost_at = clock_timestamp()
WHERE node = $1 AND id < $2 AND stopped_at IS NULL AND lost_at IS NULL

-- name: leases_of_the_dead(node: str, incarnation: int) -> many
-- Leases of earlier incarnations of this node: whoever holds the data folder's lock knows that they ended.
SELECT fence FROM lease JOIN incarnation i ON i.id = lease.owner
WHERE i.node = $1 AND i.id < $2 ORDER BY lease.fence FOR UPDATE OF lease

-- name: reap(fences: Sequence[Fence]) -> many ReapedMessage
-- Ready again, in its own place; an interruption is not an attempt.
WITH requests AS (
    UPDATE send_request SET status = 'ready', reason = 'ready', fence = NULL, attempts = greatest(attempts - 1, 0),
                            changed_at = clock_timestamp()
    WHERE fence = ANY($1::bigint[])
)
UPDATE queue SET status = 'ready', reason = CASE WHEN lane IS NULL THEN 'ready' ELSE 'behind_in_lane' END,
                 fence = NULL, attempts = greatest(attempts - 1, 0), changed_at = clock_timestamp()
WHERE fence = ANY($1::bigint[])
RETURNING port, lane

-- name: drop_leases(fences: Sequence[Fence]) -> one
WITH ended AS (DELETE FROM lease WHERE fence = ANY($1::bigint[]) RETURNING awaited)
SELECT coalesce(bool_or(awaited), false) FROM ended

-- name: reclaim_postponed(longest_seconds: float) -> none
-- $1 is longer than anything ever waits: what is due even later was put off before the clock was set back. It is due now.
WITH messages AS (
    UPDATE queue SET not_before = statement_timestamp()
    WHERE not_before > statement_timestamp() + make_interval(secs => $1) AND lane IS NULL
), lanes AS (
    UPDATE lane SET not_before = statement_timestamp()
    WHERE not_before > statement_timestamp() + make_interval(secs => $1) AND fence IS NULL
)
UPDATE send_request SET not_before = statement_timestamp()
WHERE not_before > statement_timestamp() + make_interval(secs => $1)

-- name: wake_due(most: int) -> many
-- Waiting messages, lanes and send requests whose time has come, so many of each; a lane comes back with its head.
-- statement_timestamp, because an index cannot be asked for a time that changes while it is read.
WITH messages AS (
    UPDATE queue SET reason = 'ready', not_before = NULL
    FROM (SELECT message_id FROM queue WHERE not_before <= statement_timestamp() AND lane IS NULL
          ORDER BY not_before LIMIT $1 FOR UPDATE SKIP LOCKED) AS due
    WHERE queue.message_id = due.message_id RETURNING direction
), lanes AS (
    UPDATE lane SET not_before = NULL
    FROM (SELECT port, name FROM lane WHERE not_before <= statement_timestamp() AND fence IS NULL
          ORDER BY not_before LIMIT $1 FOR UPDATE SKIP LOCKED) AS due
    WHERE lane.port = due.port AND lane.name = due.name RETURNING head
), heads AS (
    UPDATE queue SET reason = 'behind_in_lane', not_before = NULL FROM lanes
    WHERE queue.message_id = lanes.head AND queue.reason = 'backoff'
), requests AS (
    UPDATE send_request SET reason = 'ready', not_before = NULL
    FROM (SELECT id FROM send_request WHERE not_before <= statement_timestamp()
          ORDER BY not_before LIMIT $1 FOR UPDATE SKIP LOCKED) AS due
    WHERE send_request.id = due.id RETURNING due.id
)
SELECT DISTINCT CASE direction WHEN 'in' THEN 'inbound' ELSE 'send' END AS stage FROM messages
UNION SELECT 'inbound' FROM lanes
UNION SELECT 'outbound' FROM requests

-- name: next_due() -> one
SELECT extract(epoch FROM min(due) - clock_timestamp())::float8 FROM (
    SELECT min(not_before) AS due FROM queue WHERE not_before IS NOT NULL AND lane IS NULL
    UNION ALL SELECT min(not_before) FROM lane WHERE not_before IS NOT NULL AND fence IS NULL
    UNION ALL SELECT min(not_before) FROM send_request WHERE not_before IS NOT NULL
) AS waiting

-- name: ports_with_work(stage: Stage, ports: Sequence[PortName]) -> many
-- Ports that have something for a stage to claim now. Asked for is the first entry of an index that holds nothing else:
-- whether there is any row would be answered by reading the table, because it seems likely to be found soon.
SELECT port AS "port!: PortName" FROM unnest($2::text[]) AS known (port)
WHERE CASE $1::text
    WHEN 'outbound' THEN
        (SELECT r.id FROM send_request r WHERE r.port = known.port AND r.reason = 'ready' ORDER BY r.id NULLS FIRST LIMIT 1)
    WHEN 'send' THEN
        (SELECT q.message_id FROM queue q
         WHERE q.direction = 'out' AND q.port = known.port
           AND q.status = 'ready' AND q.not_before IS NULL AND q.lane IS NULL
         ORDER BY q.message_id NULLS FIRST LIMIT 1)
    ELSE coalesce(
        (SELECT q.message_id FROM queue q
         WHERE q.direction = 'in' AND q.port = known.port
           AND q.status = 'ready' AND q.not_before IS NULL AND q.lane IS NULL
         ORDER BY q.message_id NULLS FIRST LIMIT 1),
        (SELECT l.head FROM lane l
         WHERE l.port = known.port AND l.fence IS NULL AND l.not_before IS NULL AND l.head IS NOT NULL
         ORDER BY l.head LIMIT 1))
END IS NOT NULL
