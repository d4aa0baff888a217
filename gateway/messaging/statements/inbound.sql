-- name: claim_in_turn(port: PortName, turn_timeout: str, idle_timeout: str) -> none
-- Where the number of messages in work is bounded, claims of a port are made one after another, in all gateways. Nobody
-- waits long for the turn ($2, which has to count before the wait begins), and who is frozen in the middle loses it ($3).
SELECT CASE WHEN set_config('lock_timeout', $2, true) <> '' THEN
           pg_advisory_xact_lock(hashtextextended('claim:' || $1, 0)) END,
       set_config('idle_in_transaction_session_timeout', $3, true)

-- name: await_room(port: PortName, incarnation: int) -> one
-- The port is full: claims of others will tell that they end. Their rows decide: whoever ends one sees our mark, or has it
-- locked by now. Those that are locked are not waited for, their process may be frozen; true tells that there are some.
WITH others AS (
    SELECT fence FROM lease WHERE port = $1 AND stage = 'inbound' AND owner <> $2 AND NOT awaited
    FOR UPDATE SKIP LOCKED
), marked AS (
    UPDATE lease SET awaited = true FROM others WHERE lease.fence = others.fence
)
SELECT count(*) > (SELECT count(*) FROM others) FROM lease
WHERE port = $1 AND stage = 'inbound' AND owner <> $2 AND NOT awaited

-- name: oldest_claimable(port: PortName, pause_seconds: float) -> one OldestClaimable
-- Of lanes and of messages without one the oldest that may run: of each the first entry of the index it is claimed by.
-- And what decides how many may be claimed: a statement of its own after claim_in_turn, because it must see what was
-- claimed while we waited. A try whose time is further ahead than one can be was put off before the clock was set back.
SELECT (SELECT l.head FROM lane l
        WHERE l.port = $1 AND l.fence IS NULL AND l.not_before IS NULL AND l.head IS NOT NULL
        ORDER BY l.head LIMIT 1) AS lane,
       (SELECT q.message_id FROM queue q
        WHERE q.direction = 'in' AND q.port = $1 AND q.status = 'ready' AND q.not_before IS NULL AND q.lane IS NULL
        ORDER BY q.message_id NULLS FIRST LIMIT 1) AS free,
       (SELECT coalesce(sum(messages), 0)::int FROM lease WHERE port = $1 AND stage = 'inbound') AS in_work,
       h.failures, h.paused_until IS NOT NULL AS is_paused, h.trying,
       h.paused_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + make_interval(secs => $2)
           AND NOT EXISTS (SELECT FROM lease l WHERE l.fence = h.trying) AS is_due
FROM (SELECT $1::text AS port) AS asked LEFT JOIN port_health h ON h.port = asked.port

-- name: claim_lanes(port: PortName, fence: Fence, most: int, most_bytes: int) -> many
-- A lane is locked, then leased with a run of its messages from the head; SKIP LOCKED passes lanes
-- that somebody is just filling or emptying. The oldest lanes get what the limits of messages and bytes allow, at least
-- one message; of each twice its share is looked at, so that long lanes cost no more than short ones. A Rollback set is
-- taken whole and alone, even beyond the limits. Where an error blocks, a run ends before the first message that is not
-- workable.
-- A limit that is a value alone is planned as a tenth of the table, or anew at every claim, which costs more than the
-- claim itself. In a SELECT of its own below a fixed limit it is neither: one plan is made and kept.
WITH heads AS (
    SELECT name, head, on_error FROM (
        SELECT name, head, on_error FROM lane
        WHERE port = $1 AND fence IS NULL AND not_before IS NULL AND head IS NOT NULL
        ORDER BY head LIMIT (SELECT $3::bigint) FOR UPDATE SKIP LOCKED
    ) AS free LIMIT 50
), fronts AS MATERIALIZED (
    SELECT heads.name, heads.head, picked.message_id, first.policy IS NOT DISTINCT FROM 'rollback' AS whole,
           (SELECT m.size_bytes FROM message m WHERE m.id = picked.message_id) AS size
    FROM heads
    JOIN queue first ON first.message_id = heads.head
    LEFT JOIN LATERAL (
        SELECT q.message_id FROM queue q
        WHERE heads.on_error = 'block' AND q.port = $1 AND q.lane = heads.name AND q.status IN ('hold', 'error')
        ORDER BY q.message_id NULLS FIRST LIMIT 1
    ) AS stopped ON true
    CROSS JOIN LATERAL (
        SELECT message_id, sum((policy IS NOT DISTINCT FROM 'rollback')::int) OVER (ORDER BY message_id NULLS FIRST) AS rollbacks
        FROM (
            SELECT message_id, policy FROM queue q
            WHERE first.policy IS DISTINCT FROM 'rollback' AND q.port = $1 AND q.lane = heads.name
              AND q.status = 'ready'
            ORDER BY message_id NULLS FIRST LIMIT 1 + 2 * $3 / (SELECT count(*) FROM heads)
        ) AS front
        UNION ALL
        SELECT message_id, 0 FROM queue q
        WHERE first.policy = 'rollback' AND q.status = 'ready' AND q.message_id = ANY(ARRAY(
            SELECT m.id FROM message_set s JOIN message m ON m.claim_id = s.claim_id WHERE s.id = first.set_id))
    ) AS picked
    WHERE picked.rollbacks = 0 AND (stopped.message_id IS NULL OR picked.message_id < stopped.message_id)
), placed AS (
    SELECT name, message_id, whole,
           row_number() OVER (ORDER BY head, message_id) AS place,
           sum(size) OVER (ORDER BY head, message_id) - size AS bytes_before
    FROM fronts
), run AS (
    SELECT name, message_id
    FROM (SELECT name, message_id, whole, place <= $3 AND bytes_before < $4 AS fits,
                 bool_or(place <= $3 AND bytes_before < $4) OVER (PARTITION BY name) AS some_fit
          FROM placed) AS judged
    WHERE fits OR (whole AND some_fit)
), leased AS (
    UPDATE lane SET fence = $2 WHERE port = $1 AND name = ANY(ARRAY(SELECT DISTINCT name FROM run))
)
UPDATE queue SET status = 'in_process', reason = 'running', fence = $2, attempts = attempts + 1, not_before = NULL,
                 changed_at = clock_timestamp()
WHERE message_id = ANY(ARRAY(SELECT message_id FROM run))
RETURNING message_id

-- name: claim_free(port: PortName, fence: Fence, most: int, most_bytes: int) -> many
-- Messages without a lane, oldest first, up to a number and, after the first, a number of bytes. Sizes are looked up
-- one by one, and what is chosen comes as an array: a plan that joins could read the whole history, the whole queue.
-- Limits as in claim_lanes; no chunk is larger than the fixed one.
WITH next AS (
    SELECT message_id FROM (
        SELECT message_id FROM queue
        WHERE direction = 'in' AND port = $1 AND status = 'ready' AND not_before IS NULL AND lane IS NULL
        ORDER BY message_id NULLS FIRST LIMIT (SELECT $3::bigint) FOR UPDATE SKIP LOCKED
    ) AS free LIMIT 10000
), sized AS MATERIALIZED (
    SELECT message_id, (SELECT m.size_bytes FROM message m WHERE m.id = next.message_id) AS size FROM next
), chosen AS (
    SELECT message_id
    FROM (SELECT message_id, sum(size) OVER (ORDER BY message_id) - size AS bytes_before FROM sized) AS summed
    WHERE bytes_before < $4
)
UPDATE queue SET status = 'in_process', reason = 'running', fence = $2, attempts = attempts + 1,
                 changed_at = clock_timestamp()
WHERE message_id = ANY(ARRAY(SELECT message_id FROM chosen))
RETURNING message_id

-- name: read_claimed(fence: Fence) -> many ClaimedMessage
SELECT m.id, q.port, q.set_id, q.policy, q.lane, m.position, q.attempts, q.crashes, q.held_loop, q.store_waits, q.version, m.message_id, m.message_id_sent,
       m.namespace, m.action, m.service, m.operation, m.company, m.partition_key, m.conversation_id, m.logon_as_user,
       m.submitter, m.parts, m.checked, m.problems, d.content, v.display, m.created_at, l.on_error,
       s.max_failed - s.failed AS failures_left, q.judge_anew, q.faults
FROM queue q
JOIN message m ON m.id = q.message_id
JOIN document d ON d.message_id = q.message_id AND d.version = q.version
JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN lane l ON l.port = q.port AND l.name = q.lane
LEFT JOIN message_set s ON s.id = q.set_id AND s.max_failed IS NOT NULL
WHERE q.fence = $1
ORDER BY m.id

-- name: write_verdicts(keys: Sequence[MessageKey], checked: Sequence[str | None],
--     problems: Sequence[str | None]) -> none
-- What the schemas and rules of today say of released messages; the next release asks again.
WITH judged AS (UPDATE queue SET judge_anew = false WHERE message_id = ANY($1::bigint[]))
UPDATE message SET checked = anew.checked, problems = anew.problems::jsonb
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS anew (id, checked, problems) WHERE message.id = anew.id

-- name: note_faults(keys: Sequence[MessageKey], causes: Sequence[bytes]) -> none
UPDATE queue SET faults = array_append(faults, told.cause)
FROM unnest($1::bigint[], $2::bytea[]) AS told (id, cause) WHERE queue.message_id = told.id

-- name: finish_inbound(keys: Sequence[MessageKey], entity_keys: Sequence[str]) -> none
WITH gone AS (DELETE FROM queue WHERE message_id = ANY($1::bigint[]))
UPDATE message SET outcome = 'processed', finished_at = clock_timestamp(), entity_keys = nullif(done.keys, '{}')::text[]
FROM unnest($1::bigint[], $2::text[]) AS done (id, keys)
WHERE message.id = done.id

-- name: forget_documents(keys: Sequence[MessageKey]) -> none
DELETE FROM document WHERE message_id = ANY($1::bigint[])

-- name: forget_finished(keys: Sequence[MessageKey]) -> none
-- Both directions: the message leaves the queue, and history never knows of it.
WITH gone AS (DELETE FROM queue WHERE message_id = ANY($1::bigint[])),
documents AS (DELETE FROM document WHERE message_id = ANY($1::bigint[]))
DELETE FROM message WHERE id = ANY($1::bigint[])

-- name: count_processed_in_sets(sets: Sequence[SetKey], processed: Sequence[int]) -> none
UPDATE message_set SET processed = processed + done.number,
       status = CASE WHEN processed + done.number + deleted = members THEN 'completed' ELSE status END
FROM unnest($1::bigint[], $2::int[]) AS done (id, number) WHERE message_set.id = done.id

-- name: fail_inbound(keys: Sequence[MessageKey], texts: Sequence[str], most_crashes: int) -> none
UPDATE queue SET status = 'error', reason = CASE WHEN queue.crashes >= $3 THEN 'poison' ELSE 'failed' END, fence = NULL,
                 error = failed.text, changed_at = clock_timestamp()
FROM unnest($1::bigint[], $2::text[]) AS failed (id, text) WHERE queue.message_id = failed.id

-- name: fail_sets(sets: Sequence[SetKey], statuses: Sequence[str], failed: Sequence[int]) -> many FailedSet
-- Returned are sets under Continue in which so many messages have failed now that the rest is to be held.
UPDATE message_set SET status = now_failed.status, failed = failed + now_failed.number
FROM unnest($1::bigint[], $2::text[], $3::int[]) AS now_failed (id, status, number)
WHERE message_set.id = now_failed.id
RETURNING message_set.id, coalesce(policy = 'continue' AND failed >= max_failed, false) AS too_many

-- name: lanes_of_sets(sets: Sequence[SetKey]) -> many LaneOfSet
-- The messages of a set are those of its file; so they are found here and below.
SELECT DISTINCT port, lane AS "lane!" FROM queue
WHERE message_id = ANY(ARRAY(
          SELECT m.id FROM message_set s JOIN message m ON m.claim_id = s.claim_id WHERE s.id = ANY($1::bigint[])))
  AND lane IS NOT NULL AND status = 'ready'

-- name: retry_inbound(keys: Sequence[MessageKey], texts: Sequence[str], delays: Sequence[float],
--     are_free: Sequence[bool], are_busy: Sequence[bool]) -> none
-- What waits for the database did not fail: no attempt is counted, but how often in a row it waits so.
UPDATE queue SET status = 'ready', reason = 'backoff', fence = NULL, error = retry.text, held_loop = false,
                 attempts = greatest(attempts - retry.free::int, 0),
                 store_waits = CASE WHEN retry.busy THEN store_waits + 1 WHEN retry.free THEN store_waits ELSE 0 END,
                 not_before = clock_timestamp() + make_interval(secs => retry.delay), changed_at = clock_timestamp()
FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::bool[], $5::bool[]) AS retry (id, text, delay, free, busy)
WHERE queue.message_id = retry.id

-- name: release_inbound(keys: Sequence[MessageKey]) -> none
-- Back to where they were; an interruption is not an attempt.
UPDATE queue SET status = 'ready', reason = CASE WHEN lane IS NULL THEN 'ready' ELSE 'behind_in_lane' END,
                 fence = NULL, attempts = greatest(attempts - 1, 0), changed_at = clock_timestamp()
WHERE message_id = ANY($1::bigint[])

-- name: hold_set_after(set_key: SetKey, after: MessageKey, fence: Fence) -> none
-- Halt, and Continue after too many failures: what has not been processed waits for an operator. What others have in work
-- is theirs.
UPDATE queue SET status = 'hold', reason = 'set_halted', fence = NULL, not_before = NULL, changed_at = clock_timestamp(),
                 attempts = greatest(attempts - (fence IS NOT NULL)::int, 0)
WHERE message_id = ANY(ARRAY(
          SELECT m.id FROM message_set s JOIN message m ON m.claim_id = s.claim_id WHERE s.id = $1 AND m.id > $2))
  AND (status = 'ready' OR fence = $3)

-- name: hold_rolled_back(set_key: SetKey, failed: MessageKey, fence: Fence) -> none
UPDATE queue SET status = 'hold', reason = 'set_rolled_back', fence = NULL, not_before = NULL, changed_at = clock_timestamp(),
                 attempts = greatest(attempts - (fence IS NOT NULL)::int, 0)
WHERE message_id = ANY(ARRAY(
          SELECT m.id FROM message_set s JOIN message m ON m.claim_id = s.claim_id WHERE s.id = $1 AND m.id <> $2))
  AND (status = 'ready' OR fence = $3)
