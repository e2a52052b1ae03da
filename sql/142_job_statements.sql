-- Statements about several jobs, about their owner, and those that only look.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 14200;
RESET client_min_messages;
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE SCHEMA several;
SET search_path = several, public;
CREATE TABLE foo (a int PRIMARY KEY);
CREATE TABLE bar (a int PRIMARY KEY);
CREATE ROLE several_a;
CREATE ROLE several_b;
GRANT USAGE ON SCHEMA several TO several_a, several_b;
GRANT SELECT ON foo TO several_a, several_b;
GRANT SELECT ON bar TO several_a;
GRANT EXECUTE ON FUNCTION changefeed_create(text[], text, jsonb), changefeed_sql(text) TO several_a, several_b;
CREATE FUNCTION settled(want text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got text;
BEGIN
	FOR i IN 1..200 LOOP
		SELECT string_agg(job_id || ' ' || status, ', ' ORDER BY job_id) INTO got FROM changefeed_jobs
		WHERE job_id BETWEEN 14200 AND 14299 AND finished IS NULL;
		EXIT WHEN got ~ want;
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN got;
END $$;

SET ROLE several_a;
SELECT changefeed_create('{foo}', 'null://');
SELECT changefeed_create('{bar}', 'null://');
SET ROLE several_b;
SELECT changefeed_create('{foo}', 'null://');
RESET ROLE;
SELECT settled('00 running, 14201 running, 14202 running');

-- who resumes a job that was restored gives its owner no rights
INSERT INTO cdc_sink.saved (job_id, owner, statement, system_id)
	VALUES (14290, 'several_a', 'CREATE CHANGEFEED FOR TABLE several.foo INTO ''file:///nonexistent/x''', 0),
	(14291, 'several_a', 'CREATE CHANGEFEED FOR TABLE several.foo INTO ''null://''', 0);
SELECT changefeed_resume(14290);
SET cdc_sink.restrict_sinks = external;
SELECT changefeed_resume(14291);
RESET cdc_sink.restrict_sinks;
DELETE FROM cdc_sink.saved WHERE job_id IN (14290, 14291);

-- what a query gives
SELECT changefeed_sql('PAUSE JOBS');
SELECT changefeed_sql('PAUSE JOBS nonsense');
SELECT changefeed_sql('PAUSE JOBS (SELECT ''x'')');
SELECT changefeed_sql('PAUSE JOBS (SELECT 1); DROP TABLE foo');
SELECT changefeed_sql('PAUSE JOBS DELETE FROM foo RETURNING a');
SELECT changefeed_sql('PAUSE JOBS (SELECT nextval(''cdc_sink.job_id_seq''))');
SELECT changefeed_sql('PAUSE JOBS (SELECT job_id FROM cdc_sink.job WHERE false)');
SELECT changefeed_sql('PAUSE JOBS (SELECT 14200 UNION ALL SELECT NULL)');
SET ROLE several_a;
SELECT changefeed_sql('PAUSE JOBS (SELECT job_id FROM cdc_sink.job)');
SELECT changefeed_sql('PAUSE JOBS SELECT 14202');
SELECT changefeed_sql('PAUSE JOBS -- all that I see
	(SELECT job_id FROM changefeed_jobs WHERE job_id BETWEEN 14200 AND 14299 AND finished IS NULL);');
SELECT settled('00 paused, 14201 paused');
SELECT changefeed_sql('RESUME ALL CHANGEFEED JOBS');
SELECT settled('00 running, 14201 running');
SELECT changefeed_sql('PAUSE ALL CHANGEFEED JOBS');
RESET ROLE;
SELECT settled('00 paused, 14201 paused, 14202 running');
-- all or nothing
SELECT changefeed_sql('RESUME JOBS (VALUES (14200), (999999))');
SELECT settled('00 paused, 14201 paused, 14202 running');

-- owner
SELECT changefeed_sql('ALTER JOB 14200 OWNER several_b');
SELECT changefeed_sql('ALTER JOB 14200 OWNER TO several_nobody');
SELECT changefeed_sql('ALTER JOB 14201 OWNER TO several_b');
SET ROLE several_a;
\set VERBOSITY sqlstate
SELECT changefeed_sql('ALTER JOB 14200 OWNER TO several_b');
\set VERBOSITY terse
SELECT changefeed_sql('ALTER JOB 14202 OWNER TO several_a');
RESET ROLE;
SELECT changefeed_sql('ALTER JOB 14200 OWNER TO several_b');
SELECT changefeed_sql('ALTER JOB 14202 OWNER TO several_a');
SELECT job_id, user_name FROM changefeed_jobs WHERE job_id BETWEEN 14200 AND 14299 ORDER BY 1;
SET ROLE several_b;
SELECT changefeed_sql('RESUME JOB 14200');
SELECT changefeed_sql('CANCEL JOB 14202');
RESET ROLE;
SELECT settled('00 running, 14201 paused, 14202 running');
INSERT INTO foo VALUES (1);
SELECT changefeed_wait(14200), changefeed_wait(14202);

-- looking
SELECT changefeed_sql('SHOW JOBS');
SELECT changefeed_sql('SHOW JOB 14200');
SET ROLE several_a;
SELECT changefeed_sql('SHOW JOB WHEN COMPLETE 14200');
SELECT changefeed_sql('CANCEL JOBS (VALUES (14201), (14202))');
RESET ROLE;
SELECT changefeed_sql('CANCEL JOB 14200');
SELECT changefeed_sql('SHOW JOB WHEN COMPLETE 14200'), changefeed_sql('SHOW JOB WHEN COMPLETE 14201'),
	changefeed_sql('SHOW JOB WHEN COMPLETE 14202');
SELECT job_id, status FROM changefeed_jobs WHERE job_id BETWEEN 14200 AND 14299 ORDER BY 1;

SET client_min_messages = warning;
DROP SCHEMA several CASCADE;
REVOKE ALL ON FUNCTION changefeed_create(text[], text, jsonb), changefeed_sql(text) FROM several_a, several_b;
DROP ROLE several_a, several_b;
