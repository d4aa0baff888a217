-- name: put_group(name: str, description: str, priority: Priority, concurrency: int, source: str,
--     now: datetime) -> none
INSERT INTO batch_group (name, description, priority, concurrency, source, changed_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET description = excluded.description, priority = excluded.priority,
    concurrency = excluded.concurrency, source = excluded.source, changed_at = excluded.changed_at

-- name: group_in_use(name: str) -> maybe
SELECT 'job ' || name AS used_by FROM job WHERE batch_group = $1
UNION ALL SELECT 'task ' || t.name || ' of job ' || j.name FROM task t JOIN job j ON j.id = t.job_id WHERE t.batch_group = $1
UNION ALL SELECT 'server ' || server FROM server_group WHERE group_name = $1
UNION ALL SELECT 'job queue ' || name FROM job_queue WHERE batch_group = $1
LIMIT 1

-- name: delete_group(name: str) -> maybe
DELETE FROM batch_group WHERE name = $1 AND source <> 'system' RETURNING name

-- name: list_groups() -> many GroupRow
SELECT g.name, g.description, g.priority, g.concurrency, g.source,
       (SELECT coalesce(array_agg(s.server ORDER BY s.server), '{}') FROM server_group s WHERE s.group_name = g.name) AS servers
FROM batch_group g ORDER BY g.name

-- name: register_server(name: str, incarnation: int, now: datetime) -> maybe
-- No row: another node that lives bears the name.
INSERT INTO server (name, incarnation, changed_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, draining = false
WHERE NOT EXISTS (SELECT 1 FROM incarnation other JOIN incarnation ours ON ours.id = $2
                  WHERE other.id = server.incarnation AND other.node <> ours.node
                    AND other.stopped_at IS NULL AND other.lost_at IS NULL)
RETURNING name

-- name: put_default_group(name: str) -> none
-- A server that is new has the default group, until somebody gives it a named one.
INSERT INTO server_group (server, group_name, implicit) SELECT $1, '', true
WHERE NOT EXISTS (SELECT 1 FROM server_group WHERE server = $1)

-- name: leave_server(name: str, incarnation: int) -> none
-- Whoever took the name over meanwhile keeps it.
UPDATE server SET incarnation = NULL WHERE name = $1 AND incarnation = $2

-- name: put_server(name: str, is_batch: bool, threads: int, reserved_percent: int, source: str,
--     now: datetime) -> none
INSERT INTO server (name, is_batch, threads, reserved_percent, source, changed_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET is_batch = excluded.is_batch, threads = excluded.threads,
    reserved_percent = excluded.reserved_percent, source = excluded.source, changed_at = excluded.changed_at

-- name: set_draining(name: str, draining: bool, now: datetime) -> maybe
UPDATE server SET draining = $2, changed_at = $3 WHERE name = $1 RETURNING name

-- name: delete_hours(name: str) -> none
DELETE FROM server_hours WHERE server = $1

-- name: put_hours(server: str, positions: Sequence[int], threads: Sequence[int], starts: Sequence[time],
--     ends: Sequence[time], zones: Sequence[str]) -> none
INSERT INTO server_hours (server, position, threads, start_time, end_time, zone)
SELECT $1, * FROM unnest($2::int[], $3::int[], $4::time[], $5::time[], $6::text[])

-- name: delete_server_groups(name: str) -> none
DELETE FROM server_group WHERE server = $1

-- name: assign_group(server: str, group: str) -> none
-- The first named group takes the place of the default one that nobody asked for.
WITH replaced AS (
    DELETE FROM server_group WHERE server = $1 AND implicit
)
INSERT INTO server_group (server, group_name) VALUES ($1, $2)
ON CONFLICT (server, group_name) DO UPDATE SET implicit = false

-- name: unassign_group(server: str, group: str) -> maybe
DELETE FROM server_group WHERE server = $1 AND group_name = $2 RETURNING group_name

-- name: list_servers(name: str | None) -> many ServerRow
-- Whoever serves the default group also takes tasks of groups that nobody was given.
SELECT s.name, s.incarnation, s.is_batch, s.draining, s.threads, s.reserved_percent, s.source,
       (SELECT coalesce(array_agg(g.group_name ORDER BY g.group_name), '{}') FROM server_group g WHERE g.server = s.name) AS groups,
       (SELECT coalesce(array_agg(b.name ORDER BY b.name), '{}') FROM batch_group b
        WHERE EXISTS (SELECT 1 FROM server_group g WHERE g.server = s.name AND g.group_name = b.name)
           OR (EXISTS (SELECT 1 FROM server_group g WHERE g.server = s.name AND g.group_name = '')
               AND NOT EXISTS (SELECT 1 FROM server_group g WHERE g.group_name = b.name))) AS takes
FROM server s WHERE ($1::text IS NULL OR s.name = $1) ORDER BY s.name

-- name: list_hours(server: str | None) -> many HoursRow
SELECT server, threads, start_time, end_time, zone FROM server_hours WHERE ($1::text IS NULL OR server = $1)
ORDER BY server, position

-- name: put_period(name: str, start: time, end: time, weekdays: Sequence[int], zone: str, source: str) -> none
INSERT INTO active_period (name, start_time, end_time, weekdays, zone, source) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (name) DO UPDATE SET start_time = excluded.start_time, end_time = excluded.end_time,
    weekdays = excluded.weekdays, zone = excluded.zone, source = excluded.source

-- name: period_in_use(name: str) -> maybe
SELECT name FROM job WHERE active_period = $1 LIMIT 1

-- name: delete_period(name: str) -> maybe
DELETE FROM active_period WHERE name = $1 RETURNING name

-- name: list_periods() -> many PeriodRow
SELECT name, start_time, end_time, weekdays, zone, source FROM active_period ORDER BY name

-- name: config_named() -> many ConfigName
SELECT 'group' AS kind, name FROM batch_group WHERE source = 'config'
UNION ALL SELECT 'period', name FROM active_period WHERE source = 'config'
