# Traps 4, 7 and 8: processes and servers that die while changes stream. No
# change is missing, order per key holds, what is sent again is a contiguous
# suffix with the same stamps, and nothing new comes at or below a resolved.

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

my $node = new_cluster('crashstream', conf => q{
checkpoint_timeout = 30s
logical_decoding_work_mem = 64kB
cdc_sink.idle_resolved_interval = 50ms
});
load_setup($node);
load_fill($node, 300);
my $oracle = oracle_make($node);

# two feeds in the lane, with different checkpoints
my ($dir1, $uri1) = file_dir($node);
my $job1 = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '$uri1' "
	  . "WITH updated, resolved, min_checkpoint_frequency='10ms'");
my ($dir2, $uri2) = file_dir($node);
my $job2 = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, doc INTO '$uri2' "
	  . "WITH updated, resolved='200ms', min_checkpoint_frequency='300ms', initial_scan='no'");
wait_feed($node, $_) for $job1, $job2;

my $load = load_start($node, 300, rate => 300);

# a big transaction now and then, which spills and is decoded in parts
my $big = sub {
	$node->psql('postgres', q{
		UPDATE doc SET v = nextval('vers');
		BEGIN; INSERT INTO ord SELECT 100000 + i, 'big', nextval('vers'), repeat('x', 100)
			FROM generate_series(1, 3000) i; DELETE FROM ord WHERE a > 100000; COMMIT});
};

my @days = (
	[ 'lane killed with TERM', sub { kill_worker($node, 'lane', 'TERM') } ],
	[ 'lane killed with KILL', sub { kill_worker($node, 'lane', 'KILL') } ],
	[ 'launcher killed with TERM', sub { kill_worker($node, 'launcher', 'TERM') } ],
	[
		'pg_terminate_backend of the lane',
		sub {
			$node->psql('postgres',
				"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'cdc_sink lane'");
		}
	],
	[ 'postmaster killed', sub { $node->kill9; start_again($node) } ],
	[ 'immediate shutdown', sub { $node->stop('immediate'); start_again($node) } ],
	[ 'fast shutdown', sub { $node->stop('fast'); start_again($node) } ],
	[ 'lane killed with KILL again', sub { kill_worker($node, 'lane', 'KILL') } ],
	[
		'launcher and lane killed with TERM',
		sub { kill_worker($node, $_, 'TERM') for 'launcher', 'lane' }
	]);

for my $day (@days)
{
	my ($what, $do) = @$day;
	$big->() if rand() < 0.7;
	usleep(100_000 + rand(900_000));
	$do->();
	wait_up($node);
	ok(lane_pid($node), "$what: the lane comes back");
}
# two in quick succession
kill_worker($node, 'lane', 'TERM');
usleep(rand(300_000));
kill_worker($node, 'lane', 'KILL');
usleep(rand(300_000));
wait_up($node);
$big->();
load_stop($load);
ok(wait_up($node), 'the server is up');
ok(wait_running_again($node, $_), "feed $_ has caught up") for $job1, $job2;
is(feed_status($node, $_), 'running', "feed $_ runs") for $job1, $job2;

my @events = oracle_read($oracle);
diag(scalar(@events), ' events by the writers');
my $state = load_state($node);
for my $feed ([ $job1, $dir1, 1 ], [ $job2, $dir2, 0, 'acc', 'doc' ])
{
	my ($job, $dir, $scan, @tables) = @$feed;
	@tables = qw(acc ord doc) unless @tables;
	my @named = quick_messages($dir);
	my @arrived = quick_messages($dir, arrival => 1);
	diag('feed ', $job, ': ', scalar(rows_of(@arrived)), ' messages, ',
		scalar(@arrived) - scalar(rows_of(@arrived)), ' resolved');
	ok_none(
		[
			check_exact($oracle, $job, \@arrived, \@events,
				scan => $scan, tables => \@tables)
		],
		"feed $job: every version, once each and in order");
	ok_none([ replay_differences(\@arrived, $state) ],
		"feed $job: messages replayed give the tables")
	  if $scan;
	check_guarantees(\@arrived, "feed $job by arrival");

	# names tell floors; files of two sessions may overlap
	ok_none([ check_order(@named) ], "feed $job by name: order per key");
	ok_none([ check_resolved(@named) ], "feed $job by name: resolved floor");
	ok_none([ check_bounds(@named) ], "feed $job by name: no row older than its file");
	ok_none([ check_stamps_quick(@named) ], "feed $job: a version keeps its stamp");
}

sub check_stamps_quick
{
	my (%stamp, @bad);
	for my $m (rows_of(@_))
	{
		next unless defined $m->{v};
		my $is = "$m->{topic} $m->{v}";
		push @bad, "$is: $stamp{$is} and $m->{updated}"
		  if exists $stamp{$is} && $stamp{$is} ne $m->{updated};
		$stamp{$is} = $m->{updated};
	}
	return @bad;
}

$node->safe_psql('postgres', "SELECT changefeed_cancel($_)") for $job1, $job2;
ok( poll_until(sub { slots($node) eq '1' }, 'our slot is gone'),
	'canceled: the slot goes');
$node->stop;
done_testing();
