-- The same encoder where it belongs: under historic snapshots.
\set ECHO all
\pset format unaligned
\pset tuples_only on
SET datestyle = 'ISO';
SET timezone = 'UTC';
-- a setting that only newer minor releases have
SELECT count(set_config(name, 'cdc_encode_test', false)) <= 1 FROM pg_settings WHERE name = 'output_plugin_libraries';
SELECT 'made' FROM pg_create_logical_replication_slot('cdc_encode_slot', 'cdc_encode_test');
CREATE TYPE color AS ENUM ('red', 'green');
CREATE TYPE spot AS (y int, x color);
CREATE DOMAIN percent AS numeric(5,2) CHECK (value <= 100);
CREATE TABLE d (id int PRIMARY KEY, c color, s spot, ss spot[], p percent, t text, j jsonb, a text[], r int4range);
ALTER TABLE d ALTER t SET STORAGE EXTERNAL, ALTER j SET STORAGE EXTERNAL, ALTER a SET STORAGE EXTERNAL;
INSERT INTO d VALUES (1, 'red', '(1,green)', ARRAY['(2,red)', NULL]::spot[], 12.5, 'short', '{"b": 1, "a": 2}', '{x}', '[1,5)');
-- out of line, put together again by decoding; and compressed
INSERT INTO d VALUES (2, 'green', NULL, NULL, NULL, repeat('0123456789', 1000), jsonb_build_object('k', repeat('v', 10000)), ARRAY[repeat('e', 10000)], NULL);
ALTER TABLE d ALTER t SET STORAGE EXTENDED;
INSERT INTO d (id, t) VALUES (3, repeat('abc"', 10000));
UPDATE d SET id = 4 WHERE id = 1;
DELETE FROM d WHERE id = 4;
-- labels and row types as they were at the time
ALTER TYPE color RENAME VALUE 'red' TO 'crimson';
ALTER TYPE color ADD VALUE 'blue';
INSERT INTO d (id, c) VALUES (5, 'crimson'), (6, 'blue');
BEGIN;
INSERT INTO d (id, s) VALUES (7, '(7,crimson)');
ALTER TYPE spot ADD ATTRIBUTE z int;
INSERT INTO d (id, s) VALUES (8, '(8,green,9)');
ALTER TYPE spot RENAME ATTRIBUTE z TO zz;
INSERT INTO d (id, s) VALUES (9, '(9,green,10)');
COMMIT;
ALTER TABLE d DROP COLUMN j, ADD COLUMN g int GENERATED ALWAYS AS (id + 1) STORED;
INSERT INTO d (id) VALUES (10);
DROP TABLE d;
DROP TYPE spot, color;
DROP DOMAIN percent;
SELECT replace(replace(replace(replace(data, repeat('0123456789', 1000), '<digits>'), repeat('v', 10000), '<v>'), repeat('e', 10000), '<e>'), repeat('abc\"', 10000), '<abc">')
	FROM pg_logical_slot_get_changes('cdc_encode_slot', NULL, NULL);
SELECT 'dropped' FROM pg_drop_replication_slot('cdc_encode_slot');
