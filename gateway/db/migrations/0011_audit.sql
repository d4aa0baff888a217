-- What operators did: written before it is done, with what came of it afterwards. A row without an outcome is of an action
-- that was cut off: it may have been done.
CREATE TABLE operator_action (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor     text NOT NULL,
    action    text NOT NULL,
    subject   text,                   -- what it was done to, in words; null: the messages alone
    messages  bigint[],               -- numbers of messages, where it was done to messages
    reason    text,                   -- as the operator gave it
    outcome   text CHECK (outcome IN ('done', 'refused')),
    text      text                    -- why it was refused, or how many it changed
);
CREATE INDEX operator_action_at ON operator_action (at);
