-- Which migrations a database has, and where its tables are. The first migration run makes both, under the lock below.

-- name: find_home() -> maybe Home
-- The schema with our tables. Before there was one of our own they stood where the role's search path led.
SELECT n.nspname::text AS name, has_schema_privilege(n.oid, 'USAGE') AS usable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'schema_version' AND c.relkind = 'r' AND (n.nspname = 'gateway' OR pg_table_is_visible(c.oid))
  AND ARRAY['version', 'name', 'sha256', 'applied_at'] = (
      SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
      WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
ORDER BY n.nspname = 'gateway' DESC LIMIT 1

-- name: describe_own_schema() -> maybe OwnSchema
-- One row when there is a schema of our name; `content` is the first thing in it, null when there is nothing.
SELECT pg_get_userbyid(n.nspowner)::text AS owner, (
    SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
    WHERE refclassid = 'pg_namespace'::regclass AND refobjid = n.oid ORDER BY classid, objid LIMIT 1) AS content
FROM pg_namespace n WHERE n.nspname = 'gateway'

-- name: create_own_schema() -> none
-- Not IF NOT EXISTS: that would need the right to create even where an administrator made the schema for us.
CREATE SCHEMA gateway

-- name: work_in(schema: str) -> none
-- Nothing but that schema until the end of the transaction: no migration can meet what is somebody else's.
SELECT set_config('search_path', quote_ident($1), true)

-- name: create_schema_version() -> none
CREATE TABLE schema_version (
    version    integer     PRIMARY KEY CHECK (version > 0),
    name       text        NOT NULL,
    sha256     bytea       NOT NULL CHECK (octet_length(sha256) = 32),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)

-- name: list_schema_versions() -> many SchemaVersion
SELECT version, name, sha256, applied_at FROM schema_version ORDER BY version

-- name: lock_schema() -> none
-- Two nodes that start together: one migrates, the other waits here until that transaction ends, then finds
-- the version row. The number is ours alone: "gateway" in ASCII.
SELECT pg_advisory_xact_lock(29099075147620729)

-- name: wait_without_limit() -> none
-- For this transaction only: a migration may take as long as it takes, and may wait for another node's.
SELECT set_config('lock_timeout', '0', true), set_config('statement_timeout', '0', true)

-- name: insert_schema_version(version: int, name: str, sha256: bytes) -> none
INSERT INTO schema_version (version, name, sha256) VALUES ($1, $2, $3)

-- name: running_gateways(application: str) -> many
-- Whoever runs, of whatever version, keeps a session to listen on; commands do not.
SELECT coalesce(host(client_addr), 'the machine of the database') AS host
FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 ORDER BY 1
