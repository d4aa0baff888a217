-- Code that held the event loop of its process until that was ended: a try that failed, which nobody has judged yet.

ALTER TABLE queue ADD COLUMN held_loop boolean NOT NULL DEFAULT false;
ALTER TABLE send_request ADD COLUMN held_loop boolean NOT NULL DEFAULT false;
