-- The grammar of changefeed_sql. Nothing here gets as far as a job.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY default

-- the position of a mistake is shown
SELECT changefeed_sql('');
SELECT changefeed_sql('  -- nothing but a comment');
SELECT changefeed_sql(';');
SELECT changefeed_sql('SELECT 1');
SELECT changefeed_sql('CREATE CHANGEFEED foo INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO null');
SELECT changefeed_sql('CREATE CHANGEFEED FOR INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo, INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR table INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo.* INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR a.b.c.d INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR "" INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''null://'' WITH');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''null://'' WITH updated resolved');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''null://'' WITH updated,');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''null://'' WITH resolved = 10s');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''null://'' WITH OPTIONS ()');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''null://'' WITH updated; PAUSE JOB 1');
SELECT changefeed_sql('EXPERIMENTAL CHANGEFEED FOR foo INTO ''null://''');
SELECT changefeed_sql('PAUSE JOB');
SELECT changefeed_sql('PAUSE JOB x');
SELECT changefeed_sql('PAUSE JOB -1');
SELECT changefeed_sql('PAUSE JOB 1 WITH reason');
SELECT changefeed_sql('RESUME JOB 99999999999999999999');
SELECT changefeed_sql('CANCEL JOB 1 2');
SELECT changefeed_sql('SHOW CHANGEFEED');
SELECT changefeed_sql('SHOW CHANGEFEED JOB');
SELECT changefeed_sql('/* never /* closed */');
SELECT changefeed_sql('CREATE CHANGEFEED FOR "foo INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''null://');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO $$null://$');
SELECT changefeed_sql(E'CREATE CHANGEFEED FOR foo\nINTO ''null://''\nWITH updated = ;');
SELECT changefeed_sql($$CREATE CHANGEFEED FOR foo INTO E'\0'$$);
SELECT changefeed_sql($$CREATE CHANGEFEED FOR foo INTO E'\uD800'$$);

-- known, but not supported
SELECT changefeed_sql('CREATE CHANGEFEED AS SELECT * FROM foo');
SELECT changefeed_sql('CREATE CHANGEFEED INTO ''null://'' WITH updated AS SELECT * FROM foo');
SELECT changefeed_sql('CREATE CHANGEFEED FOR DATABASE d INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR *, foo INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR TABLE "Db".public.* INTO ''null://''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR TABLE foo FAMILY f INTO ''null://''');
SELECT changefeed_sql('CREATE SCHEDULE s FOR CHANGEFEED foo');
SELECT changefeed_sql('CREATE EXTERNAL CONNECTION IF NOT EXISTS c AS ''kafka://h''');
SELECT changefeed_sql('show external connections');
SELECT changefeed_sql('ALTER CHANGEFEED 1 ADD foo');
SELECT changefeed_sql('PAUSE JOBS (SELECT 1)');
SELECT changefeed_sql('CANCEL ALL JOBS');
SELECT changefeed_sql('SHOW JOBS');

-- a streaming changefeed cannot be the result of a function
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo');
SELECT changefeed_sql('EXPERIMENTAL CHANGEFEED FOR foo WITH updated');

-- no mistake shows a secret
SELECT changefeed_sql('CREATE CHANGEFEED foo INTO ''kafka://u:geheim@h?sasl_password=geheim''');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''kafka://u:geheim@h?sasl_password=geheim'' WITH');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''kafka://u:geheim@h?sasl_password=geheim');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO kafka://u:geheim@h?sasl_password=geheim');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO $$kafka://u:ge/heim@h');
SELECT changefeed_sql('CREATE CHANGEFEED FOR foo INTO ''null://'' WITH webhook_auth_header = Basic geheim');

-- how names and values may be written: each is understood, and refused later
\set VERBOSITY terse
SELECT changefeed_sql('create changefeed for TABLE "No", "su""ch".x INTO ''null://'';;');
SELECT changefeed_sql('CREATE CHANGEFEED FOR job, options, database, family INTO ''null://''');
SELECT changefeed_sql('CREATE /* a /* nested */ comment */ CHANGEFEED FOR Nowhere -- and so on
	INTO $uri$null://$uri$ WITH (updated, format = JSON)');
SELECT changefeed_sql($$CREATE CHANGEFEED FOR nowhere INTO E'nu\154\x6c\u003a//' WITH OPTIONS (envelope = "wrapped")$$);
SELECT changefeed_sql('CREATE CHANGEFEED FOR nowhere.nothing INTO ''null://'' WITH min_checkpoint_frequency = 0');
SELECT changefeed_sql('PAUSE JOB 0 WITH REASON = ''it''''s late'';');
