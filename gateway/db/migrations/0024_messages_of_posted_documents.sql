-- Which messages send a posted document: noted in the transaction that makes it.
ALTER TABLE posted_document ADD COLUMN messages bigint[] NOT NULL DEFAULT '{}';
