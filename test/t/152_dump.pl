# A dump of a database holds its live feeds, without their secrets and their
# positions: restored, they are paused and hold nothing, resumed they are
# created anew under their ids. Finished jobs stay for cdc_sink.job_retention.

use strict;
use warnings;

use CdcTest;
use File::Path 'rmtree';
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('dump');
sub run { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

sub fails
{
	my ($sql, $re, $what, $db) = @_;
	my ($rc, $out, $err) = $node->psql($db // 'copy', $sql);
	isnt($rc, 0, "$what: refused");
	like($err, $re, "$what: why");
	return;
}

run(q{
	CREATE ROLE app LOGIN;
	CREATE ROLE gone LOGIN;
	GRANT CREATE ON SCHEMA public TO app, gone;
	GRANT EXECUTE ON FUNCTION changefeed_create(text[], text, jsonb) TO app, gone;
	CREATE SCHEMA "Odd schema";
	GRANT USAGE ON SCHEMA "Odd schema" TO app;
	SET ROLE app;
	CREATE TABLE t (id int PRIMARY KEY, v text, hidden text);
	INSERT INTO t VALUES (1, 'one', 'x');
	RESET ROLE;
	CREATE TABLE "Odd schema"."Odd.table" (id int PRIMARY KEY);
	GRANT SELECT ON "Odd schema"."Odd.table" TO app;
	SET ROLE gone;
	CREATE TABLE g (id int PRIMARY KEY)});
my ($dir, $uri) = file_dir($node);
my $plain = run(qq{SET ROLE app; SET search_path = "Odd schema", public;
	SELECT changefeed_create('{t,"\\"Odd.table\\""}', '$uri', '{"updated": true, "initial_scan": "no"}')});
my $secret = run(q{SET cdc_sink.allow_http_webhook = on;
	SELECT changefeed_create('{t}', 'null://?delay=1ms', '{"initial_scan": "no", "resolved": "10s"}')});
my $gone = run(q{SET ROLE gone; SELECT changefeed_create('{g}', 'null://', '{"initial_scan": "no"}')});
my $over = run(q{SELECT changefeed_create('{t}', 'null://', '{"initial_scan": "only"}')});
my $kafka = start_kafka();
my $hook = run("SELECT changefeed_create('{t}', 'kafka://$kafka->{addr}?topic_prefix=dump_', '{\"initial_scan\": \"no\", \"extra_headers\": \"{\\\"token\\\": \\\"geheim123\\\"}\"}')");
ok(wait_status($node, $over, 'succeeded'), 'one has ended');
wait_feed($node, $_) for $plain, $secret, $gone, $hook;
run("SELECT changefeed_alter($secret, set => '{\"resolved\": \"5s\"}')");

# ---- the dump
my $file = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, $node->connstr('postgres') ], 'pg_dump');
my ($text) = run_command([ 'pg_restore', '-f', '-', $file ]);
unlike($text, qr/geheim123/, 'no secret is in it');
like($text, qr/COPY cdc_sink\.saved/, 'the statements are');

# ---- into another database, without one of the roles
run('CREATE DATABASE copy');
run('DROP OWNED BY gone; SELECT changefeed_cancel(' . $gone . ')');
ok(wait_status($node, $gone, 'canceled'), 'canceled');
run('DROP OWNED BY gone; DROP ROLE gone');
run_command([ 'pg_restore', '-d', $node->connstr('copy'), $file ]);
is( run('SELECT string_agg(job_id || $$ $$ || user_name || $$ $$ || status, $$, $$ ORDER BY job_id) FROM changefeed_jobs', 'copy'),
	"$plain app paused, $secret postgres paused, $gone gone paused, $hook postgres paused",
	'live feeds are there, paused, the one that had ended is not');
like(run("SELECT running_status FROM changefeed_jobs WHERE job_id = $plain", 'copy'),
	qr/restored from a dump/, 'the view says why');
is(run("SELECT description FROM changefeed_jobs WHERE job_id = $plain", 'copy'),
	qq{CREATE CHANGEFEED FOR TABLE postgres.public.t, TABLE postgres."Odd schema"."Odd.table" INTO '$uri' WITH OPTIONS (initial_scan = 'no', updated)},
	'with full names');
is(run("SELECT count(*) FROM pg_replication_slots WHERE database = 'copy'"), '0', 'they hold no WAL');
is(run('SELECT count(*) FROM changefeed_jobs', 'copy'), '4', 'all are seen by a superuser');
is($node->safe_psql('copy', 'SELECT count(*) FROM changefeed_jobs', extra_params => [ '-U', 'app' ]), '1', 'and by their owner');
my ($rc, $out, $err) = $node->psql('copy', "SELECT changefeed_resume($secret)", extra_params => [ '-U', 'app' ]);
like($err, qr/must be owner of job/, 'another role cannot resume one');

# ---- resume: created anew, under the same id
my ($copy_dir, $copy_uri) = file_dir($node);
run("SELECT changefeed_sql(\$\$ALTER CHANGEFEED $plain SET sink = '$copy_uri'\$\$)", 'copy');
like(run("SELECT description FROM changefeed_jobs WHERE job_id = $plain", 'copy'), qr/INTO '\Q$copy_uri\E'/, 'ALTER changes the sink of a restored job');
run("SELECT changefeed_resume($plain)", 'copy');
run('INSERT INTO t VALUES (2, $$two$$); INSERT INTO "Odd schema"."Odd.table" VALUES (3)', 'copy');
$node->safe_psql('copy', "SELECT changefeed_wait($plain, timeout => '60 s')");
is(join(' ', sort map { "$_->{topic}:$_->{after}{id}" } rows_of(file_messages($copy_dir))), 'Odd.table:3 t:2',
	'a resumed job sends what comes, under its names');
is(run("SELECT status || ' ' || user_name FROM changefeed_jobs WHERE job_id = $plain", 'copy'), 'running app', 'it is its owner\'s');
fails("SELECT changefeed_resume($gone)", qr/role "gone", owner of job \d+, does not exist/, 'no owner');
fails("SELECT changefeed_resume($hook)",
	qr/option "extra_headers" of job $hook is not known.*HINT:  Give it again: ALTER CHANGEFEED $hook SET extra_headers/s, 'missing secret');
run(qq{SELECT changefeed_sql(\$\$ALTER CHANGEFEED $hook SET extra_headers = '{"token": "geheim456"}'\$\$)}, 'copy');
unlike(run("SELECT description FROM changefeed_jobs WHERE job_id = $hook", 'copy'), qr/geheim/, 'a secret given again is not shown');
run("SELECT changefeed_resume($hook)", 'copy');
$node->safe_psql('copy', "SELECT changefeed_wait($hook, timeout => '60 s')");
run("SELECT changefeed_pause($secret)", 'copy');
is(run("SELECT status FROM changefeed_jobs WHERE job_id = $secret", 'copy'), 'paused', 'a restored job can be paused');
fails("SELECT changefeed_sql('ALTER CHANGEFEED $secret ADD public.t')", qr/cannot be altered/, 'its targets');
run("SELECT changefeed_cancel($_)", 'copy') for $secret, $gone;
is(run("SELECT status FROM changefeed_jobs WHERE job_id = $secret", 'copy'), 'canceled', 'and canceled');
my $new = run(q{SELECT changefeed_create('{t}', 'null://')}, 'copy');
cmp_ok($new, '>', $hook, 'new jobs do not get the id of a restored one');

# ---- the tables of another cluster, as after pg_upgrade: the slot is gone
run("SELECT changefeed_cancel($_)", 'copy') for $plain, $hook, $new;
run("UPDATE cdc_sink.saved SET system_id = system_id + 1 WHERE job_id = $hook");
$node->stop;
rmtree($_) for glob($node->data_dir . '/pg_replslot/cdc_*');
$node->start;
ok( poll_until(
		sub { run("SELECT running_status FROM changefeed_jobs WHERE job_id = $hook") =~ /restored/ },
		'restored'),
	'a job of another cluster waits to be resumed');
ok(wait_status($node, $plain, 'failed'), 'one whose slot was lost has failed');
is(feed_status($node, $hook), 'paused', 'paused');
run("SELECT changefeed_resume($hook)");
wait_feed($node, $hook);
is(feed_status($node, $hook), 'running', 'it goes on with its secrets');

# ---- finished jobs go in their time
is(feed_status($node, $over), 'succeeded', 'a finished job is kept');
$node->append_conf('postgresql.conf', "cdc_sink.job_retention = '1s'");
run('SELECT pg_sleep(1.1)');
$node->restart;
ok(poll_until(sub { feed_status($node, $over) eq '' }, 'purged'), 'for cdc_sink.job_retention');
is(run('SELECT count(*) FROM cdc_sink.definition WHERE job_id = ' . $over), '0', 'with all that belongs to it');
is(feed_status($node, $hook), 'running', 'live ones stay');
is(run('SELECT count(*) FROM cdc_sink.saved'), '1', 'of those a dump has what it needs');

$kafka->stop;
$node->stop;
done_testing();
