-- Several gateway processes on one database. Who lives is told by beats that are counted, not by the time of day: an
-- observer takes a claim back when its count has not moved for the term of a lease by the observer's own steady clock.

ALTER TABLE incarnation
    ADD COLUMN beats    bigint NOT NULL DEFAULT 0,
    ADD COLUMN beat_at  timestamptz NOT NULL DEFAULT clock_timestamp(),   -- for people; nothing is decided by it
    ADD COLUMN lost_at  timestamptz;                                      -- somebody saw it stand still

ALTER TABLE lease ADD COLUMN beats bigint NOT NULL DEFAULT 0;

-- A promise is worth something only in the very folder where the file was staged.
ALTER TABLE queue ADD COLUMN staged_in uuid;
