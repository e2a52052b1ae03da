-- What changefeed_create and changefeed_sql refuse, and how.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY default
CREATE SCHEMA bad;
SET search_path = bad, public;
CREATE TABLE foo (a int PRIMARY KEY, b text);

-- tables
SELECT changefeed_create('{bar}', 'null://');
SELECT changefeed_create('{nowhere.foo}', 'null://');
SELECT changefeed_create('{}', 'null://');
SELECT changefeed_create(NULL, 'null://');
SELECT changefeed_create('{NULL}', 'null://');
SELECT changefeed_create('{foo,foo}', 'null://');
SELECT changefeed_create('{foo,bad.foo}', 'null://');
SELECT changefeed_create('{otherdb.bad.foo}', 'null://');
SELECT changefeed_create('{a.b.c.d}', 'null://');
CREATE VIEW v AS SELECT * FROM foo;
CREATE MATERIALIZED VIEW mv AS SELECT * FROM foo;
CREATE SEQUENCE s;
CREATE INDEX foo_b ON foo (b);
CREATE TYPE pair AS (x int, y int);
CREATE TEMP TABLE tt (a int PRIMARY KEY);
CREATE UNLOGGED TABLE ul (a int PRIMARY KEY);
SELECT changefeed_create('{v}', 'null://');
SELECT changefeed_create('{mv}', 'null://');
SELECT changefeed_create('{s}', 'null://');
SELECT changefeed_create('{foo_b}', 'null://');
SELECT changefeed_create('{pair}', 'null://');
SELECT changefeed_create('{tt}', 'null://');
SELECT changefeed_create('{ul}', 'null://');
SELECT changefeed_create('{pg_class}', 'null://');
SELECT changefeed_create('{information_schema.tables}', 'null://');
SELECT changefeed_create('{cdc_sink.job}', 'null://');

-- keys
CREATE TABLE nokey (a int);
SELECT changefeed_create('{nokey}', 'null://');
CREATE TABLE deferred (a int PRIMARY KEY DEFERRABLE);
SELECT changefeed_create('{deferred}', 'null://');
CREATE TABLE nothing (a int PRIMARY KEY);
ALTER TABLE nothing REPLICA IDENTITY NOTHING;
SELECT changefeed_create('{nothing}', 'null://');
CREATE TABLE other (a int PRIMARY KEY, b int NOT NULL UNIQUE);
ALTER TABLE other REPLICA IDENTITY USING INDEX other_b_key;
SELECT changefeed_create('{other}', 'null://');

-- partitions
CREATE TABLE root (a int PRIMARY KEY) PARTITION BY RANGE (a);
CREATE TABLE leaf1 PARTITION OF root FOR VALUES FROM (0) TO (10);
CREATE TABLE mid PARTITION OF root FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (a);
CREATE TABLE leaf2 PARTITION OF mid FOR VALUES FROM (10) TO (15);
SELECT changefeed_create('{root,leaf1}', 'null://');
SELECT changefeed_create('{leaf2,root}', 'null://');
SELECT changefeed_create('{mid}', 'null://');
CREATE TABLE keyless (a int) PARTITION BY RANGE (a);
SELECT changefeed_create('{keyless}', 'null://');
CREATE TABLE keyless1 PARTITION OF keyless FOR VALUES FROM (0) TO (10);
SELECT changefeed_create('{keyless}', 'null://');

-- two tables, one topic
CREATE SCHEMA bad2;
CREATE TABLE bad2.foo (a int PRIMARY KEY);
SELECT changefeed_create('{foo,bad2.foo}', 'null://');

-- sink
SELECT changefeed_create('{foo}', NULL);
SELECT changefeed_create('{foo}', '');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo');
SELECT changefeed_create('{foo}', 'nowhere');
SELECT changefeed_create('{foo}', 'ftp://nope/');

-- options
SELECT changefeed_create('{foo}', 'null://', '[]');
SELECT changefeed_create('{foo}', 'null://', '"updated"');
SELECT changefeed_create('{foo}', 'null://', '{"resolved": {"a": 1}}');
SELECT changefeed_create('{foo}', 'null://', '{"resolved": [1]}');

-- jobs
SELECT changefeed_pause(999999999999);
SELECT changefeed_resume(999999999999);
SELECT changefeed_cancel(999999999999);
SELECT changefeed_wait(999999999999);
SELECT changefeed_sql('PAUSE JOB 999999999999');
SELECT changefeed_sql(NULL);
SELECT changefeed_sql('SHOW CHANGEFEED JOBS');
SELECT changefeed_sql('SHOW CHANGEFEED JOB 7');
BEGIN READ ONLY;
SELECT changefeed_create('{foo}', 'null://');
ROLLBACK;

-- nothing of it left a job
SELECT count(*) FROM changefeed_jobs WHERE full_table_names::text LIKE '%.bad.%';
SET client_min_messages = warning;
DROP SCHEMA bad, bad2 CASCADE;
