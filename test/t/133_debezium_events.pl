# Debezium's envelope, what is of no row: messages of
# pg_logical_emit_message(), in and outside of transactions, and begin and end
# of transactions. None is lost and none comes in another order, whatever
# happens to the sink, the queue or the server; a transaction that is sent
# again counts the same.

use strict;
use warnings;

use CdcTest;
use CdcWebhook;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('debezium_events', conf => "cdc_sink.feed_memory = 256kB\ncdc_sink.isolation_delay = 100ms");
my $json = JSON::PP->new;

sub sql { return $node->safe_psql('postgres', @_); }

sub feed
{
	my ($tables, $uri, $config, $more) = @_;
	$config = $json->encode({ 'topic.prefix' => 'p', 'key.converter.schemas.enable' => 'false',
		'value.converter.schemas.enable' => 'false', %$config });
	return create_feed_of($node, $tables, $uri,
		"envelope = 'debezium', no_initial_scan, min_checkpoint_frequency = '10ms', debezium_config = '$config'" . ($more // ''));
}

# An event in short: what a test compares.
sub brief
{
	my ($v) = @_;
	return "$v->{status}" . ($v->{status} eq 'END' ?
		join(',', " $v->{event_count}", map { "$_->{data_collection}=$_->{event_count}" } @{ $v->{data_collections} }) : '')
	  if $v->{status};
	my $t = $v->{transaction};
	my $text = $v->{op} eq 'm' ? "$v->{message}{prefix}:" . decode_base64($v->{message}{content})
	  : "$v->{op} " . ($v->{after} // $v->{before})->{id};
	return $text . ($t ? " $t->{total_order}/$t->{data_collection_order}" : '');
}

# Values of the files of a topic, in order.
sub values_of
{
	my ($dir, $topic) = @_;
	my $values = '';
	$values .= slurp_file($_) for sort glob("$dir/*/*-$topic-*.ndjson");
	return map { $json->decode($_) } split /\n/, $values;
}

sql(q{CREATE TABLE t (id int PRIMARY KEY, pad text);
	CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)});

# ---- what is sent ----

my ($dir, $uri) = file_dir($node);
my $job = feed('t, parts', $uri, { 'provide.transaction.metadata' => 'true', 'message.prefix.include.list' => 'note, app\\..*' });
my ($dir2, $uri2) = file_dir($node);
my $others = feed('t', $uri2, { 'message.prefix.exclude.list' => 'NOTE' });
my ($dir3, $uri3) = file_dir($node);
my $none = feed('t', $uri3, {});
sql(q{SELECT pg_logical_emit_message(false, 'note', 'alone')});
sql(q{BEGIN; SELECT pg_logical_emit_message(true, 'note', 'first'); INSERT INTO t VALUES (1);
	SELECT pg_logical_emit_message(false, 'note', 'between'); SAVEPOINT a; SELECT pg_logical_emit_message(true, 'note', 'undone');
	ROLLBACK TO a; INSERT INTO parts VALUES (1), (11); SELECT pg_logical_emit_message(true, 'App.x', 'second'); COMMIT});
sql(q{BEGIN; SELECT pg_logical_emit_message(true, 'note', 'only'); COMMIT});
sql(q{BEGIN; SELECT pg_logical_emit_message(true, 'note', 'never'); ROLLBACK});
sql(q{SELECT pg_logical_emit_message(false, 'notes', 'other'), pg_logical_emit_message(false, 'cdc_sink', 'ours'),
	pg_logical_emit_message(true, 'apple', ''::bytea)});
sql(q{CREATE TABLE elsewhere (id int); INSERT INTO elsewhere VALUES (1)});
wait_feed($node, $_) for $job, $others, $none;
is_deeply([ map { brief($_) } values_of($dir, 'p.message') ],
	[ 'note:alone', 'note:between', 'note:first 1/1', 'App.x:second 5/2', 'note:only 1/1' ], 'messages by prefix');
is_deeply([ map { brief($_) } values_of($dir, 'p.transaction') ],
	[ 'BEGIN', 'END 5,LOGICAL_DECODING_MESSAGE=2,public.t=1,public.parts=2', 'BEGIN', 'END 1,LOGICAL_DECODING_MESSAGE=1' ],
	'begin and end of transactions with events');
is_deeply([ map { brief($_) } values_of($dir, 'p.public.parts') ], [ 'c 1 3/1', 'c 11 4/2' ], 'partitions are counted as their table');
is_deeply([ map { brief($_) } values_of($dir2, 'p.message') ], [ 'App.x:second', 'notes:other', 'apple:' ], 'all but those of a prefix');
is_deeply([ glob("$dir2/*/*transaction*"), glob("$dir3/*/*message*") ], [], 'nothing that was not asked for');
my ($alone) = values_of($dir, 'p.message');
is($alone->{source}{txId}, undef, 'a message outside of a transaction has none');
sql("SELECT changefeed_cancel($_)") for $job, $others, $none;

# ---- the sink is away, the server crashes ----

my $w = start_webhook();
my $hook = $w->uri;
$job = feed('t', $hook, { 'provide.transaction.metadata' => 'true', 'message.prefix.include.list' => '.*' }, ', resolved = \'100ms\'');
sql(q{SELECT pg_logical_emit_message(false, 'n', 'before')});
wait_feed($node, $job);
$w->stop;
sql("SELECT pg_logical_emit_message(false, 'n', 'm' || i) FROM generate_series(1, 4) i");
# a commit, which has the server flush what was written before
sql("BEGIN; SELECT pg_logical_emit_message(true, 'n', 't'); INSERT INTO t VALUES (100); COMMIT");
$node->stop('immediate');
$node->start;
sql("SELECT pg_logical_emit_message(false, 'n', 'm5')");
# a transaction that is larger than the queue: part of it waits, the rest is decoded again
sql("BEGIN; SELECT pg_logical_emit_message(true, 'n', 'large'); INSERT INTO t SELECT i, repeat('p', 300) FROM generate_series(1001, 2000) i;
	SELECT pg_logical_emit_message(true, 'n', repeat('x', 500)) FROM generate_series(1, 200); COMMIT");
ok(poll_until(sub { sql("SELECT running_status FROM changefeed_jobs WHERE job_id = $job") =~ /queue was full|transient/ }, 'trouble'),
	'the sink is away');
$w->answers();
$w->start;
wait_feed($node, $job, 120);

my @events;
for my $r (grep { $_->{status} == 200 } $w->requests)
{
	my $body = $json->decode($r->{body});
	next if exists $body->{resolved};
	push @events, @{ $body->{payload} };
}
my @alone = map { brief($_) } grep { ($_->{op} // '') eq 'm' && !$_->{transaction} } @events;
is_deeply(\@alone, [ map { "n:$_" } 'before', 'm1' .. 'm5' ], 'messages outside of transactions: each once, in order');
my @boundaries = grep { $_->{status} } @events;
is_deeply([ map { brief($_) } @boundaries ],
	[ 'BEGIN', 'END 2,LOGICAL_DECODING_MESSAGE=1,public.t=1', 'BEGIN', 'END 1201,LOGICAL_DECODING_MESSAGE=201,public.t=1000' ],
	'each transaction has one begin and one end');
my ($xid) = $boundaries[-1]{id} =~ /^(\d+):/;
my @large = grep { $_->{transaction} && $_->{transaction}{id} =~ /^$xid:/ } @events;
is_deeply([ sort { $a <=> $b } map { $_->{transaction}{total_order} } @large ], [ 1 .. 1201 ], 'events are numbered without a hole');
is_deeply([ map { $_->{transaction}{data_collection_order} } grep { $_->{op} eq 'm' } @large ], [ 1 .. 201 ], 'messages are in order');

# ---- the worker dies in the middle: again from the checkpoint, the same ----

$w->forget;
$w->answers({ status => 200 }, ({ status => 503 }) x 1000);
sql("BEGIN; SELECT pg_logical_emit_message(true, 'n', 'again'); INSERT INTO t SELECT i, repeat('p', 300) FROM generate_series(5001, 6000) i; COMMIT");
sql("SELECT pg_logical_emit_message(false, 'n', 'behind')");
ok(poll_until(sub { scalar grep { $_->{status} == 503 } $w->requests }, 'a request that is refused'), 'part of a transaction is there');
$node->stop('immediate');
$w->answers();
$node->start;
wait_feed($node, $job, 120);
my (%copies, $end, @behind);
for my $r (grep { $_->{status} == 200 } $w->requests)
{
	my $body = $json->decode($r->{body});
	next if exists $body->{resolved};
	for my $v (@{ $body->{payload} })
	{
		$end = brief($v) if ($v->{status} // '') eq 'END';
		push @behind, brief($v) if ($v->{op} // '') eq 'm' && !$v->{transaction};
		push @{ $copies{ brief($v) } }, $v->{transaction}{id} if $v->{transaction};
	}
}
is(scalar(keys %copies), 1001, 'every event is there, numbered the same each time');
is_deeply([ grep { my %ids = map { $_ => 1 } @{ $copies{$_} }; keys %ids > 1 } keys %copies ], [], 'with the same transaction');
cmp_ok((grep { @$_ > 1 } values %copies) + 0, '>', 0, 'some were sent again');
is($end, 'END 1001,LOGICAL_DECODING_MESSAGE=1,public.t=1000', 'and the end counts all of them');
is_deeply(\@behind, ['n:behind'], 'what stands behind comes behind');
sql("SELECT changefeed_cancel($job)");

# ---- what cannot be sent, and who may not have it ----

($dir, $uri) = file_dir($node);
sql('CREATE ROLE reader REPLICATION; GRANT SELECT ON t TO reader; GRANT EXECUTE ON FUNCTION changefeed_create TO reader;
	GRANT pg_write_server_files TO reader');
$job = sql(qq{SET ROLE reader; SELECT changefeed_create('{t}', '$uri', '{"envelope": "debezium", "no_initial_scan": true, "on_bad_message": "dead_letter",
	"debezium_config": "{\\"topic.prefix\\": \\"p\\", \\"value.converter.schemas.enable\\": false, \\"message.prefix.include.list\\": \\".*\\"}"}')});
sql(q{SELECT pg_logical_emit_message(false, 'n', convert_to(repeat('x', 65 * 1024 * 1024), 'UTF8'))});
sql(q{SELECT pg_logical_emit_message(false, repeat('p', 1025), 'no expression matches'), pg_logical_emit_message(false, 'n', 'small')});
wait_feed($node, $job);
is_deeply([ map { brief($_) } values_of($dir, 'p.message') ], ['n:small'], 'a message that is too large is left out');
is(sql("SELECT topic, error FROM cdc_sink.dead_letter WHERE job_id = $job"), 'p.message|the message is larger than 64 MB',
	'and is a dead letter');
sql('ALTER ROLE reader NOREPLICATION');
ok(wait_status($node, $job, 'paused'), 'without REPLICATION the job pauses');
like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $job"), qr/must be superuser or replication role/, 'and says why');

# ---- another encoding ----

sql(q{CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
($dir, $uri) = file_dir($node);
$node->safe_psql('latin', 'CREATE EXTENSION cdc_sink; CREATE TABLE t (id int PRIMARY KEY)');
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH envelope = 'debezium', no_initial_scan, debezium_config = "
	. q{'{"topic.prefix": "p", "value.converter.schemas.enable": "false", "message.prefix.include.list": ".*"}'}, 'latin');
$node->safe_psql('latin', q{SELECT pg_logical_emit_message(false, 'pr' || chr(252) || 'f', 'ok'), changefeed_wait(} . $job . q{, timeout => '60 s')});
is_deeply([ map { $_->{message}{prefix} } values_of($dir, 'p.message') ], ["pr\x{c3}\x{bc}f"], 'prefixes are UTF-8');

# a byte that is no character there does not end the worker, time after time
sql(q{CREATE DATABASE win ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
($dir, $uri) = file_dir($node);
$node->safe_psql('win', 'CREATE EXTENSION cdc_sink; CREATE TABLE t (id int PRIMARY KEY)');
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH envelope = 'debezium', no_initial_scan, on_bad_message = 'dead_letter', debezium_config = "
	. q{'{"topic.prefix": "p", "value.converter.schemas.enable": "false", "message.prefix.include.list": ".*"}'}, 'win');
$node->safe_psql('win', q{SELECT pg_logical_emit_message(t, chr(129), 'none'), pg_logical_emit_message(t, chr(128), 'euro') FROM unnest('{t,f}'::bool[]) t});
$node->safe_psql('win', "SELECT changefeed_wait($job, timeout => '60 s')");
is_deeply([ map { $_->{message}{prefix} } values_of($dir, 'p.message') ], [ ("\x{e2}\x{82}\x{ac}") x 2 ], 'one that is a character is sent');
is($node->safe_psql('win', "SELECT count(*), min(error) FROM cdc_sink.dead_letter WHERE job_id = $job"),
	'2|character with byte sequence 0x81 in encoding "WIN1252" has no equivalent in encoding "UTF8"', 'the other is a dead letter');

$w->stop;
$node->stop('fast');
done_testing();
