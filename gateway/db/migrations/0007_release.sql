-- What an operator lets go is judged by the schemas and rules of today, and answered once for each cause.

ALTER TABLE queue
    ADD COLUMN judge_anew boolean NOT NULL DEFAULT false,  -- in: released, and not judged since
    ADD COLUMN faults bytea[];            -- in: the causes that its sender was told of, as digests; null: none
