-- Targets by rule and lists of columns: grammar, checks, descriptions.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 12100;
CREATE SCHEMA r1;
CREATE SCHEMA r2;
CREATE SCHEMA r3;
SET search_path = r1, public;
CREATE TABLE a (id int PRIMARY KEY, v text, w int);
CREATE TABLE b (x int, y int, z text, PRIMARY KEY (x, y));
CREATE TABLE r2.c (id int PRIMARY KEY, "Q t" text);
CREATE TABLE r2.nokey (id int);
CREATE UNLOGGED TABLE r2.unlogged (id int PRIMARY KEY);
CREATE VIEW r2.v AS SELECT 1 AS x;
CREATE TABLE r3.p (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE r1.p1 PARTITION OF r3.p FOR VALUES FROM (0) TO (10);
INSERT INTO a VALUES (1, 'one', 1);
INSERT INTO b VALUES (1, 2, 'three');
CREATE FUNCTION show(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT replace(concat_ws(E'\n', description, full_table_names::text), current_database() || '.', 'db.')
	FROM changefeed_jobs WHERE job_id = id
$$;
CREATE FUNCTION feed(what text) RETURNS bigint LANGUAGE sql AS $$
	SELECT changefeed_sql('CREATE CHANGEFEED FOR ' || what || ' INTO ''null://''')
$$;
-- syntax
SELECT feed('a ()');
SELECT feed('a (id, )');
SELECT feed('a (id');
SELECT feed('TABLES IN SCHEMA');
SELECT feed('TABLES IN r1');
SELECT feed('ALL');
SELECT feed('ALL TABLES IN SCHEMA r1');
SELECT feed('PUBLICATION');
SELECT feed('EXCEPT TABLE a');
SELECT feed('a EXCEPT b');
SELECT feed('TABLES IN SCHEMA r1 EXCEPT b (x, y)');
SELECT feed('TABLES IN SCHEMA r1 EXCEPT TABLES IN SCHEMA r2');
-- columns
SELECT feed('a (id, nosuch)');
SELECT feed('a (id, v, id)');
SELECT feed('a (v, w)');
SELECT feed('b (x, z)');
SELECT feed('a (id, ctid)');
SELECT changefeed_create('{"a (id, v)"}', 'null://', '{"key_column": "w", "unordered": true}');
-- rules
SELECT feed('TABLES IN SCHEMA nosuch');
SELECT feed('TABLES IN SCHEMA pg_catalog');
SELECT feed('TABLES IN SCHEMA cdc_sink');
SELECT feed('PUBLICATION nosuch');
SELECT feed('TABLES IN SCHEMA r2');
SELECT feed('TABLES IN SCHEMA r1 EXCEPT nosuch');
SELECT feed('TABLES IN SCHEMA r3, r1.p1');
SELECT feed('TABLES IN SCHEMA r3 EXCEPT p1');
CREATE PUBLICATION "Pub" FOR TABLE a, r2.c;
CREATE PUBLICATION inserts FOR TABLE a WITH (publish = 'insert');
SELECT feed('PUBLICATION inserts');
-- what is stored
SELECT show(feed('a (w, id), TABLE b'));
SELECT show(feed('TABLES IN SCHEMA r1'));
SELECT show(feed('TABLES IN SCHEMA r1, r3, TABLE r2.c ("Q t", id) EXCEPT TABLE a'));
SELECT show(feed('PUBLICATION "Pub"'));
SELECT show(feed('TABLES IN SCHEMA r1, TABLES IN SCHEMA r2 EXCEPT TABLE (r2.nokey, a)'));
SELECT show(changefeed_create('{"a (id, v)", r2.c}', 'null://'));
SELECT show(changefeed_create('{"TABLES IN SCHEMA r1","EXCEPT TABLE b"}', 'null://'));
SELECT changefeed_create('{"a INTO ''null://''"}', 'null://');
SELECT changefeed_create('{"a b"}', 'null://');
-- tables are called tables
CREATE TABLE public.tables (id int PRIMARY KEY);
CREATE TABLE public.publication (id int PRIMARY KEY);
SELECT show(feed('tables, publication'));
SELECT ruled, columns FROM cdc_sink.definition WHERE rules = ARRAY['schema ' || 'r1'::regnamespace::oid];

-- targets of a rule cannot be altered, options can
SELECT max(job_id) AS job FROM cdc_sink.definition WHERE rules <> '{}' \gset
SELECT changefeed_pause(:job);
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM changefeed_jobs WHERE status LIKE 'p%' AND status <> 'paused');
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT changefeed_alter(:job, add => '{r2.c}');
SELECT changefeed_alter(:job, drop => '{a}');
SELECT changefeed_alter(:job, add => '{ALL TABLES}');
SELECT changefeed_alter(:job, set => '{"updated": true}');
SELECT show(:job);
-- a schema without tables
CREATE SCHEMA r4;
SELECT show(feed('TABLES IN SCHEMA r4'));

SELECT count(changefeed_cancel(job_id)) > 0 AS canceled FROM changefeed_jobs WHERE finished IS NULL;
SET client_min_messages = error;
DROP SCHEMA r1, r2, r3, r4 CASCADE;
DROP PUBLICATION "Pub", inserts;
DROP TABLE public.tables, public.publication;
-- the next test may want to drop the database
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
