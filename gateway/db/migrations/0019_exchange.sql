-- Data-exchange sessions and the status messages that tell of them: what was copied from the message stores.

-- A session: what its messages say. (rank, status_at, status_id) is the greatest of all of them and only grows.
CREATE TABLE exchange_session (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    store              text NOT NULL,            -- the message store that its messages come from
    station            text NOT NULL,
    direction          text NOT NULL CHECK (direction IN ('upload', 'download')),
    number             bigint NOT NULL,          -- as who opened it counts; of a delivery of ours: the number of the message
    message            bigint,                   -- of a delivery of ours: the message; it may be gone from history
    status             text NOT NULL CHECK (status IN (
                           'started', 'available', 'requested', 'downloaded', 'uploaded', 'applied', 'no_data',
                           'create_failed', 'download_failed', 'upload_failed', 'apply_failed', 'canceled')),
    rank               smallint NOT NULL,
    status_at          timestamptz NOT NULL,     -- by the clock of the station
    status_id          uuid NOT NULL,            -- the message that says so
    text               text,                     -- of the same message
    job                text,
    data_group         text,
    rows               bigint,
    path               text,
    requested_at       timestamptz,
    transferred_at     timestamptz,              -- downloaded or uploaded
    applied_at         timestamptz,
    failures           integer NOT NULL DEFAULT 0,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    version            integer NOT NULL DEFAULT 1,
    published_version  integer NOT NULL DEFAULT 0,   -- what the station can read of it
    rerun_at           timestamptz,
    rerun_by           text,
    UNIQUE (store, station, direction, number)
) WITH (fillfactor = 70);
CREATE INDEX exchange_session_unpublished ON exchange_session (store, id) WHERE version <> published_version;
CREATE INDEX exchange_session_changed ON exchange_session (changed_at);
-- Deliveries of ours of which it is not known yet how they ended.
CREATE INDEX exchange_session_delivery ON exchange_session (message)
    WHERE message IS NOT NULL AND status IN ('started', 'create_failed');

CREATE TABLE status_message (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    store       text NOT NULL,
    message_id  uuid NOT NULL,
    station     text NOT NULL,
    direction   text NOT NULL CHECK (direction IN ('upload', 'download')),
    number      bigint NOT NULL,
    status      text NOT NULL,
    rank        smallint NOT NULL,
    failed      boolean NOT NULL,
    at          timestamptz NOT NULL,
    job         text,
    data_group  text,
    rows        bigint,
    path        text,
    text        text,
    copy        bytea,                           -- the row or the file it came as; null: we wrote it
    place       text,                            -- the folder of the day in which that file is kept
    uploaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL GENERATED ALWAYS AS (least(at, uploaded_at)) STORED,   -- its age counts from here
    session_id  bigint REFERENCES exchange_session ON DELETE CASCADE,   -- null: it has not moved its session yet
    UNIQUE (store, message_id)
);
CREATE INDEX status_message_session ON status_message (session_id);
CREATE INDEX status_message_waiting ON status_message (store, station, direction, number) WHERE session_id IS NULL;
CREATE INDEX status_message_waiting_id ON status_message (store, id) WHERE session_id IS NULL;
CREATE INDEX status_message_age ON status_message (store, direction, expires_at);

-- Messages that are no longer kept, as long as a repetition may come.
CREATE TABLE status_message_purged (
    store       text NOT NULL,
    message_id  uuid NOT NULL,
    purged_at   timestamptz NOT NULL,
    PRIMARY KEY (store, message_id)
);
CREATE INDEX status_message_purged_at ON status_message_purged (purged_at);

-- What could not be copied: tried again, or refused for good and set aside in its store.
CREATE TABLE status_message_trouble (
    store       text NOT NULL,
    copy        bytea NOT NULL,
    name        text NOT NULL,                   -- the file or row, for people
    tries       integer NOT NULL,
    refused     boolean NOT NULL,
    text        text NOT NULL,
    first_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (store, copy)
);

-- When the messages of a store were last copied, and what was wrong the last time.
CREATE TABLE message_store (
    store       text PRIMARY KEY,
    passed_at   timestamptz,                     -- the last pass that came to its end
    tried_at    timestamptz NOT NULL,
    error       text
);
