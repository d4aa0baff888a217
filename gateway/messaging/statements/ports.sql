-- name: write_port_status(port: PortName, state: str, reason: str | None, left_in_place: str,
--     incarnation: int) -> one
INSERT INTO port_status (port, state, reason, left_in_place, incarnation)
VALUES ($1, $2, $3, $4::text::jsonb, $5)
ON CONFLICT (port, incarnation) DO UPDATE SET state = excluded.state, reason = excluded.reason,
    left_in_place = excluded.left_in_place, changed_at = clock_timestamp()
RETURNING changed_at

-- name: retry_port(port: PortName) -> many RetriedMessage
-- What waits for another try is due now; whoever hears of it makes it ready. A lane waits as its head does.
WITH messages AS (
    UPDATE queue SET not_before = statement_timestamp()
    WHERE port = $1 AND not_before > statement_timestamp() AND lane IS NULL RETURNING 1
), lanes AS (
    UPDATE lane SET not_before = statement_timestamp()
    WHERE port = $1 AND not_before > statement_timestamp() AND fence IS NULL RETURNING 1
), requests AS (
    UPDATE send_request SET not_before = statement_timestamp()
    WHERE port = $1 AND not_before > statement_timestamp() RETURNING 1
)
SELECT (SELECT count(*) FROM messages) AS messages, (SELECT count(*) FROM lanes) AS lanes,
       (SELECT count(*) FROM requests) AS requests
