# More keys change beside a scan than there is memory for: they are kept in
# temporary files, nothing is missing, stale or sent twice, and the files go
# away.  temp_file_limit ends that feed only.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('scankeys', conf => q{
cdc_sink.lane_memory = 1MB
cdc_sink.feed_memory = 1MB
});
my ($dir, $uri, $hold);

sub run { return $node->safe_psql('postgres', $_[0]); }

# A feed whose scan waits before "hold".
sub new_feed
{
	my ($tables) = @_;
	($dir, $uri) = file_dir($node);
	my $create = session($node);
	my $job = $create->query("BEGIN; SELECT changefeed_create('{$tables}', '$uri', "
		  . q{'{"updated": true, "resolved": true, "min_checkpoint_frequency": "50ms", "on_error": "pause"}')});
	$hold = session($node);
	$hold->send('BEGIN; LOCK TABLE hold IN ACCESS EXCLUSIVE MODE');
	poll_until(sub { run("SELECT count(*) FROM pg_locks WHERE relation = 'hold'::regclass AND NOT granted") > 0 }, 'lock is queued', 20);
	$create->query('COMMIT');
	$create->close;
	$hold->wait;
	return $job;
}

sub release
{
	$hold->query('COMMIT');
	$hold->close;
	return;
}

sub temp_files { return run('SELECT coalesce(sum(size), 0) FROM pg_ls_tmpdir()'); }

sub state_of
{
	my %state;
	for my $line (split /\n/, run(
			q{SELECT 's ' || id || ' ' || v FROM s UNION ALL SELECT 'l ' || k || ' ' || v FROM l UNION ALL SELECT 'f ' || k || '|' || v || ' ' || v FROM f}))
	{
		my ($t, $k, $v) = split / /, $line;
		$state{$t}{$k} = $v;
	}
	return \%state;
}

run(q{
	CREATE TABLE hold (id int PRIMARY KEY);
	CREATE TABLE s (id int PRIMARY KEY, v int);
	CREATE TABLE l (k text PRIMARY KEY, v int);
	CREATE TABLE f (k text, v int);
	ALTER TABLE f REPLICA IDENTITY FULL;
	INSERT INTO s SELECT i, 0 FROM generate_series(1, 50000) i;
	INSERT INTO l SELECT i || repeat('x', 2000), 0 FROM generate_series(1, 100) i;
	INSERT INTO f SELECT i || repeat('x', 20000), 0 FROM generate_series(1, 20) i;
	CREATE TABLE other (id int PRIMARY KEY)});

# ---- more than there is memory for ----
my $changes = q{
	UPDATE l SET v = 1 WHERE k < '5';
	UPDATE f SET v = 1 WHERE k < '15';
	UPDATE s SET v = v + 1 WHERE id <= 20000;
	UPDATE s SET v = v + 1 WHERE id BETWEEN 20001 AND 40000;
	UPDATE s SET v = v + 1 WHERE id % 50 = 0 AND id <= 40000;
	DELETE FROM s WHERE id <= 1000;
	UPDATE s SET id = id + 100000, v = 7 WHERE id BETWEEN 40001 AND 41000;
	INSERT INTO s SELECT i, 3 FROM generate_series(200001, 205000) i;
	UPDATE l SET v = 2 WHERE k < '3'};
my $job = new_feed('hold,s,l,f');
ok(poll_until(sub { worker_pids($node, 'scan') }, 'the scan', 30), 'a scan is under way');
run($changes);
ok(poll_until(sub { temp_files() > 1_500_000 }, 'temporary files', 60), 'keys and their index are on disk');
kill_worker($node, 'lane', 'TERM');
wait_up($node);
ok(poll_until(sub { worker_pids($node, 'scan') }, 'the scan', 30), 'the scan starts over');
ok(poll_until(sub { temp_files() > 1_500_000 }, 'temporary files', 60), 'as do the files');
cmp_ok(temp_files(), '<', 8_000_000, 'those of the process that went are gone');
release();
ok(wait_running_again($node, $job), 'the feed is through');
is(temp_files(), 0, 'and all the files are gone');

my $state = state_of();
my @msgs = quick_messages($dir);
ok_none([ replay_differences(\@msgs, $state) ], 'nothing missing or stale');
ok_none([ check_order(@msgs) ], 'order per key');
ok_none([ check_resolved(@msgs) ], 'resolved floor');
my ($t0) = map { $_->{updated} } grep { $_->{topic} eq 's' && $_->{kt} eq '50000' } @msgs;
my %scanned;
$scanned{ $_->{kt} }++ for grep { $_->{topic} eq 's' && $_->{updated} eq $t0 } @msgs;
is(scalar(keys %scanned), 9000, 'the scan has sent the rows that nobody had changed');
is(scalar(grep { $_ != 1 } values %scanned), 0, 'each of them once');
run("SELECT changefeed_cancel($job)");

# ---- more than temp_file_limit ----
run(q{ALTER SYSTEM SET temp_file_limit = '600kB'});
run('SELECT pg_reload_conf()');
my $other = create_feed($node, "CREATE CHANGEFEED FOR TABLE other INTO '" . (file_dir($node))[1] . q{'});
$job = new_feed('hold,s,l,f');
my $lane = lane_pid($node);
run('UPDATE s SET v = v + 1');
ok(wait_status($node, $job, 'paused', 60), 'over the limit: paused');
like(run("SELECT error FROM changefeed_jobs WHERE job_id = $job"),
	qr/^the keys that were changed during the initial scan could not be kept: temporary file size exceeds temp_file_limit \(600kB\)/,
	'tells why');
is(temp_files(), 0, 'no files are left');
run('INSERT INTO other VALUES (1)');
wait_feed($node, $other);
is(feed_status($node, $other), 'running', 'other feeds go on');
is(lane_pid($node), $lane, 'in the same process');
run('ALTER SYSTEM RESET temp_file_limit');
run('SELECT pg_reload_conf()');
run("SELECT changefeed_resume($job)");
release();
ok(wait_status($node, $job, 'running', 30), 'resumed without the limit');
ok(wait_running_again($node, $job), 'it is through');
@msgs = quick_messages($dir);
ok_none([ replay_differences(\@msgs, state_of()) ], 'nothing missing or stale');
ok_none([ check_order(@msgs) ], 'order per key');
is(temp_files(), 0, 'no files are left');

# ---- no temporary file can be made: that says nothing of the rows ----
run("SELECT changefeed_cancel($job)");
my $tmp = $node->data_dir . '/base/pgsql_tmp';
rmdir $tmp or die "could not remove $tmp: $!";
append_to_file($tmp, '');
my $seen = -s $node->logfile;
$job = new_feed('hold,s,l,f');
run('UPDATE s SET v = v + 1');
ok(poll_until(sub { my @tries = slurp_file($node->logfile, $seen) =~ /ERROR:  could not create temporary file/g; @tries > 2 },
		'the worker tries', 20), 'the worker starts over and tries again');
is(feed_status($node, $job), 'running', 'the feed lives on');
unlink $tmp or die "could not remove $tmp: $!";
release();
ok(wait_running_again($node, $job), 'and is through when there is room again');
@msgs = quick_messages($dir);
ok_none([ replay_differences(\@msgs, state_of()) ], 'nothing missing or stale');

$node->stop;
done_testing();
