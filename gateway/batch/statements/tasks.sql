-- name: lock_task_claims() -> none
-- One claim at a time in the whole cluster, for its few milliseconds: limits are kept exactly, and nobody picks in vain.
-- A process that is frozen in the middle of one loses its turn before those who wait for it give up.
SELECT pg_advisory_xact_lock(hashtextextended('gateway: claim of tasks', 0)),
       set_config('idle_in_transaction_session_timeout', '3s', true)

-- name: claimable_tasks(groups: Sequence[str], now: datetime) -> one
SELECT EXISTS (SELECT 1 FROM run_task WHERE status = 'ready' AND batch_group = ANY($1::text[]) AND ready_at <= $2
               AND location = 'server')

-- name: class_starts() -> many ClassStarts
SELECT handler, since, starts, aside_until FROM class_starts

-- name: candidate_tasks(groups: Sequence[str], now: datetime, most: int) -> many CandidateTask
-- Of each priority, group and class as many as could be chosen, in the order in which they would be: a class that is set
-- aside hides no other. Tasks that a limit holds back are left out one by one, so that a large run hides nobody.
WITH running AS (
    SELECT r.job_id, t.batch_group, count(*) AS tasks FROM run_task t JOIN run r ON r.id = t.run_id
    WHERE t.fence IS NOT NULL GROUP BY 1, 2
), of_job AS (
    SELECT job_id, sum(tasks) AS tasks FROM running GROUP BY 1
), waiting AS (
    SELECT t.id, t.run_id, r.job_id, t.batch_group, t.priority, t.handler, r.planned_at, r.concurrency,
           row_number() OVER (PARTITION BY t.run_id, t.batch_group ORDER BY t.id) AS place,
           least(CASE WHEN g.concurrency > 0 THEN g.concurrency - coalesce(in_group.tasks, 0) END,
                 CASE WHEN r.concurrency > 0 THEN r.concurrency - coalesce(in_all.tasks, 0) END) AS room
    FROM run_task t
    JOIN run r ON r.id = t.run_id
    JOIN batch_group g ON g.name = t.batch_group
    LEFT JOIN running in_group ON in_group.job_id = r.job_id AND in_group.batch_group = t.batch_group
    LEFT JOIN of_job in_all ON in_all.job_id = r.job_id
    WHERE t.status = 'ready' AND t.batch_group = ANY($1::text[]) AND t.ready_at <= $2 AND t.location = 'server'
      AND g.concurrency >= 0
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY priority, batch_group, handler ORDER BY planned_at, id) AS rank
    FROM waiting WHERE room IS NULL OR place <= room
)
SELECT id, run_id, coalesce(job_id, -run_id) AS job_id, batch_group, priority, handler, planned_at, concurrency FROM ranked WHERE rank <= $3

-- name: limits_and_running() -> many LimitOrRunning
-- How many tasks of each single job a group lets run at once (no job), and how many of each job and group run.
SELECT NULL AS "job_id: JobId", name AS batch_group, concurrency::bigint AS tasks FROM batch_group
UNION ALL
SELECT r.job_id, t.batch_group, count(*) FROM run_task t JOIN run r ON r.id = t.run_id
WHERE t.fence IS NOT NULL AND r.job_id IS NOT NULL GROUP BY 1, 2

-- name: lock_operator_task(now: datetime, task: RunTaskId | None, groups: Sequence[str] | None, user: str,
--     private_only: bool) -> maybe
-- What a person may run: tasks that are for people, the private ones of the owner only.
SELECT t.id FROM run_task t
WHERE t.status = 'ready' AND t.location = 'operator' AND t.ready_at <= $1
  AND ($2::bigint IS NULL OR t.id = $2)
  AND ($3::text[] IS NULL OR t.batch_group = ANY($3))
  AND CASE WHEN t.is_private THEN t.owner = $4 ELSE NOT $5 END
ORDER BY t.ready_at, t.id LIMIT 1
FOR UPDATE OF t SKIP LOCKED

-- name: waiting_for_operator(user: str | None) -> many OperatorTask
SELECT t.id, t.run_id, r.partition_key, r.job, t.name, t.description, t.batch_group, t.is_private, t.owner,
       t.ready_at AS "ready_at!"
FROM run_task t JOIN run r ON r.id = t.run_id
WHERE t.status = 'ready' AND t.location = 'operator' AND (NOT t.is_private OR t.owner = $1 OR $1 IS NULL)
ORDER BY t.ready_at, t.id

-- name: begin_tasks(tasks: Sequence[RunTaskId], server: str, run_by: str | None, idempotent: Sequence[str],
--     now: datetime, incarnation: int, handlers: Sequence[str], since: Sequence[datetime], starts: Sequence[int],
--     most: Sequence[int], aside_until: datetime) -> many BegunTask
-- Those that are still ready, each under a lease of its own. The classes that are counted come with what they are counted
-- on from and how often they may be started; whoever uses that up is set aside until $11.
WITH ours AS (
    SELECT id FROM run_task WHERE id = ANY($1::bigint[]) AND status = 'ready' ORDER BY id FOR UPDATE SKIP LOCKED
), held AS MATERIALIZED (
    SELECT id, nextval('fence') AS fence FROM ours
), leases AS (
    INSERT INTO lease (fence, owner, stage, port) SELECT fence, $6, 'task', '' FROM held
), begun AS (
    UPDATE run_task t SET status = 'executing', fence = held.fence, attempts = t.attempts + 1, server = $2, run_by = $3,
                          is_idempotent = t.handler = ANY($4::text[]), started_at = coalesce(t.started_at, $5)
    FROM held, run r
    WHERE t.id = held.id AND r.id = t.run_id
    RETURNING t.id, t.fence, t.run_id, t.name, t.handler, t.parameters, t.parameters_version, t.company, t.batch_group,
              t.priority, t.owner, t.attempts, t.run_by, t.timeout_seconds, r.job_id, r.job, r.partition_key, r.run_as,
              r.planned_at, (SELECT max_timeout_seconds FROM entry_limits WHERE r.entry_id IS NOT NULL) AS most_seconds
), attempts AS (
    INSERT INTO attempt (run_task_id, number, server, incarnation, started_at)
    SELECT id, attempts, $2, $6, $5 FROM begun
), counted AS (
    INSERT INTO class_starts (handler, since, starts, aside_until)
    SELECT handler, c.since, c.starts + count(*), CASE WHEN c.starts + count(*) >= c.most THEN $11::timestamptz END
    FROM begun JOIN unnest($7::text[], $8::timestamptz[], $9::integer[], $10::integer[]) AS c (handler, since, starts, most)
         USING (handler)
    GROUP BY handler, c.since, c.starts, c.most
    ON CONFLICT (handler) DO UPDATE SET since = excluded.since, starts = excluded.starts, aside_until = excluded.aside_until
    RETURNING handler, starts, aside_until
)
SELECT begun.id, begun.fence AS "fence!", begun.run_id, begun.name, handler, begun.parameters, begun.parameters_version,
       begun.company, begun.batch_group, begun.priority, begun.owner, begun.attempts, begun.run_by, begun.timeout_seconds,
       begun.job_id, begun.job, begun.partition_key, begun.run_as, begun.planned_at, begun.most_seconds,
       c.starts AS class_starts, c.aside_until
FROM begun LEFT JOIN counted c USING (handler) ORDER BY begun.id

-- name: drop_task_leases(fences: Sequence[Fence]) -> many
-- The guard of what is recorded together: what is missing here is somebody else's by now.
DELETE FROM lease WHERE fence IN (SELECT fence FROM lease WHERE fence = ANY($1::bigint[]) ORDER BY fence FOR UPDATE)
RETURNING fence

-- name: tasks_to_end(fences: Sequence[Fence]) -> many TaskToEnd
SELECT t.fence AS "fence!", t.id, t.run_id, t.status, t.attempts, t.retries, t.max_retries, t.retry_seconds, t.wait_for_children,
       t.is_idempotent, EXISTS (SELECT 1 FROM run_task c WHERE c.spawned_by = t.id) AS has_children,
       r.concurrency > 0 OR EXISTS (SELECT 1 FROM batch_group g WHERE g.name = t.batch_group AND g.concurrency > 0) AS is_limited
FROM run_task t JOIN run r ON r.id = t.run_id WHERE t.fence = ANY($1::bigint[])

-- name: runs_of_fences(fences: Sequence[Fence]) -> many
SELECT DISTINCT run_id FROM run_task WHERE fence = ANY($1::bigint[])

-- name: end_attempts(now: datetime, tasks: Sequence[RunTaskId], numbers: Sequence[int], outcomes: Sequence[str],
--     error_codes: Sequence[str | None], errors: Sequence[str | None], tracebacks: Sequence[str | None],
--     counts: Sequence[str]) -> none
UPDATE attempt SET ended_at = $1, outcome = s.outcome, error_code = s.error_code, error = s.error, traceback = s.traceback,
                   counts = s.counts::jsonb
FROM unnest($2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
     AS s (id, number, outcome, error_code, error, traceback, counts)
WHERE attempt.run_task_id = s.id AND attempt.number = s.number

-- name: end_tasks(now: datetime, tasks: Sequence[RunTaskId], statuses: Sequence[TaskStatus], retries: Sequence[int],
--     waits: Sequence[bool], ready_at: Sequence[datetime | None], error_codes: Sequence[str | None],
--     errors: Sequence[str | None], counts: Sequence[str], hopeless: Sequence[bool]) -> none
-- Ready again, or at its end; one that waits for its children is neither. A failure that counts has its text here too.
UPDATE run_task SET status = s.status, fence = NULL, retries = s.retries, waits_for_children = s.waits,
    ready_at = coalesce(s.ready_at, run_task.ready_at),
    ended_at = CASE WHEN s.status IN ('ended', 'error', 'canceled') THEN $1::timestamptz END,
    error_code = s.error_code, error = s.error, counts = s.counts::jsonb, is_hopeless = s.is_hopeless
FROM unnest($2::bigint[], $3::text[], $4::integer[], $5::boolean[], $6::timestamptz[], $7::text[], $8::text[], $9::text[],
            $10::boolean[])
     AS s (id, status, retries, waits, ready_at, error_code, error, counts, is_hopeless)
WHERE run_task.id = s.id

-- name: tasks_named(run: RunId, names: Sequence[str]) -> many NamedTask
SELECT name, id, spawned_by FROM run_task WHERE run_id = $1 AND name = ANY($2::text[])

-- name: spawn_tasks(run: RunId, parent: RunTaskId, tasks: str, owner: str, now: datetime) -> many SpawnedRow
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

-- name: spawn_conditions(run: RunId, children: Sequence[str], parents: Sequence[str],
--     wanted: Sequence[Wanted]) -> none
INSERT INTO run_condition (run_task_id, parent_id, wanted)
SELECT child.id, parent.id, c.wanted
FROM unnest($2::text[], $3::text[], $4::text[]) AS c (child, parent, wanted)
JOIN run_task child ON child.run_id = $1 AND child.name = c.child
JOIN run_task parent ON parent.run_id = $1 AND parent.name = c.parent

-- name: overdue_tasks(now: datetime) -> many OverdueTask
-- Ready for longer than their job may be late: no server that serves the group has room, or none does.
SELECT j.id, j.name, u.id AS run_id, u.planned_at, u.started_at, u.partition_key, u.company, j.category, j.is_critical, j.history,
       t.name AS task, t.batch_group
FROM job j JOIN run u ON u.id = j.run_id
JOIN LATERAL (SELECT name, batch_group FROM run_task t WHERE t.run_id = u.id AND t.status = 'ready' AND t.location = 'server'
              AND t.ready_at + make_interval(secs => j.overdue_seconds) < $1 ORDER BY t.ready_at, t.id LIMIT 1) AS t ON true
WHERE j.status = 'executing' AND j.overdue_seconds IS NOT NULL
  AND EXISTS (SELECT 1 FROM alert_rule r WHERE r.job_id = j.id AND 'overdue' = ANY(r.events))
ORDER BY j.id
