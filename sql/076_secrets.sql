-- Passwords are shown nowhere. (The null sink takes a user like any other.)
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 7600;
RESET client_min_messages;
\set VERBOSITY default
CREATE SCHEMA secrets;
SET search_path = secrets, public;
CREATE TABLE foo (a int PRIMARY KEY);

SELECT changefeed_sql($$CREATE CHANGEFEED FOR foo INTO 'null://me:geheim@host/x'$$) AS job \gset
SELECT changefeed_wait(:job);
SELECT description, sink_uri FROM changefeed_jobs WHERE job_id = :job;
SELECT count(*) FROM changefeed_jobs j WHERE job_id >= 7600 AND j::text LIKE '%geheim%';
SELECT count(*) FROM pg_stat_changefeed j WHERE job_id >= 7600 AND j::text LIKE '%geheim%';
-- nor in what travels in the WAL
SELECT sink FROM cdc_sink.definition WHERE job_id = :job;

-- the statement that holds it shows it no longer, to itself or to others
SELECT query FROM (SELECT changefeed_create('{foo}', 'null://me:geheim@host/y') AS id OFFSET 0) c,
	LATERAL (SELECT query FROM pg_stat_get_activity(pg_backend_pid()) WHERE c.id > 0) a;

-- errors
SELECT changefeed_create('{nowhere}', 'null://me:geheim@host/');
SELECT changefeed_create('{foo}', 'null://me:geheim@host/?delay=x');
SELECT changefeed_create('{foo}', 'null://me:geheim@host/?geheim=geheim');
SELECT changefeed_create('{foo}', 'kafka://h?sasl_enabled=nope&sasl_password=geheim');

-- gone with the job
SELECT count(*) FROM cdc_sink.secret WHERE job_id >= 7600;
SELECT changefeed_cancel(job_id) FROM changefeed_jobs WHERE job_id >= 7600;
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM changefeed_jobs WHERE job_id >= 7600 AND finished IS NULL);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT count(*) FROM cdc_sink.secret WHERE job_id >= 7600;
SET client_min_messages = warning;
DROP SCHEMA secrets CASCADE;
-- nothing is left that would hold up a DROP DATABASE of the next run
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = current_database());
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
