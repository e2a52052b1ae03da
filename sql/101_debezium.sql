-- The envelope of Debezium's connector and its settings: what is refused.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY default
CREATE FUNCTION pg_temp.try(options text) RETURNS bigint LANGUAGE sql AS
$$ SELECT changefeed_sql('CREATE CHANGEFEED FOR nowhere INTO ''null://'' WITH ' || $1) $$;
CREATE FUNCTION pg_temp.conf(config text) RETURNS bigint LANGUAGE sql AS
$$ SELECT changefeed_sql(format('CREATE CHANGEFEED FOR nowhere INTO ''null://'' WITH envelope = debezium, debezium_config = %L', config)) $$;
\set SHOW_CONTEXT never

-- what it goes with
SELECT pg_temp.try('debezium_config = ''{}''');
SELECT pg_temp.try('envelope = debezium, updated');
SELECT pg_temp.try('envelope = debezium, key_in_value');
SELECT pg_temp.try('envelope = debezium, txn');
SELECT pg_temp.try('envelope = debezium, format = avro, confluent_schema_registry = ''http://127.0.0.1''');

-- settings
SELECT pg_temp.conf('{}');
SELECT pg_temp.conf('{"topic.prefix": "shop", "value.converter.schemas.enable": false, "tombstones.on.delete": "false"}');
SELECT pg_temp.conf('{');
SELECT pg_temp.conf('[]');
SELECT pg_temp.conf('{"decimal.mode": "string"}');
SELECT pg_temp.conf('{"decimal.handling.mode": "float"}');
SELECT pg_temp.conf('{"time.precision.mode": 3}');
SELECT pg_temp.conf('{"binary.handling.mode": null}');
SELECT pg_temp.conf('{"tombstones.on.delete": "perhaps"}');
SELECT pg_temp.conf('{"topic.prefix": ""}');

-- messages of pg_logical_emit_message(): whose prefix matches an expression
SELECT pg_temp.conf('{"message.prefix.include.list": "note"}');
SELECT pg_temp.conf('{"message.prefix.exclude.list": "app\\..*, x{1\\,2} "}');
SELECT pg_temp.conf('{"message.prefix.include.list": "a", "message.prefix.exclude.list": "b"}');
SELECT pg_temp.conf('{"message.prefix.include.list": ""}');
SELECT pg_temp.conf('{"message.prefix.include.list": "a,,b"}');
SELECT pg_temp.conf('{"message.prefix.include.list": "a)|(b"}');
SELECT pg_temp.conf('{"message.prefix.include.list": "(a)\\1"}');
SELECT pg_temp.conf(format('{"message.prefix.include.list": "%s"}', repeat('p', 3000)));

-- they are for those who may have a replication slot
CREATE ROLE cdc_regress_reader;
CREATE TABLE dbz_t (id int PRIMARY KEY);
GRANT SELECT ON dbz_t TO cdc_regress_reader;
GRANT EXECUTE ON FUNCTION changefeed_create TO cdc_regress_reader;
SET ROLE cdc_regress_reader;
SELECT changefeed_create('{dbz_t}', 'null://', '{"envelope": "debezium", "debezium_config": "{\"message.prefix.include.list\": \"note\"}"}');
SELECT changefeed_create('{dbz_t}', 'null://', '{"envelope": "debezium", "debezium_config": "{\"provide.transaction.metadata\": true}"}') AS job \gset
RESET ROLE;
DO $$
BEGIN
	FOR i IN 1 .. 600 LOOP
		EXIT WHEN (SELECT status FROM changefeed_jobs ORDER BY job_id DESC LIMIT 1) = 'running';
		PERFORM pg_sleep(0.1);
		COMMIT;
	END LOOP;
END $$;
SELECT count(*) FROM (SELECT changefeed_wait(:job)) w;
SELECT changefeed_alter(:job, set => '{"debezium_config": "{\"message.prefix.exclude.list\": \"note\"}"}');
ALTER ROLE cdc_regress_reader REPLICATION;
SELECT changefeed_alter(:job, set => '{"debezium_config": "{\"message.prefix.exclude.list\": \"note\"}"}');
SELECT changefeed_cancel(:job);
-- or are superusers, who may have it without the attribute
ALTER ROLE cdc_regress_reader NOREPLICATION SUPERUSER;
SET ROLE cdc_regress_reader;
SELECT changefeed_create('{dbz_t}', 'null://', '{"envelope": "debezium", "debezium_config": "{\"message.prefix.include.list\": \"note\"}"}') AS job \gset
SELECT changefeed_cancel(:job);
RESET ROLE;
DROP TABLE dbz_t;
DROP OWNED BY cdc_regress_reader;
DROP ROLE cdc_regress_reader;
