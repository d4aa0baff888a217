-- name: take_keys(many: int) -> one
-- Numbers for messages and sets, in order; never reused, gaps do not matter.
SELECT array_agg(k) AS "keys!: MessageKey" FROM (SELECT nextval('message_key') AS k FROM generate_series(1, $1::int)) AS taken

-- name: insert_deliveries(claim_ids: Sequence[ClaimId], ports: Sequence[PortName], names: Sequence[bytes],
--     displays: Sequence[str], sizes: Sequence[int | None], digests: Sequence[bytes | None],
--     owner_uids: Sequence[int | None], owners: Sequence[str | None], submitters: Sequence[str | None],
--     modified_at: Sequence[datetime | None], roots: Sequence[str | None], encodings: Sequence[str | None],
--     envelopes: Sequence[int | None], outcomes: Sequence[str], settlements: Sequence[str],
--     codes: Sequence[str | None], reasons: Sequence[str | None]) -> none
-- The claim id is the primary key: a second ingestion of the same claimed file fails here.
INSERT INTO delivery (claim_id, port, name, display, size_bytes, sha256, owner_uid, owner, submitter, modified_at,
                      root, encoding, envelopes, outcome, settlement, code, reason)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::bigint[], $6::bytea[], $7::bigint[], $8::text[],
                     $9::text[], $10::timestamptz[], $11::text[], $12::text[], $13::int[], $14::text[], $15::text[],
                     $16::text[], $17::text[])

-- name: known_deliveries(claims: Sequence[ClaimId]) -> many KnownDelivery
-- What the store already decided about claimed files.
SELECT claim_id, settlement, reason FROM delivery WHERE claim_id = ANY($1::uuid[])

-- name: same_content(port: PortName, digests: Sequence[bytes], but: Sequence[ClaimId]) -> many SameContent
-- Earlier deliveries of the same bytes on the port, newest first.
SELECT DISTINCT ON (sha256) sha256 AS "sha256!", display, received_at FROM delivery
WHERE port = $1 AND sha256 = ANY($2::bytea[]) AND NOT claim_id = ANY($3::uuid[]) AND outcome = 'ingested'
ORDER BY sha256, received_at DESC

-- name: earlier_batches(port: PortName, batch_ids: Sequence[str]) -> many
-- Sets that carried one of these batch ids before.
SELECT DISTINCT batch_id FROM message_set WHERE port = $1 AND batch_id = ANY($2::text[])

-- name: insert_exceptions(severities: Sequence[str], codes: Sequence[str], texts: Sequence[str],
--     ports: Sequence[str | None], claim_ids: Sequence[UUID | None], sets: Sequence[int | None],
--     keys: Sequence[int | None], message_ids: Sequence[UUID | None], files: Sequence[str | None],
--     lines: Sequence[int | None], columns: Sequence[int | None], paths: Sequence[str | None],
--     details: Sequence[str | None], tracebacks: Sequence[str | None]) -> none
INSERT INTO exception (severity, code, text, port, claim_id, set_id, message_key, message_id, file, line, col, path, details, traceback)
SELECT severity, code, text, port, claim_id, set_id, message_key, message_id, file, line, col, path, details::jsonb, traceback
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::bigint[], $7::bigint[], $8::uuid[],
            $9::text[], $10::int[], $11::int[], $12::text[], $13::text[], $14::text[])
     AS new (severity, code, text, port, claim_id, set_id, message_key, message_id, file, line, col, path, details, traceback)

-- name: unfinished_inbound(ports: Sequence[PortName], most: int) -> many Unfinished
-- What ports have unfinished that can still run: what waits is counted up to the limit, what is in work is summed over
-- leases. What is held, has failed, or waits for its next try without a lane is not looked at.
SELECT port AS "port!: PortName",
    (SELECT coalesce(sum(messages), 0) FROM lease WHERE stage = 'inbound' AND lease.port = asked.port)
    + (SELECT count(*) FROM (SELECT 1 FROM queue WHERE direction = 'in' AND queue.port = asked.port AND status = 'ready'
                             AND not_before IS NULL AND lane IS NULL LIMIT $2) AS free)
    + (SELECT count(*) FROM (SELECT 1 FROM queue WHERE queue.port = asked.port AND lane IS NOT NULL
                             AND status = 'ready' LIMIT $2) AS in_lanes) AS unfinished
FROM unnest($1::text[]) AS asked (port)
