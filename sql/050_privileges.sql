-- Who may create, see and manage feeds.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
ALTER SEQUENCE cdc_sink.job_id_seq RESTART 5000;
CREATE SCHEMA priv;
GRANT USAGE ON SCHEMA priv TO PUBLIC;
CREATE TABLE priv.foo (a int PRIMARY KEY, b text);
CREATE ROLE cdc_regress_owner;
CREATE ROLE cdc_regress_member IN ROLE cdc_regress_owner;
CREATE ROLE cdc_regress_other;
CREATE ROLE cdc_regress_monitor IN ROLE pg_monitor;

-- nobody may create without having been told so
SET ROLE cdc_regress_owner;
SELECT changefeed_create('{priv.foo}', 'null://');
SELECT changefeed_sql($$CREATE CHANGEFEED FOR priv.foo INTO 'null://'$$);
SELECT count(*) FROM cdc_sink.job;
SELECT count(*) FROM cdc_sink.secret;
SELECT count(*) FROM cdc_sink.feed_stats();
RESET ROLE;
GRANT EXECUTE ON FUNCTION changefeed_create TO cdc_regress_owner;

-- and not without the right to read all of the table
SET ROLE cdc_regress_owner;
SELECT changefeed_create('{priv.foo}', 'null://');
RESET ROLE;
GRANT SELECT (a) ON priv.foo TO cdc_regress_owner;
SET ROLE cdc_regress_owner;
SELECT changefeed_create('{priv.foo}', 'null://');
RESET ROLE;
GRANT SELECT (b) ON priv.foo TO cdc_regress_owner;
ALTER TABLE priv.foo ENABLE ROW LEVEL SECURITY;
SET ROLE cdc_regress_owner;
SELECT changefeed_create('{priv.foo}', 'null://');
RESET ROLE;
ALTER TABLE priv.foo DISABLE ROW LEVEL SECURITY;
SET ROLE cdc_regress_owner;
SELECT changefeed_create('{priv.foo}', 'null://') AS job \gset

-- who sees it, who manages it
SELECT count(*) FROM changefeed_jobs WHERE job_id = :job;
SET ROLE cdc_regress_member;
SELECT user_name FROM changefeed_jobs WHERE job_id = :job;
SELECT changefeed_pause(:job);
SET ROLE cdc_regress_other;
SELECT count(*) FROM changefeed_jobs;
SELECT count(*) FROM pg_stat_changefeed;
SET ROLE cdc_regress_monitor;
SELECT user_name FROM changefeed_jobs WHERE job_id = :job;
SET ROLE cdc_regress_other;
\set VERBOSITY sqlstate
SELECT changefeed_resume(:job);
SELECT changefeed_cancel(:job);
SELECT changefeed_wait(:job);
SET ROLE cdc_regress_monitor;
SELECT changefeed_cancel(:job);
\set VERBOSITY default

-- rights are looked at again before the feed goes on
RESET ROLE;
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXIT WHEN (SELECT status = 'paused' FROM changefeed_jobs WHERE job_id = 5000);
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
REVOKE SELECT (b) ON priv.foo FROM cdc_regress_owner;
SET ROLE cdc_regress_member;
SELECT changefeed_resume(:job);
RESET ROLE;

-- a search_path with other operators does not fool us
CREATE FUNCTION priv.never(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR priv.= (FUNCTION = priv.never, LEFTARG = bigint, RIGHTARG = bigint);
SET search_path = priv, pg_catalog, public;
SELECT changefeed_cancel(:job);
RESET search_path;

DROP SCHEMA priv CASCADE;
DROP OWNED BY cdc_regress_owner;
DROP ROLE cdc_regress_owner, cdc_regress_member, cdc_regress_other, cdc_regress_monitor;
