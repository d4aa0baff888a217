-- What all processes together know of the services of a port. No row: nothing is known yet.

-- name: begin_try(port: PortName, fence: Fence, seen: int | None) -> maybe
-- One process gets the try: whoever waited for the commit of another one finds another lease here.
UPDATE port_health SET trying = $2
WHERE port = $1 AND paused_until IS NOT NULL AND trying IS NOT DISTINCT FROM $3::bigint RETURNING 1

-- name: count_failures(port: PortName, failures: int, most: int, pause_seconds: float,
--     text: str | None) -> one CountedFailures
INSERT INTO port_health AS known (port, failures, paused_at, paused_until, text)
SELECT $1, $2::int, now.paused, now.paused + make_interval(secs => $4), $5
FROM (SELECT CASE WHEN $2::int >= $3::int THEN clock_timestamp() END AS paused) AS now
ON CONFLICT (port) DO UPDATE SET
    failures = known.failures + $2, text = $5,
    paused_at = CASE WHEN known.failures + $2 >= $3 THEN coalesce(known.paused_at, clock_timestamp()) END,
    paused_until = CASE WHEN known.failures + $2 >= $3 THEN clock_timestamp() + make_interval(secs => $4) END
RETURNING failures, paused_at

-- name: services_work(port: PortName) -> maybe
-- Whether this ends a pause is asked of the locked row: it may have begun after the transaction did.
WITH before AS MATERIALIZED (
    SELECT paused_until IS NOT NULL AS was_paused FROM port_health WHERE port = $1 FOR UPDATE
)
INSERT INTO port_health AS known (port) SELECT $1 FROM (SELECT) AS one LEFT JOIN before ON true
ON CONFLICT (port) DO UPDATE SET failures = 0, paused_at = NULL, paused_until = NULL, trying = NULL, text = NULL
WHERE known.failures > 0
RETURNING (SELECT was_paused FROM before)

-- name: try_port_now(port: PortName) -> none
UPDATE port_health SET paused_until = clock_timestamp() WHERE port = $1 AND paused_until > clock_timestamp()

-- name: doubt_ports(ports: Sequence[PortName]) -> none
-- Another start may be another program: what is paused is tried at once, and what worked is to show that it does.
WITH doubted AS (DELETE FROM port_health WHERE port = ANY($1::text[]) AND paused_until IS NULL)
UPDATE port_health SET paused_until = clock_timestamp()
WHERE port = ANY($1::text[]) AND paused_until > clock_timestamp()

-- name: forget_health(ports: Sequence[PortName]) -> many ForgottenHealth
DELETE FROM port_health WHERE port = ANY($1::text[]) RETURNING port, paused_until IS NOT NULL AS was_paused
