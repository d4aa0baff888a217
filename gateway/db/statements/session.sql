-- What a connection is asked before the store is used.

-- name: server_version() -> one
SELECT current_setting('server_version_num')::integer AS "number!"

-- name: search_path() -> one
SELECT current_setting('search_path') AS "path!"

-- name: put_our_schema_last() -> none
-- For statements of a user: what the search path of the role has, and what they make goes there; ours only after it.
SELECT set_config('search_path', string_agg(quote_ident(name), ', '), false)
FROM unnest(array_remove(current_schemas(false), 'gateway') || 'gateway'::name) AS name

-- name: durability_settings() -> one DurabilitySettings
-- Visible to every role. `fsync` off on somebody else's server is as bad as `synchronous_commit` off.
SELECT current_setting('synchronous_commit') AS "synchronous_commit!", current_setting('fsync') AS "fsync!"

-- name: commit_synchronously() -> none
-- For this session; every connection of the pool asks for the same.
SET synchronous_commit = on

-- name: can_check_clients() -> none
-- Only some systems can notice a lost client while a statement runs; elsewhere setting it is an error.
SELECT set_config('client_connection_check_interval', '5s', false)

-- name: ping() -> none
SELECT 1

-- name: database_clock() -> one
SELECT clock_timestamp()

-- name: hint(channel: str, what: str) -> none
-- Heard by every running gateway when the transaction commits.
SELECT pg_notify($1, $2)

-- name: hurry(lock_timeout: str, idle_timeout: str) -> none
-- For this transaction only, which holds a sequence from now on: how long it waits for that, and how long it may be silent.
SELECT set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true)

-- name: wait_for_locks() -> none
-- The handler has come back: what is left is ours. Fails where nothing works any more in the transaction.
SET LOCAL lock_timeout TO DEFAULT

-- name: reset_idle_timeout() -> none
SET LOCAL idle_in_transaction_session_timeout TO DEFAULT

-- name: set_idle_timeout(timeout: str) -> none
-- For this transaction only: a slow operation may leave the connection idle for as long as it is allowed to take.
SELECT set_config('idle_in_transaction_session_timeout', $1, true)
