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
