-- ALTER CHANGEFEED: grammar, what is refused, and what the views show after.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 12000;
CREATE SCHEMA alt;
SET search_path = alt, public;
CREATE TABLE a (id int PRIMARY KEY, v text);
CREATE TABLE b (id int PRIMARY KEY, v text);
CREATE TABLE "C d" (id int PRIMARY KEY);
CREATE TABLE nokey (id int);
CREATE VIEW w AS SELECT 1 AS x;
INSERT INTO a VALUES (1, 'one');
INSERT INTO b VALUES (1, 'one'), (2, 'two');
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
CREATE FUNCTION show(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT replace(concat_ws(E'\n', description, full_table_names::text, topics), current_database(), 'db')
	FROM changefeed_jobs WHERE job_id = id
$$;
CREATE FUNCTION sql(VARIADIC text[]) RETURNS bigint LANGUAGE sql AS $$
	SELECT changefeed_sql(format('ALTER CHANGEFEED %s ', $1[1]) || $1[2])
$$;
-- syntax
SELECT changefeed_sql('ALTER CHANGEFEED');
SELECT changefeed_sql('ALTER CHANGEFEED 1');
SELECT changefeed_sql('ALTER CHANGEFEED x ADD a');
SELECT changefeed_sql('ALTER CHANGEFEED 1 ADD');
SELECT changefeed_sql('ALTER CHANGEFEED 1 ADD a, DROP b');
SELECT changefeed_sql('ALTER CHANGEFEED 1 DROP b WITH initial_scan');
SELECT changefeed_sql('ALTER CHANGEFEED 1 SET');
SELECT changefeed_sql('ALTER CHANGEFEED 1 UNSET updated = 1');
SELECT changefeed_sql('ALTER CHANGEFEED 1 RENAME TO b');
-- the secret is not shown
SELECT changefeed_sql('ALTER CHANGEFEED 1 SET sink = ''kafka://u:geheim@h?sasl_password=geheim'' RENAME');
-- there is none
SELECT changefeed_sql('ALTER CHANGEFEED 4711 ADD a');
SELECT changefeed_sql('ALTER CHANGEFEED -1 ADD a');
SELECT changefeed_alter(4711, add => '{a}');

SELECT changefeed_sql('CREATE CHANGEFEED FOR a INTO ''null://'' WITH updated, resolved = ''1s''') AS job \gset
SELECT wait_for(:job, 'running'), changefeed_wait(:job);
-- CockroachDB's statement wants a pause
SELECT sql(:'job', 'ADD b');
SELECT changefeed_sql('PAUSE JOB ' || :job) = :job AS pause;
SELECT wait_for(:job, 'paused');
-- targets
SELECT sql(:'job', 'ADD nosuch');
SELECT sql(:'job', 'ADD a');
SELECT sql(:'job', 'ADD b, TABLE alt.b');
SELECT sql(:'job', 'ADD w');
SELECT sql(:'job', 'ADD nokey');
SELECT sql(:'job', 'ADD b WITH updated');
SELECT sql(:'job', 'ADD b WITH nosuch');
SELECT sql(:'job', 'ADD b WITH initial_scan = ''maybe''');
SELECT sql(:'job', 'ADD b WITH initial_scan = ''only''');
SELECT sql(:'job', 'ADD b WITH initial_scan, no_initial_scan');
SELECT sql(:'job', 'DROP b');
SELECT sql(:'job', 'DROP nosuch');
SELECT sql(:'job', 'DROP a');
SELECT sql(:'job', 'DROP a, a');
SELECT sql(:'job', 'DROP elsewhere.alt.a');
SELECT sql(:'job', 'SET updated, updated');
-- options
-- the hint lists the options there are
\set VERBOSITY terse
SELECT sql(:'job', 'SET qux');
SELECT sql(:'job', 'UNSET qux');
SELECT sql(:'job', 'SET topics = ''x''');
\set VERBOSITY default
SELECT sql(:'job', 'SET updated = ''x''');
SELECT sql(:'job', 'SET resolved = ''soon''');
SELECT sql(:'job', 'SET on_error');
SELECT sql(:'job', 'SET initial_scan');
SELECT sql(:'job', 'SET no_initial_scan');
SELECT sql(:'job', 'SET initial_scan_only');
SELECT sql(:'job', 'UNSET initial_scan');
SELECT sql(:'job', 'SET cursor = ''1''');
SELECT sql(:'job', 'SET end_time = ''1''');
SELECT sql(:'job', 'UNSET sink');
SELECT sql(:'job', 'SET sink');
SELECT sql(:'job', 'SET sink = ''file:///tmp/x''');
SELECT sql(:'job', 'SET sink = ''nosuch://x''');
SELECT sql(:'job', 'SET sink = ''null://?nosuch=1''');
SELECT sql(:'job', 'SET compression = ''gzip''');
SELECT sql(:'job', 'SET unordered');
-- nothing of all this has been taken over
SELECT show(:job);
SELECT count(*), max(version) FROM cdc_sink.definition WHERE job_id = :job;

-- several clauses, in their order, all or nothing
SELECT sql(:'job', 'ADD b, "C d" DROP a SET min_checkpoint_frequency = ''100ms'', on_error = pause UNSET updated') = :job AS altered;
SELECT show(:job);
SELECT sql(:'job', 'DROP b ADD nosuch');
SELECT sql(:'job', 'ADD TABLE a WITH initial_scan DROP TABLE "C d" SET updated, full_table_name UNSET on_error, min_checkpoint_frequency') = :job AS altered;
SELECT show(:job);
SELECT sql(:'job', 'SET sink = ''null://''') = :job AS altered;
SELECT sql(:'job', 'UNSET updated UNSET updated') = :job AS altered;
BEGIN;
SELECT sql(:'job', 'DROP a') = :job AS altered;
ROLLBACK;
SELECT show(:job);
SELECT changefeed_sql('RESUME JOB ' || :job) = :job AS resume;
SELECT wait_for(:job, 'running'), changefeed_wait(:job);
SELECT c.version, c.scan_done, c.version = (SELECT max(version) FROM cdc_sink.definition d WHERE d.job_id = c.job_id) AS newest
FROM cdc_sink.checkpoint c WHERE job_id = :job;

-- the function alters running feeds, too
SELECT changefeed_alter(:job);
SELECT changefeed_alter(:job, add => '{"\"C d\"", nosuch}');
SELECT changefeed_alter(:job, add => '{"\"C d\""}', drop => '{a}', set => '{"updated": true, "resolved": "2s"}',
	unset => '{full_table_name}');
SELECT show(:job);
INSERT INTO "C d" VALUES (1);
SELECT changefeed_wait(:job);
SELECT c.version = (SELECT max(version) FROM cdc_sink.definition d WHERE d.job_id = c.job_id) AS newest, c.scan_done
FROM cdc_sink.checkpoint c WHERE job_id = :job;

-- a table that is gone can still be dropped
SELECT changefeed_alter(:job, add => '{a}', initial_scan => true);
SELECT changefeed_wait(:job);
SELECT changefeed_sql('PAUSE JOB ' || :job) = :job AS pause;
SELECT wait_for(:job, 'paused');
DROP TABLE "C d";
SELECT sql(:'job', 'DROP "C d"') = :job AS altered;
SELECT show(:job);
SELECT changefeed_sql('RESUME JOB ' || :job) = :job AS resume;
SELECT wait_for(:job, 'running'), changefeed_wait(:job);

-- whose is it
CREATE ROLE regress_alter LOGIN;
GRANT USAGE ON SCHEMA alt TO regress_alter;
GRANT EXECUTE ON FUNCTION changefeed_sql(text) TO regress_alter;
SET ROLE regress_alter;
SELECT changefeed_alter(:job, set => '{"updated": true}');
SELECT sql(:'job', 'SET updated');
RESET ROLE;
-- an ended job
SELECT changefeed_cancel(:job);
SELECT wait_for(:job, 'canceled');
SELECT sql(:'job', 'SET updated');
SELECT changefeed_alter(:job, set => '{"updated": true}');
REVOKE EXECUTE ON FUNCTION changefeed_sql(text) FROM regress_alter;
REVOKE USAGE ON SCHEMA alt FROM regress_alter;
DROP ROLE regress_alter;
SET client_min_messages = error;
DROP SCHEMA alt CASCADE;
-- the next test may want to drop the database
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
