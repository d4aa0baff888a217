-- Locks as everywhere: message sets, lanes, queue rows. Running messages are neither locked nor waited for.

-- name: queued_with_bound(keys: Sequence[MessageKey]) -> many QueuedMessage
-- The messages named, and the requests that their set binds to them: under Halt and Rollback all of it, under Continue
-- what waits because too many have failed. In order, not locked.
SELECT q.message_id, q.port, q.direction, q.status,
       CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END AS reason, q.lane, q.set_id
FROM queue q
LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
WHERE q.message_id = ANY($1::bigint[])
   OR ((q.policy <> 'continue' OR q.reason = 'set_halted') AND q.message_id = ANY(ARRAY(
           SELECT m.id FROM message m WHERE m.claim_id IN (
               SELECT s.claim_id FROM queue n JOIN message_set s ON s.id = n.set_id
               WHERE n.message_id = ANY($1::bigint[]) AND n.direction = 'in'))))
ORDER BY q.message_id

-- name: queued(keys: Sequence[MessageKey]) -> many QueuedMessage
SELECT message_id, port, direction, status, reason, lane, set_id FROM queue WHERE message_id = ANY($1::bigint[]) ORDER BY message_id

-- name: named_requests(keys: Sequence[MessageKey]) -> many NamedRequest
-- Send requests cannot be held: what they are is told.
SELECT id AS message_id, status FROM send_request WHERE id = ANY($1::bigint[]) ORDER BY id

-- name: lock_sets(sets: Sequence[SetKey]) -> many
SELECT id FROM message_set WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE

-- name: hold(keys: Sequence[MessageKey]) -> many
-- Only what has not started: a running message is not waited for.
WITH chosen AS (
    SELECT message_id FROM queue WHERE message_id = ANY($1::bigint[]) AND status = 'ready' ORDER BY message_id FOR UPDATE
)
UPDATE queue SET status = 'hold', reason = 'held_by_operator', not_before = NULL, changed_at = clock_timestamp()
FROM chosen WHERE queue.message_id = chosen.message_id
RETURNING queue.message_id

-- name: release(keys: Sequence[MessageKey]) -> many
-- Back to work, in its own place; failed messages begin their tries anew, and requests are judged anew.
WITH chosen AS (
    SELECT message_id FROM queue WHERE message_id = ANY($1::bigint[]) AND status IN ('hold', 'error')
    ORDER BY message_id FOR UPDATE
)
UPDATE queue SET status = 'ready', reason = CASE WHEN lane IS NULL THEN 'ready' ELSE 'behind_in_lane' END,
                 error = NULL, attempts = 0, crashes = 0, held_loop = false, store_waits = 0, not_before = NULL,
                 judge_anew = direction = 'in', changed_at = clock_timestamp()
FROM chosen WHERE queue.message_id = chosen.message_id
RETURNING queue.message_id

-- name: release_requests(keys: Sequence[MessageKey]) -> many NamedRequest
-- Failed send requests begin their tries anew; told is what every one that was named had been.
WITH named AS (
    SELECT id, status FROM send_request WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE
), released AS (
    UPDATE send_request r SET status = 'ready', reason = 'ready', error = NULL, attempts = 0, crashes = 0, held_loop = false,
                              store_waits = 0, changed_at = clock_timestamp()
    FROM named WHERE r.id = named.id AND named.status = 'error'
)
SELECT id AS message_id, status FROM named ORDER BY id

-- name: reopen_sets(sets: Sequence[SetKey]) -> none
-- What was released runs as if nothing had failed yet; the set stays in error while other members of it are.
UPDATE message_set s
SET failed = 0,
    status = CASE WHEN EXISTS (SELECT 1 FROM message m JOIN queue q ON q.message_id = m.id
                               WHERE m.claim_id = s.claim_id AND q.status = 'error')
                  THEN s.status ELSE 'ready' END
WHERE s.id = ANY($1::bigint[])

-- name: retry_queued(keys: Sequence[MessageKey]) -> many
-- What waits for another try is due now; a lane waits as its head does.
WITH chosen AS (
    SELECT message_id FROM queue WHERE message_id = ANY($1::bigint[]) AND not_before IS NOT NULL
    ORDER BY message_id FOR UPDATE
)
UPDATE queue SET not_before = statement_timestamp() FROM chosen WHERE queue.message_id = chosen.message_id
RETURNING queue.message_id

-- name: retry_requests_now(keys: Sequence[MessageKey]) -> many WaitingRequest
-- Send requests that wait are due now; told is what every one that was named had been.
WITH named AS (
    SELECT id, status, not_before IS NOT NULL AS waits FROM send_request
    WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE
), due AS (
    UPDATE send_request r SET not_before = statement_timestamp() FROM named WHERE r.id = named.id AND named.waits
)
SELECT id AS message_id, status, waits FROM named ORDER BY id

-- name: delete_queued(keys: Sequence[MessageKey]) -> many
-- What stands still for good leaves the queue, and stays in the history. A response that was promised and then held may
-- have been published already: it is not deleted.
WITH chosen AS (
    SELECT message_id FROM queue
    WHERE message_id = ANY($1::bigint[])
      AND (status IN ('error', 'malformed') OR (status = 'hold' AND staged_name IS NULL))
    ORDER BY message_id FOR UPDATE
), gone AS (
    DELETE FROM queue USING chosen WHERE queue.message_id = chosen.message_id
    RETURNING queue.message_id, queue.set_id, queue.direction
), told AS (
    UPDATE message SET outcome = 'deleted', finished_at = clock_timestamp() FROM gone WHERE message.id = gone.message_id
), sets AS (
    UPDATE message_set SET deleted = deleted + members_gone.number,
           status = CASE WHEN processed + deleted + members_gone.number = members THEN 'completed' ELSE status END
    FROM (SELECT set_id, count(*)::int AS number FROM gone WHERE direction = 'in' GROUP BY set_id) AS members_gone
    WHERE message_set.id = members_gone.set_id
)
SELECT message_id FROM gone

-- name: delete_requests(keys: Sequence[MessageKey]) -> many NamedRequest
-- Failed send requests become what their message would have been, deleted; told is what every one that was named had been.
WITH named AS (
    SELECT id, status FROM send_request WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE
), gone AS (
    DELETE FROM send_request r USING named WHERE r.id = named.id AND named.status = 'error' RETURNING r.*
), told AS (
    INSERT INTO message (id, direction, port, position, message_id, namespace, service, operation, company,
                         partition_key, conversation_id, submitter, size_bytes, created_at, outcome, finished_at)
    SELECT id, 'out', port, 1, message_id, '', service, operation, company, partition_key, conversation_id, submitter, 0,
           created_at, 'deleted', clock_timestamp()
    FROM gone
)
SELECT id AS message_id, status FROM named ORDER BY id
