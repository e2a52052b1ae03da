-- Where a feed starts: at the commit of its own creation.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 7300;
RESET client_min_messages;
CREATE SCHEMA start;
SET search_path = start, public;
CREATE TABLE foo (a int PRIMARY KEY, b text);
CREATE FUNCTION wait_for(id bigint, wanted text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	s text;
BEGIN
	FOR i IN 1..200 LOOP
		SELECT status INTO s FROM changefeed_jobs WHERE job_id = id;
		EXIT WHEN s = wanted;
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN s;
END $$;
CREATE VIEW counts AS SELECT job_id, messages, scanned_rows FROM pg_stat_changefeed WHERE job_id >= 7300;

-- keeps the worker of this database alive
SELECT changefeed_create('{foo}', 'null://') AS keeper \gset
SELECT changefeed_wait(:keeper);
INSERT INTO foo VALUES (1), (2);

-- without a scan: exactly what commits afterwards, from the first statement on
SELECT changefeed_create('{foo}', 'null://', '{"initial_scan": "no"}') AS job \gset
INSERT INTO foo VALUES (3);
SELECT changefeed_wait(:job);
SELECT * FROM counts WHERE job_id = :job;
SELECT changefeed_cancel(:job);

-- rows of the creating transaction are part of the scan, with one message each
BEGIN;
INSERT INTO foo VALUES (4);
SELECT changefeed_create('{foo}', 'null://') AS job \gset
INSERT INTO foo VALUES (5);
COMMIT;
INSERT INTO foo VALUES (6);
SELECT changefeed_wait(:job);
SELECT * FROM counts WHERE job_id = :job;
SELECT changefeed_cancel(:job);
-- and without a scan they are not sent
BEGIN;
INSERT INTO foo VALUES (7);
SELECT changefeed_create('{foo}', 'null://', '{"initial_scan": "no"}') AS job \gset
INSERT INTO foo VALUES (8);
COMMIT;
INSERT INTO foo VALUES (9);
SELECT changefeed_wait(:job);
SELECT * FROM counts WHERE job_id = :job;
SELECT changefeed_cancel(:job);

-- each change of a transaction is a message, also two of one row; what is
-- rolled back is none
SELECT changefeed_create('{foo}', 'null://', '{"no_initial_scan": true}') AS job \gset
BEGIN;
INSERT INTO foo VALUES (10, 'x');
UPDATE foo SET b = 'y' WHERE a = 10;
SAVEPOINT s;
UPDATE foo SET b = 'z' WHERE a = 10;
ROLLBACK TO s;
COMMIT;
BEGIN;
DELETE FROM foo;
ROLLBACK;
-- a key that changes: a delete of the old one and the row under the new one
UPDATE foo SET a = 11 WHERE a = 10;
SELECT changefeed_wait(:job);
SELECT * FROM counts WHERE job_id = :job;
SELECT changefeed_cancel(:job);

-- savepoints: a creation that is undone, one that stays
BEGIN;
SAVEPOINT s;
SELECT changefeed_create('{foo}', 'null://') AS gone \gset
ROLLBACK TO s;
SELECT changefeed_create('{foo}', 'null://', '{"initial_scan": "no"}') AS job \gset
COMMIT;
SELECT changefeed_wait(:job);
SELECT count(*) FROM changefeed_jobs WHERE job_id = :gone;
SELECT changefeed_cancel(:job);

-- wait is for others' changes
BEGIN;
INSERT INTO foo VALUES (12);
SELECT changefeed_wait(:keeper);
ROLLBACK;

-- an export: the rows of one moment, then it is over
SELECT changefeed_create('{foo}', 'null://', '{"initial_scan_only": true}') AS job \gset
SELECT wait_for(:job, 'succeeded');
SELECT error, finished IS NOT NULL AS finished FROM changefeed_jobs WHERE job_id = :job;

SELECT changefeed_cancel(:keeper);
SELECT wait_for(:keeper, 'canceled');
SET client_min_messages = warning;
DROP SCHEMA start CASCADE;
