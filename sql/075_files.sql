-- Files on the server: who may write where, and what stands in them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 7500;
RESET client_min_messages;
\set VERBOSITY default
CREATE SCHEMA files;
GRANT USAGE ON SCHEMA files TO PUBLIC;
SET search_path = files, public;
CREATE TABLE foo (a int PRIMARY KEY, b text);
INSERT INTO foo VALUES (1, 'there'), (2, 'before');
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

-- where
SELECT changefeed_create('{foo}', 'file://');
SELECT changefeed_create('{foo}', 'file:///');
SELECT changefeed_create('{foo}', 'file://host/dir');
SELECT changefeed_create('{foo}', 'file:///tmp/../etc');
SELECT changefeed_create('{foo}', 'nodelocal:///dir');
SELECT changefeed_create('{foo}', 'nodelocal://2/dir');
SELECT changefeed_create('{foo}', 'experimental-nodelocal://2/dir');
SELECT changefeed_create('{foo}', 'experimental-nodelocal://self/dir', '{"diff": true}');
SELECT changefeed_create('{foo}', 'nodelocal://self/dir?nope=1');
SELECT changefeed_create('{foo}', 'nodelocal://self/dir?file_size=much');
SELECT changefeed_create('{foo}', 'nodelocal://self/dir?partition_format=weekly');
SELECT changefeed_create('{foo}', 'nodelocal://self/dir', '{"kafka_sink_config": "{}"}');

-- who
CREATE ROLE cdc_regress_files;
GRANT EXECUTE ON FUNCTION changefeed_create TO cdc_regress_files;
GRANT SELECT ON foo TO cdc_regress_files;
SET ROLE cdc_regress_files;
SELECT changefeed_create('{foo}', 'file:///tmp/cdc_regress_nowhere');
\set VERBOSITY sqlstate
SHOW cdc_sink.file_root;
\set VERBOSITY default
SET cdc_sink.file_root = '/';
RESET ROLE;

-- what; a directory of its own for each run
SELECT 'cdc_regress/' || md5(clock_timestamp()::text) AS dir \gset
SET ROLE cdc_regress_files;
SELECT changefeed_create('{foo}', 'nodelocal://self/' || :'dir', '{"resolved": "10ms", "min_checkpoint_frequency": "10ms", "key_in_value": true}') AS job \gset
RESET ROLE;
SELECT changefeed_wait(:job);
INSERT INTO foo VALUES (3, 'later');
UPDATE foo SET b = NULL WHERE a = 3;
DELETE FROM foo WHERE a = 1;
SELECT changefeed_wait(:job);
SELECT changefeed_cancel(:job);
SELECT wait_for(:job, 'canceled');
SELECT topics, format FROM changefeed_jobs WHERE job_id = :job;

-- in the order of the files' names
SELECT coalesce(nullif(current_setting('cdc_sink.file_root'), ''),
	current_setting('data_directory') || '/cdc_sink') || '/' || :'dir' AS root \gset
WITH files AS (
	SELECT day, name, pg_read_file(:'root' || '/' || day || '/' || name) AS content
	FROM pg_ls_dir(:'root') AS day, pg_ls_dir(:'root' || '/' || day) AS name
)
SELECT line FROM files, unnest(string_to_array(content, E'\n')) WITH ORDINALITY AS l (line, n)
WHERE name LIKE '%.ndjson' AND line <> '' ORDER BY name COLLATE "C", n;
SELECT count(*) > 0 AS some, bool_and(pg_read_file(:'root' || '/' || day || '/' || name) ~ '^\{"resolved":"\d+\.\d{10}"\}$') AS right
FROM pg_ls_dir(:'root') AS day, pg_ls_dir(:'root' || '/' || day) AS name WHERE name LIKE '%.RESOLVED';

SET client_min_messages = warning;
DROP SCHEMA files CASCADE;
DROP OWNED BY cdc_regress_files;
DROP ROLE cdc_regress_files;
