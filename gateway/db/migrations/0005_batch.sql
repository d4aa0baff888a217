-- The batch framework. Definitions (job, task, conditions) say what shall happen; when an occurrence starts they are
-- copied into a run, so that edits touch the next run only. History is a run that has ended.

-- Says which servers may run a task. The default group has the empty name.
CREATE TABLE batch_group (
    name         text PRIMARY KEY,
    description  text NOT NULL DEFAULT '',
    priority     text NOT NULL DEFAULT 'normal' CHECK (priority IN ('low', 'normal', 'high', 'critical', 'reserved')),
    concurrency  integer NOT NULL DEFAULT 0 CHECK (concurrency >= -1),   -- tasks of each job at once; 0: no limit; -1: paused
    source       text NOT NULL DEFAULT 'operator' CHECK (source IN ('config', 'operator', 'system')),
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO batch_group (name, description, source) VALUES ('', 'Default group', 'system');

-- A gateway process that takes tasks. The row outlives the process: groups and hours are given to the name.
CREATE TABLE server (
    name              text PRIMARY KEY,
    incarnation       bigint,                 -- who bears the name now; null: not running
    is_batch          boolean NOT NULL DEFAULT true,
    draining          boolean NOT NULL DEFAULT false,   -- takes nothing new
    threads           integer NOT NULL DEFAULT 8 CHECK (threads > 0),   -- where the schedule has no rows
    reserved_percent  integer NOT NULL DEFAULT 0 CHECK (reserved_percent IN (0, 10, 15, 25)),
    source            text NOT NULL DEFAULT 'operator' CHECK (source IN ('config', 'operator')),
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The groups a server serves, as a list: a new server has the default group, the first named one takes its place.
CREATE TABLE server_group (
    server      text NOT NULL REFERENCES server ON DELETE CASCADE,
    group_name  text NOT NULL REFERENCES batch_group,
    implicit    boolean NOT NULL DEFAULT false,   -- the default group that nobody asked for
    PRIMARY KEY (server, group_name)
);

-- Threads by time of day, in the zone of whoever wrote the row; half-open, an end before its start crosses midnight.
CREATE TABLE server_hours (
    server      text NOT NULL REFERENCES server ON DELETE CASCADE,
    position    integer NOT NULL,
    threads     integer NOT NULL CHECK (threads >= 0),
    start_time  time NOT NULL,
    end_time    time NOT NULL,
    zone        text NOT NULL,
    PRIMARY KEY (server, position)
);

-- When jobs that name it may start.
CREATE TABLE active_period (
    name        text PRIMARY KEY,
    start_time  time NOT NULL,
    end_time    time NOT NULL,
    weekdays    smallint[] NOT NULL DEFAULT '{0,1,2,3,4,5,6}',   -- Monday is 0: the day on which the period opens
    zone        text NOT NULL DEFAULT 'UTC',
    source      text NOT NULL DEFAULT 'operator' CHECK (source IN ('config', 'operator'))
);

CREATE TABLE job (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition_key     text NOT NULL,
    name              text NOT NULL,
    description       text NOT NULL,
    status            text NOT NULL CHECK (status IN
                          ('withhold', 'waiting', 'executing', 'cancelling', 'error', 'ended', 'canceled')),
    hold_after        boolean NOT NULL DEFAULT false,   -- asked for while executing: park when the occurrence has ended
    mode              text NOT NULL DEFAULT 'timed' CHECK (mode IN ('timed', 'event')),
    company           text NOT NULL,
    created_by        text NOT NULL,
    run_as            text,                    -- null: who created it
    original_start    timestamptz NOT NULL,
    next_start        timestamptz NOT NULL,    -- planned start of the next occurrence
    next_cause        text NOT NULL DEFAULT 'schedule' CHECK (next_cause IN ('schedule', 'operator', 'dependency')),
    occurrences       integer NOT NULL DEFAULT 0,   -- started since the recurrence began
    recurrence        jsonb,                   -- null: once
    base              text NOT NULL DEFAULT 'schedule' CHECK (base IN ('schedule', 'finish')),
    missed            text NOT NULL DEFAULT 'coalesce' CHECK (missed IN ('coalesce', 'skip', 'all')),
    tolerance_seconds double precision NOT NULL DEFAULT 300,   -- missed = skip: later than this is dropped
    history           text NOT NULL DEFAULT 'always' CHECK (history IN ('always', 'errors', 'never')),
    batch_group       text REFERENCES batch_group,             -- of tasks that name none
    priority          text CHECK (priority IN ('low', 'normal', 'high', 'critical', 'reserved')),   -- null: of the group
    active_period     text REFERENCES active_period,
    concurrency       integer NOT NULL DEFAULT 0 CHECK (concurrency >= 0),   -- tasks at once; 0: no limit of its own
    max_retries       integer CHECK (max_retries >= 0),        -- stands over the tasks' own
    dependency_type   text NOT NULL DEFAULT 'all' CHECK (dependency_type IN ('all', 'any')),
    overdue_seconds   double precision,        -- alert when it has not started so long after its planned start
    long_seconds      double precision,        -- alert when a run takes longer
    category          text,                    -- for monitoring
    is_critical       boolean NOT NULL DEFAULT false,
    is_system         boolean NOT NULL DEFAULT false,
    is_private        boolean NOT NULL DEFAULT false,   -- seen and run for its owner only
    source            text NOT NULL DEFAULT 'operator' CHECK (source IN ('config', 'operator')),
    config_digest     text,                    -- of the section it was read from: unchanged sections change nothing
    retired           boolean NOT NULL DEFAULT false,   -- its section is gone: it goes when its occurrence has ended
    run_id            bigint,                  -- the occurrence under way
    last_run_id       bigint,
    last_outcome      text CHECK (last_outcome IN ('ended', 'error', 'canceled')),
    last_ended_at     timestamptz,
    runs              bigint NOT NULL DEFAULT 0,   -- counters stay also where no history is kept
    failures          bigint NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (partition_key, name),
    CONSTRAINT job_runs_when_executing CHECK ((status IN ('executing', 'cancelling')) = (run_id IS NOT NULL)),
    CONSTRAINT job_hold_after_only_while_executing CHECK (NOT hold_after OR status IN ('executing', 'cancelling'))
) WITH (fillfactor = 70);
CREATE INDEX job_due ON job (next_start) WHERE status = 'waiting' AND mode = 'timed';

CREATE TABLE task (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id              bigint NOT NULL REFERENCES job ON DELETE CASCADE,
    position            integer NOT NULL,
    name                text NOT NULL,
    description         text NOT NULL,
    handler             text NOT NULL,
    parameters          jsonb NOT NULL DEFAULT '{}',
    parameters_version  integer NOT NULL DEFAULT 1,
    company             text,                  -- null: of the job
    batch_group         text REFERENCES batch_group,   -- null: of the job
    location            text NOT NULL DEFAULT 'server' CHECK (location IN ('server', 'operator')),
    is_private          boolean NOT NULL DEFAULT false,
    condition_type      text NOT NULL DEFAULT 'all' CHECK (condition_type IN ('all', 'any')),
    ignore_failure      boolean NOT NULL DEFAULT false,
    max_retries         integer NOT NULL DEFAULT 0 CHECK (max_retries >= 0),
    retry_seconds       double precision NOT NULL DEFAULT 0,   -- before the first retry; doubles; 0: at once
    timeout_seconds     double precision,
    wait_for_children   boolean NOT NULL DEFAULT true,
    is_withheld         boolean NOT NULL DEFAULT false,
    UNIQUE (job_id, name)
);

CREATE TABLE task_condition (
    task_id    bigint NOT NULL REFERENCES task ON DELETE CASCADE,
    parent_id  bigint NOT NULL REFERENCES task ON DELETE CASCADE,
    wanted     text NOT NULL CHECK (wanted IN ('ended', 'error', 'ended_or_error')),
    PRIMARY KEY (task_id, parent_id, wanted),
    CHECK (task_id <> parent_id)
);

-- A job starts when other jobs have reached an outcome since its own last start.
CREATE TABLE job_dependency (
    job_id        bigint NOT NULL REFERENCES job ON DELETE CASCADE,
    parent_id     bigint NOT NULL REFERENCES job ON DELETE CASCADE,
    wanted        text NOT NULL CHECK (wanted IN ('ended', 'error', 'ended_or_error')),
    satisfied_by  bigint,                      -- the run that reached it; null: not yet
    PRIMARY KEY (job_id, parent_id),
    CHECK (job_id <> parent_id)
);
CREATE INDEX job_dependency_parent ON job_dependency (parent_id);

-- One execution of a job; history once it has ended.
CREATE TEMPORARY TABLE earlier_run ON COMMIT DROP AS TABLE run;
DROP TABLE run;
CREATE TABLE run (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id          bigint,                    -- of a job that may be gone by now
    job             text NOT NULL,
    description     text NOT NULL DEFAULT '',
    partition_key   text NOT NULL,
    company         text NOT NULL,
    created_by      text NOT NULL,
    run_as          text NOT NULL,
    cause           text NOT NULL CHECK (cause IN ('schedule', 'operator', 'dependency', 'event')),
    planned_at      timestamptz NOT NULL,
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    status          text NOT NULL CHECK (status IN ('executing', 'cancelling', 'ended', 'error', 'canceled')),
    canceled_by     text,
    overran         boolean NOT NULL DEFAULT false,   -- it ended after the next planned start
    concurrency     integer NOT NULL DEFAULT 0,       -- tasks at once; 0: no limit of its own
    history         text NOT NULL DEFAULT 'always' CHECK (history IN ('always', 'errors', 'never')),
    comes_back      boolean NOT NULL DEFAULT false,   -- only this occurrence was cancelled, not the job
    incarnation     bigint,                    -- event mode: the process whose busy period it was
    counts          jsonb NOT NULL DEFAULT '{}',
    tasks_left_out  integer NOT NULL DEFAULT 0,       -- not kept: a run with very many tasks
    error           text,
    CHECK ((ended_at IS NULL) = (status IN ('executing', 'cancelling')))
) WITH (fillfactor = 80);
CREATE INDEX run_started ON run (started_at, id);
CREATE INDEX run_open ON run (id) WHERE ended_at IS NULL;
CREATE INDEX run_of_job ON run (job_id, started_at, id);
CREATE UNIQUE INDEX run_once_per_planned_start ON run (job_id, planned_at) WHERE cause = 'schedule';
INSERT INTO run (id, job, partition_key, company, created_by, run_as, cause, planned_at, started_at, ended_at, status,
                 incarnation, counts, error) OVERRIDING SYSTEM VALUE
SELECT id, job, 'initial', 'DAT', 'gateway', 'gateway', 'event', started_at, started_at, ended_at, status, incarnation, counts, error
FROM earlier_run;
SELECT setval(pg_get_serial_sequence('run', 'id'), max(id)) FROM run HAVING count(*) > 0;

-- A task of a run, with everything it needs: whoever claims it reads no definition.
CREATE TABLE run_task (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id              bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    task_id             bigint,                -- of the definition; null: made at run time
    spawned_by          bigint,                -- run time: the run_task that made it
    position            integer NOT NULL,
    name                text NOT NULL,
    description         text NOT NULL DEFAULT '',
    handler             text NOT NULL,
    parameters          jsonb NOT NULL DEFAULT '{}',
    parameters_version  integer NOT NULL DEFAULT 1,
    company             text NOT NULL,
    batch_group         text NOT NULL,
    priority            text NOT NULL,
    location            text NOT NULL,
    is_private          boolean NOT NULL,
    owner               text NOT NULL,         -- who created the job: a private task is run for nobody else
    condition_type      text NOT NULL,
    ignore_failure      boolean NOT NULL,
    max_retries         integer NOT NULL,
    retry_seconds       double precision NOT NULL,
    timeout_seconds     double precision,
    wait_for_children   boolean NOT NULL,
    status              text NOT NULL CHECK (status IN
                            ('withhold', 'waiting', 'ready', 'executing', 'ended', 'error', 'not_run', 'cancelling', 'canceled')),
    attempts            integer NOT NULL DEFAULT 0,   -- executions begun
    retries             integer NOT NULL DEFAULT 0,   -- used up of max_retries
    is_idempotent       boolean NOT NULL DEFAULT false,   -- an interruption costs it nothing
    waits_for_children  boolean NOT NULL DEFAULT false,   -- its code has returned, its children run on
    ready_at            timestamptz,           -- in the future while a retry waits
    server              text,                  -- of the latest attempt
    run_by              text,                  -- location operator: who ran it
    fence               bigint,                -- the lease of whoever executes it
    started_at          timestamptz,
    ended_at            timestamptz,
    error_code          text,
    error               text,
    counts              jsonb NOT NULL DEFAULT '{}',
    UNIQUE (run_id, name),
    CONSTRAINT run_task_fence_only_when_executing CHECK
        ((fence IS NOT NULL) = (status IN ('executing', 'cancelling') AND NOT waits_for_children)),
    CONSTRAINT run_task_ends_once CHECK
        ((ended_at IS NOT NULL) = (status IN ('ended', 'error', 'not_run', 'canceled')))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX run_task_open ON run_task (run_id) WHERE ended_at IS NULL;
CREATE INDEX run_task_ready ON run_task (batch_group, ready_at) WHERE status = 'ready';
CREATE INDEX run_task_fence ON run_task (fence) WHERE fence IS NOT NULL;
CREATE INDEX run_task_spawned ON run_task (spawned_by) WHERE spawned_by IS NOT NULL;
CREATE INDEX run_task_open_child ON run_task (spawned_by) WHERE spawned_by IS NOT NULL AND ended_at IS NULL;

CREATE TABLE run_condition (
    run_task_id  bigint NOT NULL REFERENCES run_task ON DELETE CASCADE,
    parent_id    bigint NOT NULL REFERENCES run_task ON DELETE CASCADE,
    wanted       text NOT NULL CHECK (wanted IN ('ended', 'error', 'ended_or_error')),
    PRIMARY KEY (run_task_id, parent_id, wanted)
);
CREATE INDEX run_condition_parent ON run_condition (parent_id);

-- Every execution of a task, also those that were tried again.
CREATE TABLE attempt (
    run_task_id  bigint NOT NULL REFERENCES run_task ON DELETE CASCADE,
    number       integer NOT NULL,             -- from 1
    server       text NOT NULL,
    incarnation  bigint,
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    outcome      text CHECK (outcome IN ('ended', 'error', 'canceled', 'lost')),
    error_code   text,
    error        text,
    traceback    text,
    counts       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (run_task_id, number),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

-- How often what tasks run was started in its present minute, by the class that `handler` names. Written by claims, which
-- go one at a time; a class that is set aside is not counted on.
CREATE TABLE class_starts (
    handler      text PRIMARY KEY,
    since        timestamptz NOT NULL,         -- the first start of the minute
    starts       integer NOT NULL,
    aside_until  timestamptz                   -- too often: until then it is taken only when nothing else waits
) WITH (fillfactor = 50);

-- What tasks say, below their run and their attempt.
CREATE TABLE run_log (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id       bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    run_task_id  bigint,
    attempt      integer,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    severity     text NOT NULL CHECK (severity IN ('info', 'warning', 'error')),
    text         text NOT NULL
);
CREATE INDEX run_log_of_run ON run_log (run_id, id);
-- The words of every line, and to which 64 runs it belongs: a search reads the lines that match, of the runs it looks at.
CREATE INDEX run_log_words ON run_log
    USING gin (to_tsvector('simple', regexp_replace(text, '[^[:alnum:]]+', ' ', 'g')), (ARRAY[run_id / 64]));

-- A file that a task made; every node can show it, and it goes with its run.
CREATE TABLE run_file (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id       bigint NOT NULL REFERENCES run ON DELETE CASCADE,
    run_task_id  bigint NOT NULL,
    name         text NOT NULL,
    size_bytes   bigint NOT NULL,
    sha256       bytea NOT NULL,
    content      bytea NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (run_id, run_task_id, name)
);
ALTER TABLE run_file ALTER COLUMN content SET STORAGE EXTERNAL;

-- Who wants to hear of what: one row per user and job (or port), so that setting it again replaces it.
CREATE TABLE alert_rule (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id   bigint REFERENCES job ON DELETE CASCADE,
    port     text,
    user_name text NOT NULL,
    events   text[] NOT NULL,
    channels text[] NOT NULL,
    source   text NOT NULL DEFAULT 'operator' CHECK (source IN ('config', 'operator')),
    CHECK ((job_id IS NULL) <> (port IS NULL)),
    UNIQUE (job_id, user_name),
    UNIQUE (port, user_name)
);

-- The outbox: written with what happened, delivered at least once, never twice for the same event to the same address.
CREATE TABLE alert (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_key   text NOT NULL,                 -- names what happened, e.g. run:17:error
    event       text NOT NULL,
    job_id      bigint,
    run_id      bigint,
    port        text,
    user_name   text NOT NULL,
    channel     text NOT NULL CHECK (channel IN ('popup', 'email', 'webhook', 'command')),
    subject     text NOT NULL,
    body        text NOT NULL,
    facts       jsonb NOT NULL DEFAULT '{}',
    status      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
    reason      text,                          -- why it was not sent, or not yet
    tries       integer NOT NULL DEFAULT 0,
    not_before  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at     timestamptz,
    read_at     timestamptz,                   -- popup: the user has seen it
    UNIQUE (event_key, user_name, channel)
);
CREATE INDEX alert_pending ON alert (id) WHERE status = 'pending';
CREATE INDEX alert_inbox ON alert (user_name, id) WHERE channel = 'popup' AND read_at IS NULL;
