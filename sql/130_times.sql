-- Options about time: what they take, how it is written down, what they say.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE TABLE times_t (a int PRIMARY KEY);
CREATE FUNCTION pg_temp.try(options text) RETURNS bigint LANGUAGE sql AS
$$ SELECT changefeed_sql('CREATE CHANGEFEED FOR times_t INTO ''null://'' WITH ' || $1) $$;
-- the statement's own time is another each time
CREATE FUNCTION pg_temp.fails(options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	PERFORM pg_temp.try(options);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ': ' || regexp_replace(SQLERRM, '\d{19}(\.\d{10})?', '<hlc>', 'g') || ' / ' || hint;
END $$;

-- times that are none
SELECT pg_temp.fails('end_time = ''soon''');
SELECT pg_temp.fails('end_time = ''''');
SELECT pg_temp.fails('end_time = ''infinity''');
SELECT pg_temp.fails('end_time = ''0''');
SELECT pg_temp.fails('end_time = ''2999-01-01''');
SELECT pg_temp.fails('end_time = ''0/16B3748''');
SELECT pg_temp.fails('end_time = ''2026-13-01''');
SELECT pg_temp.fails('end_time = ''+ever''');
-- in the past
SELECT pg_temp.fails('end_time = ''1536242855577149065''');
SELECT pg_temp.fails('end_time = ''2020-01-01 12:00''');
SELECT pg_temp.fails('end_time = ''-10s''');

-- each is kept in the form of "updated"; a timestamp without zone is UTC
SET timezone = 'Asia/Tokyo';
CREATE FUNCTION pg_temp.kept(options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	job bigint := pg_temp.try(options);
	text text;
BEGIN
	SELECT substring(description FROM 'WITH OPTIONS .*') INTO text FROM changefeed_jobs WHERE job_id = job;
	PERFORM changefeed_cancel(job);
	RETURN text;
END $$;
SELECT pg_temp.kept('end_time = ''4102444800000000000''');
SELECT pg_temp.kept('end_time = ''4102444800000000000.0000000003''');
SELECT pg_temp.kept('end_time = ''2100-01-01''');
SELECT pg_temp.kept('end_time = ''2100-01-01 09:00+09''');
SELECT pg_temp.kept('end_time = ''+10 years''') ~ '^WITH OPTIONS \(end_time = ''\d{19}\.0{10}''\)$';
RESET timezone;

SELECT pg_temp.fails('cursor = ''not a time''');
SELECT pg_temp.fails('cursor = ''2100-01-01''');
SELECT pg_temp.fails('cursor = ''FFFFFFFF/0''');
SELECT pg_temp.fails('cursor = ''2010-01-01''') ~ '^22023: could not create changefeed: cursor <hlc> is older than the GC threshold <hlc> / Use a more recent cursor';
SELECT pg_temp.fails('cursor = ''2010-01-01'', initial_scan = ''only''');
SELECT pg_temp.fails('cursor = ''2010-01-01'', end_time = ''2009-01-01''');
SELECT pg_temp.kept('cursor = ''-0s''') ~ '^WITH OPTIONS \(cursor = ''\d{19}\.0{10}''\)$';

-- what goes with what
SELECT pg_temp.fails('end_time = ''2100-01-01'', initial_scan = ''only''');
SELECT pg_temp.fails('gc_protect_expires_after = ''soon''');
SELECT pg_temp.fails('gc_protect_expires_after = ''-1h''');
SELECT pg_temp.kept('gc_protect_expires_after = ''59m'', protect_data_from_gc_on_pause, no_initial_scan');
SELECT pg_temp.kept('gc_protect_expires_after = ''24h''');
DO $$
BEGIN
	WHILE EXISTS (SELECT FROM changefeed_jobs WHERE finished IS NULL) LOOP
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
DROP TABLE times_t;
