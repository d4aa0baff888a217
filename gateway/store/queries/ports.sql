-- name: write_port_status
INSERT INTO port_status (port, state, reason, left_in_place, incarnation)
VALUES ($1, $2, $3, $4::text::jsonb, $5)
ON CONFLICT (port, incarnation) DO UPDATE SET state = excluded.state, reason = excluded.reason,
    left_in_place = excluded.left_in_place, changed_at = clock_timestamp()

-- name: insert_run
INSERT INTO run (job, partition_key, company, created_by, run_as, cause, planned_at, incarnation, started_at, ended_at, status,
                 counts, error)
VALUES ($1, 'initial', 'DAT', 'gateway', 'gateway', 'event', $3, $2, $3, $4, $5, $6::text::jsonb, $7) RETURNING id
