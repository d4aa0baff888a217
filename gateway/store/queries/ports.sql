-- name: write_port_status
INSERT INTO port_status (port, state, reason, left_in_place, incarnation)
VALUES ($1, $2, $3, $4::text::jsonb, $5)
ON CONFLICT (port, incarnation) DO UPDATE SET state = excluded.state, reason = excluded.reason,
    left_in_place = excluded.left_in_place, changed_at = clock_timestamp()
RETURNING changed_at
