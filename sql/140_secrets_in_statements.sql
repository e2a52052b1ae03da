-- What a statement shows of the secrets in it once it has failed, and how
-- long things may be.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE SCHEMA hiding;
SET search_path = hiding, public;
CREATE TABLE foo (a int PRIMARY KEY);

-- Errors are caught, so that the same statement can look at its own text.
CREATE FUNCTION try(options text, uri text DEFAULT 'kafka://127.0.0.1:1/?tls_enabled=x') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM changefeed_create('{foo}', uri, options::jsonb);
	RETURN 'created';
EXCEPTION WHEN others THEN
	RETURN sqlerrm;
END $$;
CREATE FUNCTION shown(error text) RETURNS TABLE (query text) LANGUAGE sql VOLATILE AS
$$ SELECT query FROM pg_stat_get_activity(pg_backend_pid()) $$;

-- a value of nested form
SELECT error, query FROM (SELECT try('{"extra_headers": {"X-Key": "geheim"}}') AS error OFFSET 0) t, shown(error);
-- one letter
SELECT error, query FROM (SELECT try('{"webhook_auth_header": "e"}') AS error OFFSET 0) t, shown(error);
SELECT error, query FROM (SELECT try('{"webhook_auth_header": "Bearer geheim"}') AS error OFFSET 0) t, shown(error);
-- another spelling of the same text
SELECT error, query FROM (SELECT try('{"webhook_auth_header": "Bearer \u0067eheim"}') AS error OFFSET 0) t, shown(error);
SELECT error, query FROM (SELECT try('{}', 'kafka://h/?tls_enabled=x&sasl_password=ge' || 'heim') AS error OFFSET 0) t, shown(error);
SELECT error, query FROM (SELECT try('{}', 'kafka://h/?tls_enabled=x&sasl_password=ge''heim') AS error OFFSET 0) t, shown(error);
-- nobody knows what an unknown parameter is
SELECT error, query FROM (SELECT try('{}', 'kafka://h/?sasl_pasword=geheim') AS error OFFSET 0) t, shown(error);
-- nothing to hide
SELECT error, query FROM (SELECT try('{}') AS error OFFSET 0) t, shown(error);

-- limits
SELECT changefeed_create('{foo}', 'null://' || repeat('h', 4097));
SELECT changefeed_create('{foo}', 'null://h/' || repeat('p', 4096));
SELECT changefeed_create('{foo}', 'null://h/?' || repeat('n', 129) || '=1');
SELECT changefeed_create('{foo}', 'null://h/?' || repeat('a=1&', 129));
SELECT changefeed_create('{foo}', 'null://h/?a=' || repeat('://', 100000));
SELECT changefeed_create('{foo}', repeat('://', 80000));
SELECT changefeed_create('{foo}', 'null://', jsonb_build_object('kafka_sink_config', repeat('x', 300000)));

-- others than superusers can be kept to external sinks
CREATE ROLE hiding_user;
GRANT EXECUTE ON FUNCTION changefeed_create(text[], text, jsonb) TO hiding_user;
GRANT USAGE ON SCHEMA hiding TO hiding_user;
GRANT SELECT ON foo TO hiding_user;
SET cdc_sink.restrict_sinks = external;
SELECT changefeed_create('{foo}', 'kafka://127.0.0.1:1/?tls_enabled=x');
SET ROLE hiding_user;
SET cdc_sink.restrict_sinks = off;
SELECT changefeed_create('{foo}', 'kafka://127.0.0.1:1/?tls_enabled=x');
\set VERBOSITY default
SELECT changefeed_create('{foo}', 'null://');
RESET ROLE;
RESET cdc_sink.restrict_sinks;

SET client_min_messages = warning;
SELECT count(*) FROM changefeed_jobs WHERE full_table_names::text LIKE '%hiding%';
DROP SCHEMA hiding CASCADE;
REVOKE ALL ON FUNCTION changefeed_create(text[], text, jsonb) FROM hiding_user;
DROP ROLE hiding_user;
