-- The report of a day: what came in, went out and failed between two moments, per port and per job.

-- name: report_files(begin: datetime, end: datetime) -> many FilesOfDay
SELECT port, count(*) FILTER (WHERE outcome = 'ingested') AS files, count(*) FILTER (WHERE outcome = 'refused') AS refused,
       coalesce(sum(size_bytes), 0)::bigint AS bytes
FROM delivery WHERE received_at >= $1 AND received_at < $2 GROUP BY port

-- name: report_messages(begin: datetime, end: datetime) -> many MessagesOfDay
-- Requests count for the day they came, everything else for the day it was finished. The index on created_at finds
-- them; what was made more than two days before the day is not looked for.
SELECT port,
       count(*) FILTER (WHERE direction = 'in' AND created_at >= $1) AS requests,
       count(*) FILTER (WHERE direction = 'in' AND outcome = 'processed' AND finished_at >= $1 AND finished_at < $2)
           AS processed,
       count(*) FILTER (WHERE direction = 'out' AND NOT is_fault AND outcome = 'sent' AND finished_at >= $1
                        AND finished_at < $2) AS sent,
       count(*) FILTER (WHERE direction = 'out' AND is_fault AND outcome = 'sent' AND finished_at >= $1
                        AND finished_at < $2) AS faults
FROM message WHERE created_at >= $1 - interval '2 days' AND created_at < $2 GROUP BY port

-- name: report_failures(begin: datetime, end: datetime) -> many FailuresOfDay
SELECT port AS "port!", count(*) AS failures FROM exception
WHERE at >= $1 AND at < $2 AND severity = 'error' AND port IS NOT NULL GROUP BY port

-- name: report_waiting() -> many Waiting
-- What is not finished now, whatever the day.
SELECT port, count(*) AS unfinished, count(*) FILTER (WHERE status = 'error') AS in_error,
       count(*) FILTER (WHERE status = 'hold') AS held
FROM queue GROUP BY port

-- name: report_jobs(begin: datetime, end: datetime) -> many JobDay
SELECT job, partition_key AS partition, count(*) AS runs, count(*) FILTER (WHERE status = 'ended') AS ended,
       count(*) FILTER (WHERE status = 'error') AS failed, count(*) FILTER (WHERE status = 'canceled') AS canceled,
       max(extract(epoch FROM ended_at - started_at))::double precision AS longest_seconds,
       (array_agg(error ORDER BY id DESC) FILTER (WHERE error IS NOT NULL))[1] AS last_error
FROM run WHERE started_at >= $1 AND started_at < $2 GROUP BY partition_key, job ORDER BY partition_key, job
