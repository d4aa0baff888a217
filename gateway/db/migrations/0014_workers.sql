-- Processes that work for a gateway have leases of their own: their end gives back their claims at once, and nobody
-- else's. The process that started them looks after them; nobody observes them but by their leases.
ALTER TABLE incarnation ADD COLUMN parent bigint REFERENCES incarnation (id);
