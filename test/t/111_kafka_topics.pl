# Topics that are missing, get more partitions, or are deleted and made again
# while a feed runs.

use strict;
use warnings;

use CdcKafka;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $k = start_kafka(conf => ['auto.create.topics.enable=false']);
my $uri = $k->uri;
my $node = new_cluster('kafka_topics', conf => 'cdc_sink.idle_resolved_interval = 100ms');
my $with = "WITH updated, resolved='100ms', min_checkpoint_frequency='10ms'";

sub sql { return $node->safe_psql('postgres', @_); }

sub topics
{
	my (@args) = @_;
	my ($ok, $out) = kafka_tool($k, 'org.apache.kafka.tools.TopicCommand',
		'--bootstrap-server', $k->addr, @args);
	return ok($ok, "topics: @args") || diag($out);
}

sql(q{
	CREATE TABLE t (id int PRIMARY KEY, v int);
	INSERT INTO t SELECT i, 0 FROM generate_series(1, 300) i;
	CREATE TABLE other (id int PRIMARY KEY);
});

# ---- missing --------------------------------------------------------------

make_topic($k, 'other', 1);
my ($rc, $out, $err);
my $took = timed(
	sub {
		($rc, $out, $err) =
		  $node->psql('postgres', "SELECT changefeed_create('{other,t}', '$uri')");
	});
isnt($rc, 0, 'a topic that is missing and not made by the brokers is an error');
like($err, qr/Kafka topic "t" does not exist/, 'which names it');
cmp_ok($took, '<', 9, 'soon');
is(sql('SELECT count(*) FROM changefeed_jobs'), '0', 'no job is left');
is(slots($node), '0', 'and no slot');

# ---- more partitions ------------------------------------------------------

make_topic($k, 't', 2);
my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t, other INTO '$uri' $with");
wait_feed($node, $job);
sql('UPDATE t SET v = 1');
wait_feed($node, $job);
my @before = rows_of($k->consume('t'));
is(scalar(@before), 600, 'all is there');

topics('--alter', '--topic', 't', '--partitions', '4');
sql('UPDATE t SET v = 2');
wait_feed($node, $job);

# The feed looks at the partitions twice a minute.
my @msgs;
ok( poll_until(
		sub {
			my %p = map { $_->{partition} => 1 } resolved_of(quick_consume($k, 't'));
			return keys %p == 4;
		},
		'resolved on new partitions', 60),
	'resolved goes to the new partitions as well');
sql('UPDATE t SET v = 3');
wait_feed($node, $job);
@msgs = $k->consume('t');
is(scalar(rows_of(@msgs)), 1200, 'all rows are there');
is(scalar(grep { $_->{partition} != partition_of($_->{key}, 2) } rows_of(@msgs)),
	0, 'keys stay where they were');
check_guarantees(\@msgs, 'more partitions', max => 0);
check_fingerprint($node, 't', 'id', \@msgs, 'table');
my $warning =
  qr/WARNING: +Kafka topic "t" of changefeed $job has 4 partitions, but had 2 when the changefeed was created/;
like(slurp_file($node->logfile), $warning, 'a WARNING says so');

# the number is known also after the lane starts again
sql("SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'pause');
sql('UPDATE t SET v = 4');
sql("SELECT changefeed_resume($job)");
ok(wait_status($node, $job, 'running'), 'and resume');
wait_feed($node, $job);
@msgs = $k->consume('t');
is(scalar(grep { $_->{partition} != partition_of($_->{key}, 2) } rows_of(@msgs)),
	0, 'keys stay where they were also for a new producer');
check_guarantees(\@msgs, 'a new producer');

# ---- deleted and made again -----------------------------------------------

sub write_some
{
	my ($v) = @_;
	sql("UPDATE t SET v = $v + $_ WHERE id <= 50") for 1 .. 5;
	return;
}

topics('--delete', '--topic', 't');
write_some(100);
running_status_like($node, $job, qr/transient error: .*Kafka topic "t"/,
	'deleted: the feed runs and names the topic');
write_some(200);
make_topic($k, 't', 3);
wait_feed($node, $job);
write_some(300);
wait_feed($node, $job);
ok( poll_until(
		sub { sql("SELECT in_trouble FROM pg_stat_changefeed WHERE job_id = $job") eq 'f' },
		'trouble over', 10),
	'made again: the feed goes on');
@msgs = $k->consume('t');
check_guarantees(\@msgs, 'made again');
my %last = map { key_text($_) => $_->{after}{v} } rows_of(@msgs);
is(scalar(grep { $last{"[\"$_\"]"} ne '305' } 1 .. 50), 0, 'the newest of each key is there');
my %seen = map { $_->{after}{v} => 1 } rows_of(@msgs);
is_deeply([ grep { !$seen{$_} } 201 .. 205, 301 .. 305 ],
	[], 'nothing that was written without a topic is missing');

# with fewer partitions than keys are spread over
topics('--delete', '--topic', 't');
make_topic($k, 't', 1);
write_some(400);
wait_feed($node, $job);
write_some(500);
wait_feed($node, $job);
@msgs = $k->consume('t');
%last = map { key_text($_) => $_->{after}{v} } rows_of(@msgs);
is(scalar(grep { ($last{"[\"$_\"]"} // '') ne '505' } 1 .. 50),
	0, 'made again with fewer partitions: the feed goes on');
check_guarantees(\@msgs, 'fewer partitions');
is(feed_status($node, $job), 'running', 'it runs');

sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'the feed is canceled');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/, 'no crash');
$node->stop;
done_testing();
