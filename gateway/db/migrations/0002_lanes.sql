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
    ALTER COLUMN head DROP NOT NULL,      -- null: nothing of the lane may run now
    ADD COLUMN on_error   text NOT NULL DEFAULT 'continue' CHECK (on_error IN ('continue', 'block', 'park')),
    ADD COLUMN blocked_by bigint,         -- the unfinished message that nothing of this lane may pass
    ADD COLUMN parked_by  bigint,         -- the failed message that put the lane aside, until an operator releases it
    ADD CONSTRAINT lane_is_there_for_something CHECK (head IS NOT NULL OR blocked_by IS NOT NULL OR parked_by IS NOT NULL),
    ADD CONSTRAINT lane_blocked_has_no_head CHECK (blocked_by IS NULL OR head IS NULL),
    ADD CONSTRAINT lane_waits_with_its_head CHECK (not_before IS NULL OR head IS NOT NULL);

-- What the configuration of a port says of all its lanes; written when the port is opened.
CREATE TABLE port_rule (
    port      text PRIMARY KEY,
    on_error  text NOT NULL CHECK (on_error IN ('continue', 'block', 'park'))
);

-- What an operator decided for one lane; stands over the setting of the port, also after the lane was empty.
CREATE TABLE lane_rule (
    port        text NOT NULL,
    name        text NOT NULL,
    on_error    text NOT NULL CHECK (on_error IN ('continue', 'block', 'park')),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (port, name)
);

-- What is claimed is found in indexes that hold nothing else: their size is what could be claimed now, not what waits.
DROP INDEX lane_claim;
CREATE INDEX lane_claim ON lane (port, head) WHERE fence IS NULL AND not_before IS NULL AND head IS NOT NULL;
CREATE INDEX lane_due ON lane (not_before) WHERE not_before IS NOT NULL AND fence IS NULL;
CREATE INDEX lane_stopped ON lane (port, name) WHERE blocked_by IS NOT NULL OR parked_by IS NOT NULL;
DROP INDEX queue_due;
CREATE INDEX queue_due ON queue (not_before) WHERE not_before IS NOT NULL AND lane IS NULL;

-- There is no message without a number, so NULLS FIRST changes nothing but this: the primary key cannot give the order, and
-- nobody walks along it past all that waits elsewhere, in another lane or for another port.
DROP INDEX queue_claim;
CREATE INDEX queue_claim ON queue (direction, port, message_id NULLS FIRST) WHERE reason = 'ready' AND lane IS NULL;
DROP INDEX queue_lane;
CREATE INDEX queue_lane ON queue (port, lane, message_id NULLS FIRST)
    WHERE lane IS NOT NULL AND reason IN ('ready', 'behind_in_lane', 'backoff');
CREATE INDEX queue_lane_stopped ON queue (port, lane, message_id NULLS FIRST)
    WHERE lane IS NOT NULL AND status IN ('hold', 'error');
DROP INDEX send_request_claim;
CREATE INDEX send_request_claim ON send_request (port, id NULLS FIRST) WHERE reason = 'ready';

-- How many messages a claim holds: what a parallel port may have in work is summed over these few rows.
ALTER TABLE lease ADD COLUMN messages integer NOT NULL DEFAULT 0;

ALTER TABLE message_set
    ADD COLUMN failed      integer NOT NULL DEFAULT 0,   -- since an operator last released it
    ADD COLUMN deleted     integer NOT NULL DEFAULT 0,   -- members that an operator deleted
    ADD COLUMN max_failed  integer;       -- Continue: from so many failures on, the rest is halted; null: no limit
