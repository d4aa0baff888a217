-- name: set_savepoint
SAVEPOINT message

-- name: release_savepoint
-- With it go the savepoints that the code inside may have left.
RELEASE SAVEPOINT message

-- name: undo_savepoint
ROLLBACK TO SAVEPOINT message
