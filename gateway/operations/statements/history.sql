-- Searching the history of runs, the newest first, a bounded number of runs at a time.

-- name: plan_for_values() -> none
-- Most filters of a search are not given: a plan made for any values would read the wrong index.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true)

-- name: start_of_run(run: RunId) -> maybe StartOfRun
SELECT started_at, id FROM run WHERE id = $1

-- name: walk_runs(partition: str, job: JobId | None, since: datetime | None, until: datetime | None,
--     behind: datetime | None, behind_run: int | None, step: int, by: str | None, by_since: datetime | None,
--     by_until: datetime | None, statuses: Sequence[str] | None, owner: str | None, user: str | None,
--     server: str | None, task_status: str | None, file: str | None) -> many WalkedRun
-- The next $7 runs behind the place ($5, $6), and which of them pass the filters. Only the first filters choose what is
-- read; the others are asked of each run, so that looking costs the same whether many pass or none.
SELECT w.id, w.started_at,
       ($8::text IS NULL OR CASE $8 WHEN 'planned' THEN w.planned_at WHEN 'ended' THEN w.ended_at ELSE w.started_at END
                            BETWEEN coalesce($9, '-infinity'::timestamptz) AND coalesce($10, 'infinity'::timestamptz))
   AND ($11::text[] IS NULL OR w.status = ANY($11))
   AND ($12::text IS NULL OR w.created_by = $12)
   AND ($13::text IS NULL OR $13 IN (w.created_by, w.run_as, w.canceled_by)
        OR EXISTS (SELECT 1 FROM run_task t WHERE t.run_id = w.id AND t.run_by = $13))
   AND ($14::text IS NULL OR EXISTS (
        SELECT 1 FROM run_task t WHERE t.run_id = w.id AND (t.server = $14 OR EXISTS (
            SELECT 1 FROM attempt a WHERE a.run_task_id = t.id AND a.server = $14))))
   AND ($15::text IS NULL OR EXISTS (SELECT 1 FROM run_task t WHERE t.run_id = w.id AND t.status = $15))
   AND ($16::text IS NULL OR EXISTS (SELECT 1 FROM run_file f WHERE f.run_id = w.id AND f.name ILIKE $16)) AS "passes!"
FROM (
    SELECT * FROM run r
    WHERE r.partition_key = $1
      AND ($2::bigint IS NULL OR r.job_id = $2)
      AND ($3::timestamptz IS NULL OR r.started_at >= $3)
      AND ($4::timestamptz IS NULL OR r.started_at <= $4)
      AND ($5::timestamptz IS NULL OR (r.started_at, r.id) < ($5, $6::bigint))
    ORDER BY r.started_at DESC, r.id DESC LIMIT $7
) AS w
ORDER BY w.started_at DESC, w.id DESC

-- name: find_text(runs: Sequence[RunId], patterns: Sequence[str], pieces: Sequence[str], most: int) -> many TextPlace
-- Where runs ($1) have a text that is like all of $2, at most $4 places of each; $3 are the same pieces as they were
-- typed. Lines of the log are found by the beginnings of their words and by their 64 runs, and then read. What a run
-- says of the error of its task is not told a second time.
WITH asked AS (
    SELECT to_tsquery('simple', string_agg(quote_literal(word) || ':*', ' & ')) AS words
    FROM unnest($3::text[]) AS piece, regexp_split_to_table(lower(piece), '[^[:alnum:]]+') AS word WHERE word <> ''
), said AS MATERIALIZED (
    SELECT id, run_id, run_task_id, attempt, at, severity, text FROM run_log
    WHERE to_tsvector('simple', regexp_replace(text, '[^[:alnum:]]+', ' ', 'g')) @@ (SELECT words FROM asked)
      AND ARRAY[run_id / 64] && (SELECT array_agg(DISTINCT run / 64) FROM unnest($1::bigint[]) AS run)
      AND text ILIKE ALL ($2::text[])
), found AS (
    SELECT r.id AS run_id, NULL::bigint AS run_task_id, NULL::integer AS attempt, NULL::timestamptz AS at, p.place, p.text,
           p.rank, 0::bigint AS part
    FROM run r CROSS JOIN LATERAL (VALUES
        (1, 'job', r.job), (2, 'description', nullif(r.description, r.job)),
        (5, 'error', CASE WHEN r.error IS NOT NULL AND NOT coalesce(
            (SELECT bool_or(t.status = 'error') FROM run_task t WHERE t.run_id = r.id), false) THEN r.error END)
    ) AS p (rank, place, text)
    WHERE r.id = ANY($1)
    UNION ALL
    SELECT t.run_id, t.id, NULL, NULL, p.place, p.text, p.rank, t.position
    FROM run_task t CROSS JOIN LATERAL (VALUES
        (3, 'task', t.name), (4, 'description', nullif(t.description, t.name)), (5, 'error', coalesce(t.error, t.error_code))
    ) AS p (rank, place, text)
    WHERE t.run_id = ANY($1)
    UNION ALL
    SELECT t.run_id, t.id, a.number, a.ended_at, 'error', a.error, 6, a.number
    FROM run_task t JOIN attempt a ON a.run_task_id = t.id WHERE t.run_id = ANY($1) AND a.error IS DISTINCT FROM t.error
    UNION ALL
    SELECT f.run_id, f.run_task_id, NULL, f.made_at, 'file', f.name, 7, f.id
    FROM run_file f WHERE f.run_id = ANY($1)
), places AS (
    SELECT *, row_number() OVER (PARTITION BY run_id ORDER BY rank, part) AS number FROM (
        SELECT * FROM found WHERE text ILIKE ALL ($2)
        UNION ALL
        SELECT run_id, run_task_id, attempt, at, 'log', text, 8, id FROM said WHERE run_id = ANY($1)
    ) AS alike
)
SELECT run_id AS "run_id!: RunId", place AS "place!", (SELECT t.name FROM run_task t WHERE t.id = run_task_id) AS task, attempt, at, text AS "text!"
FROM places
WHERE number <= $4
ORDER BY run_id, number
