-- What a posting made is noted at what was made, because a document may be posted in parts by several entries.
ALTER TABLE document_posting DROP COLUMN posted_for;
ALTER TABLE posted_document
    ADD COLUMN posted_for text,          -- what posted it: 'entry 12' or 'task 30'; it posts nothing when it comes again
    ADD COLUMN printed_at timestamptz;   -- when it was last printed
CREATE INDEX ON posted_document (posted_for) WHERE posted_for IS NOT NULL;

ALTER TABLE queue_entry ADD COLUMN then_run text;   -- a second task of its runs, once the first has ended

-- Reports that wait for a user.
CREATE TABLE report_inbox (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition_key  text NOT NULL,
    user_name      text NOT NULL,
    name           text NOT NULL,
    content        bytea NOT NULL,
    run_id         bigint,               -- the run that made it; history may have let it go
    made_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_at      timestamptz
);
ALTER TABLE report_inbox ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX ON report_inbox (partition_key, user_name, id);
