-- Options of schema changes: values, spelling, and what is refused.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
CREATE TABLE schema_t (id int PRIMARY KEY, v text);

SELECT changefeed_create('{schema_t}', 'null://', '{"schema_change_policy": "never"}');
SELECT changefeed_create('{schema_t}', 'null://', '{"schema_change_policy": true}');
SELECT changefeed_create('{schema_t}', 'null://', '{"schema_change_events": "all"}');
SELECT changefeed_sql($$CREATE CHANGEFEED FOR schema_t INTO 'null://' WITH schema_change_policy = 'stop', schema_change_policy = 'ignore'$$);

SELECT changefeed_create('{schema_t}', 'null://', '{"truncate": "send"}');
SELECT changefeed_create('{schema_t}', 'null://', '{"truncate": "emit", "envelope": "enriched"}');
SELECT changefeed_create('{schema_t}', 'null://', '{"virtual_columns": "computed"}');

-- what a feed keeps of its tables can be read by nobody
CREATE ROLE cdc_regress_schema;
SET ROLE cdc_regress_schema;
SELECT * FROM cdc_sink.shape;
RESET ROLE;
DROP ROLE cdc_regress_schema;
DROP TABLE schema_t;
