-- Messages that end the process that works on them, and code whose effects only it can take back.

ALTER TABLE queue ADD COLUMN crashes smallint NOT NULL DEFAULT 0;          -- ends of the process while its code ran
ALTER TABLE send_request ADD COLUMN crashes smallint NOT NULL DEFAULT 0;

ALTER TABLE send_request DROP CONSTRAINT send_request_reason_check;
ALTER TABLE send_request ADD CONSTRAINT send_request_reason_check CHECK (reason IN (
    'ready', 'backoff', 'running', 'failed', 'poison'));
ALTER TABLE send_request DROP CONSTRAINT send_request_reason_fits_status;
ALTER TABLE send_request ADD CONSTRAINT send_request_reason_fits_status CHECK (CASE status
    WHEN 'ready' THEN reason IN ('ready', 'backoff')
    WHEN 'in_process' THEN reason = 'running'
    ELSE reason IN ('failed', 'poison') END);

-- Rollback with compensations: an operation of the set may have left something outside the database; null again when
-- the compensations have run.
ALTER TABLE message_set ADD COLUMN began_at timestamptz;
