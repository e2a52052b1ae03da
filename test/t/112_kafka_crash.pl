# Crashes while a feed streams to Kafka under load: the lane's worker ends or
# is killed (which restarts the server), the postmaster is killed, the broker
# is. No change is missing, order per key holds, repeats are contiguous and
# have the same stamps, resolved keeps its word.

use strict;
use warnings;

use CdcKafka;
use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $k = start_kafka(conf => \@quick_restart);
my $node = new_cluster('kafka_crash');
my @topics = qw(acc ord doc);

load_setup($node);
load_fill($node, 1000);
my $oracle = oracle_make($node);
my $load = load_start($node, 1000, rate => 300);
my $job = create_feed($node, 'CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO \''
	  . $k->uri . "' WITH updated, resolved='50ms', min_checkpoint_frequency='10ms'");
ok(wait_running_again($node, $job), 'the feed is under way');

sub go_on
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_up($node) && wait_running_again($node, $job), "the feed goes on after $what");
	usleep(1_000_000);
	return;
}

for my $i (1 .. 2)
{
	ok(kill_worker($node, 'lane', 'TERM'), 'TERM to the lane');
	go_on('TERM');
	ok(kill_worker($node, 'lane', 'KILL'), 'KILL to the lane');
	go_on('KILL');
}
$node->kill9;
ok(start_again($node), 'the postmaster was killed');
go_on('kill -9 of the postmaster');
$node->stop('immediate');
$node->start;
go_on('an immediate shutdown');
$node->restart;
go_on('a fast shutdown');
$k->kill9;
usleep(500_000);
kill_worker($node, 'lane', 'TERM');
$k->start;
go_on('kill -9 of the broker and TERM together');

load_stop($load);
wait_feed($node, $job);
my @msgs = quick_consume($k, @topics);
check_guarantees(\@msgs, 'after all');
my @events = oracle_read($oracle);
ok_none([ check_exact($oracle, $job, \@msgs, \@events, scan => 1) ],
	'every version committed since, in order, with one stamp for each transaction');
my @rows = rows_of(@msgs);
my %once = map { ("$_->{topic} $_->{key} $_->{value}" => 1) } @rows;
note(scalar(@events) . ' changes, ' . scalar(@rows) . ' messages, ' . (@rows - keys %once) . ' repeated');
ok(@events > 3000, 'of many') or diag(scalar @events);

# a version is never seen with two stamps
my (%stamp, @bad);
for my $m (grep { defined $_->{v} } @rows)
{
	my $s = $stamp{ $m->{v} } //= $m->{updated};
	push @bad, "$m->{topic} $m->{key}: $s and $m->{updated}" if $s ne $m->{updated};
}
ok_none(\@bad, 'stamps are the same on replay');

my $log = slurp_file($node->logfile);
my @signals = $log =~ /\) was terminated by signal (\d+)/g;
is("@signals", '9 9', 'no crash but our own');
$node->stop;
done_testing();
