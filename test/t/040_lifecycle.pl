# Slots never leak, and workers obey: cancel, failed creations, DROP EXTENSION,
# DROP DATABASE, termination, reload, shutdown, and settings that are too low.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_cluster('life');
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t VALUES (1, 'x')});

sub wait_no_slot
{
	return poll_until(sub { slots($node) eq '0' }, 'no slot', 30);
}

sub wait_no_worker
{
	return poll_until(
		sub { !worker_pids($node, 'lane') && !worker_pids($node, 'scan') && !worker_pids($node, 'setup') },
		'no worker', 30);
}

# cancel, also while paused
my ($dir, $uri) = file_dir($node);
my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH updated");
wait_feed($node, $job);
is(slots($node), '1', 'one slot for the lane');
$node->safe_psql('postgres', "SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'paused');
$node->safe_psql('postgres', "SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled');
ok(wait_no_slot(), 'cancel of a paused feed: no slot');
ok(wait_no_worker(), 'and no worker');

# creations that fail
my ($rc, $out, $err) =
  $node->psql('postgres', "SELECT changefeed_create('{t}', 'file:///no/such/place/x')");
isnt($rc, 0, 'a sink that cannot be reached: error');
($rc) = $node->psql('postgres', "SELECT changefeed_create('{nosuch}', '$uri')");
isnt($rc, 0, 'an unknown table: error');
($rc) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri') / 0");
isnt($rc, 0, 'a creation that fails behind the function');
ok(wait_no_slot(), 'failed creations: no slot');

# workers that are terminated come back
($dir, $uri) = file_dir($node);
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH updated");
for my $kind ('lane', 'launcher')
{
	my ($pid) = worker_pids($node, $kind);
	is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"),
		't', "$kind is told to go");
	ok(wait_gone_pid($pid, 10), "the $kind obeys");
	ok( poll_until(
			sub { my ($p) = worker_pids($node, $kind); $p && $p != $pid },
			"a new $kind", 20),
		"and is started again");
}
$node->safe_psql('postgres', "INSERT INTO t VALUES (2, 'y')");
wait_feed($node, $job);
is(scalar(grep { $_->{kt} eq '2' } rows_of(quick_messages($dir))), 1, 'and goes on');

# SIGHUP
my ($lane) = worker_pids($node, 'lane');
$node->safe_psql('postgres', q{
	ALTER SYSTEM SET cdc_sink.idle_resolved_interval = '77ms';
	SELECT pg_reload_conf()});
$node->safe_psql('postgres', "INSERT INTO t VALUES (3, 'z')");
wait_feed($node, $job);
is((worker_pids($node, 'lane'))[0], $lane, 'a reload leaves the lane alone');

# DROP EXTENSION, and made again at once: job ids start at 1 again
$node->safe_psql('postgres', 'DROP EXTENSION cdc_sink');
ok(wait_no_slot(), 'DROP EXTENSION: no slot');
ok(wait_no_worker(), 'and no worker');
$node->safe_psql('postgres', 'CREATE EXTENSION cdc_sink');
($dir, $uri) = file_dir($node);
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH updated");
wait_feed($node, $job);
my @mine;
for my $i (1 .. 4)
{
	my ($d, $u) = file_dir($node);
	my $new = $node->safe_psql('postgres', qq{
		DROP EXTENSION cdc_sink;
		CREATE EXTENSION cdc_sink;
		SET cdc_sink.start_timeout = '20s';
		SELECT changefeed_create('{t}', '$u', '{"updated": true, "initial_scan": "no"}');
		INSERT INTO t VALUES (100 + $i, 'after')});
	is($new, $job, "round $i: the same job id as before");
	wait_feed($node, $new);
	is(join(' ', map { $_->{kt} } rows_of(quick_messages($d))),
		100 + $i, "round $i: the new job's feed, and no row of before");
	push @mine, $d;
}
$node->safe_psql('postgres', "INSERT INTO t VALUES (200, 'last')");
wait_feed($node, $job);
is(scalar(grep { $_->{kt} eq '200' } map { rows_of(quick_messages($_)) } $dir, @mine),
	1, 'feeds of dropped extensions get nothing more');
is(slots($node), '1', 'one slot');
$node->safe_psql('postgres', 'DROP EXTENSION cdc_sink');
ok(wait_no_slot(), 'no slot at the end');
$node->safe_psql('postgres', 'CREATE EXTENSION cdc_sink');

# DROP DATABASE: the way out is DROP EXTENSION, or cancel
$node->safe_psql('postgres', 'CREATE DATABASE d1');
$node->safe_psql('d1', 'CREATE EXTENSION cdc_sink; CREATE TABLE t (id int PRIMARY KEY)');
($dir, $uri) = file_dir($node);
create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri'", 'd1');
($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE d1');
isnt($rc, 0, 'DROP DATABASE with a feed is refused');
like($err, qr/has changefeeds.*HINT:.*FORCE/s, 'with a hint that names the ways out');
$node->safe_psql('d1', 'DROP EXTENSION cdc_sink');
ok( poll_until(
		sub { my ($r) = $node->psql('postgres', 'DROP DATABASE d1'); $r == 0 },
		'DROP DATABASE', 20),
	'after DROP EXTENSION it works');
is(slots($node), '0', 'and leaves no slot');
$node->safe_psql('postgres', 'CREATE DATABASE d1');
$node->safe_psql('d1', 'CREATE EXTENSION cdc_sink; CREATE TABLE t (id int PRIMARY KEY)');
($dir, $uri) = file_dir($node);
create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri'", 'd1');
create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO 'null://?delay=1h'", 'd1');
$node->safe_psql('postgres', 'DROP DATABASE d1 WITH (FORCE)');
ok(wait_no_slot(), 'DROP DATABASE WITH (FORCE) works at once and leaves no slot');
ok(wait_no_worker(), 'and no worker');

# several databases: one ends, the other goes on
$node->safe_psql('postgres', 'CREATE DATABASE d2');
$node->safe_psql('d2', 'CREATE EXTENSION cdc_sink; CREATE TABLE t (id int PRIMARY KEY)');
my ($dir1, $uri1) = file_dir($node);
my ($dir2, $uri2) = file_dir($node);
my $job1 = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri1'");
my $job2 = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri2'", 'd2');
is(slots($node), '2', 'a slot for each database');
$node->restart;
$node->safe_psql('d2', 'INSERT INTO t VALUES (7)');
$node->safe_psql('d2', "SELECT changefeed_wait($job2)");
is(scalar(rows_of(quick_messages($dir2))), 1, 'after a restart both lanes run');
$node->safe_psql('d2', "SELECT changefeed_cancel($job2)");
ok(poll_until(sub { slots($node) eq '1' }, 'one slot'), 'one lane ends');
$node->safe_psql('postgres', "INSERT INTO t VALUES (300, 'x')");
wait_feed($node, $job1);
pass('the other goes on');

# Fast shutdown within two seconds: with a sink that never answers, and load
my $hang = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO 'null://?delay=1h'");
ok(wait_status($node, $hang, 'running'), 'a feed whose sink hangs');
$node->safe_psql('postgres', q{
	INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1000, 50000) i});
my $start = time();
$node->stop('fast');
my $took = time() - $start;
diag(sprintf('fast shutdown with a hanging sink: %.1f s', $took));
ok($took < 4, 'fast shutdown does not wait for a sink that hangs');
$node->start;
load_setup($node);
load_fill($node, 1000);
my ($dirl, $uril) = file_dir($node);
my $jobl = create_feed($node, "CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '$uril' WITH updated");
my $load = load_start($node, 1000, rate => 2000);
poll_until(sub { rows_of(quick_messages($dirl)) > 3000 }, 'load');
$start = time();
$node->stop('fast');
$took = time() - $start;
diag(sprintf('fast shutdown under load: %.1f s', $took));
ok($took < 4, 'fast shutdown under load');
load_stop($load);
$node->start;
ok(wait_running_again($node, $jobl), 'goes on after the restart');

# cancel takes effect while the sink hangs
$start = time();
$node->safe_psql('postgres', "SELECT changefeed_cancel($hang)");
ok(wait_status($node, $hang, 'canceled'), 'a feed whose sink hangs is canceled');
$took = time() - $start;
diag(sprintf('cancel of a hanging feed: %.1f s', $took));
ok($took < 3, 'within a second or so');
$node->safe_psql('postgres', "SELECT changefeed_cancel($_)") for $job1, $jobl;
ok(wait_no_slot(), 'no slot');

# The server loses the lane's WAL: a named end, not a loop
$node->safe_psql('postgres', q{
	ALTER SYSTEM SET max_slot_wal_keep_size = '1MB';
	ALTER SYSTEM SET wal_keep_size = 0;
	SELECT pg_reload_conf()});
my ($dirs, $uris) = file_dir($node);
my $lost = create_feed($node, "CREATE CHANGEFEED FOR TABLE acc INTO '$uris'");
ok(wait_feed($node, $lost) || 1, 'a feed that is current');
$node->safe_psql('postgres', "SELECT changefeed_pause($lost)");
ok(wait_status($node, $lost, 'paused'), 'and is paused');
for (1 .. 4)
{
	$node->safe_psql('postgres', "UPDATE acc SET pad = 'x'; SELECT pg_switch_wal(); CHECKPOINT");
}
ok(wait_status($node, $lost, 'failed'), 'WAL that is gone: failed');
like(
	$node->safe_psql('postgres', "SELECT error FROM changefeed_jobs WHERE job_id = $lost"),
	qr/max_slot_wal_keep_size/, 'and the setting is named');
ok(wait_no_slot(), 'no slot is left of it');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()});

# Settings that are too low
$node->stop;
$node->append_conf('postgresql.conf', 'max_replication_slots = 1');
$node->start;
$node->safe_psql('postgres',
	"SELECT pg_create_logical_replication_slot('taken', 'test_decoding')");
($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri')");
isnt($rc, 0, 'no slot is free: an error');
like($err, qr/replication slots are in use/, 'that says so');
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('taken')");
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH initial_scan='no'");
ok(wait_status($node, $job, 'running'), 'at once fine when one is free');

$node->stop;
$node->append_conf('postgresql.conf', "max_replication_slots = 10\nmax_worker_processes = 2\nmax_logical_replication_workers = 0");
$node->start;
$node->safe_psql('postgres', "INSERT INTO t VALUES (400, 'x')");
wait_feed($node, $job);
($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri')");
like($err, qr/max_worker_processes/, 'no background worker for the probe: the setting is named');
isnt($rc, 0, 'and no job is made');
$node->safe_psql('postgres', "SELECT changefeed_cancel($job)");
ok(wait_no_slot(), 'cancel works nevertheless');

$node->stop;
$node->append_conf('postgresql.conf', "max_worker_processes = 8\nmax_replication_slots = 10\nwal_level = replica");
$node->start;
($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri')");
isnt($rc, 0, 'wal_level = replica: an error');
like($err, qr/wal_level.*HINT:.*logical/s, 'with a hint');

$node->stop;
$node->append_conf('postgresql.conf', "wal_level = logical\nshared_preload_libraries = ''");
$node->start;
($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri')");
isnt($rc, 0, 'not preloaded: an error');
like($err, qr/HINT:.*shared_preload_libraries/s, 'with a hint');
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM changefeed_jobs'),
	't', 'the views work nevertheless');

$node->stop;
done_testing();
