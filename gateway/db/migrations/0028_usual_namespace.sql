-- What nearly all envelopes say is not written with every message: without a namespace it is that of 2011.
ALTER TABLE message ALTER COLUMN namespace DROP NOT NULL;
