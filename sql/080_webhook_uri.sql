-- What the webhook sink says to URIs and options, without any server.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY default
CREATE SCHEMA hooks;
SET search_path = hooks, public;
CREATE TABLE foo (a int PRIMARY KEY);
SET cdc_sink.sink_check_timeout = '2s';
CREATE FUNCTION hook(uri text, options jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE sql AS $$ SELECT changefeed_create('{hooks.foo}', uri, options) $$;

-- URI
SELECT hook('webhook-https://');
SELECT hook('webhook-https://:443/');
SELECT hook('webhook-https://a,b/');
SELECT hook('webhook-https://me:geheim@a/');
SELECT hook('webhook-http://127.0.0.1:1/');
SET cdc_sink.allow_http_webhook = on;
SELECT hook('webhook-http://127.0.0.1:1/?insecure_tls_skip_verify=true');
SELECT hook('webhook-http://127.0.0.1:1/');
RESET cdc_sink.allow_http_webhook;
SELECT hook('webhook-https://127.0.0.1:1/?insecure_tls_skip_verify=foo');
SELECT hook('webhook-https://127.0.0.1:1/?ca_cert=!');
SELECT hook('webhook-https://127.0.0.1:1/?ca_cert=Zm9v');
SELECT hook('webhook-https://127.0.0.1:1/?client_cert=LS0tLS1CRUdJTiBYLS0tLS0KeAotLS0tLUVORCBYLS0tLS0K');
SELECT hook('webhook-https://127.0.0.1:1/?insecure_tls_skip_verify=true&token=geheim');
SELECT hook('webhook-https://127.0.0.1:1/');

-- options
SELECT hook('webhook-https://127.0.0.1:1/', '{"kafka_sink_config": "{}"}');
SELECT hook('null://', '{"webhook_client_timeout": "1s"}');
SELECT hook('kafka://127.0.0.1:1', '{"webhook_client_timeout": "1s"}');
SELECT hook('file:///hooks', '{"webhook_auth_header": "geheim"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"compression": "lz4"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_client_timeout": "0s"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_client_timeout": "2h"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "not json"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "{\"Flush\": 1}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "{\"Flush\": {\"Messages\": -1}}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "{\"Flush\": {\"Messages\": 100}}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "{\"Flush\": {\"Frequency\": \"x\"}}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "{\"Retry\": {\"Max\": 0}}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "{\"Retry\": {\"Max\": \"many\"}}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "{\"Retry\": {\"Max\": \"inf\", \"Backoff\": \"1s\"}, \"Flush\": {\"Frequency\": \"1s\", \"Bytes\": 1000}}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_sink_config": "{\"flush\": {\"sometimes\": 1}}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"extra_headers": "geheim"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"extra_headers": "[\"geheim\"]"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"extra_headers": "{\"X\": 1}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"extra_headers": "{\"X Y\": \"geheim\"}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"extra_headers": "{\"X\": \"a\\r\\nB: geheim\"}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"extra_headers": "{\"Content-Length\": \"1\"}"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"extra_headers": "{\"authorization\": \"1\"}", "webhook_auth_header": "geheim"}');
SELECT hook('webhook-https://127.0.0.1:1/', '{"webhook_auth_header": "a\nb"}');
SELECT count(*) FROM changefeed_jobs WHERE sink_uri LIKE 'webhook%';

-- the statement does not show what is secret, to itself or to others
DO $$ BEGIN
	PERFORM changefeed_create('{hooks.foo}', 'webhook-https://127.0.0.1:1/', '{"webhook_auth_header": "Bearer geheim''is", "extra_headers": "{\"X\": \"geheim\"}"}');
EXCEPTION WHEN others THEN
	RAISE NOTICE '% in: %', sqlerrm,
		(SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid());
END $$;

SET client_min_messages = warning;
DROP SCHEMA hooks CASCADE;
