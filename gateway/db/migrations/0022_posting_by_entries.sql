-- Documents that are posted by entries of job queues.
ALTER TABLE document_posting ADD COLUMN entry_id bigint;   -- while it is scheduled or being posted
CREATE UNIQUE INDEX ON document_posting (entry_id) WHERE entry_id IS NOT NULL;
