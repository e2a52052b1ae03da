-- Options lsn, op and txn: what they go with.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY terse
CREATE FUNCTION pg_temp.try(options text) RETURNS bigint LANGUAGE sql AS
$$ SELECT changefeed_sql('CREATE CHANGEFEED FOR nowhere INTO ''null://'' WITH ' || $1) $$;
\set SHOW_CONTEXT never

SELECT pg_temp.try('lsn, op, txn');
SELECT pg_temp.try('lsn = ''0/1''');
SELECT pg_temp.try('lsn, envelope = key_only');
SELECT pg_temp.try('op, envelope = row');
SELECT pg_temp.try('txn, envelope = enriched');
SELECT pg_temp.try('txn, format = avro, confluent_schema_registry = ''http://127.0.0.1''');
