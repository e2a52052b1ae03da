# Two feeds in one lane, one of them to a broker that hangs, under a
# transaction of a million rows: the other goes on, resolved messages and all,
# and afterwards the first has everything, too.

use strict;
use warnings;

use CdcKafka;
use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $good = start_kafka();
my $dead = start_kafka();
my $node = new_cluster('kafka_two', conf => <<CONF);
cdc_sink.isolation_delay = 500ms
logical_decoding_work_mem = 64MB
max_wal_size = 2GB
CONF

sub sql { return $node->safe_psql('postgres', @_); }

sql(q{
	CREATE TABLE big (id int PRIMARY KEY, v int NOT NULL);
	CREATE TABLE small (id int PRIMARY KEY, v int NOT NULL);
	INSERT INTO small VALUES (1, 0);
});
my $options = "WITH updated, resolved='100ms', min_checkpoint_frequency='10ms', kafka_sink_config='{\"Compression\": \"LZ4\"}'";
my $hung = create_feed($node, 'CREATE CHANGEFEED FOR TABLE big, small INTO \'' . $dead->uri . "' $options");
my $live = create_feed($node, 'CREATE CHANGEFEED FOR TABLE small INTO \'' . $good->uri . "' $options");
wait_feed($node, $_) for $hung, $live;
my $lane = lane_pid($node);
my $rss = rss_anon($lane);

kafka_stop_clock($dead);
sql('INSERT INTO small VALUES (2, 0)');

sub high_water
{
	return sql("SELECT coalesce(high_water_timestamp, 0) FROM changefeed_jobs WHERE job_id = $_[0]");
}

# While the transaction is being decoded, with small ones behind it.
my $seen = high_water($live);
sql('INSERT INTO big SELECT i, 0 FROM generate_series(1, 1000000) i');
my ($i, $worst, $peak) = (0, 0, 0);
for (1 .. 8)
{
	sql('INSERT INTO small VALUES (1000 + ' . ++$i . ", $i)");
	my $took = timed(sub { wait_feed($node, $live, 60) });
	$worst = $took if $took > $worst;
	my $now = rss_anon($lane);
	$peak = $now if $now > $peak;
	Time::HiRes::usleep(500_000);
}
note(sprintf 'slowest small row: %.1f s; RssAnon %d kB before, %d kB at most', $worst, $rss, $peak);
cmp_ok($worst, '<', 30, 'the other feed goes on');
ok( poll_until(sub { sql("SELECT high_water_timestamp > $seen FROM changefeed_jobs WHERE job_id = $live") eq 't' }, 'high water', 20),
	'its resolved goes on');
is(lane_pid($node), $lane, 'in the same worker');
cmp_ok($peak - $rss, '<', 150 * 1024, 'memory is bounded');
running_status_like($node, $hung, qr/transient error: |catching up/, 'the feed whose broker hangs says so');
my @live = quick_consume($good, 'small');
is(scalar(rows_of(@live)), 2 + $i, 'rows of the other have arrived');
check_guarantees(\@live, 'the other feed', max => 0);

# pause and resume of the hanging one take effect at once
my $took = timed(
	sub {
		sql("SELECT changefeed_pause($hung)");
		ok(wait_status($node, $hung, 'paused', 10), 'the hanging feed pauses');
	});
cmp_ok($took, '<', 1.5, 'at once');
sql("SELECT changefeed_resume($hung)");

kafka_go_on($dead);
ok(wait_running_again($node, $hung, 120), 'the other broker is back: its feed catches up');
is(lane_pid($node), $lane, 'in the same worker still');
my @rows = rows_of(quick_consume($dead, 'small'));
is(scalar(keys %{ { map { $_->{key} => 1 } @rows } }), 2 + $i, 'small rows are there');

# A million messages are counted as they come.
my $out = '';
IPC::Run::run(
	[
		'bash', '-c', 'kcat -b "$0" -C -t big -o beginning -e -q -X fetch.wait.max.ms=10 -f "%p %K %k\n" | awk \'$2 > 0 {n++; if (!($3 in k)) {k[$3]; d++}} END {print d, n}\'',
		$dead->addr
	],
	'<', \undef, '>', \$out) or die 'kcat failed';
my ($distinct, $all) = split / /, $out;
is($distinct, 1000000, 'and so is every row of the large transaction');
note("$all messages");

sql("SELECT changefeed_cancel($_)") for $hung, $live;
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/, 'no crash');
$node->stop;
done_testing();
