/* Tables, functions and views of cdc_sink 1.0 */

\echo Use "CREATE EXTENSION cdc_sink" to load this file. \quit

/*
 * Internals.  Nobody but the extension's owner may look in here; users have
 * the functions and views at the end, which live in the extension's schema.
 * One table is marked for pg_dump, cdc_sink.saved: of a feed its statement is
 * restored, not its position, which means nothing in another cluster's WAL.
 */
CREATE SCHEMA cdc_sink;
REVOKE ALL ON SCHEMA cdc_sink FROM PUBLIC;

CREATE SEQUENCE cdc_sink.job_id_seq AS bigint;

-- One row for each job: who, what and in which state.
CREATE TABLE cdc_sink.job (
	job_id bigint PRIMARY KEY,
	status text NOT NULL CHECK (status IN ('pending', 'running',
		'pause-requested', 'paused', 'cancel-requested', 'canceled',
		'succeeded', 'failed')),
	owner oid NOT NULL,
	description text NOT NULL,		-- secrets redacted
	sink text NOT NULL,				-- secrets redacted
	topics text,					-- comma list, NULL: sink without topics
	format text NOT NULL,
	created timestamptz NOT NULL DEFAULT clock_timestamp(),
	started timestamptz,
	finished timestamptz,
	modified timestamptz NOT NULL DEFAULT clock_timestamp(),
	error text NOT NULL DEFAULT '',
	reason text,					-- PAUSE JOB ... WITH REASON
	-- by ALTER while it was paused: in force from the job's position on, if
	-- newer than the version of its checkpoint
	version integer NOT NULL DEFAULT 1
);

/*
 * What dumps keep of live jobs.  A row without a job was restored: the view
 * shows it as paused, RESUME creates it anew.
 */
CREATE TABLE cdc_sink.saved (
	job_id bigint PRIMARY KEY,
	owner text NOT NULL,
	statement text NOT NULL,		-- full names, secrets redacted
	created timestamptz NOT NULL DEFAULT clock_timestamp(),
	system_id bigint NOT NULL,		-- of the cluster that wrote it
	-- by pg_upgrade: how far it had come there
	high_water_wall bigint NOT NULL DEFAULT 0,
	high_water_logical bigint NOT NULL DEFAULT 0
);
SELECT pg_catalog.pg_extension_config_dump('cdc_sink.saved', '');
SELECT pg_catalog.pg_extension_config_dump('cdc_sink.job_id_seq', '');

-- A dump reads these two whoever makes it: let those who dump databases, the
-- database's owner (from 14) and members of pg_read_all_data.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'pg_database_owner') THEN
		GRANT USAGE ON SCHEMA cdc_sink TO pg_database_owner;
		GRANT SELECT ON cdc_sink.saved, cdc_sink.job_id_seq TO pg_database_owner;
	END IF;
END
$$;

/*
 * What a feed sends, as insert-only versions.  The lane reads the rows out
 * of the WAL when it comes to their insertion, so that a definition takes
 * effect exactly at its commit: names, order and types are part of the code.
 */
CREATE TABLE cdc_sink.definition (
	job_id bigint NOT NULL,
	version integer NOT NULL,
	owner oid NOT NULL,
	sink text NOT NULL,
	options text[] NOT NULL,
	relids oid[] NOT NULL,
	names text[] NOT NULL,
	topics text[] NOT NULL,
	partitions integer[] NOT NULL,
	shapes text[] NOT NULL,
	sink_type text NOT NULL,		-- kafka, file, ...: never changes
	scans boolean[] NOT NULL,		-- read where the version takes effect
	ruled boolean[] NOT NULL,		-- meant by a rule, not by name
	columns text[] NOT NULL,		-- '': all of the table, or '1 3'
	rules text[] NOT NULL,			-- 'all', 'schema <oid>', ...
	PRIMARY KEY (job_id, version)
);

/*
 * URIs and options with their secrets, gone as soon as the job has ended.
 * A row goes with the definition of its version and those that follow, up to
 * the next row: a feed that is not there yet keeps to its former sink.
 */
CREATE TABLE cdc_sink.secret (
	job_id bigint NOT NULL,
	version integer NOT NULL,
	uri text NOT NULL,
	options text[] NOT NULL,		-- 'name=value' of the secret ones
	PRIMARY KEY (job_id, version)
);

/*
 * Where a feed stands.  Rewritten up to many times a second: room for HOT
 * updates, no index on what changes, and vacuum that does not wait.
 */
CREATE TABLE cdc_sink.checkpoint (
	job_id bigint PRIMARY KEY,
	version integer NOT NULL,
	resume_lsn pg_lsn,
	hlc_wall bigint NOT NULL DEFAULT 0,
	hlc_logical bigint NOT NULL DEFAULT 0,
	scan_done boolean NOT NULL,
	high_water_wall bigint NOT NULL DEFAULT 0,
	high_water_logical bigint NOT NULL DEFAULT 0,
	-- changes of tables up to here have paused the feed and do not again
	answered_lsn pg_lsn NOT NULL DEFAULT '0/0',
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

/*
 * Tables whose definition is not that of the feed's creation any more, as
 * they were at the checkpoint: what a schema change is compared with.
 */
CREATE TABLE cdc_sink.shape (
	job_id bigint NOT NULL,
	relid oid NOT NULL,
	schema_version integer NOT NULL,
	shape text NOT NULL,
	PRIMARY KEY (job_id, relid)
);

/*
 * Tables that joined or left a feed by rule since its definition, as of the
 * checkpoint.
 */
CREATE TABLE cdc_sink.member (
	job_id bigint NOT NULL,
	relid oid NOT NULL,
	joined boolean NOT NULL,		-- or left
	name text NOT NULL,
	topic text NOT NULL,
	columns text NOT NULL,
	PRIMARY KEY (job_id, relid)
);

/*
 * Positions of this database's worker and a stamp that nothing issued or
 * committed up to there is above: what a cursor is mapped by.  Written while
 * something holds the slot back, bounded.
 */
CREATE TABLE cdc_sink.history (
	lsn pg_lsn PRIMARY KEY,
	hlc_wall bigint NOT NULL,
	hlc_logical bigint NOT NULL,
	at timestamptz NOT NULL
);

-- Messages a sink can never take, with on_bad_message = 'dead_letter'.
CREATE TABLE cdc_sink.dead_letter (
	id bigserial PRIMARY KEY,
	job_id bigint NOT NULL,
	topic text,
	key bytea,
	value bytea,
	lsn pg_lsn,
	updated numeric,
	error text,
	at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Nobody but the owner of the extension and superusers, also not the roles
-- pg_read_all_data and pg_write_all_data; cdc_sink.saved is for dumps.
ALTER TABLE cdc_sink.job ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdc_sink.definition ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdc_sink.secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdc_sink.checkpoint ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdc_sink.shape ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdc_sink.member ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdc_sink.history ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdc_sink.dead_letter ENABLE ROW LEVEL SECURITY;

-- Sinks as foreign servers, with their secrets in user mappings.
CREATE FUNCTION cdc_sink.fdw_validator(options text[], catalog oid)
RETURNS void
LANGUAGE C STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdc_fdw_validator';

CREATE FOREIGN DATA WRAPPER cdc_sink VALIDATOR cdc_sink.fdw_validator;

COMMENT ON FOREIGN DATA WRAPPER cdc_sink IS
	'sinks of changefeeds: INTO ''external://server''';

-- What the workers tell of the feeds of this database; no rows without them.
CREATE FUNCTION cdc_sink.feed_stats(
	OUT job_id bigint, OUT messages bigint, OUT bytes bigint,
	OUT resolved_messages bigint, OUT retries bigint, OUT dead_letters bigint,
	OUT scanned_rows bigint, OUT queued_bytes bigint, OUT acked_lsn pg_lsn,
	OUT acked numeric, OUT acked_time timestamptz,
	OUT last_message timestamptz, OUT in_trouble boolean,
	OUT last_error text, OUT last_error_time timestamptz,
	OUT running_status text, OUT stopped boolean, OUT scanning boolean)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'cdc_feed_stats';

-- The lane of this database, always one row.
CREATE FUNCTION cdc_sink.lane_stats(
	OUT state text, OUT pid integer, OUT note text, OUT decoded_lsn pg_lsn,
	OUT confirmed_lsn pg_lsn)
RETURNS record
LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'cdc_lane_stats';

-- The options of CREATE CHANGEFEED.
CREATE FUNCTION cdc_sink.option_list(
	OUT name text, OUT type text, OUT default_value text,
	OUT supported boolean, OUT description text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdc_option_list';

/*
 * Statements.
 */
CREATE FUNCTION changefeed_create(tables text[], sink text,
	options jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION changefeed_sql(statement text)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION changefeed_alter(job_id bigint, add text[] DEFAULT '{}',
	"drop" text[] DEFAULT '{}', set jsonb DEFAULT '{}',
	unset text[] DEFAULT '{}', initial_scan boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION changefeed_pause(job_id bigint)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION changefeed_resume(job_id bigint)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION changefeed_cancel(job_id bigint)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME';

CREATE FUNCTION changefeed_wait(job_id bigint, lsn pg_lsn DEFAULT NULL,
	timeout interval DEFAULT '1 minute')
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';

COMMENT ON FUNCTION changefeed_create(text[], text, jsonb) IS
	'creates a changefeed and returns the id of its job';
COMMENT ON FUNCTION changefeed_sql(text) IS
	'runs a statement: CREATE or ALTER CHANGEFEED, PAUSE JOB, RESUME JOB, CANCEL JOB';
COMMENT ON FUNCTION changefeed_alter(bigint, text[], text[], jsonb, text[], boolean) IS
	'changes tables, options or sink of a changefeed, paused or running';
COMMENT ON FUNCTION changefeed_pause(bigint) IS
	'pauses a changefeed, which keeps its position';
COMMENT ON FUNCTION changefeed_resume(bigint) IS
	'resumes a paused changefeed at its position';
COMMENT ON FUNCTION changefeed_cancel(bigint) IS
	'ends a changefeed for good';
COMMENT ON FUNCTION changefeed_wait(bigint, pg_lsn, interval) IS
	'waits until the sink has everything up to a WAL position (NULL: now)';

-- A feed hands out data and lets the server connect anywhere.
REVOKE EXECUTE ON FUNCTION changefeed_create(text[], text, jsonb) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION changefeed_sql(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION changefeed_alter(bigint, text[], text[], jsonb, text[], boolean)
	FROM PUBLIC;

/*
 * Views.  They show the jobs of roles the user has the rights of, and all
 * of them to superusers and members of pg_monitor.
 */
CREATE VIEW changefeed_jobs WITH (security_barrier) AS
SELECT * FROM (SELECT j.job_id,
	j.description,
	pg_get_userbyid(j.owner)::text AS user_name,
	-- the lane lets go at once and writes it down when it can
	CASE WHEN j.status = 'pause-requested' AND f.stopped THEN 'paused'
		ELSE j.status END AS status,
	CASE
		WHEN j.status IN ('running', 'pause-requested', 'cancel-requested')
			THEN coalesce(nullif(f.running_status, ''), l.note)
		WHEN j.status = 'pending'
			THEN coalesce(nullif(f.running_status, ''), l.note,
				'waiting for the worker of this database')
		WHEN j.status = 'paused' AND j.error <> ''
			THEN 'job failed (' || j.error ||
				') but is being paused because of on_error=pause'
		WHEN j.status = 'paused' AND j.reason IS NOT NULL
			THEN 'paused: ' || j.reason
	END AS running_status,
	j.created,
	j.started,
	j.finished,
	greatest(j.modified, c.updated_at) AS modified,
	-- whole where it can be: in JSON a fraction is read as a double, inexact
	CASE
		WHEN c.high_water_wall = 0 THEN NULL
		WHEN c.high_water_logical = 0 THEN c.high_water_wall::numeric
		ELSE (c.high_water_wall::text || '.' ||
			lpad(c.high_water_logical::text, 10, '0'))::numeric
	END AS high_water_timestamp,
	CASE WHEN c.high_water_wall <> 0
		THEN timestamptz 'epoch' +
			(c.high_water_wall / 1000)::float8 * interval '1 microsecond'
	END AS readable_high_water_timestamptz,
	j.error,
	j.sink AS sink_uri,
	CASE WHEN d.by_rule THEN coalesce(m.names, '{}') ELSE d.names END AS full_table_names,
	CASE WHEN d.by_rule AND j.topics IS NOT NULL THEN coalesce(m.topics, '')
		ELSE j.topics END AS topics,
	j.format,
	nullif(f.last_error, '') AS last_error,
	f.last_error_time,
	coalesce(f.retries, 0) AS retries,
	CASE
		WHEN j.finished IS NOT NULL OR pg_is_in_recovery() THEN NULL
		WHEN f.acked_lsn >= pg_current_wal_flush_lsn() THEN 0
		ELSE pg_current_wal_flush_lsn() - coalesce(f.acked_lsn, c.resume_lsn)
	END AS lag_bytes,
	CASE
		WHEN j.finished IS NOT NULL THEN NULL
		WHEN NOT pg_is_in_recovery() AND f.acked_lsn >= pg_current_wal_flush_lsn()
			THEN interval '0'
		ELSE clock_timestamp() -
			coalesce(f.acked_time, CASE WHEN c.hlc_wall <> 0
				THEN timestamptz 'epoch' +
					(c.hlc_wall / 1000)::float8 * interval '1 microsecond' END)
	END AS lag_time,
	CASE
		WHEN c.scan_done AND f.scanning IS NOT TRUE THEN 'done'
		WHEN c.scan_done OR f.scanned_rows > 0 THEN f.scanned_rows::text || ' rows sent'
	END AS scan_progress
FROM cdc_sink.job j
	JOIN cdc_sink.checkpoint c USING (job_id)
	-- the newest, as it was asked for, in force already or not
	LEFT JOIN LATERAL (SELECT x.names, x.relids, x.topics, x.rules <> '{}' AS by_rule
		FROM cdc_sink.definition x
		WHERE x.job_id = j.job_id ORDER BY x.version DESC LIMIT 1) d ON true
	-- by rule: less what left, and what joined
	LEFT JOIN LATERAL (SELECT array_agg(t.name ORDER BY t.relid) AS names,
		string_agg(t.topic, ',' ORDER BY t.relid) AS topics
		FROM (SELECT u.* FROM unnest(d.relids, d.names, d.topics) u(relid, name, topic)
			WHERE NOT EXISTS (SELECT FROM cdc_sink.member x
				WHERE x.job_id = j.job_id AND x.relid = u.relid)
			UNION ALL SELECT x.relid, x.name, x.topic FROM cdc_sink.member x
			WHERE x.job_id = j.job_id AND x.joined) t
		WHERE d.by_rule) m ON d.by_rule
	LEFT JOIN cdc_sink.feed_stats() f USING (job_id)
	CROSS JOIN cdc_sink.lane_stats() l
WHERE pg_has_role(j.owner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE')
UNION ALL
-- restored from a dump, or brought here by pg_upgrade
SELECT s.job_id, s.statement, s.owner, 'paused',
	'paused: restored from a dump or by pg_upgrade, RESUME JOB creates it anew from now on',
	s.created, NULL, NULL, NULL,
	CASE
		WHEN s.high_water_wall = 0 THEN NULL
		WHEN s.high_water_logical = 0 THEN s.high_water_wall::numeric
		ELSE (s.high_water_wall::text || '.' ||
			lpad(s.high_water_logical::text, 10, '0'))::numeric
	END,
	CASE WHEN s.high_water_wall <> 0
		THEN timestamptz 'epoch' +
			(s.high_water_wall / 1000)::float8 * interval '1 microsecond'
	END, '', '', NULL, NULL, 'json',
	NULL, NULL, 0, NULL, NULL, NULL
FROM cdc_sink.saved s
WHERE NOT EXISTS (SELECT FROM cdc_sink.job j WHERE j.job_id = s.job_id)
	AND (pg_has_role((SELECT oid FROM pg_roles WHERE rolname = s.owner), 'USAGE')
		OR pg_has_role('pg_monitor', 'USAGE'))) v
ORDER BY finished IS NOT NULL, created DESC, job_id DESC;

CREATE VIEW pg_stat_changefeed WITH (security_barrier) AS
SELECT j.job_id,
	v.status,
	CASE WHEN f.job_id IS NOT NULL THEN nullif(l.pid, 0) END AS pid,
	coalesce(f.messages, 0) AS messages,
	coalesce(f.bytes, 0) AS bytes,
	coalesce(f.resolved_messages, 0) AS resolved_messages,
	coalesce(f.retries, 0) AS retries,
	coalesce(f.dead_letters, 0) AS dead_letters,
	coalesce(f.scanned_rows, 0) AS scanned_rows,
	coalesce(f.queued_bytes, 0) AS queued_bytes,
	coalesce(f.acked_lsn, c.resume_lsn) AS acked_lsn,
	f.acked_time,
	c.resume_lsn AS checkpoint_lsn,
	v.lag_bytes,
	v.lag_time,
	f.last_message,
	coalesce(f.in_trouble, false) AS in_trouble,
	v.last_error,
	v.last_error_time,
	coalesce((SELECT substr(o, length('metrics_label=') + 1)
			FROM cdc_sink.definition d, unnest(d.options) o
			WHERE d.job_id = j.job_id AND d.version = c.version
				AND starts_with(o, 'metrics_label=')), 'default') AS metrics_label
FROM cdc_sink.job j
	JOIN cdc_sink.checkpoint c USING (job_id)
	JOIN changefeed_jobs v USING (job_id)
	LEFT JOIN cdc_sink.feed_stats() f USING (job_id)
	CROSS JOIN cdc_sink.lane_stats() l
WHERE j.finished IS NULL
	AND (pg_has_role(j.owner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE'))
ORDER BY j.job_id;

-- The same for everybody; "supported" is false for those that are refused.
CREATE VIEW changefeed_options AS
SELECT name, type, default_value, supported, description
FROM cdc_sink.option_list()
ORDER BY name COLLATE "C";

GRANT SELECT ON changefeed_jobs, pg_stat_changefeed, changefeed_options TO PUBLIC;
