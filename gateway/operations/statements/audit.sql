-- name: begin_action(actor: str, action: str, subject: str | None, messages: Sequence[MessageKey] | None,
--     reason: str | None) -> one
INSERT INTO operator_action (actor, action, subject, messages, reason) VALUES ($1, $2, $3, $4, $5) RETURNING id

-- name: end_action(number: int, outcome: str, text: str | None) -> none
UPDATE operator_action SET outcome = $2, text = $3 WHERE id = $1

-- name: list_actions(actor: str | None, action: str | None, subject: str | None, message: MessageKey | None,
--     since: datetime | None, until: datetime | None, before: int | None, limit: int) -> many ActionRow
-- The newest first, and of the messages how many there were.
SELECT id, at, actor, action, subject, coalesce(cardinality(messages), 0) AS messages, messages[1:20] AS first_messages,
       reason, outcome, text
FROM operator_action
WHERE ($1::text IS NULL OR actor = $1) AND ($2::text IS NULL OR action LIKE $2) AND ($3::text IS NULL OR subject ILIKE $3)
  AND ($4::bigint IS NULL OR $4 = ANY(messages)) AND ($5::timestamptz IS NULL OR at >= $5)
  AND ($6::timestamptz IS NULL OR at <= $6) AND ($7::bigint IS NULL OR id < $7)
ORDER BY id DESC LIMIT $8
