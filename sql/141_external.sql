-- Foreign servers as sinks: what their options are refused for, who may use
-- them, and what a feed shows of them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 14100;
RESET client_min_messages;
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA ext;
SET search_path = ext, public;
CREATE TABLE foo (a int PRIMARY KEY);
CREATE ROLE ext_user;
CREATE ROLE ext_owner;
GRANT EXECUTE ON FUNCTION changefeed_create(text[], text, jsonb) TO ext_user;
GRANT USAGE ON SCHEMA ext TO ext_user;
GRANT SELECT ON foo TO ext_user;

-- servers
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink;
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'nope://');
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'external://ext_2');
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'kafka://h', topic_prefx 'a');
\set VERBOSITY terse
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'kafka://h', something_else 'geheim');
\set VERBOSITY default
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'kafka://h', sasl_password 'geheim');
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'kafka://h?sasl_password=geheim');
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'kafka://u:geheim@h');
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'webhook-https://h/?my_token=geheim');
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 's3://bucket/', region 'a', aws_region 'b');
\set VERBOSITY terse
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 's3://bucket/', endpoint 'a');
\set VERBOSITY default
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 's3://bucket/', secret_access_key 'geheim');
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 's3://bucket/?AWS_REGION=a', region 'a');
ALTER FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'a');
CREATE SERVER ext_1 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'null://', topic_prefix 'x_');
CREATE FOREIGN TABLE ext_table (a int) SERVER ext_1;
ALTER SERVER ext_1 OPTIONS (DROP uri);

-- user mappings
\set VERBOSITY terse
CREATE USER MAPPING FOR ext_user SERVER ext_1 OPTIONS (uri 'a');
\set VERBOSITY default
CREATE USER MAPPING FOR ext_user SERVER ext_1 OPTIONS (aws_endpoint 'http://elsewhere');
CREATE USER MAPPING FOR ext_user SERVER ext_1 OPTIONS (sasl_pasword 'geheim');
CREATE USER MAPPING FOR ext_user SERVER ext_1 OPTIONS (access_key_id 'a', secret_access_key 'geheim');

-- who may use one, and how
\set VERBOSITY terse
SELECT changefeed_create('{foo}', 'external://');
SELECT changefeed_create('{foo}', 'external://u:geheim@ext_1');
SELECT changefeed_create('{foo}', 'external://ext_1/../x');
SELECT changefeed_create('{foo}', 'external://ext_1?topic_prefix=y');
SELECT changefeed_create('{foo}', 'external://ext_1?sasl_password=geheim');
SELECT changefeed_create('{foo}', 'external://ext_1?aws_endpoint=http://elsewhere&AWS_ENDPOINT=x');
\set VERBOSITY default
SELECT changefeed_create('{foo}', 'external://ext_2');
SET ROLE ext_user;
SELECT changefeed_create('{foo}', 'external://ext_1');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER ext_1 TO ext_user;
SET ROLE ext_user;
-- nor may it lead elsewhere by the key of a service account
SELECT encode('{"token_uri": "https://elsewhere/token"}', 'base64') AS elsewhere,
	encode('{"token_uri": "https://oauth2.googleapis.com/token"}', 'base64') AS google \gset
ALTER USER MAPPING FOR ext_user SERVER ext_1 OPTIONS (credentials :'elsewhere');
ALTER USER MAPPING FOR ext_user SERVER ext_1 OPTIONS (credentials :'google');
ALTER USER MAPPING FOR ext_user SERVER ext_1 OPTIONS (DROP credentials);
-- the mapping's parameters are not the sink's
SELECT changefeed_create('{foo}', 'external://ext_1');
RESET ROLE;
DROP USER MAPPING FOR ext_user SERVER ext_1;
ALTER SERVER ext_1 OPTIONS (DROP topic_prefix);
SET cdc_sink.restrict_sinks = external;
SET ROLE ext_user;
SELECT changefeed_create('{foo}', 'null://');
SELECT changefeed_create('{foo}', 'external://ext_1', '{"resolved": "1s"}') AS job \gset
SELECT changefeed_wait(:job);
SELECT description, sink_uri FROM changefeed_jobs WHERE job_id = :job;
SELECT changefeed_cancel(:job);
RESET ROLE;
RESET cdc_sink.restrict_sinks;

-- where a server leads is a matter of its owner's rights
CREATE SERVER ext_files FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'file:///nonexistent/cdc', partition_format 'flat');
CREATE SERVER ext_s3 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 's3://bucket/', auth 'implicit', aws_endpoint 'http://127.0.0.1:1');
GRANT USAGE ON FOREIGN DATA WRAPPER cdc_sink TO ext_owner;
ALTER SERVER ext_files OWNER TO ext_owner;
ALTER SERVER ext_s3 OWNER TO ext_owner;
SELECT changefeed_create('{foo}', 'external://ext_files');
SELECT changefeed_create('{foo}', 'external://ext_s3');
GRANT USAGE ON FOREIGN SERVER ext_files TO ext_user;
ALTER SERVER ext_files OWNER TO CURRENT_USER;
SET ROLE ext_user;
\set VERBOSITY sqlstate
SELECT changefeed_create('{foo}', 'external://ext_files/sub?partition_format=daily');
SELECT changefeed_create('{foo}', 'external://ext_files/sub?file_size=1MB');
RESET ROLE;

-- another wrapper's server
\set VERBOSITY default
CREATE FOREIGN DATA WRAPPER ext_other;
CREATE SERVER ext_other FOREIGN DATA WRAPPER ext_other OPTIONS (uri 'null://');
SELECT changefeed_create('{foo}', 'external://ext_other');

SET client_min_messages = warning;
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM changefeed_jobs WHERE job_id >= 14100 AND finished IS NULL);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT count(*) FROM cdc_sink.secret WHERE job_id >= 14100;
DROP FOREIGN DATA WRAPPER ext_other CASCADE;
DROP SERVER ext_1, ext_files, ext_s3 CASCADE;
DROP SCHEMA ext CASCADE;
REVOKE ALL ON FUNCTION changefeed_create(text[], text, jsonb) FROM ext_user;
REVOKE ALL ON FOREIGN DATA WRAPPER cdc_sink FROM ext_owner;
DROP ROLE ext_user, ext_owner;
