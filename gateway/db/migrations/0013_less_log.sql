-- What the way of a message writes to the write-ahead log. An update that changes no column of any index, and none of its
-- condition, writes no index at all: so the conditions of the indexes of the queue speak of statuses and times, and not
-- of reasons, and the next message of a lane becomes ready without a word to an index. `reason = 'ready'` without a
-- lane is `status = 'ready' AND not_before IS NULL`; the reasons of a lane's waiting messages are `status = 'ready'`.

DROP INDEX queue_claim;
CREATE INDEX queue_claim ON queue (direction, port, message_id NULLS FIRST)
    WHERE status = 'ready' AND not_before IS NULL AND lane IS NULL;
DROP INDEX queue_lane;
CREATE INDEX queue_lane ON queue (port, lane, message_id NULLS FIRST) WHERE lane IS NOT NULL AND status = 'ready';

-- The messages of a set are those of its file, and the history has an index of them by file. Lanes under a claim are those
-- of the messages under it.
DROP INDEX queue_set;
DROP INDEX message_set_members;
DROP INDEX lane_fence;

-- A default that may differ from row to row keeps COPY from writing many rows of a page at once.
ALTER TABLE message ALTER COLUMN created_at SET DEFAULT statement_timestamp();
ALTER TABLE queue ALTER COLUMN changed_at SET DEFAULT statement_timestamp();

-- Fifty changes are a few messages: their statistics would be gathered anew every ten seconds, and that writes more than
-- the messages. While there is as little as this, plans do not depend on statistics.
ALTER TABLE queue SET (autovacuum_analyze_threshold = 2000);
ALTER TABLE lane SET (autovacuum_analyze_threshold = 1000);
ALTER TABLE lease SET (autovacuum_analyze_threshold = 1000, autovacuum_vacuum_threshold = 500);
ALTER TABLE message SET (autovacuum_analyze_threshold = 1000);
ALTER TABLE document SET (autovacuum_analyze_threshold = 1000);
ALTER TABLE message_set SET (autovacuum_analyze_threshold = 1000);
ALTER TABLE document ALTER COLUMN content SET STATISTICS 0;   -- nobody asks for a document by what it says
