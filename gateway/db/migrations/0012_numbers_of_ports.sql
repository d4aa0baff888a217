-- What people ask of a port: how much waits for another try or for its folder, and how much stands still. Only such rows
-- are in these indexes, so the way of a message that meets no trouble does not touch them.

CREATE INDEX queue_put_off ON queue (port, message_id) WHERE not_before IS NOT NULL AND lane IS NULL;
CREATE INDEX queue_stopped ON queue (port, status, message_id) WHERE status IN ('hold', 'error', 'malformed');
CREATE INDEX send_request_put_off ON send_request (port, id) WHERE not_before IS NOT NULL;
CREATE INDEX send_request_stopped ON send_request (port, id) WHERE status = 'error';
