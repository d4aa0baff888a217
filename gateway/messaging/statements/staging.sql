-- Staging folders: whose they are, and what in them must not be removed.

-- name: register_staging(incarnation: int, port: PortName, staging: UUID, folder: str) -> none
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

-- name: reclaim_promised(incarnation: int) -> none
-- What was put off while the process that can publish it was taken for dead.
UPDATE queue SET reason = 'ready', not_before = NULL, error = NULL
FROM staging WHERE staging.incarnation = $1 AND queue.staged_in = staging.id AND queue.reason = 'address_unavailable'

-- name: reclaim_put_off(port: PortName, staging: UUID) -> none
-- The address can be used again: what was put off for it is ready; of what is promised that in our staging folder.
UPDATE queue SET reason = 'ready', not_before = NULL, error = NULL
WHERE direction = 'out' AND port = $1 AND reason = 'address_unavailable' AND (staged_in IS NULL OR staged_in = $2)

-- name: is_put_off(port: PortName) -> one
-- Whether anything of a port waits for its address.
SELECT EXISTS (SELECT 1 FROM queue WHERE direction = 'out' AND port = $1 AND reason = 'address_unavailable')

-- name: known_staging(incarnation: int, port: PortName) -> maybe
-- The folder that this node last used for a port.
SELECT s.id FROM staging s JOIN incarnation i ON i.node = s.node
WHERE i.id = $1 AND s.port = $2 ORDER BY s.incarnation DESC NULLS LAST LIMIT 1

-- name: needed_staged(port: PortName, names: Sequence[str], fences: Sequence[Fence | None]) -> many
-- Of files found in a staging folder those that are promised, or that somebody who lives may still promise: both asked
-- of one moment, because a lease may end by a promise.
SELECT found.name AS "name!" FROM unnest($2::text[], $3::bigint[]) AS found (name, fence)
WHERE EXISTS (SELECT 1 FROM lease l WHERE l.fence = found.fence)
   OR found.name IN (SELECT q.staged_name FROM queue q WHERE q.staged_name IS NOT NULL AND q.port = $1)

-- name: unreachable_staging(port: PortName) -> many UnreachableStaging
-- Folders with promised files of a port that no living process uses. What is promised is the oldest that waits, so a
-- look at the first ones is enough.
SELECT promised.staged_in AS "staged_in!", known.folder, known.host
FROM (
    SELECT DISTINCT staged_in FROM (
        SELECT staged_in FROM queue
        WHERE direction = 'out' AND port = $1 AND status = 'ready' AND not_before IS NULL AND lane IS NULL
        ORDER BY message_id NULLS FIRST LIMIT 1000
    ) AS first WHERE staged_in IS NOT NULL
) AS promised
LEFT JOIN LATERAL (
    SELECT folder, host FROM staging s WHERE s.id = promised.staged_in ORDER BY s.incarnation DESC NULLS LAST LIMIT 1
) AS known ON true
WHERE NOT EXISTS (
    SELECT 1 FROM staging s JOIN incarnation i ON i.id = s.incarnation
    WHERE s.id = promised.staged_in AND i.stopped_at IS NULL AND i.lost_at IS NULL
)

-- name: promised_beside(keys: Sequence[MessageKey]) -> many PromisedBeside
-- Everything that is promised in the staging folders of the messages named; `reachable` says that a living process uses
-- the folder. Reads only.
SELECT q.message_id AS key, q.port, m.file_name AS file, m.is_fault, known.folder, known.host,
       q.status = 'in_transport' OR EXISTS (
           SELECT 1 FROM staging s JOIN incarnation i ON i.id = s.incarnation
           WHERE s.id = q.staged_in AND i.stopped_at IS NULL AND i.lost_at IS NULL) AS reachable
FROM queue q JOIN message m ON m.id = q.message_id
LEFT JOIN LATERAL (
    SELECT folder, host FROM staging s WHERE s.id = q.staged_in ORDER BY s.incarnation DESC NULLS LAST LIMIT 1
) AS known ON true
WHERE q.staged_in IN (SELECT n.staged_in FROM queue n WHERE n.message_id = ANY($1::bigint[]))
ORDER BY q.message_id

-- name: lock_lost_promises(keys: Sequence[MessageKey]) -> many
-- Of the messages named those whose folder still nobody uses. A process that comes back with it right now finds them
-- locked, and then no promise; or it has claimed them first, and then they are not lost.
SELECT q.message_id FROM queue q
WHERE q.message_id = ANY($1::bigint[]) AND q.staged_in IS NOT NULL AND q.fence IS NULL AND NOT EXISTS (
    SELECT 1 FROM staging s JOIN incarnation i ON i.id = s.incarnation
    WHERE s.id = q.staged_in AND i.stopped_at IS NULL AND i.lost_at IS NULL
)
ORDER BY q.message_id FOR UPDATE OF q

-- name: give_up_promises(keys: Sequence[MessageKey]) -> none
-- As if nothing had been staged; what an operator holds stays held, what failed stays failed.
UPDATE queue SET staged_name = NULL, staged_in = NULL, not_before = NULL,
                 reason = CASE status WHEN 'ready' THEN 'ready' ELSE reason END,
                 error = CASE status WHEN 'ready' THEN NULL ELSE error END, changed_at = clock_timestamp()
WHERE message_id = ANY($1::bigint[])

-- name: lost_staging(key: MessageKey) -> maybe LostStaging
-- Where the file of a message is prepared, when no living process uses that folder.
SELECT known.folder, known.host
FROM queue q
LEFT JOIN LATERAL (
    SELECT folder, host FROM staging s WHERE s.id = q.staged_in ORDER BY s.incarnation DESC NULLS LAST LIMIT 1
) AS known ON true
WHERE q.message_id = $1 AND q.staged_in IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM staging s JOIN incarnation i ON i.id = s.incarnation
    WHERE s.id = q.staged_in AND i.stopped_at IS NULL AND i.lost_at IS NULL
)

-- name: put_off_promised(port: PortName, staged_in: UUID, text: str, most_seconds: float) -> none
UPDATE queue SET reason = 'address_unavailable', error = $3,
                 not_before = clock_timestamp() + make_interval(secs => $4), changed_at = clock_timestamp()
WHERE direction = 'out' AND port = $1 AND status = 'ready' AND not_before IS NULL AND lane IS NULL AND staged_in = $2
