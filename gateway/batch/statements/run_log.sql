-- What tasks say and the files they make, both below their run: they go with it.

-- name: insert_log(runs: Sequence[RunId], tasks: Sequence[RunTaskId], attempts: Sequence[int],
--     at: Sequence[datetime], severities: Sequence[str], texts: Sequence[str]) -> none
INSERT INTO run_log (run_id, run_task_id, attempt, at, severity, text)
SELECT l.run_id, l.run_task_id, l.attempt, l.at, l.severity, l.text
FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::timestamptz[], $5::text[], $6::text[])
     WITH ORDINALITY AS l (run_id, run_task_id, attempt, at, severity, text, position)
ORDER BY l.position

-- name: bytes_of_run_files(run: RunId, task: RunTaskId, name: str) -> maybe
-- The run's row is locked, so that two tasks cannot both take the last room.
SELECT (SELECT coalesce(sum(f.size_bytes), 0) FROM run_file f
        WHERE f.run_id = r.id AND NOT (f.run_task_id = $2 AND f.name = $3))::bigint
FROM run r WHERE r.id = $1 FOR NO KEY UPDATE

-- name: put_run_file(run: RunId, task: RunTaskId, name: str, size_bytes: int, sha256: bytes, content: bytes) -> none
INSERT INTO run_file (run_id, run_task_id, name, size_bytes, sha256, content) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (run_id, run_task_id, name) DO UPDATE SET size_bytes = excluded.size_bytes, sha256 = excluded.sha256,
    content = excluded.content, made_at = clock_timestamp()

-- name: run_files(run: RunId) -> many RunFile
SELECT f.id, f.run_id, f.run_task_id, t.name AS task, f.name, f.size_bytes, f.sha256, f.made_at
FROM run_file f LEFT JOIN run_task t ON t.id = f.run_task_id
WHERE f.run_id = $1 ORDER BY f.id

-- name: read_run_file(number: int) -> maybe FileContent
SELECT name, sha256, content FROM run_file WHERE id = $1
