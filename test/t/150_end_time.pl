# end_time: a feed sends everything up to it, its last resolved is the end
# itself, then it has succeeded and nothing of it is left, also when the sink
# is away at the end, after a crash, or when it is resumed late.
# gc_protect_expires_after: a feed that stands still for too long is canceled.

use strict;
use warnings;

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('ends', conf => 'cdc_sink.idle_resolved_interval = 50ms');
sub run { return $node->safe_psql('postgres', $_[0]); }
run('CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (0, $$scan$$)');

# HLC text of so many seconds from now
sub in_s
{
	return run("SELECT floor(extract(epoch FROM clock_timestamp() + interval '$_[0] s') * 1000000)::bigint || '000.0000000000'");
}

sub ids { return join ' ', sort { $a <=> $b } map { $_->{after}{id} } rows_of(file_messages($_[0])); }

sub last_resolved
{
	my @r = resolved_of(file_messages($_[0]));
	return @r ? $r[-1]{resolved} : 'none';
}

# ---- by the clock, while nothing happens
my ($dir, $uri) = file_dir($node);
my $end = in_s(2);
my $job = create_feed($node,
	"CREATE CHANGEFEED FOR t INTO '$uri' WITH updated, resolved = '50ms', min_checkpoint_frequency = '50ms', end_time = '$end'");
run('INSERT INTO t VALUES (1)');
ok(wait_status($node, $job, 'succeeded'), 'the feed succeeds');
is(ids($dir), '0 1', 'with scan and change');
is(last_resolved($dir), $end, 'its last resolved is the end');
is(run("SELECT high_water_timestamp FROM changefeed_jobs WHERE job_id = $job"),
	$end =~ s/\.0+$//r, 'and so is its high water');
is(run("SELECT error || ':' || (finished IS NOT NULL) FROM changefeed_jobs WHERE job_id = $job"),
	':true', 'no error');
ok(poll_until(sub { slots($node) eq '0' }, 'no slot'), 'no slot is left');

# ---- by a change behind it, among changes on and on; rows at the end are exact
($dir, $uri) = file_dir($node);
$end = in_s(2);
$job = create_feed($node,
	"CREATE CHANGEFEED FOR t INTO '$uri' WITH updated, resolved, no_initial_scan, min_checkpoint_frequency = '100ms', end_time = '$end'");
my ($other_dir, $other_uri) = file_dir($node);
my $other = create_feed($node, "CREATE CHANGEFEED FOR t INTO '$other_uri' WITH updated, no_initial_scan");
my $n = 1000;
ok( poll_until(
		sub {
			run('INSERT INTO t SELECT i, $$x$$ FROM generate_series(' . $n . ', ' . ($n + 9) . ') i');
			$n += 10;
			return feed_status($node, $job) eq 'succeeded';
		},
		'succeeded'),
	'the feed succeeds while changes go on');
wait_feed($node, $other);
my @all = rows_of(file_messages($other_dir));
my @ours = rows_of(file_messages($dir));
my @up_to = grep { hlc_cmp($_->{updated}, $end) <= 0 } @all;
ok(@up_to < @all, 'changes came behind the end');
is(join(' ', map { "$_->{after}{id}\@$_->{updated}" } @ours),
	join(' ', map { "$_->{after}{id}\@$_->{updated}" } @up_to),
	'exactly the rows up to the end, with the stamps of another feed');
is(last_resolved($dir), $end, 'last resolved');
is(slots($node), '1', 'the slot stays for the other feed');
run("SELECT changefeed_cancel($other)");

# ---- the sink is away at the end
($dir, $uri) = file_dir($node);
$end = in_s(2);
$job = create_feed($node,
	"CREATE CHANGEFEED FOR t INTO '$uri' WITH updated, resolved = '50ms', no_initial_scan, min_checkpoint_frequency = '50ms', end_time = '$end'");
rename $dir, "$dir.away" or die;
append_to_file($dir, 'in the way');
run('INSERT INTO t VALUES (2)');
run("SELECT pg_sleep_until(to_timestamp($end / 1000000000) + interval '0.5 s')");
is(feed_status($node, $job), 'running', 'it does not succeed without its sink');
unlink $dir;
rename "$dir.away", $dir or die;
ok(wait_status($node, $job, 'succeeded'), 'but once that is back');
is(ids($dir), '2', 'the row is there');
is(last_resolved($dir), $end, 'last resolved');

# ---- paused over the end, crash in between
($dir, $uri) = file_dir($node);
$end = in_s(2);
$job = create_feed($node,
	"CREATE CHANGEFEED FOR t INTO '$uri' WITH updated, resolved, no_initial_scan, end_time = '$end'");
wait_feed($node, $job);
run('INSERT INTO t VALUES (3)');
run("SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'paused');
run('INSERT INTO t VALUES (4)');
run("SELECT pg_sleep_until(to_timestamp($end / 1000000000) + interval '0.2 s')");
run('INSERT INTO t VALUES (5)');
is(feed_status($node, $job), 'paused', 'a paused feed does not end');
$node->stop('immediate');
$node->start;
run("SELECT changefeed_resume($job)");
ok(wait_status($node, $job, 'succeeded'), 'resumed behind its end it succeeds');
my %seen = map { $_->{after}{id} => 1 } rows_of(file_messages($dir));
is(join(' ', sort keys %seen), '3 4', 'with what was committed up to the end, and nothing else');
is(last_resolved($dir), $end, 'last resolved');

# ---- a scan that outlasts the end
($dir, $uri) = file_dir($node);
run('INSERT INTO t SELECT i, repeat($$y$$, 200) FROM generate_series(10001, 30000) i');
$end = in_s(0.2);
$job = create_feed($node, "CREATE CHANGEFEED FOR t INTO '$uri' WITH updated, end_time = '$end'");
ok(wait_status($node, $job, 'succeeded'), 'an initial scan is brought to its end');
my %ids = map { $_->{after}{id} => 1 } rows_of(file_messages($dir));
is(scalar(keys %ids), run('SELECT count(*) FROM t'), 'all rows are there');

# ---- gc_protect_expires_after
my $null = create_feed($node, "CREATE CHANGEFEED FOR t INTO 'null://' WITH no_initial_scan");
$job = create_feed($node,
	"CREATE CHANGEFEED FOR t INTO 'null://' WITH no_initial_scan, gc_protect_expires_after = '3s'");
my $lasting = create_feed($node,
	"CREATE CHANGEFEED FOR t INTO 'null://' WITH no_initial_scan, gc_protect_expires_after = '1h'");
my $stuck = create_feed($node,
	"CREATE CHANGEFEED FOR t INTO 'null://?delay=1h' WITH no_initial_scan, gc_protect_expires_after = '3s'");
wait_feed($node, $_) for $null, $job, $lasting;
run("SELECT changefeed_pause($_)") for $job, $lasting;
ok(wait_status($node, $_, 'paused'), 'paused') for $job, $lasting;
run('INSERT INTO t VALUES (6)');
ok(wait_status($node, $job, 'canceled'), 'paused for too long: canceled');
like(run("SELECT error FROM changefeed_jobs WHERE job_id = $job"),
	qr{^held back WAL for longer than gc_protect_expires_after allows; changes after [0-9A-F]+/[0-9A-F]+ were given up$},
	'and the error tells from where on changes are missing');
ok(wait_status($node, $stuck, 'canceled'), 'stuck for too long: canceled');
is(feed_status($node, $lasting), 'paused', 'one with a longer limit is not');
is(feed_status($node, $null), 'running', 'nor is one that is at work');
run("SELECT changefeed_cancel($_)") for $null, $lasting;
ok(poll_until(sub { slots($node) eq '0' }, 'no slot'), 'no slot is left');

$node->stop;
done_testing();
