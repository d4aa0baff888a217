-- Several gateway processes on one database. Who lives is told by beats that are counted, not by the time of day: an
-- observer takes a claim back when its count has not moved for the term of a lease by the observer's own steady clock.

ALTER TABLE incarnation
    ADD COLUMN beats    bigint NOT NULL DEFAULT 0,
    ADD COLUMN beat_at  timestamptz NOT NULL DEFAULT clock_timestamp(),   -- for people; nothing is decided by it
    ADD COLUMN lost_at  timestamptz;                                      -- somebody saw it stand still

CREATE INDEX incarnation_living ON incarnation (id) WHERE stopped_at IS NULL AND lost_at IS NULL;
UPDATE incarnation SET lost_at = clock_timestamp() WHERE stopped_at IS NULL;   -- nobody runs while a schema changes

ALTER TABLE lease
    ADD COLUMN beats    bigint NOT NULL DEFAULT 0,
    ADD COLUMN awaited  boolean NOT NULL DEFAULT false,   -- another node found the port full and wants to hear of the end
    DROP COLUMN until;

-- A promise is worth something only in the very folder where the file was staged: its identity lies in its mark.
ALTER TABLE queue ADD COLUMN staged_in uuid;

-- Staging folders by identity, and who has used them; a folder on a share has a row for each node.
CREATE TABLE staging (
    id           uuid NOT NULL,
    node         text NOT NULL,
    host         text NOT NULL,
    port         text NOT NULL,
    folder       text NOT NULL,
    incarnation  bigint,                  -- the process that last opened the port on it; null: it uses another one now
    PRIMARY KEY (id, node)
);

-- Who takes the files of a port: one process at a time, so that files are read in the order of their names.
CREATE TABLE intake (
    port    text PRIMARY KEY,
    owner   bigint NOT NULL,              -- incarnation
    asking  bigint,                       -- a process that has claimed files of its own to go on with
    since   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Each node says for itself how a port is: a folder may be away for one and there for another.
ALTER TABLE port_status DROP CONSTRAINT port_status_pkey;
ALTER TABLE port_status ADD PRIMARY KEY (port, incarnation);
-- Stopped: its requests wait because its services do not work.
ALTER TABLE port_status DROP CONSTRAINT port_status_state_check;
ALTER TABLE port_status ADD CONSTRAINT port_status_state_check
    CHECK (state IN ('open', 'degraded', 'paused', 'stopped', 'inactive'));
