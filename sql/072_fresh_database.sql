-- The first changefeed of a database: what must be there, and that nothing is
-- left where it was refused. The database is the test's own, so that no other
-- feed has started a worker in it.
CREATE DATABASE cdc_regress_fresh;
\c cdc_regress_fresh
SET client_min_messages = warning;
CREATE EXTENSION cdc_sink;
RESET client_min_messages;
\set VERBOSITY default
CREATE TABLE foo (a int PRIMARY KEY);
CREATE VIEW slots AS SELECT count(*) FROM pg_replication_slots WHERE database = current_database();

-- no broker answers: neither job nor slot; the text ends in the library's words
CREATE FUNCTION try(uri text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM changefeed_create('{foo}', uri);
	RETURN 'created';
EXCEPTION WHEN OTHERS THEN
	RETURN format('%s %s%s', sqlstate, split_part(sqlerrm, ': ', 1),
		CASE WHEN sqlerrm LIKE '%geheim%' THEN ', with the password' END);
END $$;
SELECT try('kafka://127.0.0.1:1');
SELECT try('kafka://127.0.0.1:1?sasl_enabled=true&sasl_user=u&sasl_password=geheim');
SELECT count(*) FROM changefeed_jobs;
SELECT * FROM slots;

-- a transaction that has written would hold up its own slot
BEGIN;
INSERT INTO foo VALUES (1);
SELECT changefeed_create('{foo}', 'null://');
ROLLBACK;
-- one that has only asked does not
BEGIN;
SELECT count(*) FROM foo;
SELECT changefeed_create('{foo}', 'null://') AS job \gset
ROLLBACK;
SELECT count(*) FROM changefeed_jobs;
SELECT count(*) FROM cdc_sink.secret;

-- the last feed takes the slot with it
SELECT changefeed_create('{foo}', 'null://') AS job \gset
SELECT * FROM slots;
SELECT changefeed_wait(:job);
SELECT changefeed_cancel(:job);
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN (SELECT count = 0 FROM slots);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT * FROM slots;

-- with a feed in it a database is not dropped in passing
SELECT changefeed_create('{foo}', 'null://') AS job \gset
SELECT changefeed_wait(:job);
\c postgres
DROP DATABASE cdc_regress_fresh;
\c cdc_regress_fresh
-- without the extension there is no feed, and no slot
SET client_min_messages = warning;
DROP EXTENSION cdc_sink CASCADE;
RESET client_min_messages;
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN (SELECT count = 0 FROM slots);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT * FROM slots;

-- and with one the database goes by force
CREATE EXTENSION cdc_sink;
SELECT changefeed_create('{foo}', 'null://') AS job \gset
SELECT changefeed_wait(:job);
\c postgres
DROP DATABASE cdc_regress_fresh WITH (FORCE);
SELECT count(*) FROM pg_replication_slots WHERE database = 'cdc_regress_fresh';
