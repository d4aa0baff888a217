-- What operators ask. Reads only; every list is bounded.

-- name: list_incarnations() -> many NodeRow
-- The latest start of each node; processes that did one task by hand only while they live.
SELECT DISTINCT ON (node) id, node, host, pid, version, started_at, stopped_at, lost_at, beats, beat_at,
       extract(epoch FROM clock_timestamp() - beat_at)::float8 AS silent_seconds,
       (SELECT count(*) FROM lease l JOIN incarnation o ON o.id = l.owner
        WHERE incarnation.id IN (o.id, o.parent)) AS leases,
       (SELECT min(name) FROM server s WHERE s.incarnation = incarnation.id) AS server
FROM incarnation WHERE parent IS NULL AND (node NOT LIKE 'by-hand-%' OR stopped_at IS NULL) ORDER BY node, id DESC

-- name: list_port_status() -> many SaidRow
-- Of what several nodes say the worst counts; what ended processes said only when nobody lives. That services do not work
-- is known of the port, whoever found it out.
WITH said AS (
    SELECT DISTINCT ON (s.port) s.port, s.state, s.reason, s.left_in_place::text AS left_in_place, s.changed_at
    FROM port_status s LEFT JOIN incarnation i ON i.id = s.incarnation AND i.stopped_at IS NULL AND i.lost_at IS NULL
    ORDER BY s.port, i.id IS NULL, array_position('{stopped,degraded,paused,open}', s.state), s.changed_at DESC
)
SELECT port AS "port!", CASE WHEN h.port IS NULL THEN said.state ELSE 'stopped' END AS "state!",
       CASE WHEN h.port IS NULL THEN said.reason
            WHEN said.state IN ('stopped', 'degraded') THEN concat_ws(' ', h.text, said.reason) ELSE h.text END AS reason,
       coalesce(said.left_in_place, '[]') AS left_in_place, coalesce(h.paused_at, said.changed_at) AS "changed_at!"
FROM said FULL JOIN (SELECT * FROM port_health WHERE paused_at IS NOT NULL) AS h USING (port)
ORDER BY port

-- name: count_queue() -> many QueueCount
-- Messages, and send requests that are to become messages.
SELECT port, direction, status, reason, count(*) AS messages, min(changed_at) AS "oldest!"
FROM (
    SELECT q.port, direction, status, CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END AS reason, changed_at
    FROM queue q LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
    UNION ALL SELECT port, 'out', status, reason, changed_at FROM send_request
) AS unfinished
GROUP BY port, direction, status, reason ORDER BY port, direction, status, reason

-- name: count_ports(ports: Sequence[str], most: int) -> many PortCount
-- What is unfinished at ports, messages and send requests, each number up to $2; `oldest` of what was counted. What was
-- finished in the last minute is told by the answers made in it; where there are none, by what came last. The orders are
-- those of the indexes, so that nothing else is read.
WITH latest AS (
    SELECT port, direction, created_at, finished_at FROM message
    WHERE created_at > statement_timestamp() - interval '1 hour' ORDER BY created_at DESC LIMIT (SELECT $2::bigint)
), finished AS (
    SELECT port, greatest(count(*) FILTER (WHERE direction = 'out' AND created_at > minute.start),
                          count(*) FILTER (WHERE direction = 'in' AND finished_at > minute.start)) AS messages
    FROM latest, (SELECT statement_timestamp() - interval '1 minute' AS start) AS minute GROUP BY port
)
SELECT known.port AS "port!", least(waiting.messages, $2) AS waiting, coalesce(
           (SELECT m.created_at FROM message m WHERE m.id = waiting.first),
           (SELECT r.created_at FROM send_request r WHERE r.id = waiting.first)) AS oldest,
       (SELECT count(*) FROM queue q WHERE q.fence IN (SELECT l.fence FROM lease l WHERE l.port = known.port))
       + (SELECT count(*) FROM send_request r WHERE r.fence IN (SELECT l.fence FROM lease l WHERE l.port = known.port))
           AS running,
       held.messages AS held, least(failed.messages, $2) AS failed, coalesce(finished.messages, 0) AS per_minute
FROM unnest($1::text[]) WITH ORDINALITY AS known (port, place)
CROSS JOIN LATERAL (
    SELECT count(*) AS messages, min(key) AS first FROM (
        (SELECT q.message_id AS key FROM queue q
         WHERE q.direction = 'in' AND q.port = known.port
           AND q.status = 'ready' AND q.not_before IS NULL AND q.lane IS NULL
         ORDER BY q.message_id NULLS FIRST LIMIT (SELECT $2::bigint))
        UNION ALL
        (SELECT q.message_id FROM queue q
         WHERE q.direction = 'out' AND q.port = known.port
           AND q.status = 'ready' AND q.not_before IS NULL AND q.lane IS NULL
         ORDER BY q.message_id NULLS FIRST LIMIT (SELECT $2::bigint))
        UNION ALL
        (SELECT q.message_id FROM queue q
         WHERE q.port = known.port AND q.lane IS NOT NULL AND q.status = 'ready'
         ORDER BY q.lane, q.message_id NULLS FIRST LIMIT (SELECT $2::bigint))
        UNION ALL
        (SELECT q.message_id FROM queue q WHERE q.port = known.port AND q.not_before IS NOT NULL AND q.lane IS NULL
         ORDER BY q.message_id LIMIT (SELECT $2::bigint))
        UNION ALL
        (SELECT r.id FROM send_request r WHERE r.port = known.port AND r.reason = 'ready'
         ORDER BY r.id NULLS FIRST LIMIT (SELECT $2::bigint))
        UNION ALL
        (SELECT r.id FROM send_request r WHERE r.port = known.port AND r.not_before IS NOT NULL
         ORDER BY r.id LIMIT (SELECT $2::bigint))
    ) AS unfinished
) AS waiting
CROSS JOIN LATERAL (
    SELECT count(*) AS messages FROM (
        SELECT 1 FROM queue q WHERE q.port = known.port AND q.status = 'hold'
        ORDER BY q.message_id LIMIT (SELECT $2::bigint)
    ) AS stopped
) AS held
CROSS JOIN LATERAL (
    SELECT count(*) AS messages FROM (
        (SELECT 1 FROM queue q WHERE q.port = known.port AND q.status = 'error'
         ORDER BY q.message_id LIMIT (SELECT $2::bigint))
        UNION ALL
        (SELECT 1 FROM queue q WHERE q.port = known.port AND q.status = 'malformed'
         ORDER BY q.message_id LIMIT (SELECT $2::bigint))
        UNION ALL
        (SELECT 1 FROM send_request r WHERE r.port = known.port AND r.status = 'error'
         ORDER BY r.id LIMIT (SELECT $2::bigint))
    ) AS stopped
) AS failed
LEFT JOIN finished ON finished.port = known.port
ORDER BY known.place

-- name: count_lanes() -> many LaneCount
SELECT port, count(*) AS lanes, count(fence) AS leased, count(blocked_by) AS blocked, count(parked_by) AS parked,
       min(not_before) AS next_due
FROM lane GROUP BY port ORDER BY port

-- name: list_leases(limit: int) -> many LeaseRow
SELECT l.fence, l.stage, l.port, i.host, i.pid, l.taken_at, l.beats,
       (SELECT count(*) FROM queue q WHERE q.fence = l.fence)
       + (SELECT count(*) FROM send_request r WHERE r.fence = l.fence) AS messages
FROM lease l LEFT JOIN incarnation i ON i.id = l.owner ORDER BY l.fence LIMIT $1

-- name: list_runs(limit: int) -> many EventRunRow
SELECT id, job, started_at, ended_at AS "ended_at!", status, counts::text AS counts, error FROM run WHERE ended_at IS NOT NULL ORDER BY started_at DESC LIMIT $1

-- name: list_history(port: PortName | None, direction: str | None, before: int | None, limit: int,
--     outcomes: Sequence[str] | None, since: datetime | None, until: datetime | None, file: str | None,
--     user: str | None, code: str | None) -> many HistoryRow
-- Messages that are finished: no row in the queue. The newest first; `other` is the answer or the answered. A code is
-- that of a failure on the way.
SELECT m.id AS key, m.port, m.message_id, m.direction, m.company, m.service, m.operation, m.outcome, m.is_fault,
       coalesce(v.display, m.file_name) AS file, m.position, m.set_id AS set_key, m.created_at, m.finished_at,
       other.id AS other_key, other.message_id AS other_message_id
FROM message m LEFT JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN LATERAL (
    SELECT o.id, o.message_id FROM message o
    WHERE (m.direction = 'out' AND o.id = m.request_id) OR (m.direction = 'in' AND o.request_id = m.id)
    ORDER BY o.id LIMIT 1
) AS other ON true
WHERE NOT EXISTS (SELECT 1 FROM queue q WHERE q.message_id = m.id)
  AND ($1::text IS NULL OR m.port = $1) AND ($2::text IS NULL OR m.direction = $2) AND ($3::bigint IS NULL OR m.id < $3)
  AND ($5::text[] IS NULL OR CASE WHEN m.is_fault THEN 'fault' ELSE m.outcome END = ANY($5))
  AND ($6::timestamptz IS NULL OR m.finished_at >= $6) AND ($7::timestamptz IS NULL OR m.finished_at <= $7)
  AND ($8::text IS NULL OR coalesce(v.display, m.file_name) ILIKE $8) AND ($9::text IS NULL OR m.submitter = $9)
  AND ($10::text IS NULL OR EXISTS (SELECT 1 FROM exception e WHERE e.message_key = m.id AND e.code LIKE $10))
ORDER BY m.id DESC LIMIT $4

-- name: group_history(port: PortName | None, direction: str | None, outcomes: Sequence[str] | None, since: datetime | None,
--     until: datetime | None, file: str | None, user: str | None, code: str | None) -> many OutcomeRow
-- Finished messages by what became of them, most of one kind first.
SELECT m.port, m.direction, m.service, m.operation, CASE WHEN m.is_fault THEN 'fault' ELSE m.outcome END AS outcome,
       count(*) AS messages, count(DISTINCT coalesce(m.claim_id::text, m.file_name)) AS files, min(m.finished_at) AS oldest,
       max(m.finished_at) AS newest, max(m.id) AS "last!"
FROM message m
WHERE NOT EXISTS (SELECT 1 FROM queue q WHERE q.message_id = m.id)
  AND ($1::text IS NULL OR m.port = $1) AND ($2::text IS NULL OR m.direction = $2)
  AND ($3::text[] IS NULL OR CASE WHEN m.is_fault THEN 'fault' ELSE m.outcome END = ANY($3))
  AND ($4::timestamptz IS NULL OR m.finished_at >= $4) AND ($5::timestamptz IS NULL OR m.finished_at <= $5)
  AND ($6::text IS NULL OR EXISTS (
      SELECT 1 FROM message n LEFT JOIN delivery v ON v.claim_id = n.claim_id
      WHERE n.id = m.id AND coalesce(v.display, n.file_name) ILIKE $6))
  AND ($7::text IS NULL OR m.submitter = $7)
  AND ($8::text IS NULL OR EXISTS (SELECT 1 FROM exception e WHERE e.message_key = m.id AND e.code LIKE $8))
GROUP BY m.port, m.direction, m.service, m.operation, 5 ORDER BY messages DESC, m.port, m.direction LIMIT 1000

-- name: find_messages(key: int | None, message_id: UUID | None) -> many Found
-- Both directions; by our number or by the value of the MessageId.
SELECT m.id AS key, m.message_id, m.direction, m.port,
       EXISTS (SELECT 1 FROM queue q WHERE q.message_id = m.id) AS queued
FROM message m WHERE m.id = $1 OR m.message_id = $2
UNION ALL SELECT id, message_id, 'out', port, true FROM send_request WHERE id = $1 OR message_id = $2
ORDER BY key DESC LIMIT 50

-- name: known_message_ids(message_ids: Sequence[UUID]) -> many
SELECT DISTINCT message_id FROM message WHERE message_id = ANY($1::uuid[])

-- name: read_message(key: int) -> maybe StoredMessage
-- Of a send request only what it will pass on to its message is known. The action of an answer is that of its request.
SELECT m.id AS key, m.direction, m.port, m.position, m.message_id, m.message_id_sent, m.namespace,
       coalesce(m.action, (SELECT asked.action FROM message asked WHERE asked.id = m.request_id)) AS action, m.service,
       m.operation, m.company, m.partition_key, m.conversation_id, m.logon_as_user, m.submitter, m.parts,
       m.problems::text AS problems, m.size_bytes, m.is_fault, coalesce(v.display, m.file_name) AS file, m.entity_keys,
       m.created_at, m.outcome, m.finished_at, m.request_id AS request_key, m.claim_id, m.set_id AS set_key,
       q.status, CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END AS reason, q.lane, q.attempts, q.crashes,
       q.not_before, q.error, q.changed_at AS since
FROM message m LEFT JOIN queue q ON q.message_id = m.id LEFT JOIN delivery v ON v.claim_id = m.claim_id
LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
WHERE m.id = $1
UNION ALL
SELECT id, 'out', port, 1, message_id, NULL, '', NULL, service, operation, company, partition_key, conversation_id, NULL,
       submitter, '{}', NULL, 0, false, NULL,
       ARRAY(SELECT concat(pair ->> 0, '=', pair ->> 1)
             FROM jsonb_array_elements(entity_keys) AS entity (key), jsonb_array_elements(entity.key) AS field (pair)),
       created_at, NULL, NULL, NULL, NULL, NULL, status, reason, NULL, attempts, crashes, not_before, error,
       changed_at
FROM send_request WHERE id = $1

-- name: read_set(set_key: int) -> maybe SetRow
SELECT id AS key, port, batch_id, conversation_id, policy, members, processed, failed, deleted, max_failed, status,
       created_at
FROM message_set WHERE id = $1

-- name: read_answers(key: int, request_key: int | None) -> many Correlated
-- Responses and faults of a request, and the request of a response.
SELECT m.id AS key, m.direction, m.message_id, m.is_fault, m.outcome, m.file_name, q.status,
       CASE WHEN h.head IS NULL THEN q.reason ELSE 'ready' END AS reason
FROM message m LEFT JOIN queue q ON q.message_id = m.id
LEFT JOIN ready_head h ON h.port = q.port AND h.head = q.message_id
WHERE m.request_id = $1 OR m.id = $2 ORDER BY m.id

-- name: list_versions(key: int) -> many VersionRow
SELECT version, step, octet_length(content) AS size_bytes FROM document WHERE message_id = $1 ORDER BY version

-- name: read_document(key: int, version: int) -> maybe
SELECT content FROM document WHERE message_id = $1 AND version = $2

-- name: list_exceptions(port: PortName | None, message_key: int | None, before: int | None, limit: int,
--     severity: str | None, since: datetime | None, until: datetime | None, file: str | None,
--     code: str | None) -> many StoredException
SELECT id, at, severity, code, text, port, claim_id, set_id AS set_key, message_key, message_id, file, line, col, path,
       details::text AS details, traceback
FROM exception
WHERE ($1::text IS NULL OR port = $1) AND ($2::bigint IS NULL OR message_key = $2) AND ($3::bigint IS NULL OR id < $3)
  AND ($5::text IS NULL OR severity = $5) AND ($6::timestamptz IS NULL OR at >= $6)
  AND ($7::timestamptz IS NULL OR at <= $7) AND ($8::text IS NULL OR file ILIKE $8) AND ($9::text IS NULL OR code LIKE $9)
ORDER BY id DESC LIMIT $4

-- name: group_exceptions(port: PortName | None, severity: str | None, since: datetime | None, until: datetime | None,
--     file: str | None, code: str | None, limit: int) -> many ExceptionCauseRow
-- By cause, most of one kind first; `last` is the newest of them, with its text.
SELECT port, severity, code, count(*) AS exceptions, count(DISTINCT file) AS files, min(at) AS "oldest!", max(at) AS "newest!",
       max(id) AS "last!", (SELECT l.text FROM exception l WHERE l.id = max(e.id)) AS "text!"
FROM exception e
WHERE ($1::text IS NULL OR port = $1) AND ($2::text IS NULL OR severity = $2) AND ($3::timestamptz IS NULL OR at >= $3)
  AND ($4::timestamptz IS NULL OR at <= $4) AND ($5::text IS NULL OR file ILIKE $5) AND ($6::text IS NULL OR code LIKE $6)
GROUP BY port, severity, code ORDER BY exceptions DESC, "newest!" DESC LIMIT $7

-- name: read_exception(number: int) -> maybe StoredException
SELECT id, at, severity, code, text, port, claim_id, set_id AS set_key, message_key, message_id, file, line, col, path,
       details::text AS details, traceback
FROM exception WHERE id = $1

-- name: list_deliveries(port: PortName | None, limit: int) -> many DeliveryRow
SELECT claim_id, port, display AS file, size_bytes, owner, submitter, received_at, root, encoding, envelopes, outcome,
       settlement, code, reason
FROM delivery WHERE ($1::text IS NULL OR port = $1) ORDER BY received_at DESC LIMIT $2

-- name: find_delivery(port: str, name: bytes, since: datetime) -> maybe DeliveryRow
-- The file that was put into the inbound folder under this name at or after a moment of the database's clock.
SELECT claim_id, port, display AS file, size_bytes, owner, submitter, received_at, root, encoding, envelopes, outcome,
       settlement, code, reason
FROM delivery WHERE port = $1 AND name = $2 AND received_at >= $3 ORDER BY received_at LIMIT 1

-- name: progress_of_file(claim_id: UUID) -> one FileCounts
-- How far the messages of a file and their answers are. `stuck` waits for an operator. What has left the queue is
-- finished, also where history keeps nothing of it.
SELECT known.messages, known.messages - known.queued AS finished, known.stuck,
       (SELECT count(*) FROM message r JOIN message p ON p.id = r.request_id
        WHERE p.claim_id = $1 AND r.direction = 'out' AND r.finished_at IS NULL) AS answers_open
FROM (
    SELECT greatest(count(m.id), (SELECT envelopes FROM delivery WHERE claim_id = $1)) AS messages,
           count(q.message_id) AS queued,
           count(*) FILTER (WHERE q.status IN ('error', 'hold', 'malformed') OR l.blocked_by IS NOT NULL) AS stuck
    FROM message m LEFT JOIN queue q ON q.message_id = m.id LEFT JOIN lane l ON l.port = q.port AND l.name = q.lane
    WHERE m.claim_id = $1
) AS known

-- name: answers_to_file(claim_id: UUID, limit: int) -> many AnswerRow
SELECT r.id AS key, r.message_id, r.is_fault, r.outcome, r.file_name, m.position, m.message_id AS request_message_id,
       m.message_id_sent, d.content
FROM message m JOIN message r ON r.request_id = m.id LEFT JOIN document d ON d.message_id = r.id AND d.version = 0
WHERE m.claim_id = $1 ORDER BY m.id, r.id LIMIT $2

-- name: count_activity(since: datetime) -> many Activity
-- Since a moment, per port; leading columns of the time indexes.
SELECT port, sum(files)::bigint AS "files!", sum(refused)::bigint AS "refused!", sum(messages)::bigint AS "messages!",
       sum(responses)::bigint AS "responses!", sum(faults)::bigint AS "faults!"
FROM (
    SELECT port, count(*) AS files, count(*) FILTER (WHERE outcome = 'refused') AS refused, 0 AS messages, 0 AS responses,
           0 AS faults
    FROM delivery WHERE received_at >= $1 GROUP BY port
    UNION ALL
    SELECT port, 0, 0, count(*) FILTER (WHERE direction = 'in' AND position > 0),
           count(*) FILTER (WHERE direction = 'out' AND outcome = 'sent'),
           count(*) FILTER (WHERE direction = 'out' AND outcome = 'sent' AND is_fault)
    FROM message WHERE created_at >= $1 GROUP BY port
) AS counted GROUP BY port ORDER BY port

-- name: latest_happenings(since: datetime, limit: int) -> many LatestEvent
-- The newest of what came in, went out and failed since a moment.
(SELECT received_at AS "at!", 'file' AS kind, port, display AS "what!",
        CASE outcome WHEN 'ingested' THEN envelopes || ' messages' ELSE reason END AS text
 FROM delivery WHERE received_at >= $1 ORDER BY received_at DESC LIMIT $2)
UNION ALL
(SELECT finished_at, CASE WHEN is_fault THEN 'fault' ELSE 'response' END, port, file_name,
        coalesce(array_to_string(entity_keys, ' '), '')
 FROM message WHERE direction = 'out' AND outcome = 'sent' AND created_at >= $1 ORDER BY id DESC LIMIT $2)
UNION ALL
(SELECT at, severity, port, coalesce(file, ''), code || ': ' || text
 FROM exception WHERE at >= $1 ORDER BY id DESC LIMIT $2)
ORDER BY 1 DESC LIMIT $2
