# Processes and servers that die during the initial scan, with writers at
# work: the scan starts over under the same stamp, and nothing of the scan or
# of the stream is missing, stale, or at or below an earlier resolved.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $seed = $ENV{CDC_SEED} // int(rand(1_000_000));
srand($seed);
diag("CDC_SEED=$seed");

my $rows = 15_000;
my $node = new_cluster('crashscan', conf => q{
cdc_sink.idle_resolved_interval = 50ms
});
load_setup($node);
load_fill($node, $rows, 5000);
$node->safe_psql('postgres', 'CREATE TABLE hold (id int PRIMARY KEY)');
my $oracle = oracle_make($node);
my $load = load_start($node, $rows, rate => 300);

my @days = (
	[ 'lane killed with TERM', sub { kill_worker($node, 'lane', 'TERM') } ],
	[ 'scan worker killed with TERM', sub { kill_worker($node, 'scan', 'TERM') } ],
	[ 'lane killed with KILL', sub { kill_worker($node, 'lane', 'KILL') } ],
	[ 'scan worker killed with KILL', sub { kill_worker($node, 'scan', 'KILL') } ],
	[ 'postmaster killed', sub { $node->kill9; start_again($node) } ],
	[ 'immediate shutdown', sub { $node->stop('immediate'); start_again($node) } ]);

my @feeds;
for my $day (@days)
{
	my ($what, $do) = @$day;
	my ($dir, $uri) = file_dir($node);

	# The scan stays before its second table as long as we like: a lock on it
	# is queued behind the creation's own and is there before the scan's.
	my $create = session($node);
	my $job = $create->query('BEGIN; '
		  . "SELECT changefeed_create('{acc,hold,ord}', '$uri', '{\"updated\": true, \"resolved\": true, \"min_checkpoint_frequency\": \"50ms\"}')");
	my $hold = session($node);
	$hold->send('BEGIN; LOCK TABLE hold IN ACCESS EXCLUSIVE MODE');
	poll_until(
		sub {
			$hold->is_done;
			$node->safe_psql('postgres',
				"SELECT count(*) FROM pg_locks WHERE relation = 'hold'::regclass AND NOT granted") > 0;
		},
		'lock is queued', 20);
	$create->query('COMMIT');
	$create->close;
	$hold->wait;
	ok( poll_until(sub { worker_pids($node, 'scan') }, 'a scan worker', 30),
		"$what: there is a scan to hit");
	usleep(rand(500_000));
	$hold->query('COMMIT') if rand() < 0.5;
	$do->() or $what .= ' (none was there)';
	wait_up($node);
	ok(lane_pid($node), "$what: the lane is there");
	$hold->close;
	push @feeds, [ $job, $dir, $what ];
}
load_stop($load);
ok(wait_running_again($node, $_->[0]), "$_->[2]: the feed has caught up") for @feeds;

my @events = oracle_read($oracle);
diag(scalar(@events), ' events by the writers');
for my $feed (@feeds)
{
	my ($job, $dir, $what) = @$feed;
	my @arrived = quick_messages($dir, arrival => 1);
	my @named = quick_messages($dir);
	my $n = () = sent_twice_at_start(\@arrived);
	diag("$what: $n rows of the scan sent again");
	ok_none(
		[
			check_exact($oracle, $job, \@arrived, \@events,
				scan => 1, tables => [ 'acc', 'ord' ])
		],
		"$what: scan as of the creation, then every version");
	ok_none([ check_order(@arrived) ], "$what: order per key");
	ok_none([ check_order(@named) ], "$what: order per key by name");
	ok_none([ check_resolved(@arrived) ], "$what: resolved floor");
	ok_none([ check_resolved(@named) ], "$what: resolved floor by name");

	# rows of a scan that starts over are not those of the first, but the
	# stream's are
	my ($t0) = map { $_->{updated} } grep { $_->{updated} } @arrived;
	for my $m (rows_of(@arrived))
	{
		$t0 = $m->{updated} if hlc_cmp($m->{updated}, $t0) < 0;
	}
	ok_none(
		[ check_replay([ grep { ($_->{updated} // '') ne $t0 } @arrived ]) ],
		"$what: repeats of the stream are contiguous");
}

$node->stop;
done_testing();
