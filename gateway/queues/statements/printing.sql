-- name: posted_to_print
-- What the entry of a run, or its tasks, have posted, and is not printed yet.
SELECT p.document, p.partition_key, p.company, p.number FROM posted_document p
WHERE p.printed_at IS NULL AND p.posted_for = ANY (ARRAY(
    SELECT 'entry ' || entry_id FROM run WHERE id = $1 AND entry_id IS NOT NULL
    UNION ALL SELECT 'task ' || id FROM run_task WHERE run_id = $1
))
ORDER BY p.document, p.number

-- name: sheet_to_print
-- A posted document, and what is kept of its customer or vendor.
SELECT e.content, c.content AS card
FROM posted_document p JOIN entity e USING (rec_id)
LEFT JOIN entity c ON c.document = $5 AND c.partition_key = $1 AND c.company = $2 AND c.key = p.party
WHERE p.partition_key = $1 AND p.company = $2 AND p.document = $3 AND p.number = $4

-- name: note_printed
UPDATE posted_document SET printed_at = clock_timestamp()
WHERE partition_key = $1 AND company = $2 AND document = $3 AND number = $4

-- name: put_report
INSERT INTO report_inbox (partition_key, user_name, name, content, run_id) VALUES ($1, $2, $3, $4, $5)

-- name: list_reports
SELECT id, name, length(content) AS size_bytes, run_id, made_at, opened_at FROM report_inbox
WHERE partition_key = $1 AND user_name = $2 ORDER BY id DESC LIMIT $3

-- name: open_report
UPDATE report_inbox SET opened_at = coalesce(opened_at, clock_timestamp())
WHERE partition_key = $1 AND user_name = $2 AND id = $3
RETURNING name, content

-- name: delete_report
DELETE FROM report_inbox WHERE partition_key = $1 AND user_name = $2 AND id = $3 RETURNING name
