-- name: insert_job(job: str, status: JobStatus, by: str, source: str, now: datetime) -> maybe
-- Everything of the definition in one document; the columns give the types.
INSERT INTO job (partition_key, name, description, status, mode, company, created_by, run_as, original_start, next_start,
    recurrence, base, missed, tolerance_seconds, history, batch_group, priority, active_period, concurrency, max_retries,
    dependency_type, overdue_seconds, long_seconds, category, is_critical, is_system, is_private, source, config_digest,
    changed_at)
SELECT partition_key, name, description, coalesce(status, $2), mode, company, coalesce(created_by, $3), run_as, coalesce(original_start, $5), next_start,
    recurrence, base, missed, tolerance_seconds, history, batch_group, priority, active_period, concurrency, max_retries,
    dependency_type, overdue_seconds, long_seconds, category, is_critical, is_system, is_private, $4, config_digest, $5
FROM jsonb_populate_record(NULL::job, $1::text::jsonb)
ON CONFLICT (partition_key, name) DO NOTHING
RETURNING id

-- name: update_job(id: JobId, job: str, anew: bool, now: datetime) -> none
-- A start that was changed begins the recurrence anew; otherwise the planned start stays.
UPDATE job SET
    (name, description, mode, company, run_as, recurrence, base, missed, tolerance_seconds, history, batch_group, priority,
     active_period, concurrency, max_retries, dependency_type, overdue_seconds, long_seconds, category, is_critical,
     is_system, is_private, config_digest)
  = (new.name, new.description, new.mode, new.company, new.run_as, new.recurrence, new.base, new.missed,
     new.tolerance_seconds, new.history, new.batch_group, new.priority, new.active_period, new.concurrency,
     new.max_retries, new.dependency_type, new.overdue_seconds, new.long_seconds, new.category, new.is_critical,
     new.is_system, new.is_private, new.config_digest),
    created_by = coalesce(new.created_by, job.created_by),
    original_start = coalesce(new.original_start, job.original_start),
    next_start = CASE WHEN $3 THEN new.next_start ELSE job.next_start END,
    occurrences = CASE WHEN $3 THEN 0 ELSE job.occurrences END,
    next_cause = CASE WHEN $3 THEN 'schedule' ELSE job.next_cause END,
    status = CASE WHEN $3 AND job.status = 'waiting' THEN coalesce(new.status, job.status) ELSE job.status END,
    retired = false, changed_at = $4
FROM jsonb_populate_record(NULL::job, $2::text::jsonb) AS new
WHERE job.id = $1

-- name: delete_tasks_but(job: JobId, names: Sequence[str]) -> none
DELETE FROM task WHERE job_id = $1 AND NOT name = ANY($2::text[])

-- name: put_tasks(job: JobId, tasks: str, keep_held: bool) -> none
-- With $3 those that are there stay held, or not.
INSERT INTO task (job_id, position, name, description, handler, parameters, parameters_version, company, batch_group,
    location, is_private, condition_type, ignore_failure, max_retries, retry_seconds, timeout_seconds, wait_for_children,
    is_withheld)
SELECT $1, position, name, description, handler, parameters, parameters_version, company, batch_group,
    location, is_private, condition_type, ignore_failure, max_retries, retry_seconds, timeout_seconds, wait_for_children,
    is_withheld
FROM jsonb_populate_recordset(NULL::task, $2::text::jsonb)
ON CONFLICT (job_id, name) DO UPDATE SET
    (position, description, handler, parameters, parameters_version, company, batch_group, location, is_private,
     condition_type, ignore_failure, max_retries, retry_seconds, timeout_seconds, wait_for_children, is_withheld)
  = (excluded.position, excluded.description, excluded.handler, excluded.parameters, excluded.parameters_version,
     excluded.company, excluded.batch_group, excluded.location, excluded.is_private, excluded.condition_type,
     excluded.ignore_failure, excluded.max_retries, excluded.retry_seconds, excluded.timeout_seconds,
     excluded.wait_for_children, CASE WHEN $3 THEN task.is_withheld ELSE excluded.is_withheld END)

-- name: delete_conditions(job: JobId) -> none
DELETE FROM task_condition USING task WHERE task.id = task_condition.task_id AND task.job_id = $1

-- name: put_conditions(job: JobId, children: Sequence[str], parents: Sequence[str], wanted: Sequence[Wanted]) -> none
INSERT INTO task_condition (task_id, parent_id, wanted)
SELECT child.id, parent.id, c.wanted
FROM unnest($2::text[], $3::text[], $4::text[]) AS c (child, parent, wanted)
JOIN task child ON child.job_id = $1 AND child.name = c.child
JOIN task parent ON parent.job_id = $1 AND parent.name = c.parent

-- name: delete_dependencies_but(job: JobId, parents: Sequence[str]) -> none
DELETE FROM job_dependency d USING job parent
WHERE d.job_id = $1 AND parent.id = d.parent_id AND NOT parent.name = ANY($2::text[])

-- name: put_dependencies(job: JobId, parents: Sequence[str], wanted: Sequence[Wanted]) -> none
-- What was reached already counts only while the wish is the same.
INSERT INTO job_dependency (job_id, parent_id, wanted)
SELECT $1, parent.id, d.wanted
FROM unnest($2::text[], $3::text[]) AS d (parent, wanted)
JOIN job self ON self.id = $1
JOIN job parent ON parent.partition_key = self.partition_key AND parent.name = d.parent
ON CONFLICT (job_id, parent_id) DO UPDATE SET wanted = excluded.wanted, satisfied_by = NULL
WHERE job_dependency.wanted <> excluded.wanted

-- name: unknown_jobs(partition: str, names: Sequence[str]) -> many
SELECT d.name AS "name!" FROM unnest($2::text[]) AS d (name)
WHERE NOT EXISTS (SELECT 1 FROM job j WHERE j.partition_key = $1 AND j.name = d.name)

-- name: dependencies_of_partition(partition: str) -> many NamedDependency
SELECT child.name AS child, parent.name AS parent, d.wanted
FROM job_dependency d JOIN job child ON child.id = d.job_id JOIN job parent ON parent.id = d.parent_id
WHERE child.partition_key = $1

-- name: unknown_groups(names: Sequence[str]) -> many
SELECT g.name AS "name!" FROM unnest($1::text[]) AS g (name)
WHERE NOT EXISTS (SELECT 1 FROM batch_group b WHERE b.name = g.name)

-- name: unknown_period(period: str) -> one
SELECT NOT EXISTS (SELECT 1 FROM active_period WHERE name = $1)

-- name: delete_alert_rules(job: JobId, source: str) -> none
DELETE FROM alert_rule WHERE job_id = $1 AND source = $2

-- name: put_alert_rules(job: JobId, rules: str, source: str) -> none
INSERT INTO alert_rule (job_id, user_name, events, channels, source)
SELECT $1, r.user_name, r.events, r.channels, $3 FROM jsonb_populate_recordset(NULL::alert_rule, $2::text::jsonb) AS r
ON CONFLICT (job_id, user_name) DO UPDATE SET
    events = excluded.events, channels = excluded.channels, source = excluded.source

-- name: find_jobs(job: JobId | None = None, partition: str | None = None, name: str | None = None,
--     statuses: Sequence[JobStatus] | None = None, created_by: str | None = None,
--     viewer: str | None = None) -> many JobRow
-- One by its number or name, or many by what they are; nulls do not narrow. Private jobs are their owner's alone.
SELECT j.* FROM job j
WHERE ($1::bigint IS NULL OR j.id = $1)
  AND ($2::text IS NULL OR j.partition_key = $2)
  AND ($3::text IS NULL OR j.name = $3)
  AND ($4::text[] IS NULL OR j.status = ANY($4))
  AND ($5::text IS NULL OR j.created_by = $5)
  AND ($6::text IS NULL OR NOT j.is_private OR j.created_by = $6)
ORDER BY j.partition_key, j.name

-- name: tasks_of_jobs(jobs: Sequence[JobId]) -> many TaskRow
SELECT t.* FROM task t WHERE t.job_id = ANY($1::bigint[]) ORDER BY t.job_id, t.position

-- name: conditions_of_jobs(jobs: Sequence[JobId]) -> many ConditionRow
SELECT child.job_id, child.name AS child, parent.name AS parent, c.wanted
FROM task_condition c JOIN task child ON child.id = c.task_id JOIN task parent ON parent.id = c.parent_id
WHERE child.job_id = ANY($1::bigint[])
ORDER BY child.job_id, child.position, parent.position, c.wanted

-- name: dependencies_of_jobs(jobs: Sequence[JobId]) -> many DependencyRow
SELECT d.job_id, parent.name AS parent, d.wanted FROM job_dependency d JOIN job parent ON parent.id = d.parent_id
WHERE d.job_id = ANY($1::bigint[])
ORDER BY d.job_id, parent.name

-- name: alerts_of_jobs(jobs: Sequence[JobId]) -> many AlertOfJob
SELECT job_id AS "job_id!", user_name, events, channels FROM alert_rule WHERE job_id = ANY($1::bigint[]) ORDER BY job_id, user_name

-- name: lock_job(job: JobId) -> maybe LockedJob
SELECT id, partition_key, name, status, mode, hold_after, run_id, is_system, source, created_by, config_digest
FROM job WHERE id = $1 FOR UPDATE

-- name: set_job_status(job: JobId, status: JobStatus, hold_after: bool, now: datetime) -> none
-- By an operator.
UPDATE job SET status = $2, hold_after = $3, changed_at = $4 WHERE id = $1

-- name: task_withheld(job: JobId, task: str) -> maybe
SELECT is_withheld FROM task WHERE job_id = $1 AND name = $2

-- name: set_task_withheld(job: JobId, task: str, withheld: bool) -> none
UPDATE task SET is_withheld = $3 WHERE job_id = $1 AND name = $2

-- name: delete_job(job: JobId) -> none
DELETE FROM job WHERE id = $1

-- name: lock_synchronisation() -> none
-- One node at a time: two that start together would both make what is not there yet.
SELECT pg_advisory_xact_lock(hashtextextended('gateway: jobs of the configuration', 0))

-- name: config_jobs() -> many ConfigJob
SELECT id, partition_key, name, config_digest, retired, status FROM job WHERE source = 'config' FOR UPDATE

-- name: retire_jobs(jobs: Sequence[JobId], now: datetime) -> none
-- Their section is gone. Who is under way ends first; the others go at once.
WITH gone AS (
    DELETE FROM job WHERE id = ANY($1::bigint[]) AND status NOT IN ('executing', 'cancelling') RETURNING id
)
UPDATE job SET retired = true, hold_after = true, changed_at = $2
WHERE id = ANY($1::bigint[]) AND status IN ('executing', 'cancelling')
