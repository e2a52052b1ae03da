# A database that rests: a feed without resolved writes nothing, slots advance
# with the traffic of others, and the checkpoint row does not wake its own
# worker for ever (trap 8).

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_cluster('idle', conf => q{
autovacuum = off
checkpoint_timeout = 1h
});
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY);
	CREATE TABLE other (id int PRIMARY KEY, v text)});

sub run { return $node->safe_psql('postgres', $_[0]); }

# WAL written in so many seconds; the server's own is a record of the running
# transactions now and then, of about 50 bytes.
sub wal_while
{
	my ($seconds) = @_;
	run('CHECKPOINT');
	my $from = run('SELECT pg_current_wal_insert_lsn()');
	sleep $seconds;
	return run("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$from')");
}

my ($dir, $uri) = file_dir($node);
my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH updated");
run('INSERT INTO t VALUES (1)');
wait_feed($node, $job);
sleep 2;
run('CHECKPOINT');
my $quiet = wal_while(10);
diag("idle, without resolved: ", $quiet * 6, ' bytes of WAL a minute');
ok($quiet < 2000, 'a feed without resolved writes nothing while idle');
my ($lane) = worker_pids($node, 'lane');

sub cpu_of
{
	my @f = split / /, slurp_file("/proc/$_[0]/stat");
	return ($f[13] + $f[14]) / 100;
}
my $cpu = cpu_of($lane);
sleep 3;
$cpu = (cpu_of($lane) - $cpu) / 3;
diag(sprintf('idle: %.1f %% of a core', $cpu * 100));
ok($cpu < 0.2, 'and needs hardly any time');

# the slot follows traffic that does not concern the feed
my $before = run(q{SELECT confirmed_flush_lsn FROM pg_replication_slots});
my $restart = run(q{SELECT restart_lsn FROM pg_replication_slots});
for my $i (0 .. 3)
{
	run("INSERT INTO other SELECT i, repeat('x', 200) FROM generate_series($i * 20000, $i * 20000 + 19999) i");
}
ok( poll_until(
		sub {
			run("SELECT pg_wal_lsn_diff(confirmed_flush_lsn, '$before') > 10000000 FROM pg_replication_slots") eq 't';
		},
		'confirmed_flush_lsn', 60),
	'the slot advances with traffic of other tables');
ok( poll_until(
		sub {
			run('CHECKPOINT');
			run("INSERT INTO other SELECT i, repeat('x', 200) FROM generate_series((SELECT max(id) + 1 FROM other), (SELECT max(id) + 20000 FROM other)) i");
			run("SELECT pg_wal_lsn_diff(restart_lsn, '$restart') > 10000000 FROM pg_replication_slots") eq 't';
		},
		'restart_lsn', 90),
	'and the server may remove the WAL');
is(run("SELECT changefeed_wait($job, timeout => '10 s')"), 't',
	'changefeed_wait returns on traffic that does not concern the feed');

# traffic in another database only
$node->safe_psql('postgres', 'CREATE DATABASE d');
$node->safe_psql('d', 'CREATE TABLE other (id int, v text)');
$before = run(q{SELECT confirmed_flush_lsn FROM pg_replication_slots});
$node->safe_psql('d', "INSERT INTO other SELECT i, repeat('x', 200) FROM generate_series(1, 80000) i");
ok( poll_until(
		sub {
			run("SELECT pg_wal_lsn_diff(confirmed_flush_lsn, '$before') > 10000000 FROM pg_replication_slots") eq 't';
		},
		'confirmed_flush_lsn', 60),
	'the slot advances with traffic of other databases');

# with resolved
run("SELECT changefeed_cancel($job)");
poll_until(sub { slots($node) eq '0' }, 'no slot');
my ($dir2, $uri2) = file_dir($node);
my $job2 = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri2' WITH resolved, updated");
wait_feed($node, $job2);
sleep 2;
my $n = () = resolved_of(file_messages($dir2));
my $told = wal_while(10);
my $n2 = () = resolved_of(file_messages($dir2));
diag('idle, with resolved: ', $told * 6, ' bytes of WAL a minute, ', ($n2 - $n) * 6, ' resolved');
ok($n2 > $n + 3, 'resolved goes on without traffic');
ok($told < 200_000, 'at a bounded price');

# a second feed in the lane shares the transaction
my ($dir3, $uri3) = file_dir($node);
my $job3 = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri3' WITH resolved, updated");
wait_feed($node, $job3);
sleep 2;
my $xid = run('SELECT txid_current()');
my $both = wal_while(5);
diag('idle, two feeds with resolved: ', $both * 12, ' bytes of WAL a minute, ',
	(run('SELECT txid_current()') - $xid - 1) * 12, ' transactions');
pass('reported');

$node->stop;
done_testing();
