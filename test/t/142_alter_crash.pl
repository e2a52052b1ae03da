# ALTER CHANGEFEED again and again under load, with crashes between, to Kafka:
# of the tables that stay no change is missing, and those that come and go are
# complete from the last time on.

use strict;
use warnings;

use CdcKafka;
use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $k = start_kafka(conf => \@quick_restart);
my $node = new_cluster('alter_crash');
my @topics = qw(acc ord doc);

load_setup($node);
load_fill($node, 500);
my $oracle = oracle_make($node);
my $load = load_start($node, 500, rate => 300);
my $job = create_feed($node, 'CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO \''
	  . $k->uri . "' WITH updated, resolved='50ms', min_checkpoint_frequency='10ms'");
ok(wait_running_again($node, $job), 'the feed is under way');

# a scan may be under way, or the server be starting
sub alter
{
	my ($args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $err;
	ok( poll_until(
			sub {
				(my $rc, my $out, $err) = $node->psql('postgres', "SELECT changefeed_alter($job, $args)");
				return $rc == 0 || $err !~ /not done yet|could not connect|starting up|recovery|shutting down|terminat|closed/;
			},
			'ALTER', 60) && $err !~ /ERROR/,
		"ALTER: $args") or diag($err);
	return;
}

sub go_on
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_up($node) && wait_running_again($node, $job), "the feed goes on after $_[0]");
	return;
}

my @unset = ([ q('{"on_error": "pause"}'), q('{}') ], [ q('{}'), q('{on_error}') ]);
for my $i (1 .. 3)
{
	alter("drop => '{doc}', set => $unset[$i % 2][0], unset => $unset[$i % 2][1]");
	usleep(200_000);
	alter("add => '{doc}', initial_scan => true");
	if ($i == 1)
	{
		kill_worker($node, 'lane', 'KILL');
		go_on('KILL');
	}
	elsif ($i == 2)
	{
		$node->stop('immediate');
		$node->start;
		go_on('an immediate shutdown');
	}
	alter(q(set => '{"min_checkpoint_frequency": "20ms"}'));
}

# the statement, for a paused feed
$node->safe_psql('postgres', "SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'paused');
$node->safe_psql('postgres', "SELECT changefeed_sql('ALTER CHANGEFEED $job DROP doc UNSET on_error')");
usleep(300_000);
$node->safe_psql('postgres', "SELECT changefeed_sql('ALTER CHANGEFEED $job ADD doc WITH initial_scan')");
kill_worker($node, 'lane', 'KILL');
ok(wait_up($node), 'up again');
$node->safe_psql('postgres', "SELECT changefeed_resume($job)");
go_on('a pause');
usleep(500_000);
load_stop($load);
wait_feed($node, $job);

my @msgs = quick_consume($k, @topics);
is_deeply([ check_order(@msgs) ], [], 'order per key');
is_deeply([ check_resolved(@msgs) ], [], 'nothing new below a resolved');
# what was deleted while nobody watched is not in a scan
ok_none([ grep { !/^doc .* not in the table/ } replay_differences(\@msgs, load_state($node)) ],
	'the messages give the tables');

# of the tables that stay: all versions
my @events = oracle_read($oracle);
my @stay = grep { $_->{topic} ne 'doc' } @msgs;
my (%got, @missing);
$got{"$_->{topic} $_->{kt} $_->{v}"} = 1 for grep { defined $_->{v} } rows_of(@stay);
my $seen;
for my $e (@events)
{
	if (defined $e->{job}) { $seen = 1; next; }
	next if !$seen || $e->{table} eq 'doc' || !defined $e->{v};
	push @missing, "$e->{table} $e->{kt} $e->{v}" unless $got{"$e->{table} $e->{kt} $e->{v}"};
}
ok_none(\@missing, 'every version of the tables that stay');
ok(@events > 500, 'of many') or diag(scalar @events);

my @signals = slurp_file($node->logfile) =~ /\) was terminated by signal (\d+)/g;
ok(!grep({ $_ != 9 } @signals), 'no crash but our own');
$node->stop;
done_testing();
