-- What was finished long enough ago, removed in chunks. No deletion looks at a clock: it is told the time before which
-- things go, reckoned from the one time that was believed. A clock may jump while things are deleted.

-- name: look_at_clock(since_hours: int, until_hours: int) -> one ClockProof
-- Whether something has happened here, by the clock of now, not long ago and not just now; nothing has when the clock was
-- set far ahead. A database that is younger than that needs no proof.
WITH term AS (
    SELECT clock_timestamp() - make_interval(hours => $1) AS since, clock_timestamp() - make_interval(hours => $2) AS until
)
SELECT clock_timestamp() AS now,
       EXISTS (SELECT 1 FROM run, term WHERE started_at BETWEEN since AND until)
       OR EXISTS (SELECT 1 FROM message, term WHERE created_at BETWEEN since AND until)
       OR EXISTS (SELECT 1 FROM incarnation, term WHERE started_at BETWEEN since AND until)
       OR (SELECT min(applied_at) FROM schema_version) > (SELECT since FROM term) AS "proven!"

-- name: delete_history(before: datetime, most: int) -> one
-- Finished messages, with their documents and the MessageIds they used up. A request stays as long as its answer is in
-- the queue. created_at is never later than finished_at, and has the index.
WITH old AS (
    SELECT m.id, m.port, m.service, m.operation, m.message_id
    FROM message m
    WHERE m.created_at < $1
      AND m.finished_at < $1
      AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.message_id = m.id)
      AND NOT EXISTS (SELECT 1 FROM message a JOIN queue q ON q.message_id = a.id WHERE a.request_id = m.id)
    ORDER BY m.created_at LIMIT $2
), documents AS (
    DELETE FROM document d USING old WHERE d.message_id = old.id
), ids AS (
    DELETE FROM processed_id p USING old
    WHERE p.port = old.port AND p.service = old.service AND p.operation = old.operation
      AND p.message_id = old.message_id AND p.request_id = old.id
), gone AS (
    DELETE FROM message m USING old WHERE m.id = old.id RETURNING m.id
)
SELECT count(*) FROM gone

-- name: delete_contents(before: datetime, most: int) -> one
WITH old AS (
    SELECT port, service, operation, digest FROM processed_content
    WHERE at < $1
    ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM processed_content p USING old
    WHERE (p.port, p.service, p.operation, p.digest) = (old.port, old.service, old.operation, old.digest)
    RETURNING p.digest
)
SELECT count(*) FROM gone

-- name: delete_sets(before: datetime, most: int) -> one
WITH old AS (
    SELECT s.id FROM message_set s
    WHERE s.created_at < $1
      AND NOT EXISTS (SELECT 1 FROM message m WHERE m.claim_id = s.claim_id)
    ORDER BY s.created_at LIMIT $2
), gone AS (
    DELETE FROM message_set s USING old WHERE s.id = old.id RETURNING s.id
)
SELECT count(*) FROM gone

-- name: delete_deliveries(before: datetime, most: int, port: PortName, held: Sequence[ClaimId]) -> one
-- The row of a file that still lies in the work folder is the proof that it was taken: it stays, and so do all of
-- ports whose work folder was not looked into.
WITH old AS (
    SELECT v.claim_id FROM delivery v
    WHERE v.received_at < $1
      AND v.port = $3 AND NOT v.claim_id = ANY($4::uuid[])
      AND NOT EXISTS (SELECT 1 FROM message m WHERE m.claim_id = v.claim_id)
    ORDER BY v.received_at LIMIT $2
), gone AS (
    DELETE FROM delivery v USING old WHERE v.claim_id = old.claim_id RETURNING v.claim_id
)
SELECT count(*) FROM gone

-- name: delete_exceptions(before: datetime, most: int) -> one
-- Those of unfinished messages stay.
WITH old AS (
    SELECT e.id FROM exception e
    WHERE e.at < $1
      AND NOT EXISTS (SELECT 1 FROM queue q WHERE q.message_id = e.message_key)
      AND NOT EXISTS (SELECT 1 FROM send_request r WHERE r.id = e.message_key)
    ORDER BY e.at LIMIT $2
), gone AS (
    DELETE FROM exception e USING old WHERE e.id = old.id RETURNING e.id
)
SELECT count(*) FROM gone

-- name: delete_actions(before: datetime, most: int) -> one
WITH old AS (
    SELECT id FROM operator_action WHERE at < $1 ORDER BY at LIMIT $2
), gone AS (
    DELETE FROM operator_action a USING old WHERE a.id = old.id RETURNING a.id
)
SELECT count(*) FROM gone

-- name: delete_runs(before: datetime, most: int) -> one
WITH old AS (
    SELECT id FROM run WHERE started_at < $1
      AND ended_at < $1
    ORDER BY started_at LIMIT $2
), gone AS (
    DELETE FROM run USING old WHERE run.id = old.id RETURNING run.id
)
SELECT count(*) FROM gone

-- name: delete_old_jobs(before: datetime, most: int, statuses: Sequence[JobStatus], name: str | None,
--     owner: str | None) -> one
WITH old AS (
    SELECT j.id FROM job j
    WHERE coalesce(j.last_ended_at, j.created_at) < $1
      AND j.status = ANY($3::text[]) AND j.status IN ('withhold', 'error', 'ended', 'canceled')
      AND j.source = 'operator' AND NOT j.is_system AND j.run_id IS NULL
      AND ($4::text IS NULL OR lower(j.name) = lower($4)) AND ($5::text IS NULL OR j.created_by = $5)
      AND NOT EXISTS (SELECT 1 FROM job_dependency d WHERE d.parent_id = j.id)
    ORDER BY j.id LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM job USING old WHERE job.id = old.id RETURNING job.id
)
SELECT count(*) FROM gone

-- name: try_to_keep_house() -> one
-- Held by the session: it is free again as soon as its holder is gone.
SELECT pg_try_advisory_lock(hashtextextended('gateway housekeeping', 0)) AS "is_ours!"

-- name: vacuum_messages() -> none
VACUUM (ANALYZE, SKIP_LOCKED) message, document, message_set, delivery, processed_id, processed_content

-- name: vacuum_runs() -> none
VACUUM (ANALYZE, SKIP_LOCKED) run, run_task, run_condition, attempt, run_log, run_file, alert

-- name: vacuum_exceptions() -> none
VACUUM (ANALYZE, SKIP_LOCKED) exception, operator_action

-- name: unfinished_claims(port: PortName, before: datetime) -> many
-- The files of a port that were received long ago and still have a message in the queue.
SELECT DISTINCT m.claim_id AS "claim_id!" FROM queue q JOIN message m ON m.id = q.message_id
WHERE q.port = $1 AND q.direction = 'in' AND m.claim_id IS NOT NULL
  AND m.created_at < $2
