-- What a Kafka URI and kafka_sink_config are refused for, before anything is
-- sent anywhere.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY default
CREATE SCHEMA kafka;
SET search_path = kafka, public;
CREATE TABLE foo (a int PRIMARY KEY);
CREATE FUNCTION try(uri text, config text DEFAULT NULL) RETURNS bigint LANGUAGE sql AS
$$ SELECT changefeed_create('{foo}', uri, jsonb_build_object('kafka_sink_config', coalesce(to_jsonb(config), 'false'))) $$;
\set SHOW_CONTEXT never

-- brokers
SELECT try('kafka://');
SELECT try('kafka://h:0');
SELECT try('kafka://h:65536');
SELECT try('kafka://h:x');
SELECT try('kafka://h,');
SELECT try('kafka://h:9092/path');
SELECT try('kafka://u:geheim@h:9092');

-- parameters
SELECT try('kafka://h?nope=1&no=2');
SELECT try('kafka://h?topic_name=');
SELECT try('kafka://h?tls_enabled=maybe');
SELECT try('kafka://h?ca_cert=Zm9v');
SELECT try('kafka://h?tls_enabled=true&ca_cert=!');
SELECT try('kafka://h?tls_enabled=true&ca_cert=Zm9v');
SELECT try('kafka://h?tls_enabled=true&client_cert=Zm9v');
SELECT try('kafka://h?sasl_password=geheim');
SELECT try('kafka://h?sasl_enabled=true&sasl_user=u');
SELECT try('kafka://h?sasl_enabled=true&sasl_user=u&sasl_password=geheim&sasl_mechanism=nope');
SELECT try('kafka://h?sasl_enabled=true&sasl_user=u&sasl_password=geheim&sasl_mechanism=GSSAPI');
SELECT try('confluent-cloud://h?api_key=k');
SELECT try('azure-event-hub://h?shared_access_key_name=k');

-- kafka_sink_config
SELECT try('kafka://h', '{"Nope": 1}');
SELECT try('kafka://h', '{"Flush": 1}');
SELECT try('kafka://h', '{"Flush": {"MaxMessages": -1}}');
SELECT try('kafka://h', '{"Flush": {"Messages": 10}}');
SELECT try('kafka://h', '{"Flush": {"Messages": 10, "Frequency": "soon"}}');
SELECT try('kafka://h', '{"Retry": {"Max": 0}}');
SELECT try('kafka://h', '{"RequiredAcks": "MANY"}');
SELECT try('kafka://h', '{"Compression": "RAR"}');
SELECT try('kafka://h', '{"Compression": "LZ4", "CompressionLevel": 3}');
SELECT try('kafka://h', '{"ClientID": "no blanks"}');
SELECT try('kafka://h', '{"Version": "new"}');

SET client_min_messages = warning;
DROP SCHEMA kafka CASCADE;
