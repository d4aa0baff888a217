-- The message store of a second database. Stations insert rows and read sessions; the gateway does everything else.

-- name: is_message_store() -> one
SELECT to_regclass('exchange.status_message') IS NOT NULL AND to_regclass('exchange.session') IS NOT NULL

-- name: lock_message_store() -> none
SELECT pg_advisory_xact_lock(7345102284620052)

-- name: waiting(after: int, most: int) -> many Waiting
-- Nothing is remembered from one pass to the next but the mark in the row: a database that was put back to an older
-- state gives its numbers a second time. Texts are cut a little above what is allowed; a time that cannot be told is null.
SELECT id, message_id, left(station, 100) AS station, left(direction, 100) AS direction, session AS number,
       left(status, 100) AS status, left(job, 100) AS job, left(data_group, 100) AS data_group, rows,
       left(path, 1100) AS path, left(text, 4100) AS text,
       CASE WHEN at BETWEEN '1970-01-01 00:00Z' AND '2999-12-31 00:00Z' THEN at END AS at
FROM exchange.status_message
WHERE uploaded_at IS NULL AND refused_at IS NULL AND id > $1
ORDER BY id LIMIT $2

-- name: acknowledge(ids: Sequence[int]) -> none
UPDATE exchange.status_message SET uploaded_at = clock_timestamp() WHERE id = ANY($1::bigint[]) AND uploaded_at IS NULL

-- name: refuse(ids: Sequence[int], refusals: Sequence[str]) -> none
UPDATE exchange.status_message s SET refused_at = clock_timestamp(), refusal = r.refusal
FROM unnest($1::bigint[], $2::text[]) AS r (id, refusal) WHERE s.id = r.id AND s.uploaded_at IS NULL

-- name: drop(ids: Sequence[int]) -> none
-- Repetitions: their first copy is kept.
DELETE FROM exchange.status_message WHERE id = ANY($1::bigint[]) AND uploaded_at IS NULL

-- name: purge(ids: Sequence[int], message_ids: Sequence[UUID]) -> none
-- Never what was not uploaded, nor another message that has the number by now.
DELETE FROM exchange.status_message s USING unnest($1::bigint[], $2::uuid[]) AS p (id, message_id)
WHERE s.id = p.id AND s.message_id = p.message_id AND s.uploaded_at IS NOT NULL

-- name: publish(
--     stations: Sequence[str], directions: Sequence[str], sessions: Sequence[int], statuses: Sequence[str],
--     statuses_at: Sequence[datetime], jobs: Sequence[str | None], data_groups: Sequence[str | None],
--     rows: Sequence[int | None], paths: Sequence[str | None], texts: Sequence[str | None],
--     changed_at: Sequence[datetime]) -> none
INSERT INTO exchange.session (station, direction, session, status, status_at, job, data_group, rows, path, text, changed_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[], $6::text[], $7::text[],
                     $8::bigint[], $9::text[], $10::text[], $11::timestamptz[])
ON CONFLICT (station, direction, session) DO UPDATE
SET status = excluded.status, status_at = excluded.status_at, job = excluded.job, data_group = excluded.data_group,
    rows = excluded.rows, path = excluded.path, text = excluded.text, changed_at = excluded.changed_at

-- name: withdraw(stations: Sequence[str], directions: Sequence[str], sessions: Sequence[int]) -> none
DELETE FROM exchange.session s USING unnest($1::text[], $2::text[], $3::bigint[]) AS p (station, direction, session)
WHERE (s.station, s.direction, s.session) = (p.station, p.direction, p.session)
