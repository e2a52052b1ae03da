# S20, S23: a feed starts at the commit of its own creation, and a creation
# that does not commit leaves nothing.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('start');
my @dbs = ('postgres', 'db1', 'db2');
$node->safe_psql('postgres', "CREATE DATABASE $_") for 'db1', 'db2';
$node->safe_psql($_, 'CREATE EXTENSION cdc_sink') for 'db1', 'db2';
$node->safe_psql($_, 'CREATE TABLE t (id int PRIMARY KEY, v text)') for @dbs;

sub keys_of
{
	my ($dir) = @_;
	return join ' ', map { $_->{kt} . (defined $_->{after} ? '' : '-') }
	  rows_of(quick_messages($dir));
}

sub wait_no_slot
{
	return poll_until(sub { slots($node) eq '0' }, 'no slot', 30);
}

# A write right behind the creation, in each database, the first feed of each
# included; some end in between, so that lanes close and are made anew.
my $n = 0;
for my $round (1 .. 5)
{
	my @made;
	for my $db (@dbs)
	{
		my ($dir, $uri) = file_dir($node);
		my $first = ++$n;
		my $second = ++$n;
		my $job = $node->safe_psql($db, qq{
			INSERT INTO t VALUES (-$first, 'before');
			SELECT changefeed_sql('CREATE CHANGEFEED FOR TABLE t INTO ''$uri'' WITH updated, initial_scan=''no''');
			INSERT INTO t VALUES ($first, 'right behind');
			UPDATE t SET v = 'and' WHERE id = $first;
			INSERT INTO t VALUES ($second, 'more');
		});
		push @made, [ $db, $job, $dir, "$first $first $second" ];
	}
	for my $m (@made)
	{
		my ($db, $job, $dir, $want) = @$m;
		$node->safe_psql($db, "SELECT changefeed_wait($job)");
		my $got = keys_of($dir);
		is(substr($got, 0, length($want)), $want, "round $round, $db: the first write is there");
		unlike($got, qr/(^| )-/, "round $round, $db: nothing of before");
		$node->safe_psql($db, "SELECT changefeed_cancel($job)");
	}
	wait_no_slot() if $round % 2;
}
ok(wait_no_slot(), 'no slot is left');

# Creations race with writers: each feed has exactly what follows it.
my ($dirb, $urib) = file_dir($node);
my $base = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$urib' WITH updated");
wait_feed($node, $base);
load_setup($node);
load_fill($node, 50);
my $oracle = oracle_make($node);
my $load = load_start($node, 50, rate => 500);
my @raced;
for (1 .. 12)
{
	my ($dir, $uri) = file_dir($node);
	push @raced, [
		create_feed($node,
			"CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '$uri' WITH updated"
			  . ($_ % 3 ? ", initial_scan='no'" : '')),
		$dir,
		$_ % 3 == 0 ];
}
load_stop($load);
wait_feed($node, $_->[0]) for @raced;
my @events = oracle_read($oracle);
my @bad;
for my $r (@raced)
{
	my @msgs = quick_messages($r->[1]);
	push @bad, map { "job $r->[0]: $_" }
	  check_exact($oracle, $r->[0], \@msgs, \@events, scan => $r->[2]);
}
ok_none(\@bad, 'creations under load: every feed has exactly what follows its creation');
$node->safe_psql('postgres', "SELECT changefeed_cancel($_->[0])") for @raced;

# Inside a transaction: its own rows belong to the scan, also with ROLLBACK
my ($dir, $uri) = file_dir($node);
my $job = $node->safe_psql('postgres', qq{
	BEGIN;
	INSERT INTO t VALUES (1001, 'own, before');
	SELECT changefeed_sql('CREATE CHANGEFEED FOR TABLE t INTO ''$uri'' WITH updated, initial_scan=''no''');
	INSERT INTO t VALUES (1002, 'own, behind');
	COMMIT;
	INSERT INTO t VALUES (1003, 'later')});
wait_feed($node, $job);
is(keys_of($dir), '1003', 'created in a transaction: streamed from its commit on');
my ($dirs, $uris) = file_dir($node);
my $jobs = $node->safe_psql('postgres', qq{
	BEGIN;
	INSERT INTO t VALUES (1004, 'own, before');
	SELECT changefeed_sql('CREATE CHANGEFEED FOR TABLE t INTO ''$uris'' WITH updated');
	INSERT INTO t VALUES (1005, 'own, behind');
	COMMIT});
wait_feed($node, $jobs);
my @got = rows_of(quick_messages($dirs));
is(scalar(grep { $_->{kt} =~ /^100[45]$/ } @got), 2, 'and its own rows are in the scan');
my %stamps = map { $_->{updated} => 1 } @got;
is(scalar(keys %stamps), 1, 'under the stamp of the scan');
$node->safe_psql('postgres', "SELECT changefeed_cancel($_)") for $job, $jobs, $base;
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('oracle')");
ok(wait_no_slot(), 'lanes close');

sub leftovers
{
	return $node->safe_psql('postgres', q{
		SELECT (SELECT count(*) FROM cdc_sink.job WHERE finished IS NULL)
			|| ' ' || (SELECT count(*) FROM cdc_sink.secret)});
}

my (undef, $uri9) = file_dir($node);
$node->safe_psql('postgres', qq{
	BEGIN;
	SELECT changefeed_create('{t}', '$uri9');
	ROLLBACK});
is(leftovers(), '0 0', 'ROLLBACK of a creation leaves no row');
is($node->safe_psql('postgres', 'SELECT count(*) FROM changefeed_jobs WHERE finished IS NULL'),
	'0', 'and no job in the view');
ok(wait_no_slot(), 'ROLLBACK of a creation leaves no slot');
my ($rc, $out, $err) = $node->psql('postgres', qq{
	BEGIN;
	SAVEPOINT a;
	SELECT changefeed_create('{t}', '$uri9');
	ROLLBACK TO a;
	COMMIT});
is($rc, 0, 'a creation rolled back to a savepoint');
is(leftovers(), '0 0', 'leaves no row');
ok(wait_no_slot(), 'and no slot');

# a backend that dies in between
my $s = session($node);
$s->query("BEGIN; SELECT changefeed_create('{t}', '$uri9')");
$node->safe_psql('postgres', q{
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'});
$s->close;
ok(wait_no_slot(), 'a creator that is terminated leaves no slot');

# The first feed of a database in a transaction that has written
($rc, $out, $err) = $node->psql('postgres', qq{
	BEGIN;
	INSERT INTO t VALUES (2001, 'x');
	SELECT changefeed_create('{t}', '$uri9')});
isnt($rc, 0, 'no lane and a transaction that has written: an error');
like($err, qr/in a transaction that has written.*HINT:/s, 'with a hint');
ok(wait_no_slot(), 'and no slot stays');

# Not ready: another transaction is open
$s = session($node);
$s->query(q{BEGIN; INSERT INTO t VALUES (2002, 'open')});
my ($dir10, $uri10) = file_dir($node);
($rc, $out, $err) = $node->psql('postgres', qq{
	SET cdc_sink.start_timeout = '300ms';
	SELECT changefeed_create('{t}', '$uri10', '{"initial_scan": "no"}')});
isnt($rc, 0, 'not ready and no scan: an error');
like($err, qr/within cdc_sink.start_timeout.*process \d+.*HINT:/s,
	'which names the open transaction');
is(leftovers(), '0 0', 'and no job');
($rc, my $late, $err) = $node->psql('postgres', qq{
	SET cdc_sink.start_timeout = '300ms';
	SELECT changefeed_create('{t}', '$uri10')});
is($rc, 0, 'not ready and a scan: the job is made');
like($err, qr/NOTICE:  changefeed will start later.*process \d+/s, 'with a notice');
like(
	$node->safe_psql('postgres',
		"SELECT status || ': ' || running_status FROM changefeed_jobs WHERE job_id = $late"),
	qr/^pending: waiting for the transaction of process \d+/,
	'pending, and the view names the open transaction');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (2003, 'meanwhile')});
$s->query('COMMIT');
ok(wait_status($node, $late, 'running'), 'it runs when the transaction has ended');
wait_feed($node, $late);
my $all = $node->safe_psql('postgres', 'SELECT count(*) FROM t');
is(scalar(rows_of(quick_messages($dir10))), $all, 'and has every row once');

# S23: the last feed is canceled while a creation is open, or prepared
my (undef, $uri11) = file_dir($node);
my ($dir11) = $uri11 =~ m,^file://(.*)$,;
$s->query("BEGIN; SELECT changefeed_create('{t}', '$uri11', '{\"initial_scan\": \"no\"}')");
$node->safe_psql('postgres', "SELECT changefeed_cancel($late)");
ok(wait_status($node, $late, 'canceled'), 'the last feed is canceled');
# longer than a lane without jobs stays
ok(!poll_until(sub { slots($node) eq '0' }, 'expected', 3) , 'the slot stays for an open creation');
$s->query('COMMIT');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (3001, 'x')});
my $job11 = $node->safe_psql('postgres', 'SELECT max(job_id) FROM changefeed_jobs');
wait_feed($node, $job11);
is(keys_of($dir11), '3001', 'and the feed starts at its commit');

my ($dir12, $uri12) = file_dir($node);
$s->query("BEGIN; SELECT changefeed_create('{t}', '$uri12', '{\"initial_scan\": \"no\"}'); PREPARE TRANSACTION 'create'");
$s->close;
$node->safe_psql('postgres', "SELECT changefeed_cancel($job11)");
ok(wait_status($node, $job11, 'canceled'), 'the last feed is canceled');
ok(!poll_until(sub { slots($node) eq '0' }, 'expected', 3), 'the slot stays for a prepared creation');
$node->restart;
$node->safe_psql('postgres', q{
	INSERT INTO t VALUES (3002, 'before the commit');
	COMMIT PREPARED 'create';
	INSERT INTO t VALUES (3003, 'behind it')});
my $job12 = $node->safe_psql('postgres', 'SELECT max(job_id) FROM changefeed_jobs');
ok(wait_status($node, $job12, 'running'), 'the prepared feed runs, also over a restart');
wait_feed($node, $job12);
is(keys_of($dir12), '3003', 'and starts at COMMIT PREPARED');
$node->safe_psql('postgres', "SELECT changefeed_cancel($job12)");

# rolled back instead
$s = session($node);
$s->query("BEGIN; SELECT changefeed_create('{t}', '$uri12', '{\"initial_scan\": \"no\"}'); PREPARE TRANSACTION 'create'");
$s->close;
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'create'});
is(leftovers(), '0 0', 'ROLLBACK PREPARED of a creation leaves no row');
ok(wait_no_slot(), 'and no slot');

$node->stop;
done_testing();
