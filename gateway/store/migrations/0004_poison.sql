-- Messages that end the process that works on them.

ALTER TABLE queue ADD COLUMN crashes smallint NOT NULL DEFAULT 0;
