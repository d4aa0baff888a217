-- name: begin_set(set_key: SetKey) -> maybe
WITH before AS (SELECT id, began_at FROM message_set WHERE id = $1 FOR UPDATE)
UPDATE message_set SET began_at = coalesce(before.began_at, clock_timestamp())
FROM before WHERE message_set.id = before.id
RETURNING before.began_at IS NOT NULL

-- name: forget_beginnings(sets: Sequence[SetKey]) -> none
UPDATE message_set SET began_at = NULL WHERE id = ANY($1::bigint[])
