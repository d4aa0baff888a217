-- What a connection is asked before the store is used.

-- name: server_version
SELECT current_setting('server_version_num')::integer

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
