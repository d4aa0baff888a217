-- Which migrations a database has. The table is made by the first migration run, under the lock below.

-- name: schema_version_exists
SELECT to_regclass('schema_version') IS NOT NULL

-- name: create_schema_version
CREATE TABLE IF NOT EXISTS schema_version (
    version    integer     PRIMARY KEY CHECK (version > 0),
    name       text        NOT NULL,
    sha256     bytea       NOT NULL CHECK (octet_length(sha256) = 32),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)

-- name: list_schema_versions
SELECT version, name, sha256, applied_at FROM schema_version ORDER BY version

-- name: lock_schema
-- Two nodes that start together: one migrates, the other waits here until that transaction ends, then finds
-- the version row. The number is ours alone: "gateway" in ASCII.
SELECT pg_advisory_xact_lock(29099075147620729)

-- name: wait_without_limit
-- For this transaction only: a migration may take as long as it takes, and may wait for another node's.
SELECT set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true)

-- name: insert_schema_version
INSERT INTO schema_version (version, name, sha256) VALUES ($1, $2, $3)

-- name: running_gateways
-- Whoever runs, of whatever version, keeps a session to listen on; commands do not.
SELECT coalesce(host(client_addr), 'the machine of the database') AS host
FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 ORDER BY 1
