-- The way of a message: delivery -> message + document -> queue -> message + document (the response) -> queue -> gone.
-- History is `message` without a `queue` row.
-- Hot tables carry no foreign keys to one another: rows of one file are written by one transaction, and a key
-- check per row would cost more than the row.

CREATE SEQUENCE message_key;      -- numbers messages and sets in order of arrival; taken in blocks, one per transaction
CREATE SEQUENCE fence;            -- every claim draws a number; a result that carries an older one is refused

-- One start of one gateway process.
CREATE TABLE incarnation (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node        text NOT NULL,            -- identity of the data folder: whoever holds its lock knows that earlier ones are dead
    host        text NOT NULL,
    pid         integer NOT NULL,
    version     text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at  timestamptz
);

-- One row per received file. The claim id is the mutual exclusion of ingestion: its second insert fails.
CREATE TABLE delivery (
    claim_id     uuid PRIMARY KEY,
    port         text NOT NULL,
    name         bytea NOT NULL,          -- as the partner named it; any bytes
    display      text NOT NULL,
    size_bytes   bigint NOT NULL,
    sha256       bytea,
    owner_uid    bigint NOT NULL,
    owner        text,
    submitter    text,
    modified_at  timestamptz NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    root         text CHECK (root IN ('batch', 'envelope')),
    encoding     text,
    envelopes    integer NOT NULL DEFAULT 0,
    outcome      text NOT NULL CHECK (outcome IN ('ingested', 'refused')),
    settlement   text NOT NULL CHECK (settlement IN ('archive', 'delete', 'quarantine')),
    code         text,
    reason       text,
    CHECK ((outcome = 'refused') = (code IS NOT NULL))
);
CREATE INDEX delivery_received ON delivery (received_at);
CREATE INDEX delivery_sha256 ON delivery (port, sha256);

CREATE TABLE message_set (
    id               bigint PRIMARY KEY,
    claim_id         uuid NOT NULL,
    port             text NOT NULL,
    batch_id         text NOT NULL,
    conversation_id  text,
    policy           text NOT NULL CHECK (policy IN ('continue', 'halt', 'rollback')),
    members          integer NOT NULL,
    processed        integer NOT NULL DEFAULT 0,
    status           text NOT NULL DEFAULT 'ready'
                     CHECK (status IN ('ready', 'error', 'rolled_back', 'completed')),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX message_set_batch ON message_set (port, batch_id);
CREATE INDEX message_set_created ON message_set (created_at);

CREATE TABLE message (
    id                  bigint PRIMARY KEY,
    direction           text NOT NULL CHECK (direction IN ('in', 'out')),
    port                text NOT NULL,
    claim_id            uuid,                 -- in: the file it came in
    set_id              bigint,
    position            integer NOT NULL,     -- in its file, from 1
    request_id          bigint,               -- out: the message it answers
    message_id          uuid NOT NULL,
    message_id_sent     text,                 -- as the partner wrote it; null: we made the id
    namespace           text NOT NULL,        -- of the envelope, as written
    action              text,
    service             text,
    operation           text,
    company             text,
    partition_key       text,
    conversation_id     text,
    logon_as_user       text,
    submitter           text,
    parts               text[] NOT NULL DEFAULT '{}',
    checked             text,                 -- fingerprint of the schemas that its documents passed
    problems            jsonb,                -- what the reader found wrong; null: nothing
    size_bytes          integer NOT NULL,
    is_fault            boolean NOT NULL DEFAULT false,
    file_name           text,                 -- out: the name it is published under
    entity_keys         text[],
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome             text CHECK (outcome IN ('processed', 'sent', 'deleted')),
    finished_at         timestamptz,
    CHECK ((outcome IS NULL) = (finished_at IS NULL))
) WITH (fillfactor = 85);
CREATE INDEX message_by_guid ON message (message_id);
CREATE INDEX message_created ON message (created_at);
CREATE INDEX message_claim ON message (claim_id) WHERE claim_id IS NOT NULL;
CREATE INDEX message_set_members ON message (set_id) WHERE set_id IS NOT NULL;
CREATE INDEX message_request ON message (request_id) WHERE request_id IS NOT NULL;
CREATE UNIQUE INDEX message_file_name ON message (port, file_name) WHERE file_name IS NOT NULL;

CREATE TABLE document (
    message_id  bigint NOT NULL,
    version     smallint NOT NULL,        -- 0: as received or first produced
    step        text NOT NULL,
    content     bytea NOT NULL,           -- the whole envelope, UTF-8
    PRIMARY KEY (message_id, version)
);
ALTER TABLE document ALTER COLUMN content SET STORAGE EXTERNAL;   -- compressing XML costs more time than the space is worth

-- A claim of a worker on a chunk of the queue. Its row is the guard: completing deletes it first, and finds
-- nothing when the lease ran out and somebody else took the work.
CREATE TABLE lease (
    fence     bigint PRIMARY KEY,
    owner     bigint NOT NULL,            -- incarnation
    stage     text NOT NULL,
    port      text NOT NULL,
    taken_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    until     timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Only unfinished work. Small and hot: vacuum early, keep room for in-place updates.
CREATE TABLE queue (
    message_id   bigint PRIMARY KEY,
    port         text NOT NULL,
    direction    text NOT NULL CHECK (direction IN ('in', 'out')),
    status       text NOT NULL CHECK (status IN ('ready', 'in_process', 'hold', 'error', 'in_transport', 'malformed')),
    reason       text NOT NULL CHECK (reason IN (
                     'ready', 'behind_in_lane', 'backoff', 'address_unavailable', 'running',
                     'held_by_operator', 'set_halted', 'set_rolled_back', 'failed', 'malformed')),
    lane         text,
    set_id       bigint,
    policy       text CHECK (policy IN ('continue', 'halt', 'rollback')),
    version      smallint NOT NULL DEFAULT 0,
    attempts     smallint NOT NULL DEFAULT 0,
    not_before   timestamptz,
    fence        bigint,
    staged_name  text,                    -- out: a file in staging that is promised, until the rename that publishes it
    error        text,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT queue_reason_fits_status CHECK (CASE status
        WHEN 'ready' THEN reason IN ('ready', 'behind_in_lane', 'backoff', 'address_unavailable')
        WHEN 'hold' THEN reason IN ('held_by_operator', 'set_halted', 'set_rolled_back')
        WHEN 'error' THEN reason = 'failed'
        WHEN 'malformed' THEN reason = 'malformed'
        ELSE reason = 'running' END),
    CONSTRAINT queue_fence_only_when_running CHECK ((reason = 'running') = (fence IS NOT NULL)),
    CONSTRAINT queue_direction_fits_status CHECK (CASE status
        WHEN 'in_process' THEN direction = 'in'
        WHEN 'in_transport' THEN direction = 'out'
        ELSE true END),
    CONSTRAINT queue_waits_have_a_time CHECK ((reason IN ('backoff', 'address_unavailable')) = (not_before IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX queue_claim ON queue (direction, port, message_id) WHERE reason = 'ready' AND lane IS NULL;
CREATE INDEX queue_lane ON queue (port, lane, message_id)
    WHERE lane IS NOT NULL AND reason IN ('ready', 'behind_in_lane', 'backoff');
CREATE INDEX queue_due ON queue (not_before) WHERE not_before IS NOT NULL;
CREATE INDEX queue_fence ON queue (fence) WHERE fence IS NOT NULL;
CREATE INDEX queue_set ON queue (set_id) WHERE set_id IS NOT NULL;

-- An ordering key with work: at most one claim of a lane anywhere. The row is the lock under which its head moves;
-- it goes when its last workable message goes.
CREATE TABLE lane (
    port         text NOT NULL,
    name         text NOT NULL,
    head         bigint NOT NULL,         -- first workable message
    not_before   timestamptz,             -- the head waits; so does everything behind it
    fence        bigint,                  -- null: free
    PRIMARY KEY (port, name)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX lane_claim ON lane (port, head) WHERE fence IS NULL;
CREATE INDEX lane_fence ON lane (fence) WHERE fence IS NOT NULL;

-- What was asked to be sent and is no message yet: the queue of outbound processing. A request keeps its number and
-- its MessageId for life: the message that it becomes has the same.
CREATE TABLE send_request (
    id               bigint PRIMARY KEY,      -- of message_key
    message_id       uuid NOT NULL,
    port             text NOT NULL,
    service          text NOT NULL,
    operation        text NOT NULL,
    entity_keys      jsonb NOT NULL,          -- a list of keys; a key is a list of [field, value]
    company          text,                    -- null: the default company, and no word of it in the message
    partition_key    text,
    conversation_id  text,
    submitter        text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    status           text NOT NULL DEFAULT 'ready' CHECK (status IN ('ready', 'in_process', 'error')),
    reason           text NOT NULL DEFAULT 'ready' CHECK (reason IN ('ready', 'backoff', 'running', 'failed')),
    attempts         smallint NOT NULL DEFAULT 0,
    not_before       timestamptz,
    fence            bigint,
    error            text,
    changed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT send_request_has_keys CHECK (jsonb_typeof(entity_keys) = 'array' AND jsonb_array_length(entity_keys) > 0),
    CONSTRAINT send_request_reason_fits_status CHECK (CASE status
        WHEN 'ready' THEN reason IN ('ready', 'backoff')
        WHEN 'in_process' THEN reason = 'running'
        ELSE reason = 'failed' END),
    CONSTRAINT send_request_fence_only_when_running CHECK ((reason = 'running') = (fence IS NOT NULL)),
    CONSTRAINT send_request_waits_have_a_time CHECK ((reason = 'backoff') = (not_before IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX send_request_claim ON send_request (port, id) WHERE reason = 'ready';
CREATE INDEX send_request_due ON send_request (not_before) WHERE not_before IS NOT NULL;
CREATE INDEX send_request_fence ON send_request (fence) WHERE fence IS NOT NULL;

-- A MessageId that was processed by an operation that refuses repeats; the key decides between two at the same time.
CREATE TABLE processed_id (
    port        text NOT NULL,
    service     text NOT NULL,
    operation   text NOT NULL,
    message_id  uuid NOT NULL,
    request_id  bigint NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (port, service, operation, message_id)
);

CREATE TABLE exception (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    severity    text NOT NULL DEFAULT 'error' CHECK (severity IN ('error', 'warning')),
    code        text NOT NULL,
    text        text NOT NULL,
    port        text,
    claim_id    uuid,
    set_id      bigint,
    message_key bigint,                   -- message.id
    message_id  uuid,
    file        text,
    line        integer,
    col         integer,
    path        text,
    details     jsonb,
    traceback   text
);
CREATE INDEX exception_at ON exception (at);
CREATE INDEX exception_message ON exception (message_key) WHERE message_key IS NOT NULL;

CREATE TABLE number_sequence (
    name   text PRIMARY KEY,
    next   bigint NOT NULL
);

-- What the document service keeps: one row per root entity. Each entity inside it has a record number of its own:
-- the root's, plus its place in document order.
CREATE SEQUENCE rec_id START 5637144576;
CREATE TABLE entity (
    rec_id       bigint PRIMARY KEY,
    document     text NOT NULL,           -- {namespace}local, canonical
    partition_key text NOT NULL,
    company      text NOT NULL,
    key          text NOT NULL,
    rec_version  integer NOT NULL DEFAULT 1,
    content      bytea NOT NULL,          -- the root entity element, UTF-8, namespaces as received
    request_id   bigint NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (document, partition_key, company, key)
);
ALTER TABLE entity ALTER COLUMN content SET STORAGE EXTERNAL;

-- One execution of a job.
CREATE TABLE run (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job          text NOT NULL,
    incarnation  bigint NOT NULL,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz NOT NULL,
    status       text NOT NULL CHECK (status IN ('ended', 'error')),
    counts       jsonb NOT NULL DEFAULT '{}',
    error        text
);
CREATE INDEX run_started ON run (started_at);

-- What a port says of itself; written when it changes.
CREATE TABLE port_status (
    port         text PRIMARY KEY,
    state        text NOT NULL CHECK (state IN ('open', 'degraded', 'paused', 'inactive')),
    reason       text,
    left_in_place jsonb NOT NULL DEFAULT '[]',
    incarnation  bigint NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
