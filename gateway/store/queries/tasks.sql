-- name: lock_task_claims
-- One claim at a time in the whole cluster, for its few milliseconds: limits are kept exactly, and nobody picks in vain.
SELECT pg_advisory_xact_lock(hashtextextended('gateway: claim of tasks', 0))

-- name: claimable_tasks
SELECT EXISTS (SELECT 1 FROM run_task WHERE status = 'ready' AND batch_group = ANY($1::text[]) AND ready_at <= $2
               AND location = 'server')

-- name: candidate_tasks
-- Each run gets its share of the list, so that a large one hides nobody.
SELECT id, run_id, job_id, batch_group, priority, planned_at, concurrency FROM (
    SELECT t.id, t.run_id, r.job_id, t.batch_group, t.priority, r.planned_at, t.ready_at, r.concurrency,
           row_number() OVER (PARTITION BY t.run_id, t.batch_group ORDER BY t.ready_at, t.id) AS place
    FROM run_task t JOIN run r ON r.id = t.run_id
    WHERE t.status = 'ready' AND t.batch_group = ANY($1::text[]) AND t.ready_at <= $2 AND t.location = 'server'
) AS waiting
ORDER BY place, ready_at, id
LIMIT $3

-- name: group_limits
SELECT name, concurrency FROM batch_group

-- name: running_tasks
SELECT r.job_id, t.batch_group, count(*) AS tasks FROM run_task t JOIN run r ON r.id = t.run_id
WHERE t.fence IS NOT NULL GROUP BY 1, 2

-- name: lock_ready_tasks
SELECT id FROM run_task WHERE id = ANY($1::bigint[]) AND status = 'ready' FOR UPDATE SKIP LOCKED

-- name: lock_operator_task
-- What a person may run: tasks that are for people, the private ones of the owner only.
SELECT t.id FROM run_task t
WHERE t.status = 'ready' AND t.location = 'operator' AND t.ready_at <= $1
  AND ($2::bigint IS NULL OR t.id = $2)
  AND ($3::text[] IS NULL OR t.batch_group = ANY($3))
  AND CASE WHEN t.is_private THEN t.owner = $4 ELSE NOT $5 END
ORDER BY t.ready_at, t.id LIMIT 1
FOR UPDATE OF t SKIP LOCKED

-- name: waiting_for_operator
SELECT t.id, t.run_id, r.partition_key, r.job, t.name, t.description, t.batch_group, t.is_private, t.owner, t.ready_at
FROM run_task t JOIN run r ON r.id = t.run_id
WHERE t.status = 'ready' AND t.location = 'operator' AND (NOT t.is_private OR t.owner = $1 OR $1 IS NULL)
ORDER BY t.ready_at, t.id

-- name: begin_tasks
WITH begun AS (
    UPDATE run_task t SET status = 'executing', fence = s.fence, attempts = t.attempts + 1, server = $3, run_by = $4,
                          is_idempotent = t.handler = ANY($5::text[]), started_at = coalesce(t.started_at, $6)
    FROM unnest($1::bigint[], $2::bigint[]) AS s (id, fence), run r
    WHERE t.id = s.id AND r.id = t.run_id
    RETURNING t.id, t.fence, t.run_id, t.name, t.handler, t.parameters, t.parameters_version, t.company, t.batch_group,
              t.priority, t.owner, t.attempts, t.timeout_seconds, r.job_id, r.job, r.partition_key, r.run_as, r.planned_at
), attempts AS (
    INSERT INTO attempt (run_task_id, number, server, incarnation, started_at)
    SELECT id, attempts, $3, $7, $6 FROM begun
)
SELECT * FROM begun ORDER BY id

-- name: task_to_end
SELECT t.id, t.run_id, t.status, t.attempts, t.retries, t.max_retries, t.retry_seconds, t.wait_for_children, t.is_idempotent,
       EXISTS (SELECT 1 FROM run_task c WHERE c.spawned_by = t.id) AS has_children,
       r.concurrency > 0 OR EXISTS (SELECT 1 FROM batch_group g WHERE g.name = t.batch_group AND g.concurrency > 0) AS is_limited
FROM run_task t JOIN run r ON r.id = t.run_id WHERE t.fence = $1

-- name: tasks_of_fences
SELECT id, run_id, fence FROM run_task WHERE fence = ANY($1::bigint[]) ORDER BY run_id, id

-- name: end_attempt
UPDATE attempt SET ended_at = $3, outcome = $4, error_code = $5, error = $6, traceback = $7, counts = $8::text::jsonb
WHERE run_task_id = $1 AND number = $2

-- name: end_task
UPDATE run_task SET status = $2, fence = NULL, retries = $3, waits_for_children = $4,
    ready_at = CASE WHEN $2 = 'ready' THEN $6 ELSE ready_at END,
    ended_at = CASE WHEN $2 IN ('ended', 'error', 'canceled') THEN $5::timestamptz END,
    error_code = $7, error = $8, counts = $9::text::jsonb
WHERE id = $1

-- name: tasks_named
SELECT name, id, spawned_by FROM run_task WHERE run_id = $1 AND name = ANY($2::text[])

-- name: spawn_tasks
-- Tried once, and gone with the run. Numbered in their order: the lower number goes first.
INSERT INTO run_task (run_id, spawned_by, position, name, description, handler, parameters, parameters_version, company,
    batch_group, priority, location, is_private, owner, condition_type, ignore_failure, max_retries, retry_seconds,
    timeout_seconds, wait_for_children, status, ready_at)
SELECT $1, $2, (SELECT max(position) FROM run_task WHERE run_id = $1) + n.place::integer, n.name, n.description, n.handler,
    n.parameters, n.parameters_version, n.company, n.batch_group, coalesce(n.priority, g.priority), 'server', false, $4, n.condition_type,
    n.ignore_failure, 0, 0, n.timeout_seconds, true, n.status, CASE n.status WHEN 'ready' THEN $5::timestamptz END
FROM jsonb_to_recordset($3::text::jsonb) AS n (place integer, name text, description text, handler text, parameters jsonb,
    parameters_version integer, company text, batch_group text, priority text, condition_type text, ignore_failure boolean,
    timeout_seconds double precision, status text)
JOIN batch_group g ON g.name = n.batch_group
ORDER BY n.place
RETURNING id, name

-- name: spawn_conditions
INSERT INTO run_condition (run_task_id, parent_id, wanted)
SELECT child.id, parent.id, c.wanted
FROM unnest($2::text[], $3::text[], $4::text[]) AS c (child, parent, wanted)
JOIN run_task child ON child.run_id = $1 AND child.name = c.child
JOIN run_task parent ON parent.run_id = $1 AND parent.name = c.parent

-- name: overdue_tasks
-- Ready for longer than their job may be late: no server that serves the group has room, or none does.
SELECT j.id, j.name, j.run_id, u.planned_at, u.started_at, u.partition_key, u.company, j.category, j.is_critical, j.history,
       t.name AS task, t.batch_group
FROM job j JOIN run u ON u.id = j.run_id
JOIN LATERAL (SELECT name, batch_group FROM run_task t WHERE t.run_id = u.id AND t.status = 'ready' AND t.location = 'server'
              AND t.ready_at + make_interval(secs => j.overdue_seconds) < $1 ORDER BY t.ready_at, t.id LIMIT 1) AS t ON true
WHERE j.status = 'executing' AND j.overdue_seconds IS NOT NULL
  AND EXISTS (SELECT 1 FROM alert_rule r WHERE r.job_id = j.id AND 'overdue' = ANY(r.events))
ORDER BY j.id

-- name: next_lateness
-- When somebody will want to hear of something next; what is late already was told.
SELECT min(at) FROM (
    SELECT next_start + make_interval(secs => overdue_seconds) AS at FROM job
    WHERE status IN ('waiting', 'withhold') AND mode = 'timed' AND overdue_seconds IS NOT NULL
    UNION ALL
    SELECT t.ready_at + make_interval(secs => j.overdue_seconds) FROM job j JOIN run_task t ON t.run_id = j.run_id
    WHERE j.overdue_seconds IS NOT NULL AND t.status = 'ready' AND t.location = 'server'
    UNION ALL
    SELECT u.started_at + make_interval(secs => j.long_seconds) FROM job j JOIN run u ON u.id = j.run_id
    WHERE j.long_seconds IS NOT NULL
) AS moments WHERE at > $1
