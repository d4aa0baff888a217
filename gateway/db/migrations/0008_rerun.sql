-- A run that repeats another one, whole or from a task on.
ALTER TABLE run ADD COLUMN rerun_of bigint;
