-- All our tables stand in the schema `gateway`, apart from those of a user: `document` and `task` are names for anybody.
-- Databases from before are moved before the first step that is missing in them (see gateway/db/migrate.py), so
-- that no older step meets a user's table; this step sees to it that there is one.
SELECT 1;
