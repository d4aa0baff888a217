-- Sessions and their messages in the gateway's own database. Whoever changes them takes the lock first, for one batch.

-- name: lock_exchange() -> none
-- One batch at a time on all nodes: two passes at once, as after a server that was taken for dead, never meet in a row.
SELECT pg_advisory_xact_lock(7345102284620051)

-- name: store_status_messages(
--     store: str, message_ids: Sequence[UUID], stations: Sequence[str], directions: Sequence[SessionDirection],
--     numbers: Sequence[int], statuses: Sequence[SessionStatus], ranks: Sequence[int], failed: Sequence[bool],
--     at: Sequence[datetime], jobs: Sequence[str | None], data_groups: Sequence[str | None],
--     rows: Sequence[int | None], paths: Sequence[str | None], texts: Sequence[str | None],
--     copies: Sequence[bytes | None], places: Sequence[str | None]) -> many Stored
-- What becomes of each message of a batch: `fresh` is new, `same` came before as this very row or file, `repeated` came
-- before as another one, `differs` has an id that another message has. Of two with one id in a batch the first counts.
WITH given AS (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::smallint[], $8::boolean[],
                         $9::timestamptz[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::text[],
                         $15::bytea[], $16::text[]) WITH ORDINALITY
        AS g (message_id, station, direction, number, status, rank, failed, at, job, data_group, rows, path, text, copy,
              place, position)
), first AS (
    SELECT DISTINCT ON (message_id) * FROM given ORDER BY message_id, position
), fresh AS (
    INSERT INTO status_message (store, message_id, station, direction, number, status, rank, failed, at, job, data_group,
                                rows, path, text, copy, place)
    SELECT $1, f.message_id, f.station, f.direction, f.number, f.status, f.rank, f.failed, f.at, f.job, f.data_group,
           f.rows, f.path, f.text, f.copy, f.place
    FROM first f
    WHERE NOT EXISTS (SELECT 1 FROM status_message_purged p WHERE p.store = $1 AND p.message_id = f.message_id)
    ORDER BY f.position
    ON CONFLICT (store, message_id) DO NOTHING
    RETURNING id, message_id
)
SELECT n.id, CASE
           WHEN n.id IS NOT NULL AND g.position = f.position THEN 'fresh'
           WHEN k.id IS NULL AND n.id IS NULL THEN 'repeated'   -- it was purged: no more is known of it
           WHEN k.copy = g.copy THEN 'same'
           WHEN (coalesce(k.station, f.station), coalesce(k.direction, f.direction), coalesce(k.number, f.number),
                 coalesce(k.status, f.status), coalesce(k.at, f.at))
                = (g.station, g.direction, g.number, g.status, g.at) THEN 'repeated'
           ELSE 'differs' END AS "verdict!"
FROM given g
JOIN first f USING (message_id)
LEFT JOIN fresh n USING (message_id)
LEFT JOIN status_message k ON k.store = $1 AND k.message_id = g.message_id
ORDER BY g.position

-- name: move_copies(store: str, copies: Sequence[bytes], place: str) -> none
-- Files that were kept on another day than the pass thought that stored them.
UPDATE status_message SET place = $3 WHERE store = $1 AND copy = ANY($2::bytea[]) AND place IS DISTINCT FROM $3

-- name: open_sessions(messages: Sequence[int], ahead_seconds: float) -> many
-- A session begins with its message `started`, not before the time of that message has come.
INSERT INTO exchange_session (store, station, direction, number, message, status, rank, status_at, status_id)
SELECT DISTINCT ON (m.station, m.direction, m.number)
       m.store, m.station, m.direction, m.number, CASE WHEN m.copy IS NULL THEN m.number END, 'started', 0, m.at,
       m.message_id
FROM status_message m
WHERE m.id = ANY($1::bigint[]) AND m.status = 'started'
  AND m.at <= clock_timestamp() + make_interval(secs => $2)
ORDER BY m.station, m.direction, m.number, m.at
ON CONFLICT (store, station, direction, number) DO NOTHING
RETURNING id

-- name: apply_status_messages(messages: Sequence[int], opened: Sequence[int], ahead_seconds: float) -> one
-- The messages named, and those that waited for the sessions named, move their sessions: never back, because only what
-- is greater counts. Each does so once: with it it belongs to its session. Times that are still to come wait.
WITH wanted AS (
    SELECT m.id, s.id AS session_id
    FROM status_message m
    JOIN exchange_session s ON (s.store, s.station, s.direction, s.number) = (m.store, m.station, m.direction, m.number)
    WHERE m.id = ANY($1::bigint[]) AND m.session_id IS NULL
      AND m.at <= clock_timestamp() + make_interval(secs => $3)
    UNION
    SELECT m.id, s.id
    FROM exchange_session s
    JOIN status_message m ON (m.store, m.station, m.direction, m.number) = (s.store, s.station, s.direction, s.number)
    WHERE s.id = ANY($2::bigint[]) AND m.session_id IS NULL
      AND m.at <= clock_timestamp() + make_interval(secs => $3)
), due AS (
    UPDATE status_message m SET session_id = w.session_id FROM wanted w WHERE m.id = w.id RETURNING m.*
), latest AS (
    SELECT DISTINCT ON (session_id) session_id, status, rank, at, message_id, text
    FROM due ORDER BY session_id, rank DESC, at DESC, message_id DESC
), said AS (
    SELECT session_id, count(*) AS messages, count(*) FILTER (WHERE failed) AS failures,
           max(at) FILTER (WHERE status = 'requested') AS requested_at,
           max(at) FILTER (WHERE status IN ('downloaded', 'uploaded')) AS transferred_at,
           max(at) FILTER (WHERE status = 'applied') AS applied_at,
           max(job) AS job, max(data_group) AS data_group, max(rows) AS rows, max(path) AS path
    FROM due GROUP BY session_id
), moved AS (
    UPDATE exchange_session s
    SET status = CASE WHEN n.newer THEN l.status ELSE s.status END,
        rank = CASE WHEN n.newer THEN l.rank ELSE s.rank END,
        status_at = CASE WHEN n.newer THEN l.at ELSE s.status_at END,
        status_id = CASE WHEN n.newer THEN l.message_id ELSE s.status_id END,
        text = CASE WHEN n.newer THEN l.text ELSE s.text END,
        job = greatest(s.job, t.job), data_group = greatest(s.data_group, t.data_group),
        rows = greatest(s.rows, t.rows), path = greatest(s.path, t.path),
        requested_at = greatest(s.requested_at, t.requested_at),
        transferred_at = greatest(s.transferred_at, t.transferred_at),
        applied_at = greatest(s.applied_at, t.applied_at),
        failures = s.failures + t.failures, changed_at = clock_timestamp(), version = s.version + 1
    FROM latest l JOIN said t USING (session_id)
    JOIN exchange_session o ON o.id = l.session_id
    CROSS JOIN LATERAL (SELECT (l.rank, l.at, l.message_id) > (o.rank, o.status_at, o.status_id) AS newer) AS n
    WHERE s.id = l.session_id
    RETURNING s.id
)
SELECT count(*) FROM due

-- name: waiting_status_messages(store: str, after: int, most: int) -> many
-- Messages that have not moved a session yet, by number: their session may be there by now, or their time have come.
SELECT id FROM status_message WHERE store = $1 AND session_id IS NULL AND id > $2 ORDER BY id LIMIT $3

-- name: new_deliveries(ports: Sequence[str], since: datetime, after: datetime, after_id: MessageKey, most: int)
--     -> many NewDelivery
-- Messages that go out by ports whose deliveries are sessions, and that are none yet.
SELECT m.id, m.port, m.created_at
FROM message m
WHERE m.created_at > $2 AND m.port = ANY($1::text[]) AND m.direction = 'out'
  AND (m.created_at, m.id) > ($3, $4::bigint)
  AND NOT EXISTS (SELECT 1 FROM exchange_session s WHERE s.message = m.id)
ORDER BY m.created_at, m.id LIMIT $5

-- name: open_deliveries(store: str, after: MessageKey, most: int) -> many OpenDelivery
-- Deliveries of which it was not known how they ended, with what is known now.
SELECT s.id AS session_id, s.station AS port, s.message AS "id!: MessageKey", m.file_name, m.outcome, m.finished_at,
       q.status, q.error, q.changed_at
FROM exchange_session s
LEFT JOIN message m ON m.id = s.message
LEFT JOIN queue q ON q.message_id = s.message
WHERE s.store = $1 AND s.message IS NOT NULL AND s.status IN ('started', 'create_failed') AND s.message > $2
ORDER BY s.message LIMIT $3

-- name: delivery_status(message: MessageKey) -> maybe
SELECT status FROM queue WHERE message_id = $1

-- name: cancel_sessions(sessions: Sequence[int], rank: int, text: str, but: Sequence[SessionStatus]) -> many
-- By a person: above everything that a message may say.
UPDATE exchange_session
SET status = 'canceled', rank = $2, status_at = clock_timestamp(), text = $3, changed_at = clock_timestamp(),
    version = version + 1
WHERE id = ANY($1::bigint[]) AND rank < $2 AND NOT status = ANY($4::text[])
RETURNING id

-- name: note_rerun(session: int, by: str) -> none
UPDATE exchange_session SET rerun_at = clock_timestamp(), rerun_by = $2, changed_at = clock_timestamp() WHERE id = $1

-- name: note_failures(store: str, copies: Sequence[bytes], names: Sequence[str], texts: Sequence[str])
--     -> many Failure
-- Counts one more try for each.
INSERT INTO status_message_trouble (store, copy, name, tries, refused, text)
SELECT $1, f.copy, f.name, 1, false, f.text FROM unnest($2::bytea[], $3::text[], $4::text[]) AS f (copy, name, text)
ON CONFLICT (store, copy) DO UPDATE SET tries = status_message_trouble.tries + 1, text = excluded.text,
                                        last_at = clock_timestamp()
RETURNING copy, tries

-- name: note_refusals(store: str, copies: Sequence[bytes], names: Sequence[str], texts: Sequence[str]) -> none
INSERT INTO status_message_trouble (store, copy, name, tries, refused, text)
SELECT $1, f.copy, f.name, 1, true, f.text FROM unnest($2::bytea[], $3::text[], $4::text[]) AS f (copy, name, text)
ON CONFLICT (store, copy) DO UPDATE SET refused = true, text = excluded.text, last_at = clock_timestamp()

-- name: forget_troubles(store: str, copies: Sequence[bytes]) -> none
DELETE FROM status_message_trouble WHERE store = $1 AND copy = ANY($2::bytea[])

-- name: expired_status_messages(
--     store: str, direction: SessionDirection, before: datetime, uploaded_before: datetime, waiting_before: datetime,
--     most: int) -> many ExpiredMessage
-- $3: those that moved a session; $5: those that wait for one. Never what this pass has uploaded ($4), but at once.
SELECT id, message_id, copy, place FROM status_message
WHERE store = $1 AND direction = $2 AND expires_at < $3 AND uploaded_at < $4
  AND (session_id IS NOT NULL OR expires_at < $5)
ORDER BY expires_at LIMIT $6

-- name: purge_status_messages(messages: Sequence[int]) -> none
WITH gone AS (
    DELETE FROM status_message WHERE id = ANY($1::bigint[]) RETURNING store, message_id
)
INSERT INTO status_message_purged (store, message_id, purged_at)
SELECT store, message_id, clock_timestamp() FROM gone ON CONFLICT DO NOTHING

-- name: expired_sessions(store: str, direction: SessionDirection, before: datetime, most: int) -> many ExpiredSession
-- Only what is final, and of which no message is kept any more.
SELECT id, station, direction, number FROM exchange_session s
WHERE s.store = $1 AND s.direction = $2 AND s.changed_at < $3 AND s.status IN ('applied', 'no_data', 'canceled')
  AND NOT EXISTS (SELECT 1 FROM status_message m WHERE m.session_id = s.id)
ORDER BY s.changed_at LIMIT $4

-- name: purge_sessions(sessions: Sequence[int], before: datetime) -> none
-- A session that changed since it was looked at stays.
DELETE FROM exchange_session s WHERE s.id = ANY($1::bigint[]) AND s.changed_at < $2
  AND NOT EXISTS (SELECT 1 FROM status_message m WHERE m.session_id = s.id)

-- name: purge_troubles(store: str, before: datetime) -> none
-- What was refused lies in its store all the same.
DELETE FROM status_message_trouble WHERE store = $1 AND last_at < $2

-- name: purge_ids(before: datetime, most: int) -> one
WITH old AS (
    SELECT store, message_id FROM status_message_purged WHERE purged_at < $1 ORDER BY purged_at LIMIT $2
), gone AS (
    DELETE FROM status_message_purged p USING old
    WHERE (p.store, p.message_id) = (old.store, old.message_id) RETURNING 1
)
SELECT count(*) FROM gone

-- name: unpublished_sessions(store: str, after: int, most: int) -> many UnpublishedSession
SELECT id, version, station, direction, number, status, status_at, job, data_group, rows, path, text, changed_at
FROM exchange_session WHERE store = $1 AND version <> published_version AND id > $2 ORDER BY id LIMIT $3

-- name: note_published(sessions: Sequence[int], versions: Sequence[int]) -> none
UPDATE exchange_session s SET published_version = p.version
FROM unnest($1::bigint[], $2::integer[]) AS p (id, version) WHERE s.id = p.id

-- name: note_pass_begun(store: str) -> one Pass
INSERT INTO message_store (store, tried_at) VALUES ($1, clock_timestamp())
ON CONFLICT (store) DO UPDATE SET tried_at = clock_timestamp()
RETURNING passed_at, tried_at

-- name: note_pass_ended(store: str, error: str | None) -> none
UPDATE message_store SET error = $2, passed_at = CASE WHEN $2::text IS NULL THEN tried_at ELSE passed_at END
WHERE store = $1

-- name: list_sessions(
--     *, store: str | None, station: str | None, direction: SessionDirection | None,
--     statuses: Sequence[SessionStatus] | None, job: str | None, with_no_data: bool, before: int | None, most: int)
--     -> many SessionRow
SELECT id, store, station, direction, number, status, status_at, text, job, data_group, rows, path, requested_at,
       transferred_at, applied_at, failures, created_at, changed_at, message, rerun_at, rerun_by
FROM exchange_session s
WHERE ($1::text IS NULL OR s.store = $1) AND ($2::text IS NULL OR s.station = $2)
  AND ($3::text IS NULL OR s.direction = $3) AND ($4::text[] IS NULL OR s.status = ANY($4))
  AND ($5::text IS NULL OR s.job = $5) AND ($6 OR s.status <> 'no_data') AND ($7::bigint IS NULL OR s.id < $7)
ORDER BY s.id DESC LIMIT $8

-- name: read_session(session: int) -> maybe SessionRow
SELECT id, store, station, direction, number, status, status_at, text, job, data_group, rows, path, requested_at,
       transferred_at, applied_at, failures, created_at, changed_at, message, rerun_at, rerun_by
FROM exchange_session WHERE id = $1

-- name: find_sessions(station: str | None, number: int) -> many SessionRow
-- By station/number, or by number alone; the newest first.
SELECT id, store, station, direction, number, status, status_at, text, job, data_group, rows, path, requested_at,
       transferred_at, applied_at, failures, created_at, changed_at, message, rerun_at, rerun_by
FROM exchange_session
WHERE number = $2 AND ($1::text IS NULL OR station = $1) ORDER BY id DESC LIMIT 20

-- name: list_status_messages(
--     *, store: str | None, session: int | None, waiting: bool, before: int | None, ahead_seconds: float, most: int)
--     -> many StatusMessageRow
SELECT m.id, m.store, m.station, m.direction, m.number, m.session_id, m.message_id, m.status, m.at, m.uploaded_at,
       m.rows, m.path, m.text,
       CASE WHEN m.session_id IS NOT NULL THEN NULL
            WHEN m.at > clock_timestamp() + make_interval(secs => $5) THEN 'future' ELSE 'unknown_session' END AS problem
FROM status_message m
WHERE ($1::text IS NULL OR m.store = $1) AND ($2::bigint IS NULL OR m.session_id = $2)
  AND (NOT $3 OR m.session_id IS NULL) AND ($4::bigint IS NULL OR m.id < $4)
ORDER BY m.id DESC LIMIT $6

-- name: list_troubles(store: str | None, most: int) -> many TroubleRow
SELECT store, name, tries, refused, text, first_at, last_at FROM status_message_trouble
WHERE ($1::text IS NULL OR store = $1) ORDER BY last_at DESC, name LIMIT $2

-- name: read_message_stores() -> many MessageStoreRow
SELECT s.store, s.passed_at, s.tried_at, s.error,
       (SELECT count(*) FROM status_message_trouble t WHERE t.store = s.store AND t.refused) AS refused,
       (SELECT count(*) FROM status_message m WHERE m.store = s.store AND m.session_id IS NULL) AS waiting,
       (SELECT count(*) FROM status_message m WHERE m.store = s.store AND m.session_id IS NULL
            AND m.uploaded_at < clock_timestamp() - interval '1 day') AS late
FROM message_store s ORDER BY s.store

-- name: making_database(name: str) -> maybe
-- The statement that makes a database of that name, asked of the gateway's own server; null when it is there.
SELECT format('CREATE DATABASE %I', $1::text) WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)
