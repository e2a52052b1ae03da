-- What the options of a changefeed refuse. Options are looked at before the
-- tables, so none of these statements makes a job.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY default
CREATE FUNCTION pg_temp.try(options text) RETURNS bigint LANGUAGE sql AS
$$ SELECT changefeed_sql('CREATE CHANGEFEED FOR nowhere INTO ''null://'' WITH ' || $1) $$;
\set SHOW_CONTEXT never

-- names
\set VERBOSITY terse
SELECT pg_temp.try('nonsense');
SELECT pg_temp.try('topics');
\set VERBOSITY default
SELECT pg_temp.try('updatd');
SELECT pg_temp.try('"Updated"');
SELECT pg_temp.try('sink = ''null://''');
SELECT pg_temp.try('updated, resolved, updated');
\set VERBOSITY sqlstate
SELECT pg_temp.try('updated, updated');
\set VERBOSITY default
SELECT pg_temp.try('split_column_families');

-- values
SELECT pg_temp.try('updated = true');
SELECT pg_temp.try('on_error');
SELECT pg_temp.try('on_error = not_valid');
SELECT pg_temp.try('on_bad_message = maybe');
SELECT pg_temp.try('format = nope');
SELECT pg_temp.try('envelope = nope');
SELECT pg_temp.try('initial_scan = maybe');
SELECT pg_temp.try('resolved = bar');
SELECT pg_temp.try('resolved = 10');
SELECT pg_temp.try('resolved = ''10 seconds''');
SELECT pg_temp.try('resolved = ''1d''');
SELECT pg_temp.try('resolved = ''-1s''');
SELECT pg_temp.try('resolved = ''2562048h''');
SELECT pg_temp.try('webhook_client_timeout = ''0s''');
SELECT pg_temp.try('min_checkpoint_frequency');
SELECT pg_temp.try('kafka_sink_config = ''not json''');
SELECT pg_temp.try('kafka_sink_config = ''[1]''');

-- company
SELECT pg_temp.try('initial_scan, no_initial_scan');
SELECT pg_temp.try('no_initial_scan, initial_scan');
SELECT pg_temp.try('initial_scan_only, no_initial_scan');
SELECT pg_temp.try('no_initial_scan, initial_scan = ONLY');
SELECT pg_temp.try('initial_scan = ''only'', initial_scan_only');
SELECT pg_temp.try('resolved, initial_scan = ''only''');
SELECT pg_temp.try('end_time = ''1'', initial_scan = ''only''');
SELECT pg_temp.try('initial_scan_only, updated');
SELECT pg_temp.try('resolved, unordered');
SELECT pg_temp.try('key_column = b');
SELECT pg_temp.try('key_in_value, envelope = row');
SELECT pg_temp.try('format = csv');
SELECT pg_temp.try('format = avro');
SELECT pg_temp.try('enriched_properties = source');

-- known, but not supported
SELECT pg_temp.try('csv_header');
SELECT pg_temp.try('format = Parquet');
SELECT pg_temp.try('format = avro, confluent_schema_registry = ''http://u:geheim@h''');
SELECT pg_temp.try('webhook_auth_header = ''Basic geheim''');

-- all is well but for the table
SELECT pg_temp.try('updated, resolved, key_in_value, topic_in_value, full_table_name');
SELECT pg_temp.try('FORMAT = JSON, Envelope = Wrapped, ON_ERROR = Pause, on_bad_message = dead_letter');
SELECT pg_temp.try('initial_scan, resolved = ''1h1m1.5s1ms1us1ns'', min_checkpoint_frequency = ''0''');
SELECT pg_temp.try('updated = '''', resolved = '''', kafka_sink_config = ''{}''');

-- the other door leads to the same place
\set VERBOSITY terse
SELECT changefeed_create('{nowhere}', 'null://', '{"nonsense": true}');
SELECT changefeed_create('{nowhere}', 'null://', '{"updated": "yes"}');
SELECT changefeed_create('{nowhere}', 'null://', '{"updated": "", "resolved": null, "diff": false}');
SELECT changefeed_create('{nowhere}', 'null://', '{"resolved": 10}');
