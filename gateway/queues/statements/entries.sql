-- Job queue entries. Locks are taken in this order: lease, run, task of a run, the turn, entry. Whoever changes entries
-- that others may see has the turn, for a few milliseconds; to add one needs no turn.

-- name: take_entry_turn
-- One at a time in the whole cluster, so that no two starts see the same slot free, and no end misses who waits for it.
-- A process that is frozen in the middle loses its turn before those who wait for it give up.
SELECT pg_advisory_xact_lock(hashtextextended('gateway: job queue entries', 0)),
       set_config('idle_in_transaction_session_timeout', '3s', true)

-- name: insert_entries
-- What cannot be inserted is missing in the answer: its name or its record is there already.
INSERT INTO queue_entry (name, description, status, handler, parameters, parameters_version, record, partition_key, company,
    created_by, user_name, category, last_queue, priority, earliest, not_before, expires, weekdays, minutes, formula,
    starting, ending, zone, max_attempts, rerun_delay_seconds, inactivity_minutes, wakes_on, timeout_seconds,
    retries_timeout, location, notify_on_success, output, then_run, source, config_digest, changed_at)
SELECT name, description, status, handler, parameters, parameters_version, record, partition_key, company,
    created_by, user_name, category, queue_of(category), priority, coalesce(not_before, $2, clock_timestamp()), not_before,
    expires, weekdays, minutes, formula, starting, ending, zone, max_attempts, rerun_delay_seconds, inactivity_minutes,
    wakes_on, timeout_seconds, retries_timeout, location, notify_on_success, output, then_run, source, config_digest,
    coalesce($2, clock_timestamp())
FROM jsonb_populate_recordset(NULL::queue_entry, $1::text::jsonb)
ON CONFLICT DO NOTHING
RETURNING id, name, record

-- name: update_entry
-- What was used up counts for what it was before. With $4 its start is planned anew.
UPDATE queue_entry SET
    (name, description, handler, parameters, parameters_version, record, partition_key, company, category, last_queue,
     priority, not_before, expires, weekdays, minutes, formula, starting, ending, zone, max_attempts, rerun_delay_seconds, inactivity_minutes, wakes_on,
     timeout_seconds, retries_timeout, location, notify_on_success, output, then_run, config_digest)
  = (new.name, new.description, new.handler, new.parameters, new.parameters_version, new.record, new.partition_key,
     new.company, new.category, queue_of(new.category), new.priority, new.not_before, new.expires, new.weekdays, new.minutes, new.formula, new.starting, new.ending,
     new.zone, new.max_attempts, new.rerun_delay_seconds, new.inactivity_minutes, new.wakes_on, new.timeout_seconds,
     new.retries_timeout, new.location, new.notify_on_success, new.output, new.then_run, new.config_digest),
    earliest = CASE WHEN $4 THEN coalesce(new.not_before, $3) ELSE queue_entry.earliest END,
    attempts = CASE WHEN $4 THEN 0 ELSE queue_entry.attempts END,
    interruptions = CASE WHEN $4 THEN 0 ELSE queue_entry.interruptions END,
    retired = false, changed_at = $3
FROM jsonb_populate_record(NULL::queue_entry, $2::text::jsonb) AS new
WHERE queue_entry.id = $1

-- name: put_categories
INSERT INTO entry_category (name, description, width) SELECT * FROM unnest($1::text[], $2::text[], $3::integer[])
ON CONFLICT (name) DO UPDATE SET description = excluded.description, width = excluded.width, retired = false

-- name: retire_categories
-- Entries that are there go on to exclude one another.
UPDATE entry_category SET retired = true WHERE NOT name = ANY($1::text[])

-- name: list_categories
SELECT c.name, c.description, c.width, c.retired,
       (SELECT coalesce(array_agg(s.entry_id ORDER BY s.slot), '{}') FROM entry_slot s WHERE s.category = c.name) AS held_by,
       (SELECT count(*) FROM queue_entry e WHERE e.category = c.name AND e.status = 'waiting') AS waiting
FROM entry_category c
WHERE NOT c.retired OR EXISTS (SELECT 1 FROM queue_entry e WHERE e.category = c.name)
ORDER BY c.name

-- name: put_queue
-- Whether it is started an operator decides, but for one that is new, or whose section says now something else of it.
INSERT INTO job_queue (name, description, categories, batch_group, starts_automatically, is_started, changed_at)
VALUES ($1, $2, $3, $4, $5, $5, $6)
ON CONFLICT (name) DO UPDATE SET description = excluded.description, categories = excluded.categories,
    batch_group = excluded.batch_group, starts_automatically = excluded.starts_automatically,
    is_started = CASE WHEN job_queue.starts_automatically = excluded.starts_automatically THEN job_queue.is_started
                      ELSE excluded.is_started END

-- name: delete_queues_but
DELETE FROM job_queue WHERE NOT name = ANY($1::text[])

-- name: note_queues
-- Who takes entries now: when no queue does any more, they wait for one.
UPDATE queue_entry SET last_queue = queue_of(category)
WHERE last_queue IS DISTINCT FROM queue_of(category) AND queue_of(category) IS NOT NULL

-- name: put_limits
UPDATE entry_limits SET max_timeout_seconds = $1, per_user = $2, waiting_per_user = $3, waiting_hours = $4

-- name: entry_limits
SELECT max_timeout_seconds, per_user, waiting_per_user, waiting_hours FROM entry_limits

-- name: waiting_entries_of
SELECT count(*) FROM queue_entry WHERE user_name = $1 AND status IN ('ready', 'waiting')

-- name: list_queues
SELECT q.name, q.description, q.categories, q.batch_group, q.starts_automatically, q.is_started, q.changed_by, q.changed_at,
       count(e.id) FILTER (WHERE e.status IN ('ready', 'waiting')) AS in_queue,
       count(e.id) FILTER (WHERE e.status = 'in_process') AS in_process,
       count(e.id) FILTER (WHERE e.status = 'error') AS failed
FROM job_queue q LEFT JOIN entry_place p ON p.queue = q.name LEFT JOIN queue_entry e ON e.id = p.id
WHERE ($1::text IS NULL OR q.name = $1)
GROUP BY q.name ORDER BY q.name

-- name: start_queue
UPDATE job_queue SET is_started = $2, changed_by = $3, changed_at = $4 WHERE name = $1 AND is_started <> $2 RETURNING name

-- name: config_entries
SELECT id, name, config_digest, retired, status FROM queue_entry WHERE source = 'config' FOR UPDATE

-- name: retire_entries
-- Their section is gone. Who is in process ends first; the others go at once.
WITH gone AS (
    DELETE FROM queue_entry WHERE id = ANY($1::bigint[]) AND status <> 'in_process'
)
UPDATE queue_entry SET retired = true, changed_at = $2 WHERE id = ANY($1::bigint[]) AND status = 'in_process'

-- name: entry_log
-- The runs of entries, the newest first: the log of the job queue.
SELECT r.id AS run_id, r.entry_id, r.job AS entry, r.category, r.description, t.handler AS run, t.parameters, r.run_as AS user_name, t.server,
       r.planned_at, r.started_at, r.ended_at, r.status, t.error_code, coalesce(t.error, r.error) AS error,
       (SELECT a.traceback FROM attempt a WHERE a.run_task_id = t.id AND a.number = t.attempts) AS traceback
FROM run r JOIN run_task t ON t.run_id = r.id AND t.spawned_by IS NULL
WHERE r.entry_id IS NOT NULL AND r.partition_key = $1
  AND ($2::bigint IS NULL OR r.entry_id = $2)
  AND ($3::text IS NULL OR r.job = $3)
  AND ($4::text IS NULL OR r.category = $4)
  AND ($5::text[] IS NULL OR r.status = ANY($5))
  AND ($6::text IS NULL OR r.run_as = $6)
  AND ($7::bigint IS NULL OR r.id < $7)
ORDER BY r.id DESC, t.position LIMIT $8

-- name: sleepers_exist
SELECT EXISTS (SELECT 1 FROM queue_entry WHERE status = 'inactive' AND wakes_on <> '{}')

-- name: wake_sleepers
-- Documents of theirs that are newer than their last run: by the data, so that a hint that got lost costs nothing.
UPDATE queue_entry e SET status = 'ready', earliest = $1, changed_at = $1
WHERE e.status = 'inactive' AND e.wakes_on <> '{}'
  AND EXISTS (SELECT 1 FROM entity n WHERE n.rec_id > e.changes_seen AND n.document = ANY(e.wakes_on))

-- name: raise_entry_alerts
-- Everybody whose rule asks for it, and in the inbox whose entry it is ($9). Told again, it changes nothing.
INSERT INTO alert (event_key, event, run_id, user_name, channel, subject, body, facts, created_at, status, sent_at)
SELECT $1, $2, $3, w.user_name, w.channel, $5, $6, $7::text::jsonb, $8,
       CASE w.channel WHEN 'popup' THEN 'sent' ELSE 'pending' END, CASE w.channel WHEN 'popup' THEN $8::timestamptz END
FROM (
    SELECT r.user_name, unnest(r.channels) AS channel FROM alert_rule r WHERE r.for_entries AND r.events && $4::text[]
    UNION SELECT $9, 'popup' WHERE $9::text IS NOT NULL
) AS w
ON CONFLICT (event_key, user_name, channel) DO NOTHING
RETURNING id

-- name: stuck_entry
-- Due for $2 seconds, and nothing keeps it: its queue is started, and if it waits its category has a place.
SELECT NULL AS port, coalesce(e.name, 'entry ' || e.id) || ' of the job queue' AS what, 'entry:' || e.id AS target
FROM queue_entry e JOIN entry_place p ON p.id = e.id
WHERE e.status IN ('ready', 'inactive', 'waiting') AND p.may_start
  AND greatest(e.earliest, e.changed_at) < statement_timestamp() - make_interval(secs => $2)
  AND (e.status <> 'waiting' OR EXISTS (
      SELECT 1 FROM entry_category c WHERE c.name = e.category
      AND c.width > (SELECT count(*) FROM entry_slot s WHERE s.category = c.name)))
ORDER BY e.earliest, e.id LIMIT $1

-- name: entries_without_queue
-- A queue took them, and none does any more.
SELECT NULL AS port, coalesce(e.name, 'entry ' || e.id) || ' of the category ' || coalesce(e.category, '(none)') || ', which '
       || e.last_queue || ' took' AS what, 'entry:' || e.id AS target
FROM queue_entry e JOIN entry_place p ON p.id = e.id
WHERE e.status IN ('ready', 'inactive', 'waiting') AND p.kept_by = 'no_queue'
ORDER BY e.id LIMIT $1

-- name: unknown_categories
SELECT c.name FROM unnest($1::text[]) AS c (name)
WHERE NOT EXISTS (SELECT 1 FROM entry_category k WHERE k.name = c.name AND NOT k.retired)

-- name: find_entries
-- One by its number or name, or many; nulls do not narrow.
SELECT e.*, p.queue, p.kept_by,
       (SELECT s.entry_id FROM entry_slot s WHERE s.category = e.category ORDER BY s.slot LIMIT 1) AS held_by
FROM queue_entry e JOIN entry_place p ON p.id = e.id
WHERE ($1::bigint IS NULL OR e.id = $1)
  AND ($2::text IS NULL OR e.partition_key = $2)
  AND ($3::text IS NULL OR e.name = $3)
  AND ($4::text[] IS NULL OR e.status = ANY($4))
  AND ($5::text IS NULL OR e.user_name = $5)
  AND ($6::text IS NULL OR e.category = $6)
  AND ($7::text IS NULL OR p.queue = $7)
  AND ($8::text IS NULL OR e.record = $8)
ORDER BY e.category NULLS LAST, e.priority, e.id

-- name: lock_entry
SELECT id, name, status, category, source, run_id, record, hold_after, user_name, partition_key, company, notify_on_success
FROM queue_entry WHERE id = $1 FOR UPDATE

-- name: change_entries
-- Null: as it was. An entry that is ready again by a person's will has nothing behind it.
UPDATE queue_entry e SET status = s.status, earliest = coalesce(s.earliest, e.earliest), attempts = s.attempts,
    interruptions = s.interruptions, run_id = NULL, started_at = NULL, once_from = NULL, hold_after = false, changed_at = $1,
    error_code = s.error_code, error = s.error
FROM unnest($2::bigint[], $3::text[], $4::timestamptz[], $5::integer[], $6::integer[], $7::text[], $8::text[])
     AS s (id, status, earliest, attempts, interruptions, error_code, error)
WHERE e.id = s.id

-- name: ready_entry
-- Where no queue takes it any more, a person lets it run by itself.
UPDATE queue_entry SET status = 'ready', user_name = $2, attempts = 0, interruptions = 0, error = NULL, error_code = NULL,
    earliest = CASE WHEN status IN ('error', 'inactive') THEN $3 ELSE greatest(earliest, $3) END,
    last_queue = queue_of(category), changed_at = $3
WHERE id = $1

-- name: hold_entry
UPDATE queue_entry SET status = CASE status WHEN 'in_process' THEN status ELSE 'on_hold' END,
    hold_after = status = 'in_process', changed_at = $2
WHERE id = $1

-- name: delete_entries
DELETE FROM queue_entry WHERE id = ANY($1::bigint[])

-- name: due_entries_exist
SELECT EXISTS (SELECT 1 FROM queue_entry e JOIN entry_place p ON p.id = e.id
               WHERE e.status IN ('ready', 'inactive') AND e.earliest <= $1 AND p.may_start)

-- name: due_entries
-- Those whose time has come, the best first. Entries that wait for their category are woken by whoever frees it.
SELECT e.id, e.name, e.status, e.category, e.priority, e.record, e.user_name, e.partition_key, e.company,
       e.notify_on_success, e.earliest, e.expires, e.weekdays, e.minutes, e.formula, e.starting,
       e.ending, e.zone, e.attempts, e.interruptions, e.error_code, e.error
FROM queue_entry e JOIN entry_place p ON p.id = e.id
WHERE e.status IN ('ready', 'inactive') AND e.earliest <= $1 AND p.may_start
ORDER BY e.priority, e.id
LIMIT $2
FOR UPDATE OF e

-- name: categories_kept_by_users
SELECT DISTINCT e.category FROM queue_entry e JOIN entry_limits l ON l.per_user IS NOT NULL JOIN entry_place p ON p.id = e.id
WHERE e.status = 'ready' AND e.earliest <= $1 AND e.category IS NOT NULL AND p.kept_by = 'user'

-- name: next_entry_moment
SELECT min(e.earliest) FROM queue_entry e JOIN entry_place p ON p.id = e.id
WHERE e.status IN ('ready', 'inactive') AND p.may_start

-- name: free_slots
SELECT c.name, array_agg(s.slot ORDER BY s.slot) AS slots
FROM entry_category c CROSS JOIN generate_series(1, c.width) AS s (slot)
WHERE c.name = ANY($1::text[])
  AND NOT EXISTS (SELECT 1 FROM entry_slot t WHERE t.category = c.name AND t.slot = s.slot)
GROUP BY c.name

-- name: take_slots
INSERT INTO entry_slot (category, slot, entry_id) SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[])

-- name: free_user_slots
-- Nobody is named where users have no limit.
SELECT u.name, coalesce(array_agg(s.slot ORDER BY s.slot) FILTER (WHERE t.slot IS NULL), '{}') AS slots
FROM unnest($1::text[]) AS u (name) JOIN entry_limits l ON l.per_user IS NOT NULL
CROSS JOIN LATERAL generate_series(1, l.per_user) AS s (slot)
LEFT JOIN user_slot t ON t.user_name = u.name AND t.slot = s.slot
GROUP BY u.name

-- name: take_user_slots
INSERT INTO user_slot (user_name, slot, entry_id) SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[])

-- name: release_slots
WITH of_users AS (
    DELETE FROM user_slot WHERE entry_id = ANY($1::bigint[])
)
DELETE FROM entry_slot WHERE entry_id = ANY($1::bigint[])

-- name: wake_waiting
-- Of each category as many as there are places now, the best first. Who is woken for nothing waits again. Whom something
-- else keeps is woken too, and takes nobody's turn: it is due as soon as that lets it go.
WITH free AS (
    SELECT c.name, c.width - (SELECT count(*) FROM entry_slot t WHERE t.category = c.name) AS places
    FROM entry_category c WHERE c.name = ANY($1::text[])
), ranked AS (
    SELECT e.id, free.places, p.may_start,
           row_number() OVER (PARTITION BY e.category, p.may_start ORDER BY e.priority, e.id) AS place
    FROM queue_entry e JOIN free ON free.name = e.category JOIN entry_place p ON p.id = e.id WHERE e.status = 'waiting'
)
UPDATE queue_entry e SET status = 'ready', changed_at = $2
FROM ranked WHERE ranked.id = e.id AND ranked.places > 0 AND (ranked.place <= ranked.places OR NOT ranked.may_start)

-- name: insert_entry_runs
INSERT INTO run (job, description, partition_key, company, created_by, run_as, cause, planned_at, started_at, status, entry_id,
                 category)
SELECT coalesce(e.name, 'entry ' || e.id), e.description, e.partition_key, e.company, e.created_by, e.user_name, $3,
       e.earliest, $2, 'executing', e.id, e.category
FROM queue_entry e WHERE e.id = ANY($1::bigint[]) ORDER BY e.priority, e.id
RETURNING id, entry_id, job, planned_at

-- name: insert_entry_tasks
-- Tried once in its run: attempts are runs.
INSERT INTO run_task (run_id, position, name, description, handler, parameters, parameters_version, company, batch_group,
    priority, location, is_private, owner, condition_type, ignore_failure, max_retries, retry_seconds, timeout_seconds,
    wait_for_children, status, ready_at)
SELECT r.id, 1, e.handler, e.description, e.handler, e.parameters, e.parameters_version, e.company, p.batch_group, g.priority,
       e.location, e.location = 'operator', e.user_name, 'all', false, 0, 0, e.timeout_seconds, true, 'ready', $2
FROM run r JOIN queue_entry e ON e.id = r.entry_id JOIN entry_place p ON p.id = e.id JOIN batch_group g ON g.name = p.batch_group
WHERE r.id = ANY($1::bigint[])
ORDER BY r.id

-- name: insert_second_tasks
INSERT INTO run_task (run_id, position, name, description, handler, parameters, parameters_version, company, batch_group,
    priority, location, is_private, owner, condition_type, ignore_failure, max_retries, retry_seconds, timeout_seconds,
    wait_for_children, status)
SELECT t.run_id, 2, e.then_run, t.description, e.then_run, '{}', NULL, t.company, t.batch_group, t.priority, t.location, t.is_private,
       t.owner, 'all', false, 0, 0, NULL, true, 'waiting'
FROM run_task t JOIN run r ON r.id = t.run_id JOIN queue_entry e ON e.id = r.entry_id
WHERE t.run_id = ANY($1::bigint[]) AND t.position = 1 AND e.then_run IS NOT NULL

-- name: insert_second_conditions
INSERT INTO run_condition (run_task_id, parent_id, wanted)
SELECT second.id, first.id, 'ended' FROM run_task second JOIN run_task first USING (run_id)
WHERE second.run_id = ANY($1::bigint[]) AND second.position = 2 AND first.position = 1

-- name: begin_entries
UPDATE queue_entry e SET status = 'in_process', run_id = s.run_id, last_run_id = s.run_id, started_at = $3, once_from = $4,
    changes_seen = (SELECT coalesce(max(rec_id), 0) FROM entity), changed_at = $3
FROM unnest($1::bigint[], $2::bigint[]) AS s (id, run_id)
WHERE e.id = s.id

-- name: ended_entry_runs
-- How runs of entries ended, each with its entry.
SELECT e.id, e.name, e.record, e.category, e.status, e.expires, e.weekdays, e.minutes, e.formula, e.starting, e.ending, e.zone,
       e.attempts, e.max_attempts, e.rerun_delay_seconds, e.interruptions, e.inactivity_minutes, e.retries_timeout,
       e.once_from, e.hold_after, e.retired, e.source, e.earliest, e.user_name, e.partition_key, e.company,
       e.notify_on_success, r.id AS run_id, r.status AS outcome, r.started_at, r.planned_at, r.canceled_by,
       r.counts = '{}' AS idle, f.error_code, f.error, f.is_hopeless, f.is_lost
FROM run r JOIN queue_entry e ON e.run_id = r.id
LEFT JOIN LATERAL (
    SELECT t.error_code, t.error, t.is_hopeless,
           (SELECT a.outcome = 'lost' FROM attempt a WHERE a.run_task_id = t.id AND a.number = t.attempts) AS is_lost
    FROM run_task t WHERE t.run_id = r.id AND t.status = 'error' ORDER BY t.ended_at, t.id LIMIT 1
) f ON true
WHERE r.id = ANY($1::bigint[])
ORDER BY e.id FOR UPDATE OF e
