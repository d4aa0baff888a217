-- What a connection is asked before the store is used.

-- name: server_version
SELECT current_setting('server_version_num')::integer

-- name: search_path
SELECT current_setting('search_path')

-- name: put_our_schema_last
-- For statements of a user: what the search path of the role has, and what they make goes there; ours only after it.
SELECT set_config('search_path', string_agg(quote_ident(name), ', '), false)
FROM unnest(array_remove(current_schemas(false), 'gateway') || 'gateway'::name) AS name

-- name: durability_settings
-- Visible to every role. `fsync` off on somebody else's server is as bad as `synchronous_commit` off.
SELECT current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync

-- name: commit_synchronously
-- For this session; every connection of the pool asks for the same.
SET synchronous_commit = on

-- name: can_check_clients
-- Only some systems can notice a lost client while a statement runs; elsewhere setting it is an error.
SELECT set_config('client_connection_check_interval', '5s', false)

-- name: ping
SELECT 1

-- name: database_clock
SELECT clock_timestamp()

-- name: hint
-- Heard by every running gateway when the transaction commits.
SELECT pg_notify($1, $2)
