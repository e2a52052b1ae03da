# on_error = 'pause' with a TRUNCATE or a schema change that is met while a
# scan is under way: a resume starts the scan over and passes what paused the
# feed, once and for all; nothing is lost.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('pauseinscan');
my ($dir, $uri, $job, $hold);

sub run { return $node->safe_psql('postgres', $_[0]); }

# behind('SQL of one transaction'): a lock on "hold" that is granted right
# when that transaction, which has one, too, is over.  Returns its last value.
sub behind
{
	my ($sql) = @_;
	my $first = session($node);
	my $result = $first->query("BEGIN; $sql");
	$hold = session($node);
	$hold->send('BEGIN; LOCK TABLE hold IN ACCESS EXCLUSIVE MODE');
	poll_until(sub { run("SELECT count(*) FROM pg_locks WHERE relation = 'hold'::regclass AND NOT granted") > 0 }, 'lock is queued', 20);
	$first->query('COMMIT');
	$first->close;
	$hold->wait;
	return $result;
}

# The scan waits before "hold", which it comes to behind the tables before it.
sub new_feed
{
	my ($tables, $options) = @_;
	($dir, $uri) = file_dir($node);
	my $list = join ',', map { "\"$_\": \"$options->{$_}\"" } sort keys %$options;
	$job = behind("SELECT changefeed_create('{$tables}', '$uri', '{\"updated\": true, \"resolved\": true, "
		  . "\"min_checkpoint_frequency\": \"50ms\", \"on_error\": \"pause\", $list}')");
	return;
}

sub release
{
	$hold->query('COMMIT');
	$hold->close;
	return;
}

sub paused
{
	my ($pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_status($node, $job, 'paused', 30), "$name: paused");
	like(run("SELECT error FROM changefeed_jobs WHERE job_id = $job"), $pattern, "$name: tells why");
	return;
}

sub resume
{
	run("SELECT changefeed_resume($job)");
	ok(wait_status($node, $job, 'running', 30), 'resumed');
	return;
}

sub check
{
	my ($name, %expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @all = file_messages($dir);
	for my $topic (sort keys %expected)
	{
		my $of = replay_state($topic, @all);
		is(join('; ', sort map { my $a = $_; join ' ', map { "$_=" . ($a->{$_} // 'null') } sort keys %$a } values %$of),
			$expected{$topic}, "$name: $topic");
	}
	ok_none([ check_order(@all) ], "$name: order per key");
	ok_none([ check_resolved(@all) ], "$name: resolved floor");
	return;
}

# ---- TRUNCATE in an initial scan ----
run(q{
	CREATE TABLE hold (id int PRIMARY KEY);
	CREATE TABLE a (id int PRIMARY KEY, v int);
	CREATE TABLE s (id int PRIMARY KEY, v int);
	CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (10);
	CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
	INSERT INTO hold VALUES (1);
	INSERT INTO a SELECT i, 0 FROM generate_series(1, 5) i;
	INSERT INTO s SELECT i, 0 FROM generate_series(1, 1000) i;
	INSERT INTO p SELECT i, 0 FROM generate_series(1, 19) i});
new_feed('a,hold,s,p', { truncate => 'fail' });
run(q{
	UPDATE a SET v = 1 WHERE id = 1;
	INSERT INTO s VALUES (1999, 1);
	BEGIN;
	UPDATE a SET v = 1 WHERE id = 2;
	TRUNCATE s;
	INSERT INTO s VALUES (2000, 1);
	DELETE FROM a WHERE id = 3;
	COMMIT;
	UPDATE a SET v = 2 WHERE id = 2;
	INSERT INTO s VALUES (2001, 1)});
paused(qr/^"s" was truncated/, 'a TRUNCATE in the initial scan');
my %before = map { $_->{file} => 1 } rows_of(file_messages($dir));
run('UPDATE a SET v = 3 WHERE id = 4');
resume();
run('UPDATE a SET v = 4 WHERE id = 5; TRUNCATE p1; INSERT INTO p VALUES (3, 1)');
paused(qr/^"p1" was truncated/, 'another one');
$node->stop('fast');
$hold->close;
$node->start;
$hold = session($node);
$hold->query('BEGIN; LOCK TABLE hold IN ACCESS EXCLUSIVE MODE');
resume();
ok(poll_until(sub { worker_pids($node, 'scan') }, 'the scan', 30), 'the scan is there again');
kill_worker($node, 'lane', 'KILL');
wait_up($node);
$hold = session($node);
run('INSERT INTO s VALUES (2002, 1)');
wait_feed($node, $job);
my @behind = grep { !$before{ $_->{file} } } rows_of(file_messages($dir));
is(scalar(grep { $_->{topic} eq 's' && $_->{after}{id} < 2000 } @behind), 0, 'nothing from before the TRUNCATE comes again');
is(scalar(grep { $_->{topic} eq 's' && $_->{after}{id} == 2000 } @behind), 1, 'but the scan as of behind it');
my %stamps = map { $_->{updated} => 1 } grep { $_->{topic} eq 'p' && $_->{after}{v} == 0 } @behind;
is(scalar(keys %stamps), 1, 'with one stamp');
check('passed for good', a => 'id=1 v=1; id=2 v=2; id=4 v=3; id=5 v=4', hold => 'id=1',
	s => 'id=1999 v=1; id=2000 v=1; id=2001 v=1; id=2002 v=1',
	p => 'id=10 v=0; id=11 v=0; id=12 v=0; id=13 v=0; id=14 v=0; id=15 v=0; id=16 v=0; id=17 v=0; id=18 v=0; id=19 v=0; id=3 v=1');
is(feed_status($node, $job), 'running', 'and goes on');
run('TRUNCATE s');
paused(qr/^"s" was truncated/, 'a later one');
run("SELECT changefeed_cancel($job)");

# ---- a pause for another reason answers nothing ----
run('INSERT INTO s SELECT i, 0 FROM generate_series(1, 10) i');
new_feed('a,hold,s', { truncate => 'fail' });
ok(poll_until(sub { worker_pids($node, 'scan') }, 'the scan', 30), 'a scan');
run("SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused', 30), 'paused by the user');
run("TRUNCATE s; SELECT changefeed_resume($job)");
paused(qr/^"s" was truncated/, 'resumed before a TRUNCATE');
resume();
release();
wait_feed($node, $job);
check('and behind it', a => 'id=1 v=1; id=2 v=2; id=4 v=3; id=5 v=4', hold => 'id=1', s => '');
run("SELECT changefeed_cancel($job)");

# ---- schema_change_policy = 'stop' in an initial scan ----
run('INSERT INTO s VALUES (1, 0), (2, 0)');
new_feed('a,hold,s', { schema_change_policy => 'stop' });
run(q{
	UPDATE s SET v = 1 WHERE id = 1;
	ALTER TABLE s ADD COLUMN n int DEFAULT 4;
	UPDATE a SET v = 9 WHERE id = 1});
paused(qr/^schema change occurred at [\d.]+ \(table "postgres\.public\.s"\)/, 'a schema change in the initial scan');
resume();
release();
run('INSERT INTO s VALUES (3, 0)');
wait_feed($node, $job);
check('behind the change', a => 'id=1 v=9; id=2 v=2; id=4 v=3; id=5 v=4', s => 'id=1 n=4 v=1; id=2 n=4 v=0; id=3 n=4 v=0');
run('ALTER TABLE s DROP COLUMN n');
paused(qr/^schema change occurred/, 'a later one');
run("SELECT changefeed_cancel($job)");

# ---- TRUNCATE in a backfill ----
($dir, $uri) = file_dir($node);
$job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE a, hold, s INTO '$uri' WITH updated, resolved, min_checkpoint_frequency='50ms', on_error='pause'");
wait_feed($node, $job);
behind('ALTER TABLE a ADD COLUMN n int DEFAULT 1; ALTER TABLE hold ADD COLUMN n int DEFAULT 1');
run('UPDATE a SET v = 5 WHERE id = 2; TRUNCATE s; UPDATE a SET v = 6 WHERE id = 4');
paused(qr/^"s" was truncated/, 'a TRUNCATE in a backfill');
resume();
release();
run('INSERT INTO s VALUES (7, 7)');
wait_feed($node, $job);
check('behind it', a => 'id=1 n=1 v=9; id=2 n=1 v=5; id=4 n=1 v=6; id=5 n=1 v=4', hold => 'id=1 n=1');
is(scalar(grep { $_->{topic} eq 's' && ref $_->{after} && $_->{after}{id} == 7 } rows_of(file_messages($dir))), 1,
	'the row behind the TRUNCATE');

$node->stop;
done_testing();
