-- name: set_savepoint() -> none
SAVEPOINT message

-- name: release_savepoint() -> none
-- With it go the savepoints that the code inside may have left.
RELEASE SAVEPOINT message

-- name: undo_savepoint() -> none
ROLLBACK TO SAVEPOINT message
