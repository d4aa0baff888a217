-- A run of an entry or a task may come again after its posting was committed, because its server was lost just then.
ALTER TABLE document_posting
    ADD COLUMN posted_for text;   -- what posted it last: 'entry 12' or 'task 30'; it posts nothing when it comes again
COMMENT ON COLUMN document_posting.entry_id IS 'while it is scheduled, being posted, or in error';
