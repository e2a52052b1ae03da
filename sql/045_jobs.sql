-- A feed from its creation to its end, and what the views tell of it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 4500;
CREATE SCHEMA life;
SET search_path = life, public;
CREATE TABLE foo (a int PRIMARY KEY, b text);
CREATE TABLE "Bar" (a int PRIMARY KEY);
INSERT INTO foo VALUES (1, 'one');

-- waits for a status, like the conformance runner
CREATE FUNCTION wait_for(id bigint, wanted text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	s text;
BEGIN
	FOR i IN 1..200 LOOP
		SELECT status INTO s FROM changefeed_jobs WHERE job_id = id;
		EXIT WHEN s = wanted;
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN s;
END $$;

-- names and order of the columns are an interface
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = 'changefeed_jobs'::regclass AND attnum > 0;
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
FROM pg_attribute WHERE attrelid = 'pg_stat_changefeed'::regclass AND attnum > 0;
-- and these are read out of the WAL
SELECT attnum, attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'cdc_sink.definition'::regclass AND attnum > 0 ORDER BY attnum;

-- a creation that is rolled back leaves nothing
BEGIN;
SELECT changefeed_create('{foo}', 'null://');
ROLLBACK;
SELECT count(*) FROM changefeed_jobs WHERE job_id >= 4500;
SELECT count(*) FROM cdc_sink.definition WHERE job_id >= 4500;

SELECT changefeed_sql($$CREATE CHANGEFEED FOR foo, "Bar" INTO 'null://' WITH updated, envelope = wrapped$$) AS job \gset
SELECT wait_for(:job, 'running');
SELECT changefeed_wait(:job);
SELECT description, user_name = current_user AS own, status, started IS NOT NULL AS started, finished, error,
	sink_uri, replace(full_table_names::text, current_database(), 'db') AS full_table_names, topics, format
FROM changefeed_jobs WHERE job_id = :job;

-- one row of the scan, two of the stream
INSERT INTO foo VALUES (2, 'two');
INSERT INTO "Bar" VALUES (1);
SELECT changefeed_wait(:job);
SELECT messages, scanned_rows, bytes > 0 AS bytes, retries, dead_letters, last_error FROM pg_stat_changefeed WHERE job_id = :job;

SELECT changefeed_sql('PAUSE JOB ' || :job || $$ WITH REASON = 'lunch'$$) = :job;
SELECT wait_for(:job, 'paused');
SELECT running_status FROM changefeed_jobs WHERE job_id = :job;
SELECT changefeed_pause(:job);
SELECT changefeed_wait(:job, 'FFFF/FFFFFFFF');
SELECT changefeed_resume(:job);
SELECT changefeed_resume(:job);
SELECT wait_for(:job, 'running');
INSERT INTO foo VALUES (3, 'three');
SELECT changefeed_wait(:job);
SELECT changefeed_wait(:job, 'FFFF/FFFFFFFF', '100 ms');

-- requests that are rolled back have no effect
BEGIN;
SELECT changefeed_cancel(:job);
ROLLBACK;
SELECT status FROM changefeed_jobs WHERE job_id = :job;

SELECT changefeed_cancel(:job);
SELECT wait_for(:job, 'canceled');
SELECT finished IS NOT NULL AS finished, lag_bytes, running_status FROM changefeed_jobs WHERE job_id = :job;
SELECT changefeed_cancel(:job);
SELECT changefeed_pause(:job);
SELECT changefeed_resume(:job);
SELECT changefeed_wait(:job, 'FFFF/FFFFFFFF');
SELECT count(*) FROM pg_stat_changefeed WHERE job_id >= 4500;
SELECT count(*) FROM cdc_sink.secret WHERE job_id >= 4500;

-- a scan that ends by itself
SELECT changefeed_create('{foo}', 'null://', '{"initial_scan": "only"}') AS job \gset
SELECT wait_for(:job, 'succeeded');

DROP SCHEMA life CASCADE;
