# S17 in the small and often: queues that fill in the middle of transactions,
# sinks that fail and heal, feeds that are paused, resumed and made, and a lane
# that dies in between. Whoever is set back catches up, the others do not
# notice, nobody misses a change.

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

my $node = new_cluster('rewind', conf => q{
cdc_sink.feed_memory = 256kB
cdc_sink.isolation_delay = 20ms
cdc_sink.idle_resolved_interval = 50ms
logical_decoding_work_mem = 64kB
});
load_setup($node);
load_fill($node, 300);
my $oracle = oracle_make($node);

my @feeds;

sub make
{
	my ($tables, $options, $scan) = @_;
	my ($dir, $uri) = file_dir($node);
	my $job = create_feed($node,
		"CREATE CHANGEFEED FOR TABLE $tables INTO '$uri' WITH updated, resolved$options"
		  . ($scan ? '' : ", initial_scan='no'"));
	push @feeds, { job => $job, dir => $dir, scan => $scan, tables => [ split /, /, $tables ] };
	return;
}

sub quietly { my ($rc) = $node->psql('postgres', $_[0]); return $rc == 0; }

make('acc, ord, doc', ", min_checkpoint_frequency='20ms'", 1);
make('acc, ord', ", min_checkpoint_frequency='100ms'", 0);
make('ord, doc', ", min_checkpoint_frequency='1s'", 0);

my $load = load_start($node, 300, rate => 250);
my @broken;
my ($big, $lanes) = (0, 0);
for my $turn (1 .. 36)
{
	usleep(rand(250_000));
	my $feed = $feeds[ rand @feeds ];
	my $what = int(rand(10));
	if ($what <= 2)
	{
		# more than a queue holds
		$big++;
		quietly(q{BEGIN; INSERT INTO ord SELECT 100000 + i, 'big', nextval('vers'), repeat('x', 200)
			FROM generate_series(1, 3000) i; DELETE FROM ord WHERE a > 100000; COMMIT});
	}
	elsif ($what == 3)
	{
		quietly(q{UPDATE doc SET v = nextval('vers'), pad = repeat('y', 1000)});
	}
	elsif ($what <= 5) { quietly("SELECT changefeed_pause($feed->{job})"); }
	elsif ($what == 6) { quietly("SELECT changefeed_resume($_->{job})") for @feeds; }
	elsif ($what == 7 && !@broken)
	{
		# a folder that cannot be written
		rename $feed->{dir}, "$feed->{dir}.away" or die;
		append_to_file($feed->{dir}, 'in the way');
		push @broken, $feed;
	}
	elsif ($what == 8 && @broken)
	{
		heal(pop @broken);
	}
	elsif ($turn == 15 || $turn == 30)
	{
		make('acc, doc', ", min_checkpoint_frequency='50ms'", $turn == 30);
	}
	elsif ($what == 9 && rand() < 0.5)
	{
		$lanes++;
		kill_worker($node, 'lane', 'TERM');
	}
}

sub heal
{
	my ($feed) = @_;
	unlink $feed->{dir};
	rename "$feed->{dir}.away", $feed->{dir} or die;
	return;
}
heal($_) for @broken;
quietly("SELECT changefeed_resume($_->{job})") for @feeds;
load_stop($load);
diag("$big big transactions, lane terminated $lanes times, ", scalar(@feeds), ' feeds');
for my $f (@feeds)
{
	ok( poll_until(
			sub {
				# a pause that was under way when we resumed
				quietly("SELECT changefeed_resume($f->{job})");
				feed_status($node, $f->{job}) eq 'running';
			},
			'running'),
		"feed $f->{job} runs");
	ok(wait_running_again($node, $f->{job}), "feed $f->{job} has caught up")
	  or diag($node->safe_psql('postgres',
			"SELECT running_status, last_error FROM changefeed_jobs WHERE job_id = $f->{job}"));
}

my @events = oracle_read($oracle);
diag(scalar(@events), ' events by the writers');
for my $f (@feeds)
{
	my @msgs = quick_messages($f->{dir}, arrival => 1);
	ok_none(
		[
			check_exact($oracle, $f->{job}, \@msgs, \@events,
				scan => $f->{scan}, tables => $f->{tables})
		],
		"feed $f->{job}: every version, in order");
	ok_none([ check_order(@msgs) ], "feed $f->{job}: order per key");
	ok_none([ check_resolved(@msgs) ], "feed $f->{job}: resolved floor");
	ok_none([ check_resolved(quick_messages($f->{dir})) ], "feed $f->{job}: resolved floor by name");
	ok_none([ check_bounds(@msgs) ], "feed $f->{job}: names of files hold");
	ok_none([ check_replay([ $f->{scan} ? without_scan(@msgs) : @msgs ]) ],
		"feed $f->{job}: repeats are contiguous");
}

sub without_scan
{
	my $t0;
	for my $m (rows_of(@_))
	{
		$t0 = $m->{updated} if !defined $t0 || hlc_cmp($m->{updated}, $t0) < 0;
	}
	return grep { ($_->{updated} // '') ne $t0 } @_;
}

$node->safe_psql('postgres', "SELECT changefeed_cancel($_->{job})") for @feeds;
ok(poll_until(sub { slots($node) eq '1' }, 'slot'), 'our slot is gone');
$node->stop;
done_testing();
