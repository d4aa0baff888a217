-- Alerts: rules say who wants to hear of what, the outbox holds what is to be told and what became of it.

-- name: raise_alerts(key: str, event: str, job_id: JobId | None, run_id: RunId | None, port: PortName | None,
--     asked_as: Sequence[str], subject: str, body: str, facts: str, at: datetime) -> many
-- One row per user and channel. The key of what happened, user and channel are unique: told again, it changes nothing.
-- What goes to the inbox has arrived with this commit. Without a job and a port it is about the configuration: whoever
-- hears of a port, or of a job that moves messages, hears of that, once.
INSERT INTO alert (event_key, event, job_id, run_id, port, user_name, channel, subject, body, facts, created_at, status,
                   sent_at)
SELECT $1, $2, $3, $4, $5, r.user_name, c.channel, $7, $8, $9::text::jsonb, $10,
       CASE c.channel WHEN 'popup' THEN 'sent' ELSE 'pending' END, CASE c.channel WHEN 'popup' THEN $10::timestamptz END
FROM alert_rule r CROSS JOIN LATERAL (SELECT DISTINCT unnest(r.channels)) AS c (channel)
WHERE (r.job_id = $3 OR r.port = $5
       OR $3::bigint IS NULL AND $5::text IS NULL
          AND (r.port IS NOT NULL
               OR r.job_id IN (SELECT t.job_id FROM task t WHERE t.handler IN ('receive', 'inbound', 'outbound', 'send'))))
  AND r.events && $6::text[]
ON CONFLICT (event_key, user_name, channel) DO NOTHING
RETURNING id

-- name: delete_alert_rule(job_id: JobId | None, port: PortName | None, user: str) -> none
DELETE FROM alert_rule WHERE (job_id = $1 OR port = $2) AND user_name = $3

-- name: insert_alert_rule(job_id: JobId | None, port: PortName | None, user: str, events: Sequence[str],
--     channels: Sequence[str], source: str) -> none
INSERT INTO alert_rule (job_id, port, user_name, events, channels, source) VALUES ($1, $2, $3, $4, $5, $6)

-- name: clear_alert_rules(job_id: JobId | None, port: PortName | None) -> none
DELETE FROM alert_rule WHERE job_id = $1 OR port = $2

-- name: delete_port_rules() -> none
-- Those of the configuration; it is about to say anew which there are.
DELETE FROM alert_rule WHERE port IS NOT NULL AND source = 'config'

-- name: delete_entry_rules() -> none
DELETE FROM alert_rule WHERE for_entries AND source = 'config'

-- name: insert_entry_rule(user: str, events: Sequence[str], channels: Sequence[str]) -> none
INSERT INTO alert_rule (for_entries, user_name, events, channels, source) VALUES (true, $1, $2, $3, 'config')

-- name: alert_rules(job_id: JobId | None, port: PortName | None) -> many AlertRuleRow
SELECT r.job_id, r.port, CASE WHEN r.for_entries THEN 'job queue entries' ELSE j.name END AS job, r.user_name, r.events, r.channels, r.source
FROM alert_rule r LEFT JOIN job j ON j.id = r.job_id
WHERE ($1::bigint IS NULL OR r.job_id = $1) AND ($2::text IS NULL OR r.port = $2)
ORDER BY j.name, r.port, r.user_name

-- name: claim_alert(channel: str) -> maybe ClaimedAlert
-- The oldest that is due. Its row stays locked until the transaction ends: nobody else sends it meanwhile, and when
-- the process dies it is free at once. SKIP LOCKED passes those that somebody else is just sending.
SELECT id, event_key, event, job_id, run_id, port, user_name, channel, subject, body, facts, tries, created_at
FROM alert WHERE status = 'pending' AND channel = $1 AND (not_before IS NULL OR not_before <= clock_timestamp())
ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: alert_sent(alert: int) -> none
UPDATE alert SET status = 'sent', sent_at = clock_timestamp(), tries = tries + 1, not_before = NULL, reason = NULL
WHERE id = $1

-- name: alert_postponed(alert: int, reason: str, seconds: float, give_up_seconds: float) -> maybe
-- Tried again later, until it is a day old. clock_timestamp decides, as for everything that waits.
UPDATE alert SET tries = tries + 1, reason = $2, not_before = clock_timestamp() + make_interval(secs => $3)
WHERE id = $1 AND created_at > clock_timestamp() - make_interval(secs => $4)
RETURNING id

-- name: alert_failed(alert: int, reason: str) -> none
UPDATE alert SET status = 'failed', tries = tries + 1, reason = $2, not_before = NULL WHERE id = $1

-- name: next_alert(channel: str) -> one
-- Seconds until the next alert is due; not above zero when one is due now.
SELECT extract(epoch FROM min(coalesce(not_before, created_at)) - clock_timestamp())::double precision
FROM alert WHERE status = 'pending' AND channel = $1

-- name: list_alerts(status: str | None, user: str | None, channel: str | None, unread: bool,
--     most: int) -> many ListedAlert
SELECT a.id, a.event, j.name AS job, a.run_id, a.port, a.user_name, a.channel, a.subject, a.status, a.reason, a.tries,
       a.not_before, a.created_at, a.sent_at, a.read_at
FROM alert a LEFT JOIN job j ON j.id = a.job_id
WHERE ($1::text IS NULL OR a.status = $1) AND ($2::text IS NULL OR a.user_name = $2)
  AND ($3::text IS NULL OR a.channel = $3) AND (NOT $4 OR a.read_at IS NULL)
ORDER BY a.id DESC LIMIT $5

-- name: read_alert(alert: int) -> maybe AlertWithText
SELECT a.id, a.event_key, a.event, j.name AS job, a.run_id, a.port, a.user_name, a.channel, a.subject, a.body, a.facts,
       a.status, a.reason, a.tries, a.not_before, a.created_at, a.sent_at, a.read_at
FROM alert a LEFT JOIN job j ON j.id = a.job_id WHERE a.id = $1

-- name: mark_alerts_read(user: str, alerts: Sequence[int] | None) -> many
-- Of one user's inbox; without numbers all of them.
UPDATE alert SET read_at = clock_timestamp()
WHERE user_name = $1 AND channel = 'popup' AND read_at IS NULL AND ($2::bigint[] IS NULL OR id = ANY($2))
RETURNING id

-- name: retry_alerts(alerts: Sequence[int]) -> many
-- Failed ones get another day.
UPDATE alert SET status = 'pending', reason = NULL, not_before = NULL, created_at = clock_timestamp()
WHERE id = ANY($1::bigint[]) AND status = 'failed'
RETURNING id

-- name: overdue_jobs(now: datetime) -> many OverdueJob
-- Armed or parked, and not started in the time they are given: whatever the reason is.
SELECT id, name, status, next_start, partition_key, company, category, is_critical, history
FROM job
WHERE mode = 'timed' AND status IN ('waiting', 'withhold') AND overdue_seconds IS NOT NULL
  AND next_start + make_interval(secs => overdue_seconds) < $1
  AND EXISTS (SELECT 1 FROM alert_rule r WHERE r.job_id = job.id AND 'overdue' = ANY(r.events))
ORDER BY id

-- name: long_runs(now: datetime) -> many LongRun
SELECT j.id, j.name, j.long_seconds AS "long_seconds!", u.id AS run_id, u.planned_at, u.started_at, u.partition_key, u.company, j.category,
       j.is_critical, j.history
FROM job j JOIN run u ON u.id = j.run_id
WHERE j.status IN ('executing', 'cancelling') AND j.long_seconds IS NOT NULL
  AND u.started_at + make_interval(secs => j.long_seconds) < $1
  AND EXISTS (SELECT 1 FROM alert_rule r WHERE r.job_id = j.id AND 'long_running' = ANY(r.events))
ORDER BY j.id

-- name: has_received(port: PortName, since: datetime) -> one
SELECT EXISTS (SELECT 1 FROM delivery WHERE port = $1 AND received_at > $2)

-- name: last_received(port: PortName) -> one
-- A port that never received anything counts from the first start of a gateway.
SELECT coalesce((SELECT max(received_at) FROM delivery WHERE port = $1), (SELECT min(started_at) FROM incarnation))

-- name: delete_alerts(before: datetime, most: int) -> one
WITH old AS (
    SELECT id FROM alert WHERE created_at < $1 AND status <> 'pending'
    ORDER BY id LIMIT $2
), gone AS (
    DELETE FROM alert USING old WHERE alert.id = old.id RETURNING alert.id
)
SELECT count(*) FROM gone
