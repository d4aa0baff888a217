-- Lanes that stop: what an error means for what stands behind it, and who is in the way.

ALTER TABLE queue DROP CONSTRAINT queue_reason_check;
ALTER TABLE queue ADD CONSTRAINT queue_reason_check CHECK (reason IN (
    'ready', 'behind_in_lane', 'backoff', 'address_unavailable', 'running',
    'held_by_operator', 'set_halted', 'set_rolled_back', 'lane_parked', 'failed', 'poison', 'malformed'));
ALTER TABLE queue DROP CONSTRAINT queue_reason_fits_status;
ALTER TABLE queue ADD CONSTRAINT queue_reason_fits_status CHECK (CASE status
    WHEN 'ready' THEN reason IN ('ready', 'behind_in_lane', 'backoff', 'address_unavailable')
    WHEN 'hold' THEN reason IN ('held_by_operator', 'set_halted', 'set_rolled_back', 'lane_parked')
    WHEN 'error' THEN reason IN ('failed', 'poison')
    WHEN 'malformed' THEN reason = 'malformed'
    ELSE reason = 'running' END);

-- A lane outlives its last workable message only while it is blocked or parked.
ALTER TABLE lane
    ADD COLUMN on_error   text NOT NULL DEFAULT 'continue' CHECK (on_error IN ('continue', 'block', 'park')),
    ADD COLUMN blocked_by bigint,         -- the unfinished message that nothing of this lane may pass
    ADD COLUMN parked_by  bigint;         -- the failed message that put the lane aside, until an operator releases it

-- What an operator decided for one lane; stands over the setting of the port, also after the lane was empty.
CREATE TABLE lane_rule (
    port        text NOT NULL,
    name        text NOT NULL,
    on_error    text NOT NULL CHECK (on_error IN ('continue', 'block', 'park')),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (port, name)
);

-- How many messages a claim holds: what a parallel port may have in work is summed over these few rows.
ALTER TABLE lease ADD COLUMN messages integer NOT NULL DEFAULT 0;

ALTER TABLE message_set
    ADD COLUMN failed      integer NOT NULL DEFAULT 0,
    ADD COLUMN max_failed  integer;       -- Continue: from so many failures on, the rest is halted; null: no limit
