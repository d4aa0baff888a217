-- Executions. Locks are taken in this order: lease, run, task of a run, job. Starting locks the job first, and nobody
-- knows the run it makes.

-- name: lock_due_jobs(now: datetime, open_periods: Sequence[str], most: int) -> many DueJob
-- What may start now. `used`: this planned start was carried out already, before the clock was set back.
SELECT j.id, j.name, j.partition_key, j.original_start, j.next_start, j.next_cause, j.recurrence, j.base, j.missed,
       j.tolerance_seconds, j.occurrences,
       EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id) AS depends,
       EXISTS (SELECT 1 FROM run r WHERE r.job_id = j.id AND r.planned_at = j.next_start AND r.cause = 'schedule') AS used
FROM job j
WHERE j.status = 'waiting' AND j.mode = 'timed' AND j.next_start <= $1
  AND (j.active_period IS NULL OR j.active_period = ANY($2::text[]))
  AND CASE j.dependency_type
      WHEN 'all' THEN NOT EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id AND d.satisfied_by IS NULL)
      ELSE EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id AND d.satisfied_by IS NOT NULL)
        OR NOT EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id) END
ORDER BY j.next_start, j.id
LIMIT $3
FOR UPDATE OF j SKIP LOCKED

-- name: next_moments(now: datetime) -> many NextMoment
-- The earliest planned start of each active period, of those that wait for nothing but the time; the first retry that
-- waits; and when somebody will want to hear next of something that is late (what is late already was told).
SELECT j.active_period, min(j.next_start) AS moment
FROM job j
WHERE j.status = 'waiting' AND j.mode = 'timed'
  AND CASE j.dependency_type
      WHEN 'all' THEN NOT EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id AND d.satisfied_by IS NULL)
      ELSE EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id AND d.satisfied_by IS NOT NULL)
        OR NOT EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = j.id) END
GROUP BY j.active_period
UNION ALL
SELECT NULL, min(ready_at) FROM run_task WHERE status = 'ready' AND ready_at > $1
UNION ALL
SELECT NULL, min(at) FROM (
    SELECT next_start + make_interval(secs => overdue_seconds) AS at FROM job
    WHERE status IN ('waiting', 'withhold') AND mode = 'timed' AND overdue_seconds IS NOT NULL
    UNION ALL
    SELECT t.ready_at + make_interval(secs => j.overdue_seconds) FROM job j JOIN run_task t ON t.run_id = j.run_id
    WHERE j.overdue_seconds IS NOT NULL AND t.status = 'ready' AND t.location = 'server'
    UNION ALL
    SELECT u.started_at + make_interval(secs => j.long_seconds) FROM job j JOIN run u ON u.id = j.run_id
    WHERE j.long_seconds IS NOT NULL
) AS moments WHERE at > $1

-- name: set_next_start(jobs: Sequence[JobId], starts: Sequence[datetime | None]) -> none
-- Without a next one the job has come to its end.
UPDATE job SET next_start = coalesce(s.next_start, job.next_start),
               status = CASE WHEN s.next_start IS NULL THEN 'ended' ELSE job.status END
FROM unnest($1::bigint[], $2::timestamptz[]) AS s (id, next_start)
WHERE job.id = s.id

-- name: insert_runs(jobs: Sequence[JobId], causes: Sequence[Cause], planned_at: Sequence[datetime],
--     now: datetime) -> many NewRun
INSERT INTO run (job_id, job, description, partition_key, company, created_by, run_as, cause, planned_at, started_at,
                 status, concurrency, history)
SELECT j.id, j.name, j.description, j.partition_key, j.company, j.created_by, coalesce(j.run_as, j.created_by), s.cause,
       s.planned_at, $4, 'executing', j.concurrency, j.history
FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS s (id, cause, planned_at) JOIN job j ON j.id = s.id
RETURNING id, job_id AS "job_id!", job, planned_at

-- name: insert_run_tasks(runs: Sequence[RunId], now: datetime) -> none
-- Numbered in their order: the lower number goes first.
INSERT INTO run_task (run_id, task_id, position, name, description, handler, parameters, parameters_version, company,
    batch_group, priority, location, is_private, owner, condition_type, ignore_failure, max_retries, retry_seconds,
    timeout_seconds, wait_for_children, status, ready_at)
SELECT r.id, t.id, t.position, t.name, t.description, t.handler, t.parameters, t.parameters_version,
    coalesce(t.company, j.company), g.name, coalesce(j.priority, g.priority), t.location, t.is_private, j.created_by,
    t.condition_type, t.ignore_failure, coalesce(j.max_retries, t.max_retries), t.retry_seconds, t.timeout_seconds,
    t.wait_for_children, s.status, CASE s.status WHEN 'ready' THEN $2::timestamptz END
FROM run r
JOIN job j ON j.id = r.job_id
JOIN task t ON t.job_id = j.id
JOIN batch_group g ON g.name = coalesce(t.batch_group, j.batch_group, '')
CROSS JOIN LATERAL (SELECT CASE
    WHEN t.is_withheld THEN 'withhold'
    WHEN EXISTS (SELECT 1 FROM task_condition c WHERE c.task_id = t.id) THEN 'waiting'
    ELSE 'ready' END AS status) AS s
WHERE r.id = ANY($1::bigint[])
ORDER BY r.id, t.position

-- name: insert_run_conditions(runs: Sequence[RunId]) -> none
-- Each is looked up by an index: any other way through tasks and tasks costs the square of their number.
INSERT INTO run_condition (run_task_id, parent_id, wanted)
SELECT child.id, parent.id, c.wanted
FROM run_task child
CROSS JOIN LATERAL (SELECT d.parent_id, d.wanted FROM task_condition d WHERE d.task_id = child.task_id OFFSET 0) AS c
CROSS JOIN LATERAL (SELECT t.name FROM task t WHERE t.id = c.parent_id OFFSET 0) AS p
CROSS JOIN LATERAL (SELECT t.id FROM run_task t WHERE t.run_id = child.run_id AND t.name = p.name OFFSET 0) AS parent
WHERE child.run_id = ANY($1::bigint[])

-- name: jobs_started(jobs: Sequence[JobId], runs: Sequence[RunId], now: datetime) -> none
UPDATE job SET status = 'executing', run_id = s.run_id, last_run_id = s.run_id, occurrences = occurrences + 1,
               runs = runs + 1, changed_at = $3
FROM unnest($1::bigint[], $2::bigint[]) AS s (id, run_id)
WHERE job.id = s.id

-- name: use_dependencies(jobs: Sequence[JobId]) -> none
-- What was reached before this start does not count for the next one.
WITH used AS (
    SELECT job_id, parent_id FROM job_dependency WHERE job_id = ANY($1::bigint[]) AND satisfied_by IS NOT NULL
    ORDER BY job_id, parent_id FOR UPDATE
)
UPDATE job_dependency d SET satisfied_by = NULL
FROM used WHERE d.job_id = used.job_id AND d.parent_id = used.parent_id

-- name: runs_to_settle(runs: Sequence[RunId]) -> many
-- Those in which something follows at once: nothing to do, or tasks left out.
SELECT r.id FROM run r WHERE r.id = ANY($1::bigint[])
  AND (EXISTS (SELECT 1 FROM run_task t WHERE t.run_id = r.id AND t.status = 'withhold')
    OR NOT EXISTS (SELECT 1 FROM run_task t WHERE t.run_id = r.id))

-- name: set_rerun_of(run: RunId, earlier: RunId) -> none
UPDATE run SET rerun_of = $2 WHERE id = $1

-- name: tasks_to_repeat(run: RunId, earlier: RunId) -> many TaskToRepeat
-- The tasks of a new run, each with the status that it had in the earlier one; one that is new there: waiting.
SELECT t.id, t.name, coalesce(e.status, 'waiting') AS status,
       (SELECT coalesce(array_agg(DISTINCT c.parent_id), '{}') FROM run_condition c WHERE c.run_task_id = t.id)
           AS "parents!: RunTaskId"
FROM run_task t LEFT JOIN run_task e ON e.run_id = $2 AND e.name = t.name AND e.spawned_by IS NULL
WHERE t.run_id = $1 ORDER BY t.position

-- name: forget_conditions(task: RunTaskId) -> none
DELETE FROM run_condition WHERE run_task_id = $1

-- name: keep_tasks(run: RunId, earlier: RunId, tasks: Sequence[RunTaskId], now: datetime) -> none
-- They have no attempt of their own.
UPDATE run_task t SET status = e.status, ready_at = NULL, ended_at = $4, error_code = e.error_code, error = e.error
FROM run_task e
WHERE t.run_id = $1 AND t.id = ANY($3::bigint[]) AND e.run_id = $2 AND e.name = t.name AND e.spawned_by IS NULL

-- name: recurring_jobs(now: datetime) -> many RecurringJob
-- For a look after the clock was set back: no planned start may lie beyond the next point of its grid.
SELECT j.id, j.original_start, j.next_start, j.recurrence, j.base, j.missed, j.tolerance_seconds, j.occurrences
FROM job j WHERE j.status = 'waiting' AND j.mode = 'timed' AND j.recurrence IS NOT NULL AND j.next_start > $1
FOR UPDATE OF j SKIP LOCKED

-- name: planned_start_used(job: JobId, planned_at: datetime) -> one
SELECT EXISTS (SELECT 1 FROM run WHERE job_id = $1 AND planned_at = $2 AND cause = 'schedule')

-- name: lock_waiting_job(job: JobId) -> maybe WaitingJob
SELECT id, name, status, mode, next_start FROM job WHERE id = $1 FOR UPDATE

-- name: lock_run(run: RunId) -> maybe LockedRun
SELECT id, job_id, status, canceled_by FROM run WHERE id = $1 FOR UPDATE

-- name: lock_runs(runs: Sequence[RunId]) -> many LockedRun
SELECT id, job_id, status, canceled_by FROM run WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE

-- name: runs_to_follow(tasks: Sequence[RunTaskId]) -> many
-- The runs in which anything can follow from the ends of these tasks: others wait for one, it was the last child of one
-- that waits for its children, or the last of the run. Most ends of very many tasks lead to nothing, and read nothing.
SELECT DISTINCT t.run_id FROM run_task t
WHERE t.id = ANY($1::bigint[])
  AND (EXISTS (SELECT 1 FROM run_condition c WHERE c.parent_id = t.id) OR t.waits_for_children
    OR (t.spawned_by IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM run_task s WHERE s.spawned_by = t.spawned_by AND s.ended_at IS NULL)
        AND EXISTS (SELECT 1 FROM run_task p WHERE p.id = t.spawned_by AND p.waits_for_children))
    OR NOT EXISTS (SELECT 1 FROM run_task o WHERE o.run_id = t.run_id AND o.ended_at IS NULL))

-- name: tasks_of_runs(runs: Sequence[RunId]) -> many TaskOfRun
SELECT t.run_id, t.id, t.status, t.condition_type, t.ignore_failure, t.attempts, t.spawned_by, t.waits_for_children,
       (SELECT array_agg(c.parent_id ORDER BY c.parent_id, c.wanted) FROM run_condition c WHERE c.run_task_id = t.id)
           AS "parents: RunTaskId",
       (SELECT array_agg(c.wanted ORDER BY c.parent_id, c.wanted) FROM run_condition c WHERE c.run_task_id = t.id)
           AS "wanted: Wanted"
FROM run_task t WHERE t.run_id = ANY($1::bigint[])

-- name: change_tasks(tasks: Sequence[RunTaskId], statuses: Sequence[TaskStatus], now: datetime) -> none
-- What was settled. Children decided the end of a task that waited for them.
UPDATE run_task SET status = s.status,
    ready_at = CASE WHEN s.status = 'ready' THEN $3 ELSE ready_at END,
    ended_at = CASE WHEN s.status IN ('ended', 'error', 'not_run', 'canceled') THEN $3 END,
    error_code = CASE WHEN s.status = 'error' THEN coalesce(error_code, 'task.children') ELSE error_code END,
    error = CASE WHEN s.status = 'error' THEN coalesce(error, 'a task that it made has failed') ELSE error END
FROM unnest($1::bigint[], $2::text[]) AS s (id, status)
WHERE run_task.id = s.id

-- name: sum_runs(runs: Sequence[RunId]) -> many RunTotals
SELECT r.id, r.job_id, r.job, r.entry_id, r.partition_key, r.company, r.cause, r.planned_at, r.started_at, r.history,
       r.canceled_by, r.comes_back,
       (SELECT count(*) FROM run_task t WHERE t.run_id = r.id) AS tasks,
       coalesce((SELECT jsonb_object_agg(c.key, c.total) FROM (
           SELECT e.key, sum(e.value::numeric) AS total FROM run_task t, jsonb_each_text(t.counts) e
           WHERE t.run_id = r.id GROUP BY e.key) AS c), '{}')::text AS counts,
       (SELECT t.name || ': ' || coalesce(t.error, t.error_code) FROM run_task t
        WHERE t.run_id = r.id AND t.status = 'error' ORDER BY t.ignore_failure, t.ended_at, t.id LIMIT 1) AS error
FROM run r WHERE r.id = ANY($1::bigint[]) ORDER BY r.id

-- name: end_runs(now: datetime, runs: Sequence[RunId], statuses: Sequence[JobStatus], overran: Sequence[bool],
--     counts: Sequence[str], errors: Sequence[str | None], tasks_left_out: Sequence[int]) -> none
UPDATE run SET status = s.status, ended_at = $1, overran = s.overran, counts = s.counts::jsonb, error = s.error,
               tasks_left_out = s.left_out
FROM unnest($2::bigint[], $3::text[], $4::boolean[], $5::text[], $6::text[], $7::integer[])
     AS s (id, status, overran, counts, error, left_out)
WHERE run.id = s.id

-- name: thin_tasks(run: RunId, most: int) -> none
-- A very large run keeps the tasks that tell most. Source: batch reference, section 12.3.
DELETE FROM run_task WHERE id IN (
    SELECT id FROM run_task WHERE run_id = $1
    ORDER BY CASE status WHEN 'error' THEN 1 WHEN 'canceled' THEN 2 WHEN 'ended' THEN 3 ELSE 4 END, id
    OFFSET $2)

-- name: delete_unkept_runs(runs: Sequence[RunId]) -> none
DELETE FROM run WHERE id = ANY($1::bigint[])

-- name: lock_jobs_of_runs(jobs: Sequence[JobId]) -> many JobOfRun
-- `is_heard`: somebody wants to hear of it; `is_awaited`: another job may wait for it.
SELECT id, name, status, hold_after, retired, original_start, recurrence, base, missed, tolerance_seconds, occurrences,
       next_start, category, is_critical,
       EXISTS (SELECT 1 FROM job_dependency d WHERE d.job_id = job.id) AS depends,
       EXISTS (SELECT 1 FROM job_dependency d WHERE d.parent_id = job.id) AS is_awaited,
       EXISTS (SELECT 1 FROM alert_rule a WHERE a.job_id = job.id) AS is_heard
FROM job WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE

-- name: end_occurrences(now: datetime, jobs: Sequence[JobId], statuses: Sequence[JobStatus],
--     next_starts: Sequence[datetime | None], causes: Sequence[Cause], outcomes: Sequence[JobStatus]) -> none
UPDATE job SET status = s.status, run_id = NULL, hold_after = false, next_start = coalesce(s.next_start, job.next_start),
               next_cause = s.cause, last_outcome = s.outcome, last_ended_at = $1,
               failures = failures + CASE s.outcome WHEN 'error' THEN 1 ELSE 0 END, changed_at = $1
FROM unnest($2::bigint[], $3::text[], $4::timestamptz[], $5::text[], $6::text[])
     AS s (id, status, next_start, cause, outcome)
WHERE job.id = s.id

-- name: satisfy_dependencies(jobs: Sequence[JobId], runs: Sequence[RunId], outcomes: Sequence[JobStatus]) -> none
-- In one order, as everything that changes several.
WITH reached AS (
    SELECT d.job_id, d.parent_id, s.run_id
    FROM job_dependency d
    JOIN unnest($1::bigint[], $2::bigint[], $3::text[]) AS s (parent_id, run_id, outcome) ON s.parent_id = d.parent_id
    WHERE s.outcome = d.wanted OR (d.wanted = 'ended_or_error' AND s.outcome IN ('ended', 'error'))
    ORDER BY d.job_id, d.parent_id FOR UPDATE OF d
)
UPDATE job_dependency d SET satisfied_by = reached.run_id
FROM reached WHERE d.job_id = reached.job_id AND d.parent_id = reached.parent_id

-- name: delete_retired_jobs(jobs: Sequence[JobId]) -> none
DELETE FROM job WHERE id = ANY($1::bigint[])

-- name: job_of_run(job: JobId) -> maybe
SELECT run_id FROM job WHERE id = $1

-- name: hold_after_if_under_way(job: JobId) -> none
UPDATE job SET hold_after = true WHERE id = $1 AND status = 'executing'

-- name: lock_open_tasks(run: RunId) -> many
-- A claim that comes later finds them changed, one that came earlier has begun them.
SELECT id FROM run_task WHERE run_id = $1 AND ended_at IS NULL ORDER BY id FOR UPDATE

-- name: begin_cancelling(run: RunId, by: str, comes_back: bool) -> none
UPDATE run SET status = 'cancelling', canceled_by = $2, comes_back = $3 WHERE id = $1

-- name: job_cancelling(job: JobId, now: datetime) -> none
UPDATE job SET status = 'cancelling', changed_at = $2 WHERE id = $1

-- name: lock_leases_of_job(job: JobId) -> many
-- Before the run: an end that is just being recorded has its lease first, and goes first.
SELECT l.fence FROM lease l WHERE l.fence IN (SELECT t.fence FROM run_task t JOIN job j ON j.run_id = t.run_id
                                              WHERE j.id = $1 AND t.fence IS NOT NULL)
ORDER BY l.fence FOR UPDATE OF l

-- name: cancel_attempts_of_run(run: RunId, now: datetime) -> none
-- Abort: nobody waits for what runs on; its result will be refused.
WITH leases AS (
    DELETE FROM lease WHERE fence IN (SELECT fence FROM run_task WHERE run_id = $1 AND fence IS NOT NULL)
), stopped AS (
    UPDATE run_task SET status = 'canceled', fence = NULL, waits_for_children = false, ended_at = $2
    WHERE run_id = $1 AND status IN ('executing', 'cancelling')
    RETURNING id, attempts
)
UPDATE attempt SET ended_at = $2, outcome = 'canceled', error = 'aborted by an operator'
FROM stopped WHERE attempt.run_task_id = stopped.id AND attempt.number = stopped.attempts AND attempt.ended_at IS NULL

-- name: run_in_work(run: RunId) -> one
SELECT EXISTS (SELECT 1 FROM run_task WHERE run_id = $1 AND fence IS NOT NULL)

-- name: fences_to_cancel(fences: Sequence[Fence]) -> many
-- Of these, the tasks whose run is being cancelled.
SELECT fence AS "fence!" FROM run_task WHERE fence = ANY($1::bigint[]) AND status = 'cancelling'

-- name: find_runs(runs: Sequence[RunId]) -> many Run
SELECT r.id, r.job_id, r.job, r.description, r.partition_key, r.company, r.created_by, r.run_as, r.cause, r.planned_at,
       r.started_at, r.ended_at, r.status, r.canceled_by, r.overran, r.counts, r.tasks_left_out, r.error, r.rerun_of, r.entry_id
FROM run r
WHERE r.id = ANY($1::bigint[])
ORDER BY r.started_at DESC, r.id DESC

-- name: last_runs(job: JobId, most: int) -> many
SELECT id FROM run WHERE job_id = $1 ORDER BY started_at DESC, id DESC LIMIT $2

-- name: find_run_tasks(run: RunId) -> many RunTask
SELECT t.id, t.run_id, t.task_id, t.spawned_by, t.name, t.description, t.handler, t.parameters, t.company, t.batch_group,
       t.priority, t.location, t.is_private, t.owner, t.status, t.attempts, t.retries, t.ready_at, t.server, t.run_by,
       t.started_at, t.ended_at, t.error_code, t.error, t.counts,
       (SELECT coalesce(array_agg(p.name || ' ' || c.wanted ORDER BY p.position, c.wanted), '{}')
        FROM run_condition c JOIN run_task p ON p.id = c.parent_id WHERE c.run_task_id = t.id) AS conditions
FROM run_task t WHERE t.run_id = $1 ORDER BY t.position, t.id

-- name: find_attempts(run: RunId) -> many AttemptRow
SELECT a.run_task_id, a.number, a.server, a.started_at, a.ended_at, a.outcome, a.error_code, a.error, a.traceback, a.counts
FROM attempt a JOIN run_task t ON t.id = a.run_task_id WHERE t.run_id = $1 ORDER BY a.run_task_id, a.number

-- name: find_log(run: RunId, after: int, most: int) -> many LogLine
SELECT l.id, l.run_task_id, t.name AS task, l.attempt, l.at, l.severity, l.text
FROM run_log l LEFT JOIN run_task t ON t.id = l.run_task_id
WHERE l.run_id = $1 AND l.id > $2 ORDER BY l.id LIMIT $3

-- name: event_jobs(groups: Sequence[str]) -> many EventJob
-- Jobs that work which appears starts, and what of them a server that serves these groups runs.
SELECT j.id, j.name, j.status,
       coalesce(array_agg(t.handler ORDER BY t.position) FILTER (WHERE g.name IS NOT NULL), '{}') AS handlers,
       coalesce(array_agg(t.name ORDER BY t.position) FILTER (WHERE g.name IS NOT NULL), '{}') AS names
FROM job j
LEFT JOIN task t ON t.job_id = j.id AND NOT t.is_withheld
LEFT JOIN batch_group g ON g.name = coalesce(t.batch_group, j.batch_group, '') AND g.name = ANY($1::text[])
                       AND g.concurrency >= 0
WHERE j.mode = 'event'
GROUP BY j.id
ORDER BY j.id

-- name: begin_event_run(job: JobId, started_at: datetime, incarnation: int) -> maybe
INSERT INTO run (job_id, job, description, partition_key, company, created_by, run_as, cause, planned_at, started_at,
                 status, history, incarnation)
SELECT id, name, description, partition_key, company, created_by, coalesce(run_as, created_by), 'event', $2, $2,
       'executing', history, $3
FROM job WHERE id = $1
RETURNING id

-- name: end_event_run(run: RunId, outcome: JobStatus, ended_at: datetime, counts: str, error: str | None) -> none
UPDATE run SET status = $2, ended_at = $3, counts = $4::text::jsonb, error = $5,
               canceled_by = CASE WHEN $2 = 'canceled' THEN 'operator' END
WHERE id = $1

-- name: insert_event_run_tasks(run: RunId, tasks: str, server: str) -> none
INSERT INTO run_task (run_id, task_id, position, name, description, handler, company, batch_group, priority, location,
    is_private, owner, condition_type, ignore_failure, max_retries, retry_seconds, wait_for_children, status, attempts,
    server, started_at, ended_at, error_code, error, counts)
SELECT r.id, t.id, t.position, t.name, t.description, t.handler, coalesce(t.company, r.company), g.name,
    coalesce(j.priority, g.priority), t.location, t.is_private, j.created_by, t.condition_type, t.ignore_failure,
    t.max_retries, t.retry_seconds, t.wait_for_children, CASE WHEN d.error IS NULL THEN r.status ELSE 'error' END, 1,
    $3, r.started_at, r.ended_at, CASE WHEN d.error IS NOT NULL THEN 'task.error' END, d.error, d.counts
FROM run r
JOIN job j ON j.id = r.job_id
JOIN jsonb_to_recordset($2::text::jsonb) AS d (name text, counts jsonb, error text) ON true
JOIN task t ON t.job_id = j.id AND t.name = d.name
JOIN batch_group g ON g.name = coalesce(t.batch_group, j.batch_group, '')
WHERE r.id = $1

-- name: count_event_run(job: JobId, run: RunId, outcome: JobStatus, ended_at: datetime) -> maybe CountedJob
UPDATE job SET last_run_id = $2, last_outcome = $3, last_ended_at = $4, runs = runs + 1,
               failures = failures + CASE $3 WHEN 'error' THEN 1 ELSE 0 END
WHERE id = $1
RETURNING name, partition_key, company, category, is_critical, history

-- name: close_lost_event_runs(now: datetime) -> none
-- Event runs of processes that are no more.
UPDATE run SET status = 'error', ended_at = $1, error = 'its server was lost'
FROM incarnation i
WHERE run.ended_at IS NULL AND run.incarnation = i.id AND (i.stopped_at IS NOT NULL OR i.lost_at IS NOT NULL)
