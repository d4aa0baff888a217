-- name: take_numbers(sequence: str, many: int, first: int, step: int) -> one
-- The row lock lasts to the end of the transaction: numbers are given out without gaps, one transaction after another.
INSERT INTO number_sequence (name, next) VALUES ($1, $3::bigint + $2::bigint * $4::bigint)
ON CONFLICT (name) DO UPDATE SET next = number_sequence.next + $2::bigint * $4::bigint
RETURNING next - $2::bigint * $4::bigint

-- name: next_numbers() -> many NextNumber
SELECT name, next FROM number_sequence

-- name: take_rec_ids(many: int, document: str) -> one RecIds
-- `is_awaited`: a job queue entry sleeps until there is a new document of this kind.
SELECT array_agg(nextval('rec_id')) AS "numbers!",
       EXISTS (SELECT 1 FROM queue_entry WHERE status = 'inactive' AND $2 = ANY(wakes_on)) AS is_awaited
FROM generate_series(1, $1::int)

-- name: insert_entities(rec_ids: Sequence[int], document: Sequence[str], partitions: Sequence[str],
--     companies: Sequence[str], keys: Sequence[str], contents: Sequence[bytes], requests: Sequence[int]) -> none
INSERT INTO entity (rec_id, document, partition_key, company, key, content, request_id)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bigint[])

-- name: read_entities(document: str, partition: str, company: str, keys: Sequence[str]) -> many EntityContent
SELECT rec_id, key, rec_version, content FROM entity
WHERE document = $1 AND partition_key = $2 AND company = $3 AND key = ANY($4::text[])
