-- The tables of a message store in a second database, made where they are missing.
-- Loose on purpose: what a station writes wrongly is kept with the reason, not lost with an error that nobody reads.
CREATE SCHEMA IF NOT EXISTS exchange;
CREATE TABLE IF NOT EXISTS exchange.status_message (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id   uuid NOT NULL,
    station      text NOT NULL,
    direction    text NOT NULL,
    session      bigint NOT NULL,
    status       text NOT NULL,
    at           timestamptz NOT NULL,
    job          text,
    data_group   text,
    rows         bigint,
    path         text,
    text         text,
    written_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    uploaded_at  timestamptz,
    refused_at   timestamptz,
    refusal      text
);
CREATE INDEX IF NOT EXISTS status_message_waiting ON exchange.status_message (id)
    WHERE uploaded_at IS NULL AND refused_at IS NULL;
CREATE TABLE IF NOT EXISTS exchange.session (
    station      text NOT NULL,
    direction    text NOT NULL,
    session      bigint NOT NULL,
    status       text NOT NULL,
    status_at    timestamptz NOT NULL,
    job          text,
    data_group   text,
    rows         bigint,
    path         text,
    text         text,
    changed_at   timestamptz NOT NULL,
    PRIMARY KEY (station, direction, session)
)
