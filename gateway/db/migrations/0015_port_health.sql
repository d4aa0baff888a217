-- What all processes together know of the services of a port. A row is made by the first failure and by the first success
-- after one or after a start; no row: nothing is known yet. The services of a port that works are not written about.
CREATE TABLE port_health (
    port          text PRIMARY KEY,
    failures      integer NOT NULL DEFAULT 0,   -- of its services, in a row; 0: they work
    paused_at     timestamptz,                  -- when there were too many
    paused_until  timestamptz,                  -- when one request may be tried; null: the port is not paused
    trying        bigint,                       -- the lease of that request: while there is such a lease, it is being tried
    text          text,                         -- why it is paused
    CHECK ((paused_at IS NULL) = (paused_until IS NULL))
) WITH (fillfactor = 50);
