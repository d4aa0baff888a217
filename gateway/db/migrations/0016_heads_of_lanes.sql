-- Which message of a lane comes next, its lane says, and nobody else: what waits in a lane is behind in it for as long as it
-- waits, and no row of the queue is written when another one becomes the first.
CREATE VIEW ready_head AS SELECT port, head FROM lane WHERE fence IS NULL AND not_before IS NULL AND head IS NOT NULL;
UPDATE queue SET reason = 'behind_in_lane' WHERE reason = 'ready' AND lane IS NOT NULL;
ALTER TABLE queue ADD CONSTRAINT queue_ready_without_lane CHECK (reason <> 'ready' OR lane IS NULL);
