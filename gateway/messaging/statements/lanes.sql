-- Lanes: what may run next of each ordering key, and what is in its way. What waits in a lane is `behind_in_lane`; which
-- one is ready its lane says, and is asked of `ready_head` where somebody wants to know.
-- Locks are taken in this order everywhere: lease, message sets, lanes (by port and name), queue rows.

-- name: share_port_rules(ports: Sequence[str]) -> none
-- A reload that changes what an error means waits for us, so that it sees the lanes we make.
SELECT port FROM port_rule WHERE port = ANY($1::text[]) ORDER BY port FOR SHARE

-- name: join_lanes(ports: Sequence[str], names: Sequence[str], firsts: Sequence[int]) -> many EnteredLane
-- New rows come into these lanes: each lane is locked, and made when it is not there. A lane that we made has our first
-- message as its head; of any other the head is found by recompute_heads.
INSERT INTO lane (port, name, head, on_error)
SELECT new.port, new.name, new.head, coalesce(own.on_error, port_rule.on_error, 'continue')
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS new (port, name, head)
LEFT JOIN lane_rule own ON own.port = new.port AND own.name = new.name
LEFT JOIN port_rule ON port_rule.port = new.port
ORDER BY new.port, new.name
ON CONFLICT (port, name) DO UPDATE SET head = lane.head
RETURNING port, name, head, parked_by

-- name: hold_in_parked_lanes(ports: Sequence[str], names: Sequence[str], firsts: Sequence[int]) -> none
-- What comes into a lane that was put aside waits with the others.
UPDATE queue SET status = 'hold', reason = 'lane_parked', changed_at = clock_timestamp()
WHERE message_id = ANY(ARRAY(
    SELECT come.message_id FROM unnest($1::text[], $2::text[], $3::bigint[]) AS parked (port, name, first)
    CROSS JOIN LATERAL (
        SELECT queue.message_id FROM queue
        WHERE queue.port = parked.port AND queue.lane = parked.name AND queue.message_id >= parked.first
          AND queue.status = 'ready' AND queue.not_before IS NULL
        OFFSET 0
    ) AS come))

-- name: lanes_under(fences: Sequence[Fence]) -> many NamedLane
-- A lane under a fence has a message under it: a claim takes both, and lets go of both.
SELECT DISTINCT port, lane AS "name!" FROM queue WHERE fence = ANY($1::bigint[]) AND lane IS NOT NULL

-- name: lock_lanes_under(fences: Sequence[Fence]) -> many NamedLane
SELECT l.port, l.name
FROM (
    SELECT DISTINCT port, lane FROM queue WHERE fence = ANY($1::bigint[]) AND lane IS NOT NULL ORDER BY port, lane
) AS wanted
CROSS JOIN LATERAL (
    SELECT port, name FROM lane WHERE lane.port = wanted.port AND lane.name = wanted.lane FOR UPDATE
) AS l

-- name: lock_lanes(ports: Sequence[str], names: Sequence[str]) -> many NamedLane
-- One by one, in order: a join could read all lanes.
SELECT l.port, l.name
FROM (SELECT port, name FROM unnest($1::text[], $2::text[]) AS named (port, name) ORDER BY port, name) AS wanted
CROSS JOIN LATERAL (
    SELECT port, name FROM lane WHERE lane.port = wanted.port AND lane.name = wanted.name FOR UPDATE
) AS l

-- name: park_lanes(fence: Fence, failed: Sequence[MessageKey]) -> none
-- Where an error puts the lane aside: everything that waits in it is held, whoever failed first is named.
WITH culprit AS (
    SELECT port, lane, min(message_id) AS message_id FROM queue
    WHERE message_id = ANY($2::bigint[]) AND lane IS NOT NULL GROUP BY port, lane
), parked AS (
    UPDATE lane SET parked_by = culprit.message_id FROM culprit
    WHERE lane.port = culprit.port AND lane.name = culprit.lane AND lane.fence = $1 AND lane.on_error = 'park'
    RETURNING lane.port, lane.name
)
UPDATE queue SET status = 'hold', reason = 'lane_parked', not_before = NULL, changed_at = clock_timestamp()
FROM parked
WHERE queue.port = parked.port AND queue.lane = parked.name AND queue.status = 'ready'

-- name: recompute_heads(ports: Sequence[str], names: Sequence[str], fences: Sequence[Fence]) -> none
-- Find the heads of locked lanes anew and let go of those under our fences; lanes that somebody else works on are left
-- alone. The head is the first workable message; where an error blocks, it is none as long as an unfinished one stands
-- before. A lane without head goes, unless it is blocked or parked.
-- A statement of its own after the lock: its snapshot must see what was put while we waited. Lanes are looked up one by
-- one and changed where they lie: a plan that joins could read all lanes.
WITH next AS (
    SELECT l.ctid AS place, l.parked_by,
           CASE WHEN stopped.message_id IS NULL OR front.message_id < stopped.message_id THEN front.message_id END AS head,
           CASE WHEN stopped.message_id IS NULL OR front.message_id < stopped.message_id THEN front.not_before
           END AS not_before,
           CASE WHEN stopped.message_id < coalesce(front.message_id, stopped.message_id + 1) THEN stopped.message_id
           END AS blocked_by
    FROM unnest($1::text[], $2::text[]) AS touched (port, name)
    CROSS JOIN LATERAL (
        SELECT ctid, * FROM lane WHERE lane.port = touched.port AND lane.name = touched.name OFFSET 0
    ) AS l
    LEFT JOIN LATERAL (
        SELECT q.message_id, q.not_before FROM queue q
        WHERE q.port = l.port AND q.lane = l.name AND q.status = 'ready'
        ORDER BY q.message_id NULLS FIRST LIMIT 1
    ) AS front ON true
    LEFT JOIN LATERAL (
        SELECT q.message_id FROM queue q
        WHERE l.on_error = 'block' AND q.port = l.port AND q.lane = l.name AND q.status IN ('hold', 'error')
        ORDER BY q.message_id NULLS FIRST LIMIT 1
    ) AS stopped ON true
    WHERE l.fence IS NULL OR l.fence = ANY($3::bigint[])
), emptied AS (
    DELETE FROM lane USING next
    WHERE lane.ctid = next.place
      AND next.head IS NULL AND next.blocked_by IS NULL AND next.parked_by IS NULL
)
UPDATE lane SET head = next.head, not_before = next.not_before, blocked_by = next.blocked_by, fence = NULL FROM next
WHERE lane.ctid = next.place
  AND (next.head IS NOT NULL OR next.blocked_by IS NOT NULL OR next.parked_by IS NOT NULL)
  AND (lane.head, lane.not_before, lane.blocked_by, lane.fence)
      IS DISTINCT FROM (next.head, next.not_before, next.blocked_by, NULL::bigint)

-- name: write_port_rule(port: PortName, rule: LaneRule) -> none
INSERT INTO port_rule (port, on_error) VALUES ($1, $2) ON CONFLICT (port) DO UPDATE SET on_error = excluded.on_error

-- name: lanes_to_change(port: PortName, rule: LaneRule, most: int) -> many NamedLane
-- Lanes that still go by what the port said before; locked in order, some at a time.
SELECT l.port, l.name FROM lane l
WHERE l.port = $1 AND l.on_error <> $2
  AND NOT EXISTS (SELECT 1 FROM lane_rule own WHERE own.port = l.port AND own.name = l.name)
ORDER BY l.port, l.name LIMIT $3
FOR UPDATE OF l

-- name: change_lanes(ports: Sequence[str], names: Sequence[str], rule: LaneRule) -> none
UPDATE lane SET on_error = $3
FROM unnest($1::text[], $2::text[]) AS changed (port, name)
WHERE lane.port = changed.port AND lane.name = changed.name

-- name: block_stopped_lanes(port: PortName) -> none
-- Messages that stand still in lanes that have no row any more, because the others went on: from now on they block.
INSERT INTO lane (port, name, blocked_by, on_error)
SELECT q.port, q.lane, min(q.message_id), 'block' FROM queue q
WHERE q.port = $1 AND q.lane IS NOT NULL AND q.status IN ('hold', 'error')
  AND NOT EXISTS (SELECT 1 FROM lane l WHERE l.port = q.port AND l.name = q.lane)
  AND NOT EXISTS (SELECT 1 FROM lane_rule own WHERE own.port = q.port AND own.name = q.lane)
GROUP BY q.port, q.lane ORDER BY q.port, q.lane
ON CONFLICT (port, name) DO NOTHING

-- name: lock_lane(port: PortName, name: LaneName) -> none
-- Lock one lane, or make it, so that nobody fills it meanwhile without seeing us; recompute_heads says what it is.
INSERT INTO lane (port, name, blocked_by) VALUES ($1, $2, 0)
ON CONFLICT (port, name) DO UPDATE SET head = lane.head

-- name: write_lane_rule(port: PortName, name: LaneName, rule: LaneRule) -> none
INSERT INTO lane_rule (port, name, on_error) VALUES ($1, $2, $3)
ON CONFLICT (port, name) DO UPDATE SET on_error = excluded.on_error, changed_at = clock_timestamp()

-- name: forget_lane_rule(port: PortName, name: LaneName) -> none
DELETE FROM lane_rule WHERE port = $1 AND name = $2

-- name: apply_lane_rule(port: PortName, name: LaneName) -> none
UPDATE lane SET on_error = coalesce(
    (SELECT own.on_error FROM lane_rule own WHERE own.port = $1 AND own.name = $2),
    (SELECT port_rule.on_error FROM port_rule WHERE port_rule.port = $1), 'continue')
WHERE port = $1 AND name = $2

-- name: read_stop(port: PortName, name: LaneName) -> maybe LaneStop
-- Who is in the way of a lane.
SELECT blocked_by, parked_by FROM lane WHERE port = $1 AND name = $2

-- name: unpark_lane(port: PortName, name: LaneName) -> many
-- Everything that was put aside with the lane goes on in its own place; whoever failed stays as it is.
WITH unparked AS (
    UPDATE lane SET parked_by = NULL, blocked_by = CASE WHEN head IS NULL THEN coalesce(blocked_by, 0) END
    WHERE port = $1 AND name = $2
)
UPDATE queue SET status = 'ready', reason = 'behind_in_lane', judge_anew = true, changed_at = clock_timestamp()
WHERE port = $1 AND lane = $2 AND reason = 'lane_parked'
RETURNING message_id

-- name: list_lanes(port: PortName | None, stopped: bool, most: int) -> many LaneRow
-- Lanes with work or in trouble; those that wait for an operator alone when asked. Counts are of what is unfinished.
SELECT l.port, l.name, l.on_error, l.head, l.not_before, l.fence, l.blocked_by, l.parked_by,
       EXISTS (SELECT 1 FROM lane_rule own WHERE own.port = l.port AND own.name = l.name) AS ruled,
       counted.waiting, counted.held, counted.failed
FROM (
    SELECT * FROM lane
    WHERE ($1::text IS NULL OR port = $1) AND (NOT $2::bool OR blocked_by IS NOT NULL OR parked_by IS NOT NULL)
    ORDER BY port, name LIMIT $3
) AS l
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE q.status IN ('ready', 'in_process')) AS waiting,
           count(*) FILTER (WHERE q.status = 'hold') AS held, count(*) FILTER (WHERE q.status = 'error') AS failed
    FROM queue q WHERE q.port = l.port AND q.lane = l.name
) AS counted
ORDER BY l.port, l.name

-- name: list_lane_rules(port: PortName | None, most: int) -> many LaneRuleRow
-- What operators decided for single lanes.
SELECT port, name, on_error, changed_at FROM lane_rule WHERE $1::text IS NULL OR port = $1 ORDER BY port, name LIMIT $2

-- name: list_in_lane(port: PortName, name: LaneName, most: int) -> many InLane
-- The unfinished messages of a lane, in its order.
SELECT q.message_id AS key, m.message_id, q.status, CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END AS reason,
       coalesce(v.display, m.file_name) AS file, m.position, q.error, q.changed_at AS since
FROM queue q JOIN message m ON m.id = q.message_id LEFT JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
WHERE q.port = $1 AND q.lane = $2 ORDER BY q.message_id LIMIT $3
