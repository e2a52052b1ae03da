# The Kafka sink: topics and their names, keys and partitions, resolved
# messages, the fields of kafka_sink_config, and messages that are too large.

use strict;
use warnings;

use CdcKafka;
use CdcTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $k = start_kafka();
my $uri = $k->uri;
my $node = new_cluster('kafka_basic', conf => 'cdc_sink.idle_resolved_interval = 100ms');

sub sql { return $node->safe_psql('postgres', @_); }

sub cancel
{
	sql("SELECT changefeed_cancel($_)") for @_;
	return;
}

is(partition_of('foobar', 1000), (-790332482 & 0x7fffffff) % 1000,
	'the murmur2 of this test is that of Apache Kafka');

# ---- topics, keys, partitions, resolved -----------------------------------

sql(q{
	CREATE TABLE one (id int PRIMARY KEY, v text);
	CREATE TABLE two (a int, b text, v text, PRIMARY KEY (b, a));
	CREATE TABLE idle (id int PRIMARY KEY);
	INSERT INTO one SELECT i, 'scan' FROM generate_series(1, 200) i;
});
my $job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE one, two, idle INTO '$uri?topic_prefix=p_' WITH updated, resolved='100ms', min_checkpoint_frequency='10ms'"
);
sql(q{
	INSERT INTO two SELECT i, 'schlüssel ' || i, 'v' FROM generate_series(1, 300) i;
	UPDATE one SET v = 'new' WHERE id % 3 = 0;
	DELETE FROM one WHERE id % 7 = 0;
});
wait_feed($node, $job);
is_deeply(topic_partitions($k), { p_one => 3, p_two => 3, p_idle => 3 },
	'a topic for each table, with the prefix, made by the broker');
is(sql("SELECT topics FROM changefeed_jobs WHERE job_id = $job"),
	'p_one,p_two,p_idle', 'the view names them');

my @topics = qw(p_one p_two p_idle);
my @msgs;

# partitions that have had n resolved messages or more
sub resolved_partitions
{
	my ($n, @m) = @_;
	my %count;
	$count{"$_->{topic}/$_->{partition}"}++ for resolved_of(@m);
	return scalar grep { $_ >= $n } values %count;
}
ok( poll_until(
		sub {
			@msgs = consume_all($k, @topics);
			resolved_partitions(3, @msgs) == 9;
		},
		'resolved'),
	'resolved messages on every partition of every topic without traffic');
check_guarantees(\@msgs, 'several tables', max => 0);
check_fingerprint($node, 'one', 'id', \@msgs, 'table one', topic => 'p_one');
check_fingerprint($node, 'two', 'b, a', \@msgs, 'table two', topic => 'p_two');

utf8::encode($_->{key}) for rows_of(@msgs);
my @astray = grep { $_->{partition} != partition_of($_->{key}, 3) } rows_of(@msgs);
is(scalar(@astray), 0, 'keys are where Java clients put them');
is(scalar(keys %{ { map { $_->{partition} => 1 } rows_of(@msgs) } }),
	3, 'on all partitions');
is(scalar(grep { !defined $_->{key} } rows_of(@msgs)), 0, 'every row has a key');
my ($text) = grep { $_->{key} eq '["schlüssel 7", 7]' } rows_of(@msgs);
ok($text, 'a key of two columns in the order of the primary key');
like((resolved_of(@msgs))[0]{value}, qr/^\{"resolved":"\d+\.\d{10}"\}$/, 'shape of resolved');
cancel($job);

# ---- names ----------------------------------------------------------------

sql(q{
	CREATE SCHEMA s;
	CREATE TABLE s."Ünï ☃" (id int PRIMARY KEY);
	INSERT INTO s."Ünï ☃" VALUES (1);
	CREATE TABLE plain (id int PRIMARY KEY);
	INSERT INTO plain VALUES (1);
});
my @jobs = (
	create_feed($node, qq{CREATE CHANGEFEED FOR TABLE s."Ünï ☃" INTO '$uri'}),
	create_feed($node,
		qq{CREATE CHANGEFEED FOR TABLE s."Ünï ☃" INTO '$uri?topic_prefix=x%20' WITH full_table_name}),
	create_feed($node,
		"CREATE CHANGEFEED FOR TABLE one, plain INTO '$uri?topic_name=all%2Fin_one&topic_prefix=n.' WITH topic_in_value"));
wait_feed($node, $_) for @jobs;
my $have = topic_partitions($k);
my $odd = '_u00dc_n_u00ef__u0020__u2603_';
ok($have->{$odd}, 'characters that a topic cannot have are escaped');
ok($have->{"x_u0020_postgres.s.$odd"}, 'full_table_name');
my $all = 'n.all_u002f_in_one';
my %in_one = map { $_->{json}{topic} // '' => 1 } rows_of($k->consume($all));
is_deeply(\%in_one, { 'all_u002f_in_one' => 1 }, 'topic_name, with the name in the value, without prefix');
is(scalar(grep { $_->{key} eq '[1]' } rows_of($k->consume($all))), 2, 'both tables are in it');
cancel(@jobs);

# ---- kafka_sink_config ----------------------------------------------------

sub create_with
{
	my ($config, $table, $params, $options) = @_;
	return create_feed($node,
		"CREATE CHANGEFEED FOR TABLE $table INTO '$uri?$params' WITH updated, kafka_sink_config='$config'"
		  . ($options // ''));
}

sql(q{
	CREATE TABLE flat (id int PRIMARY KEY, v text);
	INSERT INTO flat SELECT i, repeat('x', 500) FROM generate_series(1, 200) i;
});
my %codec = map { lc($_) => create_with(qq({"Compression": "$_"}), 'flat', "topic_prefix=\L$_\E_") }
  qw(GZIP SNAPPY LZ4 ZSTD NONE);
wait_feed($node, $_) for values %codec;
my @logs = map { glob("$k->{dir}/log/${_}_flat-*/*.log") } keys %codec;
my ($ok, $dump) = kafka_tool($k, 'kafka.tools.DumpLogSegments', '--files', join(',', @logs));
ok($ok, 'the logs of the topics are dumped') or diag($dump);
my ($file, %seen);
for my $line (split /\n/, $dump)
{
	$file = $1 if $line =~ m,^Dumping .*/(\w+?)_flat-,;
	$seen{$file}{$1} = 1 if $line =~ /compresscodec: (\w+)/;
}
is_deeply(\%seen, { map { $_ => { $_ => 1 } } keys %codec }, 'batches are compressed as asked for');
for my $c (sort keys %codec)
{
	is(scalar(rows_of($k->consume("${c}_flat"))), 200, "a client reads $c");
}
cancel(values %codec);

my ($rc, $out, $err) = $node->psql('postgres',
	qq{SELECT changefeed_create('{plain}', '$uri?topic_prefix=one_', jsonb_build_object('kafka_sink_config',
		'{"RequiredAcks": "ONE", "ClientID": "a.b-c_1", "Version": "2.8.0", "Retry": {"Max": "inf", "Backoff": "50ms"}}'))});
is($rc, 0, 'RequiredAcks ONE with ClientID, Version and Retry') or diag($err);
like($err, qr/WARNING: +acknowledged rows can be lost/, 'acknowledged rows can be lost, it says');
wait_feed($node, $out);
is(scalar(rows_of($k->consume('one_plain'))), 1, 'and it works');
my $slow = create_with('{"Flush": {"Messages": 1000, "Bytes": 100000, "Frequency": "700ms", "MaxMessages": 100}}',
	'plain', 'topic_prefix=flush_', ", min_checkpoint_frequency='20s'");
wait_feed($node, $slow);
sql('INSERT INTO plain VALUES (2)');
my $took = timed(sub { wait_feed($node, $slow) });
cmp_ok($took, '>', 0.3, 'Flush.Frequency holds a message back');
cmp_ok($took, '<', 10, 'but not for long');
is(scalar(rows_of($k->consume('flush_plain'))), 2, 'and it arrives');
cancel($out, $slow);

# ---- messages that are too large ------------------------------------------

make_topic($k, 'small_big', 2, 'max.message.bytes=10000');
sql(q{
	CREATE TABLE big (id int PRIMARY KEY, v text);
	INSERT INTO big SELECT i, repeat('x', 2000) FROM generate_series(1, 50) i;
});
my @options = (
	", on_bad_message='fail'",
	", on_bad_message='fail', on_error='pause'",
	", on_bad_message='dead_letter'",
	", on_bad_message='retry'");
my ($fail, $pause, $dead, $retry) =
  map { create_with('{}', 'big', 'topic_prefix=small_', $_) } @options;

# the same where the broker finds out, since it may fit when compressed
my $packed = create_with('{"Compression": "LZ4"}', 'big', 'topic_prefix=small_', $options[2]);
wait_feed($node, $_) for $fail, $pause, $dead, $retry, $packed;
my @scan = grep { ref $_->{after} } $k->consume('small_big');
is(scalar(@scan), 5 * 50, 'batches are no larger than the topic allows');

sql(q{
	BEGIN;
	INSERT INTO big VALUES (1000, 'before');
	INSERT INTO big SELECT 1001, string_agg(md5(i::text), '') FROM generate_series(1, 1000) i;
	INSERT INTO big VALUES (1002, 'behind');
	COMMIT;
});
ok(wait_status($node, $fail, 'failed'), 'on_bad_message=fail: the job fails');
my $error = sql("SELECT error FROM changefeed_jobs WHERE job_id = $fail");
like($error, qr/small_big/, 'the error names the topic');
like($error, qr/larger than the 10000 bytes/, 'and the limit') or diag($error);
ok(wait_status($node, $pause, 'paused'), 'on_error=pause: the job pauses');
running_status_like($node, $retry, qr/transient error: .*small_big/,
	'on_bad_message=retry: the job runs and says why it does not go on');

wait_feed($node, $dead);
is(sql("SELECT dead_letters FROM pg_stat_changefeed WHERE job_id = $dead"),
	'1', 'on_bad_message=dead_letter: one is counted');
is( sql("SELECT topic, convert_from(key, 'UTF8'), length(value) > 32000, lsn IS NOT NULL, updated > 0, error LIKE '%small_big%' FROM cdc_sink.dead_letter WHERE job_id = $dead"),
	'small_big|[1001]|t|t|t|t',
	'and kept with all that is needed');
wait_feed($node, $packed);
is( sql("SELECT count(*), min(convert_from(key, 'UTF8')) FROM cdc_sink.dead_letter WHERE job_id = $packed"),
	'1|[1001]', 'a message that the broker refuses is kept as well');
ok(poll_until(
		sub { sql("SELECT in_trouble FROM pg_stat_changefeed WHERE job_id = $dead") eq 'f' },
		'trouble over', 10),
	'the feed goes on in good health');
my @behind = grep { $_->{key} eq '[1002]' } rows_of($k->consume('small_big'));
is(scalar(@behind), 2, 'what comes behind is sent where the message was left out, and there only');

# a topic that takes it after all
($ok, $out) = kafka_tool($k, 'kafka.admin.ConfigCommand', '--bootstrap-server', $k->addr,
	'--entity-type', 'topics', '--entity-name', 'small_big', '--alter',
	'--add-config', 'max.message.bytes=1000000');
ok($ok, 'the limit of the topic is raised') or diag($out);
wait_feed($node, $retry);
is(sql("SELECT status FROM changefeed_jobs WHERE job_id = $retry"), 'running',
	'on_bad_message=retry: the message is sent then');
sql("SELECT changefeed_resume($pause)");
ok(wait_status($node, $pause, 'running'), 'the paused job resumes');
wait_feed($node, $pause);
my @big = grep { $_->{key} eq '[1001]' } rows_of($k->consume('small_big'));
is(scalar(@big), 2, 'both have sent it');
is(scalar(grep { $_->{key} eq '[1002]' } rows_of($k->consume('small_big'))),
	4, 'and what comes behind');

unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/, 'no crash');
$node->stop;
done_testing();
