-- Limits of job queue entries, places of users, the queue that took an entry, and the start that its section names.

-- What all entries have to keep to. One row.
CREATE TABLE entry_limits (
    only_row             boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    max_timeout_seconds  double precision NOT NULL DEFAULT 172800 CHECK (max_timeout_seconds > 0),
    per_user             integer CHECK (per_user >= 1),           -- in process at once; null: any number
    waiting_per_user     integer CHECK (waiting_per_user >= 1),   -- ready or waiting; null: any number
    waiting_hours        double precision CHECK (waiting_hours > 0)   -- one that runs once and waited longer is removed
);
INSERT INTO entry_limits DEFAULT VALUES;

-- Where users have a limit, who has a row here is in process, and nobody else can have it.
CREATE TABLE user_slot (
    user_name  text NOT NULL,
    slot       integer NOT NULL,
    entry_id   bigint NOT NULL UNIQUE REFERENCES queue_entry ON DELETE CASCADE,
    PRIMARY KEY (user_name, slot)
);

ALTER TABLE queue_entry
    ADD COLUMN last_queue  text,          -- the queue that took it: when none does any more, it waits
    ADD COLUMN not_before  timestamptz,   -- the earliest start that it was given; `earliest` is when it starts next
    ALTER COLUMN parameters_version DROP NOT NULL,   -- null: they are for the version that is there when it runs
    ALTER COLUMN parameters_version DROP DEFAULT;
UPDATE queue_entry e SET last_queue = p.queue FROM entry_place p WHERE p.id = e.id;

ALTER TABLE task ALTER COLUMN parameters_version DROP NOT NULL, ALTER COLUMN parameters_version DROP DEFAULT;
ALTER TABLE run_task ALTER COLUMN parameters_version DROP NOT NULL, ALTER COLUMN parameters_version DROP DEFAULT;

-- Which queue takes a category: one that is started before one that is stopped.
CREATE FUNCTION queue_of(of_category text) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT name FROM job_queue WHERE categories IS NULL OR of_category = ANY(categories) ORDER BY is_started DESC, name LIMIT 1
$$;

-- In which group an entry runs, and what keeps it from starting when it is due. One that no queue ever took runs by itself.
DROP VIEW entry_place;
CREATE VIEW entry_place AS
SELECT *, kept_by IS NULL AS may_start
FROM (
    SELECT e.id, q.name AS queue, coalesce(q.batch_group, '') AS batch_group,
           CASE WHEN q.name IS NULL AND e.last_queue IS NOT NULL THEN 'no_queue'
                WHEN NOT q.is_started THEN 'stopped'
                WHEN (SELECT count(*) FROM user_slot s WHERE s.user_name = e.user_name) >= l.per_user THEN 'user'
           END AS kept_by
    FROM queue_entry e CROSS JOIN entry_limits l LEFT JOIN job_queue q ON q.name = queue_of(e.category)
) AS placed;
