-- name: lock_document
-- Whoever posts a document holds it to the end of the transaction.
SELECT rec_id, rec_version, content, request_id FROM entity
WHERE document = $1 AND partition_key = $2 AND company = $3 AND key = $4
FOR UPDATE

-- name: read_document_posting
-- In a statement of its own: one that waits for the document would see this as it was before.
SELECT d.queue_status, d.posted_as, d.entry_id, q.run_id,
       EXISTS (SELECT FROM posted_document p WHERE p.source_rec_id = d.rec_id AND p.posted_for = $2) AS is_before
FROM document_posting d LEFT JOIN queue_entry q ON q.id = d.entry_id
WHERE d.rec_id = $1

-- name: find_document_posting
-- Without waiting for who holds the document: what is being posted may hang.
SELECT d.queue_status, d.posted_as, d.entry_id, q.run_id,
       EXISTS (SELECT FROM posted_document p WHERE p.source_rec_id = d.rec_id AND p.posted_for = $5) AS is_before
FROM entity e JOIN document_posting d USING (rec_id) LEFT JOIN queue_entry q ON q.id = d.entry_id
WHERE e.document = $1 AND e.partition_key = $2 AND e.company = $3 AND e.key = $4

-- name: output_of_run
-- Of the entry whose run it is; none: it is the run of a job.
SELECT e.output FROM run r JOIN queue_entry e ON e.id = r.entry_id WHERE r.id = $1

-- name: entry_of_run
SELECT entry_id FROM run WHERE id = $1

-- name: take_vendor_document
-- Two that post the same number of a vendor come one after the other; the second is told what the first has become.
SELECT pg_advisory_xact_lock(hashtextextended(array_to_string(ARRAY['vendor document', $1, $2, $3, $4, $5], E'\x1f'), 0))

-- name: delete_failed_entry
-- Posted in another way, it must not be started again. Before the status of the document, as who starts it does.
DELETE FROM queue_entry q USING document_posting d
WHERE d.rec_id = $1 AND q.id = d.entry_id AND d.queue_status = 'error' AND q.status IN ('error', 'on_hold')

-- name: read_posted_lines
SELECT line_no, moved, invoiced, gross, discount, invoice_discount FROM posted_line WHERE rec_id = $1

-- name: posted_vendor_document
SELECT number FROM posted_document
WHERE partition_key = $1 AND company = $2 AND document = $3 AND party = $4 AND vendor_document = $5

-- name: lock_applied
-- Two that give back of the same invoice come one after the other.
SELECT p.party, p.total, e.content FROM posted_document p JOIN entity e USING (rec_id)
WHERE p.partition_key = $1 AND p.company = $2 AND p.document = $3 AND p.number = $4
FOR UPDATE OF p

-- name: read_given_back
SELECT p.document, p.total, e.content FROM posted_document p JOIN entity e USING (rec_id)
WHERE p.partition_key = $1 AND p.company = $2 AND p.applies_to = $3

-- name: read_applied
SELECT p.party, p.total, e.content FROM posted_document p JOIN entity e USING (rec_id)
WHERE p.partition_key = $1 AND p.company = $2 AND p.document = $3 AND p.number = $4

-- name: read_stock
SELECT item, location, quantity FROM stock
WHERE partition_key = $1 AND company = $2 AND item = ANY($3::text[])

-- name: lock_stock
-- In the order of their keys, as everybody locks them.
SELECT item, location, quantity FROM stock
WHERE partition_key = $1 AND company = $2 AND item = ANY($3::text[])
ORDER BY item, location FOR UPDATE

-- name: move_stock
INSERT INTO stock (partition_key, company, item, location, quantity)
SELECT $1, $2, t.item, $3, t.quantity FROM unnest($4::text[], $5::numeric[]) AS t (item, quantity) ORDER BY t.item
ON CONFLICT (partition_key, company, item, location) DO UPDATE SET quantity = stock.quantity + excluded.quantity

-- name: put_document_posting
INSERT INTO document_posting (rec_id, posted_as) VALUES ($1, $2)
ON CONFLICT (rec_id) DO UPDATE
SET queue_status = NULL, entry_id = NULL, error = NULL, changed_at = clock_timestamp(), posted_as = excluded.posted_as

-- name: end_queued_posting
-- Only while its entry still runs it: one that was given up meanwhile, and comes back, changes nothing.
UPDATE document_posting
SET queue_status = NULL, entry_id = NULL, error = NULL, changed_at = clock_timestamp(), posted_as = $3
WHERE rec_id = $1 AND queue_status = 'posting' AND entry_id = $2

-- name: schedule_posting
INSERT INTO document_posting (rec_id, queue_status, entry_id) VALUES ($1, 'scheduled', $2)
ON CONFLICT (rec_id) DO UPDATE
SET queue_status = 'scheduled', entry_id = excluded.entry_id, error = NULL, changed_at = clock_timestamp()

-- name: follow_entries
-- The status of documents is that of their entries. One that is removed, or done, has none; but who removes a failed
-- one has not handled the document.
UPDATE document_posting d
SET queue_status = CASE WHEN t.status IS NULL AND d.queue_status = 'error' THEN 'error' ELSE t.status END,
    error = CASE WHEN t.status IS NULL AND d.queue_status = 'error' THEN d.error ELSE t.error END,
    entry_id = CASE WHEN t.status IS NOT NULL THEN d.entry_id END, changed_at = clock_timestamp()
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS t (entry_id, status, error)
WHERE d.entry_id = t.entry_id

-- name: put_posted_lines
INSERT INTO posted_line (rec_id, line_no, moved, invoiced, gross, discount, invoice_discount)
SELECT $1, * FROM unnest($2::int[], $3::numeric[], $4::numeric[], $5::numeric[], $6::numeric[], $7::numeric[])
ON CONFLICT (rec_id, line_no) DO UPDATE
SET moved = excluded.moved, invoiced = excluded.invoiced, gross = excluded.gross, discount = excluded.discount,
    invoice_discount = excluded.invoice_discount

-- name: change_document
UPDATE entity SET content = $2, rec_version = rec_version + 1, changed_at = clock_timestamp() WHERE rec_id = $1

-- name: put_posted_document
INSERT INTO posted_document (rec_id, source_rec_id, source_version, document, partition_key, company, number, party,
                             vendor_document, applies_to, currency, total, posted_by, posted_at, posted_for)
SELECT rec_id, $5, $6, $7, partition_key, company, key, $8, $9, $10, $11, $12, $13, $14, $15 FROM entity
WHERE document = $1 AND partition_key = $2 AND company = $3 AND key = $4

-- name: list_documents
SELECT e.document, e.company, e.key, e.content, e.changed_at, d.queue_status, d.error, d.posted_as
FROM entity e LEFT JOIN document_posting d USING (rec_id)
WHERE e.document = ANY($1::text[]) AND e.partition_key = $2 AND ($3::text IS NULL OR e.company = $3)
  AND CASE $4::text
      WHEN 'open' THEN d.posted_as IS NULL
      WHEN 'posted' THEN d.posted_as IS NOT NULL
      WHEN 'all' THEN true
      ELSE d.queue_status = $4
      END
ORDER BY e.document, e.company, e.key
LIMIT $5

-- name: posted_of
SELECT p.document, p.number, p.total, p.currency, p.posted_by, p.posted_at, p.printed_at
FROM posted_document p JOIN entity e ON e.rec_id = p.source_rec_id
WHERE e.document = $1 AND e.partition_key = $2 AND e.company = $3 AND e.key = $4
ORDER BY p.posted_at, p.document

-- name: look_at_document
SELECT e.rec_id, e.document, e.company, e.key, e.content, e.changed_at, d.queue_status, d.error, d.posted_as
FROM entity e LEFT JOIN document_posting d USING (rec_id)
WHERE e.document = $1 AND e.partition_key = $2 AND e.company = $3 AND e.key = $4

-- name: open_documents
-- Of which something is left to post, and that nobody posts now; one page after the key $4. An order of which a part
-- was posted since $6 is not taken again: the batch may have been interrupted, and have come again.
SELECT e.key, e.content FROM entity e LEFT JOIN document_posting d USING (rec_id)
WHERE e.document = $1 AND e.partition_key = $2 AND e.company = $3 AND e.key > $4
  AND d.posted_as IS NULL AND (d.queue_status IS NULL OR d.queue_status = 'error')
  AND NOT EXISTS (SELECT FROM posted_document p WHERE p.source_rec_id = e.rec_id AND p.posted_at >= $6::timestamptz)
ORDER BY e.key LIMIT $5

-- name: batch_began
-- The run of an entry may follow others that were lost or have failed: all are one work, until one ends well.
SELECT min(r.started_at) FROM run this JOIN run r ON r.id = this.id OR r.entry_id = this.entry_id
WHERE this.id = $1 AND (
    r.id = this.id
    OR r.id > coalesce((SELECT max(w.id) FROM run w WHERE w.entry_id = this.entry_id AND w.status = 'ended'), 0)
)

-- name: note_failed_posting
INSERT INTO document_posting (rec_id, queue_status, error)
SELECT rec_id, 'error', $5 FROM entity WHERE document = $1 AND partition_key = $2 AND company = $3 AND key = $4
ON CONFLICT (rec_id) DO UPDATE SET queue_status = 'error', error = excluded.error, changed_at = clock_timestamp()
WHERE document_posting.queue_status IS NULL OR document_posting.queue_status = 'error'

-- name: entry_of_document
SELECT d.entry_id, d.queue_status FROM document_posting d JOIN entity e USING (rec_id)
WHERE e.document = $1 AND e.partition_key = $2 AND e.company = $3 AND e.key = $4

-- name: put_posted_messages
UPDATE posted_document p SET messages = t.messages
FROM (SELECT document, number, array_agg(message) AS messages
      FROM unnest($3::text[], $4::text[], $5::bigint[]) AS m (document, number, message) GROUP BY document, number) t
WHERE p.partition_key = $1 AND p.company = $2 AND p.document = t.document AND p.number = t.number

-- name: messages_of_document
SELECT p.document, p.number, p.posted_by, p.posted_at, p.messages
FROM posted_document p JOIN entity e ON e.rec_id = p.source_rec_id
WHERE e.document = $1 AND e.partition_key = $2 AND e.company = $3 AND e.key = $4
ORDER BY p.posted_at, p.document, p.number

-- name: companies_of_document
SELECT company FROM entity WHERE document = $1 AND partition_key = $2 AND key = $3 ORDER BY company

-- name: failed_documents
SELECT e.document, e.company, e.key, d.error, d.changed_at
FROM document_posting d JOIN entity e USING (rec_id)
WHERE d.queue_status = 'error' ORDER BY d.changed_at LIMIT $1

-- name: documents_in_stopped_queues
SELECT p.queue, count(*) AS documents, min(d.changed_at) AS since
FROM document_posting d JOIN entry_place p ON p.id = d.entry_id
WHERE d.queue_status = 'scheduled' AND p.kept_by = 'stopped'
GROUP BY p.queue ORDER BY p.queue

-- name: leave_printing
-- The document is posted; what is left of the entry is the print, and another entry may be about the document.
UPDATE queue_entry SET record = NULL WHERE id = $1 AND then_run IS NOT NULL
