-- Take into the schema `gateway` what each migration had made where the search path led; run with that path.
-- Indexes, constraints and sequences that belong to a column go with their table.

-- name: move_schema_version() -> none
ALTER TABLE schema_version SET SCHEMA gateway

-- name: move_0001() -> none
DO $$ BEGIN
    ALTER SEQUENCE message_key SET SCHEMA gateway;
    ALTER SEQUENCE fence SET SCHEMA gateway;
    ALTER TABLE incarnation SET SCHEMA gateway;
    ALTER TABLE delivery SET SCHEMA gateway;
    ALTER TABLE message_set SET SCHEMA gateway;
    ALTER TABLE message SET SCHEMA gateway;
    ALTER TABLE document SET SCHEMA gateway;
    ALTER TABLE lease SET SCHEMA gateway;
    ALTER TABLE queue SET SCHEMA gateway;
    ALTER TABLE lane SET SCHEMA gateway;
    ALTER TABLE send_request SET SCHEMA gateway;
    ALTER TABLE processed_id SET SCHEMA gateway;
    ALTER TABLE exception SET SCHEMA gateway;
    ALTER TABLE number_sequence SET SCHEMA gateway;
    ALTER SEQUENCE rec_id SET SCHEMA gateway;
    ALTER TABLE entity SET SCHEMA gateway;
    ALTER TABLE run SET SCHEMA gateway;
    ALTER TABLE port_status SET SCHEMA gateway;
END $$

-- name: move_0002() -> none
DO $$ BEGIN
    ALTER TABLE port_rule SET SCHEMA gateway;
    ALTER TABLE lane_rule SET SCHEMA gateway;
END $$

-- name: move_0003() -> none
DO $$ BEGIN
    ALTER TABLE staging SET SCHEMA gateway;
    ALTER TABLE intake SET SCHEMA gateway;
END $$

-- name: move_0005() -> none
DO $$ BEGIN
    ALTER TABLE batch_group SET SCHEMA gateway;
    ALTER TABLE server SET SCHEMA gateway;
    ALTER TABLE server_group SET SCHEMA gateway;
    ALTER TABLE server_hours SET SCHEMA gateway;
    ALTER TABLE active_period SET SCHEMA gateway;
    ALTER TABLE job SET SCHEMA gateway;
    ALTER TABLE task SET SCHEMA gateway;
    ALTER TABLE task_condition SET SCHEMA gateway;
    ALTER TABLE job_dependency SET SCHEMA gateway;
    ALTER TABLE run_task SET SCHEMA gateway;
    ALTER TABLE run_condition SET SCHEMA gateway;
    ALTER TABLE attempt SET SCHEMA gateway;
    ALTER TABLE class_starts SET SCHEMA gateway;
    ALTER TABLE run_log SET SCHEMA gateway;
    ALTER TABLE run_file SET SCHEMA gateway;
    ALTER TABLE alert_rule SET SCHEMA gateway;
    ALTER TABLE alert SET SCHEMA gateway;
END $$
