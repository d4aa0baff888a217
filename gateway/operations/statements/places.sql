-- Why something is where it is: the facts around one message, one lane, one file. Reads only, each bounded.

-- name: place_of_message(key: MessageKey) -> maybe QueuedPlace
-- Where an unfinished message stands. `before` counts older ready messages of its port, up to a thousand.
SELECT q.set_id AS set_key, q.policy AS "policy: Policy", q.staged_name, v.display AS file, q.fence,
       (SELECT count(*) FROM (SELECT 1 FROM queue o WHERE o.direction = q.direction AND o.port = q.port
                              AND o.status = 'ready' AND o.not_before IS NULL AND o.lane IS NULL
                              AND o.message_id < q.message_id LIMIT 1000) AS older
       ) AS before
FROM queue q JOIN message m ON m.id = q.message_id LEFT JOIN delivery v ON v.claim_id = m.claim_id
WHERE q.message_id = $1

-- name: fence_of_request(key: MessageKey) -> maybe
SELECT fence FROM send_request WHERE id = $1

-- name: read_lane(port: PortName, lane: LaneName) -> one StoredLane
-- A lane and what stands in it; also one without a row, whose messages are all held or failed.
SELECT l.head, l.not_before, l.fence, coalesce(l.on_error,
           (SELECT r.on_error FROM lane_rule r WHERE r.port = $1 AND r.name = $2),
           (SELECT p.on_error FROM port_rule p WHERE p.port = $1), 'continue') AS on_error, l.blocked_by, l.parked_by,
       EXISTS (SELECT 1 FROM lane_rule r WHERE r.port = $1 AND r.name = $2) AS ruled,
       (SELECT min(message_id) FROM queue q WHERE q.port = $1 AND q.lane = $2) AS first,
       (SELECT count(*) FROM queue q WHERE q.port = $1 AND q.lane = $2 AND q.status IN ('ready', 'in_process')) AS waiting,
       (SELECT count(*) FROM queue q WHERE q.port = $1 AND q.lane = $2 AND q.status = 'hold') AS held,
       (SELECT count(*) FROM queue q WHERE q.port = $1 AND q.lane = $2 AND q.status = 'error') AS failed
FROM (SELECT 1) AS one LEFT JOIN lane l ON l.port = $1 AND l.name = $2

-- name: lanes_named(name: str) -> many NamedLane
-- Lanes of any port with this name that have a row or an unfinished message.
SELECT DISTINCT port AS "port!: PortName", lane AS "name!: LaneName" FROM (
    SELECT port, name AS lane FROM lane WHERE name = $1
    UNION ALL SELECT port, lane FROM queue WHERE lane = $1
) AS known ORDER BY port LIMIT 20

-- name: lane_was(port: PortName, conversation: str | None, set_key: int | None, latest: int) -> one
-- Whether the latest messages of all ports had one in this lane ($3: number of the set that it names): lanes without work
-- leave no row. A conversation with a long id is named by its beginning.
SELECT EXISTS (SELECT 1 FROM message_set WHERE port = $1 AND id = $3)
    OR EXISTS (
        SELECT 1 FROM (
            (SELECT port, conversation_id FROM message ORDER BY created_at DESC LIMIT $4)
            UNION ALL (SELECT port, conversation_id FROM message_set ORDER BY created_at DESC LIMIT $4)
        ) AS latest
        WHERE port = $1 AND (conversation_id = $2 OR length(conversation_id) > 200
              AND starts_with($2, left(conversation_id, 100) || '~')))

-- name: other_message(key: int) -> maybe OtherMessage
SELECT q.message_id AS key, q.status AS "status!: Status",
       CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END AS "reason!: Reason",
       q.changed_at AS since, q.set_id AS set_key, q.error, v.display AS file, q.not_before
FROM queue q JOIN message m ON m.id = q.message_id LEFT JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
WHERE q.message_id = $1

-- name: nearest_ahead(port: PortName, lane: LaneName, key: MessageKey) -> maybe
-- The unfinished message that comes first in the lane: the one that is worked on or waits, not what is set aside.
SELECT message_id AS key FROM queue
WHERE port = $1 AND lane = $2 AND message_id < $3 AND status IN ('ready', 'in_process')
ORDER BY message_id LIMIT 1

-- name: culprit_of_set(set_key: int) -> maybe
-- The message whose failure stopped a set: the latest that failed and still waits for an operator.
SELECT q.message_id AS key
FROM message_set s JOIN message m ON m.claim_id = s.claim_id JOIN queue q ON q.message_id = m.id
WHERE s.id = $1 AND q.status = 'error' ORDER BY q.changed_at DESC, q.message_id LIMIT 1

-- name: sets_named(key: int | None, batch_id: str, ports: Sequence[str]) -> many NamedSet
-- Message sets of this number or batch id, the newest first; with how their unfinished messages stand.
SELECT s.id AS key, s.port, s.batch_id, s.policy, s.members, s.processed, s.deleted, s.status, v.display AS file,
       count(q.message_id) FILTER (WHERE q.status IN ('ready', 'in_process')) AS waiting,
       count(q.message_id) FILTER (WHERE q.status = 'hold') AS held,
       count(q.message_id) FILTER (WHERE q.status = 'error') AS failed,
       min(q.message_id) FILTER (WHERE q.status = 'error') AS first_failed, min(q.message_id) AS first
FROM message_set s LEFT JOIN delivery v ON v.claim_id = s.claim_id
LEFT JOIN (message m JOIN queue q ON q.message_id = m.id) ON m.claim_id = s.claim_id
WHERE s.id = $1 OR (s.port = ANY($3::text[]) AND s.batch_id = $2)
GROUP BY s.id, v.display ORDER BY s.id DESC LIMIT 5

-- name: holder_of_lease(fence: int) -> maybe LeaseHolder
SELECT l.fence, l.stage, l.port, l.taken_at, coalesce(i.host, '?') AS host, coalesce(i.pid, 0) AS pid, i.stopped_at,
       i.lost_at, coalesce(extract(epoch FROM clock_timestamp() - greatest(i.beat_at, parent.beat_at))::float8, 'infinity')
           AS silent_seconds
FROM lease l LEFT JOIN incarnation i ON i.id = l.owner LEFT JOIN incarnation parent ON parent.id = i.parent
WHERE l.fence = $1

-- name: turn_of_intake(port: PortName) -> maybe IntakeTurn
SELECT k.since, i.host, i.pid, i.stopped_at, i.lost_at, extract(epoch FROM clock_timestamp() - i.beat_at)::float8 AS silent_seconds
FROM intake k JOIN incarnation i ON i.id = k.owner WHERE k.port = $1

-- name: messages_in_work(port: PortName, stage: str | None) -> one
-- Messages and send requests of a port that are claimed now: by one stage, or by any.
WITH its AS (SELECT fence FROM lease WHERE port = $1 AND ($2::text IS NULL OR stage = $2))
SELECT (SELECT count(*) FROM queue WHERE fence IN (SELECT fence FROM its))
       + (SELECT count(*) FROM send_request WHERE fence IN (SELECT fence FROM its))

-- name: ports_in_work(stage: str) -> many
SELECT DISTINCT port FROM lease WHERE stage = $1

-- name: answers_of_message(key: MessageKey) -> many AnswerPlace
SELECT m.id AS key, m.is_fault, m.file_name AS file, CASE m.outcome WHEN 'sent' THEN m.finished_at END AS sent_at,
       q.reason AS "reason: Reason", coalesce(q.attempts, 0) AS attempts, q.error
FROM message m LEFT JOIN queue q ON q.message_id = m.id WHERE m.request_id = $1 ORDER BY m.id

-- name: deliveries_named(name: bytes, limit: int) -> many NamedDelivery
-- Files of this name that were taken, the newest first; with how far their messages are.
SELECT v.claim_id::text AS claim_id, v.port, v.display AS file, v.received_at, v.settlement,
       CASE v.outcome WHEN 'refused' THEN coalesce(v.reason, v.code) END AS refused,
       its.first, its.last, greatest(its.messages, v.envelopes) AS messages,
       greatest(its.messages, v.envelopes) - its.waiting - its.stopped AS finished, its.waiting, its.stopped,
       answers.unsent, answers.stuck
FROM delivery v CROSS JOIN LATERAL (
    SELECT min(m.id) AS first, max(m.id) AS last, count(*) AS messages,
           count(*) FILTER (WHERE q.status IN ('ready', 'in_process')) AS waiting,
           count(*) FILTER (WHERE q.status IN ('hold', 'error', 'malformed')) AS stopped
    FROM message m LEFT JOIN queue q ON q.message_id = m.id WHERE m.claim_id = v.claim_id
) AS its CROSS JOIN LATERAL (
    SELECT count(*) AS unsent,
           count(*) FILTER (WHERE q.reason <> 'running' AND (q.reason <> 'ready' OR q.attempts > 0)) AS stuck
    FROM message m JOIN message a ON a.request_id = m.id JOIN queue q ON q.message_id = a.id
    WHERE m.claim_id = v.claim_id
) AS answers
WHERE v.name = $1 ORDER BY v.received_at DESC LIMIT $2

-- name: unfinished_of_claim(claim_id: str, limit: int) -> many
-- The messages of a file, and the answers to them, that are not finished: those that need somebody first.
WITH its AS (SELECT id FROM message WHERE claim_id = $1::text::uuid)
SELECT q.message_id AS key
FROM (SELECT id FROM its UNION ALL SELECT a.id FROM message a JOIN its ON a.request_id = its.id) AS m
JOIN queue q ON q.message_id = m.id
ORDER BY (q.status IN ('error', 'hold', 'malformed')) DESC, (q.attempts > 0) DESC, q.message_id LIMIT $2

-- name: messages_by_file(name: str, ports: Sequence[str]) -> many
-- Files that we wrote, or are to write, under this name.
SELECT id AS key FROM message WHERE port = ANY($2::text[]) AND file_name = $1 ORDER BY id LIMIT 5

-- name: latest_file_names(limit: int) -> many
(SELECT display AS "name!" FROM delivery ORDER BY received_at DESC LIMIT $1)
UNION
(SELECT file_name FROM message WHERE file_name IS NOT NULL AND created_at > (
    SELECT min(created_at) FROM (SELECT created_at FROM message ORDER BY created_at DESC LIMIT $1) AS latest))

-- name: service_jobs(handlers: Sequence[str]) -> many ServiceJob
-- Jobs that run one of the gateway's services.
SELECT t.handler AS "handler!: Stage", j.name, j.status, j.mode = 'timed' AS timed, j.next_start
FROM task t JOIN job j ON j.id = t.job_id WHERE t.handler = ANY($1::text[]) ORDER BY j.name
