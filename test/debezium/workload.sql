-- What a reader of the changes sees happen, behind the rows of setup.sql.
-- Each statement is a transaction of its own, but for those between BEGIN and
-- COMMIT.
INSERT INTO ops VALUES (4, 'four', 4);
UPDATE ops SET name = 'uno' WHERE id = 1;
UPDATE ops SET id = 20 WHERE id = 2;
UPDATE ops SET name = name WHERE id = 3;
DELETE FROM ops WHERE id = 4;
INSERT INTO ops_full VALUES (2, 'two', 2);
UPDATE ops_full SET n = 11 WHERE id = 1;
UPDATE ops_full SET id = 21, name = NULL WHERE id = 2;
DELETE FROM ops_full WHERE id = 1;
INSERT INTO ops_index VALUES (1, 'a', 'x'), (2, 'b', 'y');
UPDATE ops_index SET name = 'xx' WHERE code = 'a';
UPDATE ops_index SET code = 'c' WHERE code = 'b';
DELETE FROM ops_index WHERE code = 'a';
UPDATE ops_two SET v = 'w';
UPDATE ops_two SET a = 2;
DELETE FROM ops_two;
INSERT INTO ops_nokey VALUES (2, NULL);
UPDATE ops_nokey SET name = 'b' WHERE id = 1;
DELETE FROM ops_nokey WHERE id = 2;
INSERT INTO inv.orders (qty) VALUES (5);
INSERT INTO "Odd Name" VALUES (1, 'x', 2);
UPDATE "Odd Name" SET "Id" = 2;

-- transactions of several rows and tables
BEGIN;
INSERT INTO ops VALUES (5, 'five', 5), (6, 'six', 6);
INSERT INTO inv.orders (item) VALUES ('ink');
UPDATE ops SET id = 50 WHERE id = 5;
DELETE FROM ops WHERE id = 6;
DELETE FROM ops_full;
COMMIT;
BEGIN;
INSERT INTO ops VALUES (7, 'seven', 7);
SAVEPOINT a;
INSERT INTO ops VALUES (8, 'eight', 8);
ROLLBACK TO a;
SAVEPOINT b;
INSERT INTO ops VALUES (9, 'nine', 9);
RELEASE b;
COMMIT;
BEGIN;
INSERT INTO ops VALUES (10, 'ten', 10);
ROLLBACK;

-- large values that an update leaves alone
UPDATE toast SET small = 2;
UPDATE toast SET big = repeat('w', 10000);
UPDATE toast SET id = 2;
DELETE FROM toast;
UPDATE toast_full SET small = 2;
UPDATE toast_full SET id = 2;
DELETE FROM toast_full;

UPDATE toast_types SET small = 2;
DELETE FROM toast_types;

\set base 100
\ir types.sql
DELETE FROM t_num WHERE id < 100;
DELETE FROM t_key WHERE n < 100;
DELETE FROM t_notnull WHERE id < 100;
UPDATE inv.orders SET id = id + 100;
DELETE FROM inv.orders WHERE id = 103;
UPDATE t_key SET d = '2024-03-01';

-- a table changes its shape
ALTER TABLE ops ADD COLUMN extra text DEFAULT 'more', ALTER n TYPE numeric(10, 2);
INSERT INTO ops VALUES (30, 'thirty', 30, 'x');
UPDATE ops SET name = 'TEN' WHERE id = 1;
ALTER TABLE ops DROP COLUMN name;
INSERT INTO ops VALUES (31, 31, NULL);

TRUNCATE trunc;
BEGIN;
INSERT INTO trunc VALUES (2, 'b');
TRUNCATE trunc, trunc2;
INSERT INTO trunc VALUES (3, 'c');
COMMIT;
SELECT pg_logical_emit_message(false, 'note', 'outside of a transaction');
BEGIN;
SELECT pg_logical_emit_message(true, 'note', convert_to('inside ü', 'UTF8'));
INSERT INTO trunc VALUES (4, 'd');
COMMIT;
INSERT INTO marker VALUES (1);
