# Trap 6: a commit that waits for its synchronous standby is in the WAL, and
# decoded, before any snapshot sees it. A scan that began then would not see
# the row, and the stream, which starts later, does not tell of it.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('syncrep');
load_setup($node);
load_fill($node, 100);
my $oracle = oracle_make($node);

# the lane runs already
my ($dir0, $uri0) = file_dir($node);
my $job0 = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc INTO '$uri0' WITH updated");
wait_feed($node, $job0);

sub standby
{
	my ($name) = @_;
	$node->safe_psql('postgres', qq{
		ALTER SYSTEM SET synchronous_standby_names = '$name';
		SELECT pg_reload_conf();
		});
	return;
}

# Nothing of the harness may wait for the standby that never answers.
sub create_local
{
	my ($uri, $options) = @_;
	return $node->safe_psql('postgres', qq{
		SET synchronous_commit = local;
		SELECT changefeed_sql('CREATE CHANGEFEED FOR TABLE acc, doc INTO ''$uri'' WITH updated, resolved$options')});
}

# A commit that hangs: decoded by the lane and by the first feed, not visible.
sub hang_commit
{
	my ($sql, $v) = @_;
	my $s = session($node);
	$s->query('SET synchronous_commit = on');
	$s->send($sql);
	ok( poll_until(
			sub { grep { ($_->{v} // '') eq $v } rows_of(quick_messages($dir0)) },
			'the commit is decoded'),
		'a commit that waits for its standby is streamed');
	is($node->safe_psql('postgres', "SELECT count(*) FROM acc WHERE v = $v"),
		0, 'and is not visible');
	return $s;
}

sub running_status
{
	my ($job) = @_;
	return $node->safe_psql('postgres',
		"SELECT running_status FROM changefeed_jobs WHERE job_id = $job");
}

# End the waits one by one: the server must not be asked for a standby then.
sub release
{
	my (@sessions) = @_;
	$node->safe_psql('postgres',
		q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
	$_->wait, $_->close for @sessions;
	return;
}

standby('nobody');
my $s = hang_commit('UPDATE acc SET v = 1000001 WHERE id = 5', 1000001);
my ($dir, $uri) = file_dir($node);
my $job = create_local($uri, '');
ok( poll_until(
		sub { running_status($job) =~ /^initial scan waits for transaction \d+/ },
		'status of the scan'),
	'the scan waits and says so');

# the stream goes on meanwhile
$node->safe_psql('postgres',
	'SET synchronous_commit = local; UPDATE acc SET v = 1000002 WHERE id = 6');
ok( poll_until(
		sub { grep { ($_->{v} // '') eq 1000002 } rows_of(quick_messages($dir)) },
		'the stream'),
	'the stream goes on while the scan waits');
is(scalar(grep { defined $_->{resolved} } quick_messages($dir)),
	0, 'no resolved before the scan is done');
is(scalar(grep { $_->{kt} eq '7' } rows_of(quick_messages($dir))),
	0, 'no row of the scan either');

# A worker that starts anew has not decoded that commit itself.
my ($dir2, $uri2) = file_dir($node);
my $job2 = create_local($uri2, '');
my $pid = lane_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok(wait_gone_pid($pid), 'the lane is terminated');
ok(lane_pid($node), 'and comes back');
ok( poll_until(
		sub { running_status($job) =~ /^initial scan waits for transaction \d+/ },
		'status of the scan'),
	'a restarted lane waits, too');

release($s);
for my $j ([ $job, $dir, 'first' ], [ $job2, $dir2, 'second' ])
{
	$node->safe_psql('postgres', "SET synchronous_commit = local; SELECT changefeed_wait($j->[0])");
	ok( poll_until(
			sub {
				$node->safe_psql('postgres',
					"SELECT scan_progress FROM changefeed_jobs WHERE job_id = $j->[0]") eq 'done';
			},
			'scan'),
		"the scan of the $j->[2] feed goes on when the wait is canceled");
}

# A commit that begins to wait between creation and scan
$s = hang_commit('UPDATE acc SET v = 1000003 WHERE id = 8', 1000003);
my ($dir3, $uri3) = file_dir($node);
my $job3 = create_local($uri3, '');
my $s2 = hang_commit('UPDATE acc SET v = 1000004 WHERE id = 9', 1000004);
release($s, $s2);
$node->safe_psql('postgres', "SET synchronous_commit = local; SELECT changefeed_wait($job3)");
standby('');
$node->safe_psql('postgres', 'UPDATE doc SET v = 1000005');
wait_feed($node, $_) for $job, $job2, $job3;

my @events = oracle_read($oracle);
for my $j ([ $job, $dir ], [ $job2, $dir2 ], [ $job3, $dir3 ])
{
	my @msgs = quick_messages($j->[1]);
	ok_none(
		[
			check_exact($oracle, $j->[0], \@msgs, \@events,
				scan => 1, tables => [ 'acc', 'doc' ])
		],
		"job $j->[0]: nothing is lost");
}

$node->stop;
done_testing();
