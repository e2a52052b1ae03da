# Brokers that are down or hang for longer than any time-out of a client: the
# feed runs on and says so, pauses at once, holds no more memory than it may,
# and afterwards everything arrives, in order and once.

use strict;
use warnings;

use CdcKafka;
use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $k = start_kafka(conf => \@quick_restart);
my $uri = $k->uri;
my $node = new_cluster('kafka_outage', conf => <<CONF);
cdc_sink.feed_memory = 4MB
cdc_sink.isolation_delay = 500ms
logical_decoding_work_mem = 4MB
CONF
my @topics = qw(acc ord doc);

sub sql { return $node->safe_psql('postgres', @_); }

# no broker at creation
{
	my $dead = start_kafka(start => 0);
	sql('CREATE TABLE t (id int PRIMARY KEY)');
	my ($rc, $out, $err);
	my $took = timed(
		sub {
			($rc, $out, $err) = $node->psql('postgres',
				"SELECT changefeed_create('{t}', '" . $dead->uri . "')");
		});
	isnt($rc, 0, 'no broker at creation: an error');
	like($err, qr/no Kafka broker can be reached: .*Connection refused/, 'that says why');
	cmp_ok($took, '<', 8, 'soon');
	is(sql('SELECT count(*) FROM changefeed_jobs'), '0', 'no job is left');
	is(slots($node), '0', 'and no slot');
}

load_setup($node);
load_fill($node, 300);
my $oracle = oracle_make($node);
my $job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '$uri' WITH updated, resolved='200ms', min_checkpoint_frequency='100ms'"
);
wait_feed($node, $job);
my $load = load_start($node, 300, rate => 200);
sleep 1;
my $lane = lane_pid($node);
my $rss = rss_anon($lane);

# pause and resume in the middle of it
sub pause_now
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $took = timed(
		sub {
			sql("SELECT changefeed_pause($job)");
			ok(wait_status($node, $job, 'paused', 10), "$what: the feed pauses");
		});
	cmp_ok($took, '<', 1.5, "$what: at once");
	sql("SELECT changefeed_resume($job)");
	ok(wait_status($node, $job, 'running', 10), "$what: and resumes");
	return;
}

sub write_much
{
	sql(q{
		BEGIN;
		LOCK TABLE acc IN EXCLUSIVE MODE;	-- or there are deadlocks
		UPDATE acc SET v = nextval('vers'), pad = repeat('w', 1000);
		COMMIT;
	}) for 1 .. 20;
	return;
}

sub bounded
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(lane_pid($node), $lane, "$what: the same worker");
	my $now = rss_anon($lane);
	cmp_ok($now - $rss, '<', 40 * 1024, "$what: memory is bounded")
	  or diag("RssAnon $rss kB before, $now kB now");
	return;
}

sub caught_up
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_running_again($node, $job, 90), "$what: the feed catches up");
	ok( poll_until(
			sub { sql("SELECT in_trouble FROM pg_stat_changefeed WHERE job_id = $job") eq 'f' },
			'trouble over', 10),
		"$what: and is in good health");
	return;
}

# gone, without a word
$k->kill9;
running_status_like($node, $job,
	qr/transient error: no Kafka broker can be reached: .*(refused|Disconnected|closed|disconnect)/i,
	'killed: the feed runs and says what is wrong');
write_much();
pause_now('killed');
running_status_like($node, $job, qr/transient error: /, 'killed: the feed still says so');
bounded('killed');
$k->start;
caught_up('killed');

# hanging: nothing is refused, nothing answered. The library gives up its
# requests after 30 s and sends them again, with the first ones still there.
kafka_stop_clock($k);
write_much();
my $since = time;
running_status_like($node, $job, qr/transient error: no acknowledgement/,
	'hanging: the feed runs and says what is wrong');
is(sql("SELECT lag_bytes > 0, lag_time > '5 s' FROM changefeed_jobs WHERE job_id = $job"),
	't|t', 'hanging: and how far it is behind');
sleep 33 - (time - $since);
bounded('hanging');
is(feed_status($node, $job), 'running', 'hanging: it runs on after the time-out of a request');
kafka_go_on($k);
caught_up('hanging');

# and with a pause meanwhile
kafka_stop_clock($k);
write_much();
pause_now('hanging again');
kafka_go_on($k);
caught_up('hanging again');

load_stop($load);
wait_feed($node, $job);
bounded('at the end');
my @msgs = quick_consume($k, @topics);
check_guarantees(\@msgs, 'all of it');
my @events = oracle_read($oracle);
ok_none([ check_exact($oracle, $job, \@msgs, \@events, scan => 1) ],
	'every version committed, in order, and nothing else');
ok(@events > 3000, 'of many') or diag(scalar @events);

sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'the feed is canceled');

unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/, 'no crash');
$node->stop;
done_testing();
