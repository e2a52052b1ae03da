# S17: one of two sinks hangs under a transaction of 1,000,000 rows. The
# other feed goes on, the hanging one can be paused, memory stays bounded, and
# when its sink answers again nothing is lost and nothing is doubled.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $big = 1_000_000;
my $node = new_cluster('isolation', conf => q{
logical_decoding_work_mem = 64MB
max_wal_size = 4GB
shared_buffers = 128MB
});
$node->safe_psql('postgres', q{
	CREATE TABLE a (id int PRIMARY KEY, v text);
	CREATE TABLE b (id int PRIMARY KEY, v text)});

# Two feeds that hang, one that does not. A folder of files that turns into a
# named pipe can be repaired later; null with a delay never answers.
my ($good, $goodu) = file_dir($node);
my ($bad, $badu) = file_dir($node);
my $j_good = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE b INTO '$goodu' WITH updated, resolved='100ms', initial_scan='no'");
my $j_bad = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE a INTO '$badu' WITH updated, resolved='100ms', initial_scan='no'");
my $j_null = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE a INTO 'null://?delay=1h' WITH initial_scan='no'");
$node->safe_psql('postgres', "INSERT INTO a VALUES (0, 'first'); INSERT INTO b VALUES (0, 'first')");
wait_feed($node, $_) for $j_good, $j_bad;
my ($lane) = worker_pids($node, 'lane');

sub rss_anon
{
	my $status = eval { slurp_file("/proc/$lane/status") } // '';
	return $status =~ /^RssAnon:\s+(\d+) kB/m ? $1 / 1024 : 0;
}
my $rss0 = rss_anon();
my $peak = $rss0;

# its folder is gone: what is written there fails
rename $bad, "$bad.away" or die;
append_to_file($bad, 'in the way');

my $writer = session($node);
$writer->query("INSERT INTO a SELECT i, repeat('x', 20) FROM generate_series(1, $big) i");
my $t_commit = time();

# the other feed's resolved and rows go on
my $n = 0;
my ($slowest, $slowest_resolved) = (0, 0);
my $newest = sub {
	my @r = sort map { $_->{resolved} } grep { defined $_->{resolved} } quick_messages($good);
	return $r[-1] // '';
};
while (time() - $t_commit < 12)
{
	$n++;
	my $start = time();
	my $resolved = $newest->();
	$node->safe_psql('postgres', "INSERT INTO b VALUES ($n, 'while the other hangs')");
	poll_until(
		sub {
			my $r = rss_anon();
			$peak = $r if $r > $peak;
			grep { ($_->{kt} // '') eq $n } quick_messages($good);
		},
		"row $n", 60) or last;
	$slowest = time() - $start if time() - $start > $slowest;
	poll_until(sub { $newest->() gt $resolved }, 'resolved goes on', 60) or last;
	$slowest_resolved = time() - $start if time() - $start > $slowest_resolved;
}
diag(sprintf('%d rows of the other feed, slowest %.1f s; resolved %.1f s at most',
		$n, $slowest, $slowest_resolved));
ok($n >= 3, 'the other feed goes on');
ok($slowest < 30, 'and does not wait for the sinks that hang');

is(feed_status($node, $j_bad), 'running', 'a feed in trouble is running');
like(
	$node->safe_psql('postgres',
		"SELECT running_status FROM changefeed_jobs WHERE job_id = $j_bad"),
	qr/transient error|catching up/, 'and says what it waits for');
is((worker_pids($node, 'lane'))[0], $lane, 'it is still the same lane');

# A second one: pause takes effect while it is decoded
$writer->query("UPDATE a SET v = 'second' WHERE id > $big / 2");
my $start = time();
$node->safe_psql('postgres', "SELECT changefeed_pause($j_null)");
my $took = time() - $start;
ok($took < 2, 'pause returns at once');
ok(wait_status($node, $j_null, 'paused', 60), 'a feed whose sink hangs is paused');
$took = time() - $start;
diag(sprintf('pause of the hanging feed: %.1f s', $took));
ok($took < 15, 'within a second or so');

diag(sprintf('RssAnon of the lane: %.0f MB before, %.0f MB at most', $rss0, $peak));
ok($peak < 250, 'memory of the lane is bounded');

# mend the folder
unlink $bad;
rename "$bad.away", $bad or die;
ok(wait_running_again($node, $j_bad, 180), 'the mended feed catches up');
my (%v, $twice, $order);
my $last = '';
for my $m (rows_of(quick_messages($bad, arrival => 1)))
{
	$twice++ if $v{ $m->{kt} } && $v{ $m->{kt} } eq $m->{value};
	$v{ $m->{kt} } = $m->{value};
	$order++ if $m->{updated} lt $last;
	$last = $m->{updated};
}
is(scalar(keys %v), $big + 1, 'nothing is lost');
is(scalar(grep { /"second"/ } values %v), $big / 2, 'the newest version of each row is the last');
diag(($twice // 0), ' rows were sent twice, ', ($order // 0), ' times back in order');
ok_none([ check_resolved(quick_messages($bad, arrival => 1)) ], 'nothing below a resolved');
is($order // 0, 0, 'the order of commits holds, without a repeat');
is($twice // 0, 0, 'and a partial transaction is not doubled');

# back to life, and again to an end
$node->safe_psql('postgres', "SELECT changefeed_resume($j_null)");
ok(wait_status($node, $j_null, 'running'), 'the paused feed resumes');
$node->safe_psql('postgres', "SELECT changefeed_cancel($_)") for $j_null, $j_bad, $j_good;
ok(poll_until(sub { slots($node) eq '0' }, 'no slot'), 'canceled: no slot');
is((worker_pids($node, 'lane'))[0] // $lane, $lane, 'the lane never failed');

$writer->close;
$node->stop('fast');
done_testing();
