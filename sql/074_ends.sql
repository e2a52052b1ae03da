-- What ends a feed, with which words, and what does not.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 7400;
RESET client_min_messages;
CREATE SCHEMA ends;
SET search_path = ends, public;
CREATE FUNCTION wait_for(id bigint, wanted text, OUT status text, OUT error text, OUT running_status text)
LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..300 LOOP
		SELECT j.status, j.error, j.running_status INTO status, error, running_status
		FROM changefeed_jobs j WHERE job_id = id;
		EXIT WHEN status = wanted;
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;

-- TRUNCATE
CREATE TABLE t (a int PRIMARY KEY, b text);
SELECT changefeed_create('{t}', 'null://') AS job \gset
SELECT changefeed_wait(:job);
TRUNCATE t;
SELECT * FROM wait_for(:job, 'failed');
SELECT changefeed_resume(:job);

-- the same with on_error = 'pause': resumed, it goes on behind it
SELECT changefeed_create('{t}', 'null://', '{"on_error": "pause", "schema_change_policy": "nobackfill"}') AS job \gset
SELECT changefeed_wait(:job);
BEGIN;
INSERT INTO t VALUES (1);
TRUNCATE t;
INSERT INTO t VALUES (2);
COMMIT;
INSERT INTO t VALUES (3);
SELECT * FROM wait_for(:job, 'paused');
SELECT changefeed_resume(:job);
SELECT changefeed_wait(:job);
SELECT status, error, messages FROM changefeed_jobs JOIN pg_stat_changefeed USING (job_id, status) WHERE job_id = :job;

-- columns come and go under it
ALTER TABLE t ADD c int DEFAULT 5;
INSERT INTO t VALUES (4, 'four', 4);
ALTER TABLE t DROP b;
UPDATE t SET c = 6;
SELECT changefeed_wait(:job);
SELECT status, error, messages FROM changefeed_jobs JOIN pg_stat_changefeed USING (job_id, status) WHERE job_id = :job;

-- no key does not go on
ALTER TABLE t DROP CONSTRAINT t_pkey;
INSERT INTO t VALUES (7, 7);
SELECT * FROM wait_for(:job, 'paused');
SELECT changefeed_cancel(:job);

-- DROP TABLE, after what was written before it
CREATE TABLE d (a int PRIMARY KEY);
SELECT changefeed_create('{d}', 'null://', '{"on_error": "pause"}') AS job \gset
SELECT changefeed_wait(:job);
INSERT INTO d SELECT generate_series(1, 100);
DROP TABLE d;
SELECT * FROM wait_for(:job, 'paused');
SELECT changefeed_cancel(:job);

-- ALTER TABLE ... SET UNLOGGED
CREATE TABLE u (a int PRIMARY KEY);
SELECT changefeed_create('{u}', 'null://') AS job \gset
SELECT changefeed_wait(:job);
ALTER TABLE u SET UNLOGGED;
SELECT status, replace(error, current_database(), 'db') AS error FROM wait_for(:job, 'failed');

-- the owner's rights
CREATE ROLE cdc_regress_ends;
GRANT USAGE ON SCHEMA ends TO cdc_regress_ends;
GRANT EXECUTE ON FUNCTION changefeed_create TO cdc_regress_ends;
CREATE TABLE r (a int PRIMARY KEY);
GRANT SELECT ON r TO cdc_regress_ends;
SET ROLE cdc_regress_ends;
SELECT changefeed_create('{r}', 'null://') AS job \gset
SELECT changefeed_wait(:job);
RESET ROLE;
REVOKE SELECT ON r FROM cdc_regress_ends;
SELECT status, replace(error, current_database(), 'db') AS error FROM wait_for(:job, 'failed');

-- a large value that an UPDATE leaves alone is not in the WAL; it is sent all
-- the same, from the table or from the old row
CREATE TABLE big (a int PRIMARY KEY, n int, v text);
ALTER TABLE big ALTER v SET STORAGE EXTERNAL;
INSERT INTO big VALUES (1, 1, repeat('x', 10000));
SELECT changefeed_create('{big}', 'null://', '{"initial_scan": "no"}') AS job \gset
UPDATE big SET n = 2;
SELECT changefeed_wait(:job);
SELECT messages, bytes > 10000 AS whole FROM pg_stat_changefeed WHERE job_id = :job;
SELECT changefeed_cancel(:job);
ALTER TABLE big REPLICA IDENTITY FULL;
SELECT changefeed_create('{big}', 'null://', '{"initial_scan": "no"}') AS job \gset
UPDATE big SET n = 3;
SELECT changefeed_wait(:job);
SELECT messages, bytes > 10000 AS whole FROM pg_stat_changefeed WHERE job_id = :job;
SELECT changefeed_cancel(:job);
SELECT status FROM wait_for(:job, 'canceled');

-- all of them
SELECT job_id, status FROM changefeed_jobs WHERE job_id >= 7400 ORDER BY job_id;

SET client_min_messages = warning;
DROP SCHEMA ends CASCADE;
REVOKE ALL ON FUNCTION changefeed_create FROM cdc_regress_ends;
DROP ROLE cdc_regress_ends;
