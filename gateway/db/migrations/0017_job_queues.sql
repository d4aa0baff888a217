-- Job queues. An entry is what shall run, and when; its runs are runs as those of jobs are, and their history is its log.

-- Which entries exclude one another: at most `width` of a category are in process.
CREATE TABLE entry_category (
    name         text PRIMARY KEY,
    description  text NOT NULL DEFAULT '',
    width        integer NOT NULL DEFAULT 1 CHECK (width >= 1),
    retired      boolean NOT NULL DEFAULT false   -- its section is gone: it goes with its last entry
);

-- A container of entries: those whose category it takes run only while it is started, on the servers of its group.
CREATE TABLE job_queue (
    name                  text PRIMARY KEY,
    description           text NOT NULL DEFAULT '',
    categories            text[],              -- null: all entries, also those without a category
    batch_group           text NOT NULL DEFAULT '' REFERENCES batch_group,
    starts_automatically  boolean NOT NULL DEFAULT true,
    is_started            boolean NOT NULL,
    changed_by            text,                -- who started or stopped it
    changed_at            timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE queue_entry (
    id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                 text UNIQUE,
    description          text NOT NULL DEFAULT '',
    status               text NOT NULL CHECK (status IN
                             ('on_hold', 'ready', 'waiting', 'in_process', 'error', 'finished', 'inactive')),
    handler              text NOT NULL,
    parameters           jsonb NOT NULL DEFAULT '{}',
    parameters_version   integer NOT NULL DEFAULT 1,
    record               text UNIQUE,         -- what it is about, such as a document; there is one entry about it at a time
    partition_key        text NOT NULL,
    company              text NOT NULL,
    created_by           text NOT NULL,
    user_name            text NOT NULL,       -- who set it to ready: it runs as this user
    category             text REFERENCES entry_category,
    priority             integer NOT NULL DEFAULT 1000,   -- within its category, the lower first
    earliest             timestamptz NOT NULL,            -- not before; of an inactive one: it wakes then
    expires              timestamptz,         -- not after: when it comes due later it is removed
    weekdays             smallint[] NOT NULL DEFAULT '{}',   -- Monday is 0; any: it recurs
    minutes              integer NOT NULL DEFAULT 0 CHECK (minutes >= 0),
    formula              text,
    starting             time,
    ending               time,
    zone                 text NOT NULL DEFAULT 'UTC',
    max_attempts         integer NOT NULL DEFAULT 0 CHECK (max_attempts BETWEEN 0 AND 10),
    rerun_delay_seconds  double precision NOT NULL DEFAULT 0 CHECK (rerun_delay_seconds BETWEEN 0 AND 3600),
    inactivity_minutes   integer NOT NULL DEFAULT 0 CHECK (inactivity_minutes = 0 OR inactivity_minutes >= 5),
    wakes_on             text[] NOT NULL DEFAULT '{}',    -- documents whose change wakes an inactive one
    timeout_seconds      double precision,    -- null: that of what it runs
    retries_timeout      boolean NOT NULL DEFAULT true,
    location             text NOT NULL DEFAULT 'server' CHECK (location IN ('server', 'operator')),
    notify_on_success    boolean NOT NULL DEFAULT false,
    attempts             integer NOT NULL DEFAULT 0,      -- failures since it was last set to ready, or went well
    interruptions        integer NOT NULL DEFAULT 0,      -- servers lost in a row
    run_id               bigint,              -- the run under way
    started_at           timestamptz,         -- when that began
    last_run_id          bigint,
    once_from            text,                -- run for a try: the status to which it comes back
    hold_after           boolean NOT NULL DEFAULT false,  -- asked for while in process
    error_code           text,                -- of the last failure
    error                text,
    changes_seen         bigint,              -- inactive: record numbers of documents up to here are no news
    source               text NOT NULL CHECK (source IN ('config', 'operator', 'code')),
    config_digest        text,
    retired              boolean NOT NULL DEFAULT false,  -- its section is gone: it goes when its run has ended
    created_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT queue_entry_runs_in_process CHECK ((status = 'in_process') = (run_id IS NOT NULL)),
    CONSTRAINT queue_entry_waits_for_a_category CHECK (status <> 'waiting' OR category IS NOT NULL),
    CONSTRAINT queue_entry_recurs_one_way CHECK (formula IS NULL OR minutes = 0)
) WITH (fillfactor = 70);
CREATE INDEX queue_entry_due ON queue_entry (earliest) WHERE status IN ('ready', 'inactive');
CREATE INDEX queue_entry_category ON queue_entry (category, priority, id);

-- Capacity is these rows: who has one is in process, and nobody else can have it.
CREATE TABLE entry_slot (
    category  text NOT NULL REFERENCES entry_category,
    slot      integer NOT NULL,
    entry_id  bigint NOT NULL UNIQUE REFERENCES queue_entry ON DELETE CASCADE,
    PRIMARY KEY (category, slot)
);

-- Whether an entry may start, and in which group. Where no queue takes its category it runs by itself.
CREATE VIEW entry_place AS
SELECT e.id, q.name AS queue, coalesce(q.batch_group, '') AS batch_group, coalesce(q.is_started, true) AS may_start
FROM queue_entry e
LEFT JOIN LATERAL (
    SELECT * FROM job_queue WHERE categories IS NULL OR e.category = ANY(categories)
    ORDER BY is_started DESC, name LIMIT 1
) q ON true;

ALTER TABLE run ADD COLUMN entry_id bigint;    -- the entry that it is a run of; there may be no such entry any more
ALTER TABLE run ADD COLUMN category text;      -- of that entry
CREATE INDEX run_of_entry ON run (entry_id, id) WHERE entry_id IS NOT NULL;
ALTER TABLE run DROP CONSTRAINT run_cause_check;
ALTER TABLE run ADD CONSTRAINT run_cause_check CHECK (cause IN ('schedule', 'operator', 'dependency', 'event', 'queue'));
ALTER TABLE run_task ADD COLUMN is_hopeless boolean NOT NULL DEFAULT false;   -- it failed, and trying again cannot help
