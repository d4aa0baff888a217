-- The lease of the intake of a port: who takes its files. A process that stopped or was lost holds none.

-- name: read_intake(port: PortName) -> maybe IntakeOwner
SELECT k.owner, o.id IS NOT NULL AS owner_lives, a.id AS asking
FROM intake k
LEFT JOIN incarnation o ON o.id = k.owner AND o.stopped_at IS NULL AND o.lost_at IS NULL
LEFT JOIN incarnation a ON a.id = k.asking AND a.stopped_at IS NULL AND a.lost_at IS NULL
WHERE k.port = $1

-- name: begin_intake(port: PortName, incarnation: int) -> maybe
INSERT INTO intake (port, owner) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING owner

-- name: inherit_intake(port: PortName, owner: int, incarnation: int) -> maybe
-- Only from the dead owner that was seen; of several heirs one succeeds.
UPDATE intake SET owner = $3, asking = nullif(asking, $3), since = clock_timestamp() WHERE port = $1 AND owner = $2
RETURNING owner

-- name: request_intake(port: PortName, incarnation: int) -> none
UPDATE intake SET asking = $2 WHERE port = $1

-- name: end_intake(port: PortName, incarnation: int) -> none
DELETE FROM intake WHERE port = $1 AND owner = $2

-- name: guard_intake(port: PortName, incarnation: int) -> maybe
-- The guard of every ingestion: whoever wants to take over waits for its commit.
SELECT 1 FROM intake WHERE port = $1 AND owner = $2 FOR SHARE
