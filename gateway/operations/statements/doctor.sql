-- Rules that must always hold, and things that wait too long. Each statement returns port and what, at most $1 rows;
-- none writes. Those that begin with `stuck_` are asked every half minute by a running gateway: they look at the
-- front of partial indexes only.

-- name: wrong_lease_missing(most: int) -> many Spot
SELECT port AS "port: PortName", 'message ' || message_id AS "what!" FROM queue q
WHERE fence IS NOT NULL AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.fence = q.fence)
UNION ALL
SELECT port, 'send request ' || id FROM send_request r
WHERE fence IS NOT NULL AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.fence = r.fence)
UNION ALL
SELECT port, 'lane ' || port || '/' || name FROM lane n
WHERE fence IS NOT NULL AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.fence = n.fence)
UNION ALL
SELECT NULL, 'task ' || t.id || ' of run ' || t.run_id FROM run_task t
WHERE fence IS NOT NULL AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.fence = t.fence)
LIMIT $1

-- name: wrong_lease_empty(most: int) -> many PortSpot
SELECT port, 'lease ' || fence || ' (' || stage || ')' AS "what!" FROM lease l
WHERE NOT EXISTS (SELECT 1 FROM queue q WHERE q.fence = l.fence)
  AND NOT EXISTS (SELECT 1 FROM send_request r WHERE r.fence = l.fence)
  AND NOT EXISTS (SELECT 1 FROM run_task t WHERE t.fence = l.fence)
LIMIT $1

-- name: wrong_lane_head(most: int) -> many PortSpot
-- A free lane stands at its first workable message; where an error blocks, at none behind one that is not workable.
SELECT l.port, 'lane ' || l.port || '/' || l.name || ' at ' || coalesce(l.head::text, 'nothing') AS "what!"
FROM lane l LEFT JOIN LATERAL (
    SELECT q.message_id FROM queue q
    WHERE q.port = l.port AND q.lane = l.name AND q.status = 'ready'
    ORDER BY q.message_id NULLS FIRST LIMIT 1
) AS front ON true
LEFT JOIN LATERAL (
    SELECT q.message_id FROM queue q
    WHERE l.on_error = 'block' AND q.port = l.port AND q.lane = l.name AND q.status IN ('hold', 'error')
    ORDER BY q.message_id NULLS FIRST LIMIT 1
) AS stopped ON true
WHERE l.fence IS NULL AND (
    l.head IS DISTINCT FROM CASE WHEN stopped.message_id < front.message_id THEN NULL ELSE front.message_id END
    OR l.blocked_by IS DISTINCT FROM CASE WHEN front.message_id < stopped.message_id THEN NULL ELSE stopped.message_id END
)
LIMIT $1

-- name: wrong_lane_missing(most: int) -> many PortSpot
-- Messages that wait in a lane without a row, or that should block one.
SELECT q.port, 'message ' || q.message_id || ' in ' || q.port || '/' || q.lane AS "what!" FROM queue q
WHERE q.lane IS NOT NULL AND NOT EXISTS (SELECT 1 FROM lane l WHERE l.port = q.port AND l.name = q.lane)
  AND (q.status IN ('ready', 'in_process') OR 'block' = coalesce(
      (SELECT own.on_error FROM lane_rule own WHERE own.port = q.port AND own.name = q.lane),
      (SELECT port_rule.on_error FROM port_rule WHERE port_rule.port = q.port)))
LIMIT $1

-- name: wrong_lane_order(most: int) -> many PortSpot
-- What was put aside with a lane that is not put aside any more.
SELECT q.port, 'message ' || q.message_id || ' (' || q.reason || ') in ' || q.port || '/' || q.lane AS "what!"
FROM queue q JOIN lane l ON l.port = q.port AND l.name = q.lane
WHERE q.reason = 'lane_parked' AND l.parked_by IS NULL
LIMIT $1

-- name: wrong_message_lost(most: int) -> many PortSpot
SELECT m.port, 'message ' || m.id AS "what!" FROM message m
WHERE m.outcome IS NULL AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.message_id = m.id)
LIMIT $1

-- name: wrong_message_twice(most: int) -> many PortSpot
SELECT q.port, 'message ' || q.message_id AS "what!"
FROM queue q LEFT JOIN message m ON m.id = q.message_id
WHERE m.id IS NULL OR m.outcome IS NOT NULL
   OR NOT EXISTS (SELECT 1 FROM document d WHERE d.message_id = q.message_id AND d.version = q.version)
LIMIT $1

-- name: wrong_answer_missing(most: int, answering: Sequence[str]) -> many PortSpot
-- Of ports that respond now ($2). A port that began to respond lately has none of its earlier requests answered: so
-- only those count that came after one which was answered.
SELECT m.port, 'message ' || m.id AS "what!" FROM message m
WHERE m.direction = 'in' AND m.outcome = 'processed' AND m.port = ANY($2::text[])
  AND m.finished_at > clock_timestamp() - interval '1 day' AND m.created_at > clock_timestamp() - interval '2 days'
  AND NOT EXISTS (SELECT 1 FROM message a WHERE a.request_id = m.id AND NOT a.is_fault)
  AND EXISTS (SELECT 1 FROM message o JOIN message a ON a.request_id = o.id AND NOT a.is_fault
              WHERE o.port = m.port AND o.direction = 'in' AND o.finished_at <= m.finished_at AND o.id <> m.id)
LIMIT $1

-- name: wrong_answer_twice(most: int) -> many Spot
SELECT min(port) AS "port: PortName", 'message ' || request_id AS "what!" FROM message
WHERE request_id IS NOT NULL AND NOT is_fault GROUP BY request_id HAVING count(*) > 1
LIMIT $1

-- name: wrong_set_count(most: int) -> many PortSpot
SELECT s.port, 'set ' || s.id AS "what!" FROM message_set s
WHERE s.processed + s.deleted > s.members
   OR (s.status = 'completed' AND s.id IN (
          SELECT q.set_id FROM queue q WHERE q.set_id IS NOT NULL AND q.direction = 'in'))
LIMIT $1

-- name: stuck_dead_owner(most: int, seconds: float) -> many PortSpot
-- Claims of a process that said it ended, was given up, or has been silent for $2 seconds; a worker that just began to
-- work has not beaten for long, but the process that started it has.
SELECT l.port, l.stage || ' lease ' || l.fence || ' of ' || coalesce(i.host || ':' || i.pid, 'nobody') AS "what!"
FROM lease l LEFT JOIN incarnation i ON i.id = l.owner LEFT JOIN incarnation parent ON parent.id = i.parent
WHERE i.id IS NULL OR i.stopped_at IS NOT NULL OR i.lost_at IS NOT NULL
   OR greatest(i.beat_at, parent.beat_at) < clock_timestamp() - make_interval(secs => $2)
LIMIT $1

-- name: stuck_response_waits(most: int, seconds: float) -> many Spot
-- The oldest of each port only; a port that just sends is not stuck, however long its queue is. Ports are found by
-- jumping through the index, one step for each.
WITH RECURSIVE ports AS (
    (SELECT port FROM queue WHERE direction = 'out' AND status = 'ready' AND not_before IS NULL AND lane IS NULL
     ORDER BY port LIMIT 1)
    UNION ALL
    SELECT (SELECT q.port FROM queue q WHERE q.direction = 'out' AND q.port > p.port
              AND q.status = 'ready' AND q.not_before IS NULL AND q.lane IS NULL
            ORDER BY q.port LIMIT 1)
    FROM ports p WHERE p.port IS NOT NULL
)
SELECT p.port AS "port: PortName", 'message ' || oldest.message_id AS "what!"
FROM ports p CROSS JOIN LATERAL (
    SELECT message_id, changed_at FROM queue
    WHERE direction = 'out' AND port = p.port AND status = 'ready' AND not_before IS NULL AND lane IS NULL
    ORDER BY message_id NULLS FIRST LIMIT 1
) AS oldest
WHERE oldest.changed_at < clock_timestamp() - make_interval(secs => $2)
  AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.port = p.port AND l.stage = 'send')
LIMIT $1

-- name: stuck_address_away(most: int) -> many PortSpot
-- After nine tries about ten minutes have passed. Looked at is what is due first: in five minutes, all has been.
SELECT port, 'message ' || message_id AS "what!"
FROM (SELECT port, message_id, reason, attempts FROM queue
      WHERE not_before IS NOT NULL AND lane IS NULL ORDER BY not_before LIMIT 500) AS soon
WHERE reason = 'address_unavailable' AND attempts >= 9
LIMIT $1

-- name: stuck_request_waits(most: int, seconds: float) -> many Spot
-- The oldest of each port that a claim could take now, as above.
WITH RECURSIVE free AS (
    (SELECT port FROM queue WHERE direction = 'in' AND status = 'ready' AND not_before IS NULL AND lane IS NULL
     ORDER BY port LIMIT 1)
    UNION ALL
    SELECT (SELECT q.port FROM queue q WHERE q.direction = 'in' AND q.port > p.port
              AND q.status = 'ready' AND q.not_before IS NULL AND q.lane IS NULL
            ORDER BY q.port LIMIT 1)
    FROM free p WHERE p.port IS NOT NULL
), laned AS (
    (SELECT port FROM lane WHERE fence IS NULL AND not_before IS NULL AND head IS NOT NULL
     ORDER BY port LIMIT 1)
    UNION ALL
    SELECT (SELECT l.port FROM lane l WHERE l.fence IS NULL AND l.not_before IS NULL AND l.head IS NOT NULL
            AND l.port > p.port ORDER BY l.port LIMIT 1)
    FROM laned p WHERE p.port IS NOT NULL
), asked AS (
    (SELECT port FROM send_request WHERE reason = 'ready' ORDER BY port LIMIT 1)
    UNION ALL
    SELECT (SELECT r.port FROM send_request r WHERE r.reason = 'ready' AND r.port > p.port ORDER BY r.port LIMIT 1)
    FROM asked p WHERE p.port IS NOT NULL
)
SELECT port AS "port: PortName", what AS "what!" FROM (
    SELECT p.port, 'message ' || oldest.message_id AS what, oldest.changed_at, 'inbound' AS stage
    FROM free p CROSS JOIN LATERAL (
        SELECT message_id, changed_at FROM queue
        WHERE direction = 'in' AND port = p.port AND status = 'ready' AND not_before IS NULL AND lane IS NULL
        ORDER BY message_id NULLS FIRST LIMIT 1
    ) AS oldest
    UNION ALL
    SELECT p.port, 'message ' || oldest.head, q.changed_at, 'inbound'
    FROM laned p CROSS JOIN LATERAL (
        SELECT head FROM lane
        WHERE port = p.port AND fence IS NULL AND not_before IS NULL AND head IS NOT NULL
        ORDER BY head LIMIT 1
    ) AS oldest JOIN queue q ON q.message_id = oldest.head
    UNION ALL
    SELECT p.port, 'send request ' || oldest.id, oldest.changed_at, 'outbound'
    FROM asked p CROSS JOIN LATERAL (
        SELECT id, changed_at FROM send_request WHERE port = p.port AND reason = 'ready' ORDER BY id NULLS FIRST LIMIT 1
    ) AS oldest
) AS waiting
WHERE changed_at < clock_timestamp() - make_interval(secs => $2)
  AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.port = waiting.port AND l.stage = waiting.stage)
LIMIT $1

-- name: stuck_overdue(most: int, seconds: float) -> many PortSpot
-- statement_timestamp, because an index cannot be asked for a time that changes while it is read.
SELECT port AS "port!: PortName", 'message ' || message_id AS "what!" FROM queue
WHERE not_before < statement_timestamp() - make_interval(secs => $2) AND lane IS NULL
UNION ALL
SELECT port, 'lane ' || port || '/' || name FROM lane
WHERE not_before < statement_timestamp() - make_interval(secs => $2) AND fence IS NULL
UNION ALL
SELECT port, 'send request ' || id FROM send_request
WHERE not_before < statement_timestamp() - make_interval(secs => $2)
LIMIT $1

-- name: promised_files(port: PortName) -> many PromisedFile
-- Promises that nobody is just keeping, for a while now.
SELECT q.message_id AS key, q.staged_name AS "name!", q.staged_in AS staging FROM queue q
WHERE q.staged_name IS NOT NULL AND q.port = $1 AND q.fence IS NULL AND q.changed_at < clock_timestamp() - interval '1 minute'

-- name: unfinished_work() -> many
-- Ports that have something which a running gateway would move.
SELECT DISTINCT port FROM queue WHERE status IN ('ready', 'in_process', 'in_transport')
UNION SELECT DISTINCT port FROM send_request WHERE status <> 'error'

-- name: stuck_told() -> many ToldRow
-- What the exception log already tells of the last day.
SELECT code, port, text FROM exception WHERE at > clock_timestamp() - interval '1 day' AND code LIKE 'stuck.%'

-- name: stuck_run_not_ended(most: int, seconds: float) -> many Spot
-- Nothing of it is left to do, for $2 seconds now; or an event run of a process that is gone for as long.
SELECT NULL::text AS "port: PortName", 'run ' || r.id || ' of the job ' || r.job AS "what!"
FROM run r LEFT JOIN incarnation i ON i.id = r.incarnation
WHERE r.ended_at IS NULL AND CASE
    WHEN r.incarnation IS NULL THEN
        NOT EXISTS (SELECT 1 FROM run_task t WHERE t.run_id = r.id AND t.ended_at IS NULL)
        AND coalesce((SELECT max(t.ended_at) FROM run_task t WHERE t.run_id = r.id), r.started_at)
            < statement_timestamp() - make_interval(secs => $2)
    ELSE coalesce(i.stopped_at, i.lost_at) < statement_timestamp() - make_interval(secs => $2) END
ORDER BY r.id LIMIT $1

-- name: stuck_start(most: int, seconds: float, open_periods: Sequence[str]) -> many Spot
-- Due for $2 seconds, and nothing that it waits for is missing; $3 are the active periods that were open all that time.
SELECT NULL::text AS "port: PortName",
       'job ' || j.name || ', planned for ' || to_char(j.next_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS "what!"
FROM job j
WHERE j.status = 'waiting' AND j.mode = 'timed' AND j.next_start < statement_timestamp() - make_interval(secs => $2)
  AND (j.active_period IS NULL OR j.active_period = ANY($3::text[]))
  AND CASE j.dependency_type
      WHEN 'all' THEN NOT EXISTS (SELECT 1 FROM job_dependency d
                                  WHERE d.job_id = j.id AND d.satisfied_by IS NULL)
      ELSE EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id AND d.satisfied_by IS NOT NULL)
        OR NOT EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id) END
ORDER BY j.next_start, j.id LIMIT $1

-- name: tasks_not_taken(seconds: float) -> many NotTaken
-- The task of each group that is ready for the longest time, if that is longer than $1 seconds.
SELECT g.name AS batch_group, g.concurrency, t.name AS task, t.run_id, r.job
FROM batch_group g CROSS JOIN LATERAL (
    SELECT name, run_id FROM run_task
    WHERE status = 'ready' AND batch_group = g.name AND location = 'server'
      AND ready_at < statement_timestamp() - make_interval(secs => $1)
    ORDER BY ready_at LIMIT 1
) AS t JOIN run r ON r.id = t.run_id
ORDER BY g.name

-- name: servers_at_work() -> many
-- Those on which a task runs.
SELECT name FROM server s WHERE EXISTS (SELECT 1 FROM lease l WHERE l.owner = s.incarnation AND l.stage = 'task')

-- name: stuck_alert(most: int, seconds: float) -> many Spot
SELECT port, channel || ' alert ' || id || ' to ' || user_name AS "what!" FROM alert
WHERE status = 'pending' AND created_at < statement_timestamp() - make_interval(secs => $2)
ORDER BY id LIMIT $1
