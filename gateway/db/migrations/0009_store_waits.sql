-- How often in a row something waits for the database to be able to do it: no attempt, and a patience of its own.
ALTER TABLE queue ADD COLUMN store_waits integer NOT NULL DEFAULT 0;
ALTER TABLE send_request ADD COLUMN store_waits integer NOT NULL DEFAULT 0;
