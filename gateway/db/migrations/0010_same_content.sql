-- Requests without a MessageId, on ports that refuse the same content again within some time: digest of the envelope.

CREATE TABLE processed_content (
    port        text NOT NULL,
    service     text NOT NULL,
    operation   text NOT NULL,
    digest      bytea NOT NULL CHECK (length(digest) = 32),
    request_id  bigint NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (port, service, operation, digest)
);
CREATE INDEX processed_content_at ON processed_content (at);
