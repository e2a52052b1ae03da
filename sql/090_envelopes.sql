-- Envelopes and what goes with them: what is refused before a job is made.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.try(options text, sink text DEFAULT 'null://', tables text DEFAULT 'nowhere') RETURNS bigint LANGUAGE sql AS
$$ SELECT changefeed_sql('CREATE CHANGEFEED FOR ' || $3 || ' INTO ''' || $2 || ''' WITH ' || $1) $$;

-- what does not go with an envelope
SELECT pg_temp.try('envelope = key_only, key_in_value');
SELECT pg_temp.try('envelope = row, topic_in_value');
SELECT pg_temp.try('envelope = deprecated_row, diff');
SELECT pg_temp.try('envelope = key_only, diff');
SELECT pg_temp.try('envelope = bare, enriched_properties = source');
SELECT pg_temp.try('envelope = enriched, enriched_properties = ''schema,potato''');
SELECT pg_temp.try('envelope = enriched, enriched_properties = ''potato''');
SELECT pg_temp.try('envelope = enriched, format = csv, initial_scan_only');
-- all is well but for the table
SELECT pg_temp.try('envelope = Row, updated, mvcc_timestamp');
SELECT pg_temp.try('envelope = KEY_ONLY, updated, resolved');
SELECT pg_temp.try('envelope = bare, diff, key_in_value, topic_in_value');
SELECT pg_temp.try('envelope = enriched, enriched_properties = ''source, Schema'', diff, key_in_value, updated, mvcc_timestamp');
SELECT pg_temp.try('envelope = enriched, enriched_properties = ''''');

-- other options
SELECT pg_temp.try('metrics_label = default');
SELECT pg_temp.try('metrics_label = ''' || repeat('x', 129) || '''');
SELECT pg_temp.try('metrics_label = ''''');
SELECT pg_temp.try('metrics_label = ''' || repeat('x', 128) || '''');
SELECT pg_temp.try('partition_alg = sha');
SELECT pg_temp.try('key_column = b');
SELECT pg_temp.try('key_column = '''', unordered');
SELECT pg_temp.try('unordered, resolved');
SELECT pg_temp.try('headers_json_column_name = ''''');
SELECT pg_temp.try('headers_json_column_name = h, format = csv, initial_scan_only');
SELECT pg_temp.try('encode_json_value_null_as_object, format = csv, initial_scan_only');
SELECT pg_temp.try('diff, initial_scan = only');
SELECT pg_temp.try('mvcc_timestamp, initial_scan = only');

-- sinks
CREATE TABLE cdc_regress_env (id int PRIMARY KEY, b text, h jsonb, gone int);
ALTER TABLE cdc_regress_env DROP COLUMN gone;
SELECT pg_temp.try('envelope = row', 'nodelocal://1/x', 'cdc_regress_env');
SELECT pg_temp.try('envelope = key_only', 's3://b/x?AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=s', 'cdc_regress_env');
SELECT pg_temp.try('envelope = enriched', 'nodelocal://1/x', 'cdc_regress_env');
SELECT pg_temp.try('envelope = deprecated_row', 'webhook-https://h/x', 'cdc_regress_env');
SELECT pg_temp.try('headers_json_column_name = h', 'nodelocal://1/x', 'cdc_regress_env');
SELECT pg_temp.try('headers_json_column_name = h', 'webhook-https://h/x', 'cdc_regress_env');
SELECT pg_temp.try('partition_alg = ''fnv-1a''', 'webhook-https://h/x', 'cdc_regress_env');

-- tables: replica identity, also of partitions, and columns
SELECT pg_temp.try('diff', tables => 'cdc_regress_env');
CREATE TABLE cdc_regress_root (id int PRIMARY KEY, b text, h json) PARTITION BY RANGE (id);
CREATE TABLE cdc_regress_leaf PARTITION OF cdc_regress_root FOR VALUES FROM (0) TO (10);
ALTER TABLE cdc_regress_root REPLICA IDENTITY FULL;
SELECT pg_temp.try('diff', tables => 'cdc_regress_root');
SELECT pg_temp.try('key_column = c, unordered', tables => 'cdc_regress_root');
SELECT pg_temp.try('key_column = gone, unordered', tables => 'cdc_regress_env');
SELECT pg_temp.try('headers_json_column_name = gone', 'kafka://127.0.0.1:1', 'cdc_regress_env');
SELECT pg_temp.try('headers_json_column_name = b', 'kafka://127.0.0.1:1', 'cdc_regress_env');
SELECT pg_temp.try('headers_json_column_name = b', 'kafka://127.0.0.1:1', 'cdc_regress_env, cdc_regress_root');

-- a label is in the view, deletes without the key are told of
BEGIN;
SELECT pg_temp.try('key_column = b, unordered, metrics_label = ''orders, hot'', no_initial_scan', tables => 'cdc_regress_env') IS NOT NULL AS made;
SELECT metrics_label FROM pg_stat_changefeed;
ROLLBACK;
BEGIN;
SELECT pg_temp.try('key_column = id, unordered, no_initial_scan', tables => 'cdc_regress_env') IS NOT NULL AS made;
SELECT metrics_label FROM pg_stat_changefeed;
ROLLBACK;
DROP TABLE cdc_regress_env, cdc_regress_root;
