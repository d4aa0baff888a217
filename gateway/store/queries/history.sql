-- Searching the history of runs, the newest first, a bounded number of runs at a time.

-- name: plan_for_values
-- Most filters of a search are not given: a plan made for any values would read the wrong index.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true)

-- name: start_of_run
SELECT started_at, id FROM run WHERE id = $1

-- name: walk_runs
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
   AND ($16::text IS NULL OR EXISTS (SELECT 1 FROM run_file f WHERE f.run_id = w.id AND f.name ILIKE $16)) AS passes
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

-- name: find_text
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
), tasks AS MATERIALIZED (
    SELECT id, run_id, position, name, description, status, error_code, error FROM run_task WHERE run_id = ANY($1)
), found AS (
    SELECT r.id AS run_id, p.place, NULL AS task, NULL::integer AS attempt, NULL::timestamptz AS at, p.text, p.rank, 0::bigint AS part
    FROM run r CROSS JOIN LATERAL (VALUES
        (1, 'job', r.job), (2, 'description', nullif(r.description, r.job)),
        (5, 'error', CASE WHEN NOT EXISTS (SELECT 1 FROM tasks t WHERE t.run_id = r.id AND t.status = 'error') THEN r.error END)
    ) AS p (rank, place, text)
    WHERE r.id = ANY($1)
    UNION ALL
    SELECT t.run_id, p.place, t.name, NULL, NULL, p.text, p.rank, t.position
    FROM tasks t CROSS JOIN LATERAL (VALUES
        (3, 'task', t.name), (4, 'description', nullif(t.description, t.name)), (5, 'error', coalesce(t.error, t.error_code))
    ) AS p (rank, place, text)
    UNION ALL
    SELECT t.run_id, 'error', t.name, a.number, a.ended_at, a.error, 6, a.number
    FROM tasks t JOIN attempt a ON a.run_task_id = t.id WHERE a.error IS DISTINCT FROM t.error
    UNION ALL
    SELECT f.run_id, 'file', t.name, NULL, f.made_at, f.name, 7, f.id
    FROM run_file f LEFT JOIN tasks t ON t.id = f.run_task_id WHERE f.run_id = ANY($1)
)
SELECT run_id, place, task, attempt, at, text FROM (
    SELECT *, row_number() OVER (PARTITION BY run_id ORDER BY rank, part) AS number FROM (
        SELECT * FROM found WHERE text ILIKE ALL ($2)
        UNION ALL
        SELECT s.run_id, 'log', t.name, s.attempt, s.at, s.text, 8, s.id
        FROM said s LEFT JOIN tasks t ON t.id = s.run_task_id WHERE s.run_id = ANY($1)
    ) AS places
) AS numbered
WHERE number <= $4
ORDER BY run_id, number
