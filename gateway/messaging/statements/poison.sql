-- name: count_crashes(keys: Sequence[MessageKey]) -> many CrashedMessage
-- The attempt stays counted as well: what takes it back from the dead gives one attempt back.
WITH messages AS (
    UPDATE queue q SET crashes = q.crashes + 1, attempts = q.attempts + 1
    FROM message m WHERE q.message_id = ANY($1::bigint[]) AND m.id = q.message_id
    RETURNING q.message_id AS key, q.port, m.service, m.operation, q.crashes
), requests AS (
    UPDATE send_request SET crashes = crashes + 1, attempts = attempts + 1
    WHERE id = ANY($1::bigint[])
    RETURNING id AS key, port, service, operation, crashes
)
SELECT key, port, coalesce(service || '.' || operation, 'its operation') AS "operation!", crashes FROM messages
UNION ALL SELECT key, port, service || '.' || operation, crashes FROM requests ORDER BY key

-- name: note_held_loop(key: MessageKey) -> none
-- The try is counted by the claim that judges it. One that holds its loop while the try before is judged does so in a
-- compensation, and would for ever: that is a crash.
WITH message AS (
    UPDATE queue SET held_loop = true, crashes = crashes + held_loop::int WHERE message_id = $1
)
UPDATE send_request SET held_loop = true, crashes = crashes + held_loop::int WHERE id = $1

-- name: ports_of(keys: Sequence[MessageKey]) -> many
SELECT port FROM queue WHERE message_id = ANY($1::bigint[]) UNION SELECT port FROM send_request WHERE id = ANY($1::bigint[])
