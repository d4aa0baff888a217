-- Rules may ask for what becomes of job queue entries, all of them.
ALTER TABLE alert_rule ADD COLUMN for_entries boolean NOT NULL DEFAULT false;
ALTER TABLE alert_rule DROP CONSTRAINT alert_rule_check;
ALTER TABLE alert_rule ADD CONSTRAINT alert_rule_is_for_one_thing
    CHECK (num_nonnulls(job_id, port) + for_entries::integer = 1);
CREATE UNIQUE INDEX alert_rule_for_entries ON alert_rule (user_name) WHERE for_entries;

-- Asked by every set of new documents: is there an entry that sleeps until there is one?
CREATE INDEX queue_entry_sleeping ON queue_entry (id) WHERE status = 'inactive';
