-- Staging folders: whose they are, and what in them must not be removed.

-- name: register_staging
-- What was put off because nobody could reach the folder is ready again.
WITH me AS (
    SELECT id, node, host FROM incarnation WHERE id = $1
), earlier AS (
    UPDATE staging SET incarnation = NULL FROM me
    WHERE staging.node = me.node AND staging.port = $2 AND staging.id <> $3
), woken AS (
    UPDATE queue SET reason = 'ready', not_before = NULL, error = NULL
    WHERE staged_in = $3 AND port = $2 AND reason = 'address_unavailable'
)
INSERT INTO staging (id, node, host, port, folder, incarnation)
SELECT $3, me.node, me.host, $2, $4, me.id FROM me
ON CONFLICT (id, node) DO UPDATE
SET host = excluded.host, port = excluded.port, folder = excluded.folder, incarnation = excluded.incarnation

-- name: call_in_promised
-- What was put off while the process that can publish it was taken for dead.
UPDATE queue SET reason = 'ready', not_before = NULL, error = NULL
FROM staging WHERE staging.incarnation = $1 AND queue.staged_in = staging.id AND queue.reason = 'address_unavailable'

-- name: known_staging
-- The folder that this node last used for a port.
SELECT s.id FROM staging s JOIN incarnation i ON i.node = s.node
WHERE i.id = $1 AND s.port = $2 ORDER BY s.incarnation DESC NULLS LAST LIMIT 1

-- name: needed_staged
-- Of files found in a staging folder those that are promised, or that somebody who lives may still promise: both asked
-- of one moment, because a lease may end by a promise.
SELECT found.name FROM unnest($2::text[], $3::bigint[]) AS found (name, fence)
WHERE EXISTS (SELECT 1 FROM lease l WHERE l.fence = found.fence)
   OR found.name IN (SELECT q.staged_name FROM queue q WHERE q.staged_name IS NOT NULL AND q.port = $1)

-- name: unreachable_staging
-- Folders with promised files of a port that no living process uses. What is promised is the oldest that waits, so a
-- look at the first ones is enough.
SELECT promised.staged_in, known.folder, known.host
FROM (
    SELECT DISTINCT staged_in FROM (
        SELECT staged_in FROM queue
        WHERE direction = 'out' AND port = $1 AND reason = 'ready' AND lane IS NULL ORDER BY message_id LIMIT 1000
    ) AS first WHERE staged_in IS NOT NULL
) AS promised
LEFT JOIN LATERAL (
    SELECT folder, host FROM staging s WHERE s.id = promised.staged_in ORDER BY s.incarnation DESC NULLS LAST LIMIT 1
) AS known ON true
WHERE NOT EXISTS (
    SELECT 1 FROM staging s JOIN incarnation i ON i.id = s.incarnation
    WHERE s.id = promised.staged_in AND i.stopped_at IS NULL AND i.lost_at IS NULL
)

-- name: put_off_promised
UPDATE queue SET reason = 'address_unavailable', error = $3,
                 not_before = clock_timestamp() + make_interval(secs => $4), changed_at = clock_timestamp()
WHERE direction = 'out' AND port = $1 AND reason = 'ready' AND lane IS NULL AND staged_in = $2
