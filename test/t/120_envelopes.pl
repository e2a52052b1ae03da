# Envelopes and metadata at the sinks: the exact text of keys, values, null
# values, resolved messages and headers; keys and partitions of other kinds.

use strict;
use warnings;

use CdcKafka;
use CdcTest;
use CdcWebhook;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $k = start_kafka();
my $uri = $k->uri;
my $node = new_cluster('envelopes', conf => "track_commit_timestamp = on\ncdc_sink.idle_resolved_interval = 100ms");

sub sql { return $node->safe_psql('postgres', @_); }

# "key->value headers" of each message, stamps and times taken out
sub lines_of
{
	my ($topic, %opt) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'timeout', 20, 'kcat', '-b', $k->addr, '-C', '-t', $topic, '-o', 'beginning', '-e', '-q',
			'-X', 'fetch.wait.max.ms=10', '-f', '%p|%k->%S|%s|%h\n' ],
		'<', \undef, '>', \$out, '2>', \$err) or die "kcat: $err";
	utf8::decode($out);
	my @lines;
	for my $line (split /\n/, $out)
	{
		$line =~ /^(\d+)\|(.*?)->(-?\d+)\|(.*)\|(.*?)$/ or die "unexpected line $line";
		my ($p, $key, $size, $value, $headers) = ($1, $2, $3, $4, $5);
		next if ($value =~ /"resolved":/) != ($opt{resolved} // 0);
		$value =~ s/\b\d{19}\.\d{10}\b/<hlc>/g;
		$value =~ s/("ts_ns": )\d{19}\b/$1<ns>/g;
		$value = 'NULL' if $size < 0;
		push @lines, ($opt{partition} ? "$p " : '') . "$key->$value" . ($headers ne '' ? " $headers" : '');
	}
	return @lines;
}

my $feeds = 0;

# A feed of some tables with a topic prefix of its own: (job, prefix)
sub feed
{
	my ($tables, $with) = @_;
	my $prefix = 'f' . ++$feeds . '_';
	return (create_feed($node, "CREATE CHANGEFEED FOR TABLE $tables INTO '$uri?topic_prefix=$prefix' WITH $with"), $prefix);
}

sub cancel { sql("SELECT changefeed_cancel($_)") for @_; return; }

# ---- shapes ----------------------------------------------------------------

sql(q{CREATE TABLE t (id int PRIMARY KEY, "Z" numeric(6,2), j jsonb, name text NOT NULL);
	INSERT INTO t VALUES (1, 1.50, '{"b": 1, "a": null}', 'ann')});
my %want = (
	q(envelope = row) => [
		'[1]->{"Z": 1.50, "id": 1, "j": {"a": null, "b": 1}, "name": "ann"}',
		'[1]->{"Z": 2.50, "id": 1, "j": null, "name": "ann"}', '[1]->NULL' ],
	q(envelope = deprecated_row, updated, mvcc_timestamp) => [
		'[1]->{"Z": 1.50, "__crdb__": {"mvcc_timestamp": "<hlc>", "updated": "<hlc>"}, "id": 1, "j": {"a": null, "b": 1}, "name": "ann"}',
		'[1]->{"Z": 2.50, "__crdb__": {"mvcc_timestamp": "<hlc>", "updated": "<hlc>"}, "id": 1, "j": null, "name": "ann"}', '[1]->NULL' ],
	q(envelope = key_only, updated) => [ '[1]->NULL', '[1]->NULL', '[1]->NULL' ],
	q(envelope = bare) => [
		'[1]->{"Z": 1.50, "id": 1, "j": {"a": null, "b": 1}, "name": "ann"}',
		'[1]->{"Z": 2.50, "id": 1, "j": null, "name": "ann"}',
		'[1]->{"Z": null, "id": 1, "j": null, "name": null}' ],
	q(envelope = bare, key_in_value, topic_in_value, updated) => [
		'[1]->{"Z": 1.50, "__crdb__": {"key": [1], "topic": "<topic>", "updated": "<hlc>"}, "id": 1, "j": {"a": null, "b": 1}, "name": "ann"}',
		'[1]->{"Z": 2.50, "__crdb__": {"key": [1], "topic": "<topic>", "updated": "<hlc>"}, "id": 1, "j": null, "name": "ann"}',
		'[1]->{"Z": null, "__crdb__": {"key": [1], "topic": "<topic>", "updated": "<hlc>"}, "id": 1, "j": null, "name": null}' ],
	q(mvcc_timestamp, key_in_value, topic_in_value, updated) => [
		'[1]->{"after": {"Z": 1.50, "id": 1, "j": {"a": null, "b": 1}, "name": "ann"}, "key": [1], "mvcc_timestamp": "<hlc>", "topic": "<topic>", "updated": "<hlc>"}',
		'[1]->{"after": {"Z": 2.50, "id": 1, "j": null, "name": "ann"}, "key": [1], "mvcc_timestamp": "<hlc>", "topic": "<topic>", "updated": "<hlc>"}',
		'[1]->{"after": null, "key": [1], "mvcc_timestamp": "<hlc>", "topic": "<topic>", "updated": "<hlc>"}' ],
	q(envelope = enriched, key_in_value) => [
		'{"id": 1}->{"after": {"Z": 1.50, "id": 1, "j": {"a": null, "b": 1}, "name": "ann"}, "key": {"id": 1}, "op": "c", "ts_ns": <ns>}',
		'{"id": 1}->{"after": {"Z": 2.50, "id": 1, "j": null, "name": "ann"}, "key": {"id": 1}, "op": "u", "ts_ns": <ns>}',
		'{"id": 1}->{"after": null, "key": {"id": 1}, "op": "d", "ts_ns": <ns>}' ],
);
my @names = sort keys %want;
my %feed = map { $_ => [ feed('t', "$_, resolved = '10ms', min_checkpoint_frequency = '10ms'") ] } @names;
my ($schema_job, $schema_prefix) =
  feed('t', q(envelope = enriched, enriched_properties = 'schema,source', updated, mvcc_timestamp));
wait_feed($node, $_) for $schema_job, map { $feed{$_}[0] } @names;
sql(q{UPDATE t SET "Z" = 2.5, j = NULL});
sql('DELETE FROM t');
wait_feed($node, $_) for $schema_job, map { $feed{$_}[0] } @names;
for my $name (@names)
{
	my ($job, $prefix) = @{ $feed{$name} };
	is_deeply([ lines_of("${prefix}t") ], [ map { s/<topic>/t/r } @{ $want{$name} } ], $name);
	my $plain = $name =~ /bare|row|key_only/ ? '->{"__crdb__":{"resolved":"<hlc>"}}' : '->{"resolved":"<hlc>"}';
	ok( poll_until(sub { lines_of("${prefix}t", resolved => 1) > 0 }, 'a resolved message'),
		'and it has resolved messages');
	is((lines_of("${prefix}t", resolved => 1))[0], $plain, 'of their form');
}

# source and schema
my $json = JSON::PP->new->canonical;
my @m = kafka_consume($k, "${schema_prefix}t");
is(scalar(@m), 3, 'enriched with schema and source: three messages');
my $key = $json->decode($m[0]{key});
is_deeply($key, {
		payload => { id => 1 },
		schema => { type => 'struct', name => 't.key', optional => JSON::PP::false,
			fields => [ { field => 'id', type => 'int32', optional => JSON::PP::false } ] } },
	'key with its schema');
my $value = $json->decode($m[1]{value});
is(join(' ', sort keys %{ $value->{payload} }), 'after op source ts_ns', 'members of the payload');
my $source = $value->{payload}{source};
is(join(' ', sort keys %$source),
	'changefeed_sink cluster_id cluster_name database_name db_version job_id mvcc_timestamp node_id node_name origin primary_keys schema_name source_node_locality table_name ts_hlc ts_ns',
	'members of source');
is_deeply([ @$source{qw(changefeed_sink database_name job_id primary_keys schema_name table_name)} ],
	[ 'kafka', 'postgres', "$schema_job", ['id'], 'public', 't' ], 'what they say');
like($source->{ts_hlc}, qr/^$source->{ts_ns}\.\d{10}$/, 'the stamp twice');
my ($after) = grep { $_->{field} eq 'after' } @{ $value->{schema}{fields} };
is_deeply($after, {
		field => 'after', type => 'struct', name => 't.after.value', optional => JSON::PP::true,
		fields => [
			{ field => 'Z', type => 'float64', name => 'decimal', optional => JSON::PP::true,
				parameters => { precision => '6', scale => '2' } },
			{ field => 'id', type => 'int32', optional => JSON::PP::false },
			{ field => 'j', type => 'string', name => 'json', optional => JSON::PP::true },
			{ field => 'name', type => 'string', optional => JSON::PP::false } ] },
	'schema of the row');
is($value->{schema}{name}, 'cockroachdb.envelope', 'schema of the envelope');
is_deeply([ map { $_->{field} } @{ $value->{schema}{fields} } ], [ sort keys %{ $value->{payload} } ],
	'a node for each member');
is($json->encode($json->decode($m[0]{value})->{schema}), $json->encode($value->{schema}),
	'the scan and the stream have one schema');
cancel($schema_job, map { $feed{$_}[0] } @names);

# ---- webhook: topics and keys are in the value ----------------------------

my $hook = start_webhook();
my @hooks = map {
	create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '" . $hook->uri . "' WITH $_")
} 'envelope = enriched', 'envelope = bare';
sql(q{INSERT INTO t (id, name) VALUES (5, 'x')});
wait_feed($node, $_) for @hooks;
is_deeply([ sort map { $_->{value} =~ s/\d{19}/ns/r } $hook->messages ], [
		'{"Z":null,"__crdb__":{"key":["5"],"topic":"t"},"id":"5","j":null,"name":"x"}',
		'{"after":{"Z":null,"id":"5","j":null,"name":"x"},"key":{"id":"5"},"op":"c","topic":"t","ts_ns":"ns"}' ],
	'enriched and bare to a webhook');
cancel(@hooks);
$hook->stop;

# ---- headers ---------------------------------------------------------------

sql(q{CREATE TABLE h (id int PRIMARY KEY, head jsonb, v text);
	ALTER TABLE h REPLICA IDENTITY FULL;
	INSERT INTO h VALUES (1, '{"b": "e\"x", "n": 1.50, "o": {"z": 1, "a": [null]}, "t": true, "e": "", "nil": null}')});
my ($job, $prefix) = feed('h', q(headers_json_column_name = head, extra_headers = '{"all": "yes"}', envelope = bare));
wait_feed($node, $job);
sql($_) for q{INSERT INTO h VALUES (2, NULL, 'v')}, q{INSERT INTO h VALUES (3, '[1]'), (4, '"s"')},
  q{INSERT INTO h VALUES (5, '{}')}, q{INSERT INTO h VALUES (6, jsonb_build_object('k', repeat('v', 3000)))},
  q{DELETE FROM h WHERE id = 1};
wait_feed($node, $job);
is_deeply([ sort map { s/v{3000}/<long>/r } lines_of("${prefix}h") ], [ sort
		'[1]->{"id": 1, "v": null} all=yes,b=e"x,e=,n=1.50,o={"a": [null], "z": 1},t=true,nil=null',
		'[2]->{"id": 2, "v": "v"} all=yes',
		'[3]->{"id": 3, "v": null} all=yes', '[4]->{"id": 4, "v": null} all=yes',
		'[5]->{"id": 5, "v": null} all=yes', '[6]->{"id": 6, "v": null} all=yes,k=<long>',
		'[1]->{"id": 1, "v": null} all=yes,b=e"x,e=,n=1.50,o={"a": [null], "z": 1},t=true,nil=null' ],
	'headers out of a column, beside the constant ones');
sql('ALTER TABLE h DROP COLUMN head; INSERT INTO h VALUES (7)');
ok(wait_status($node, $job, 'failed'), 'the column of headers goes: the feed fails');
like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $job"),
	qr/^required column head not present on table h$/, 'and says why');

# ---- another key, another hash ----------------------------------------------

sql(q{CREATE TABLE keyed (id int PRIMARY KEY, b text, c text);
	INSERT INTO keyed VALUES (1, 'dog', 'x'), (2, 'dog', 'y')});
($job, $prefix) = feed('keyed', q(key_column = b, unordered, key_in_value));
wait_feed($node, $job);
sql(q{UPDATE keyed SET b = 'cat' WHERE id = 1});
wait_feed($node, $job);
is_deeply([ sort(lines_of("${prefix}keyed")) ], [
		'["cat"]->{"after": {"b": "cat", "c": "x", "id": 1}, "key": ["cat"]}',
		'["dog"]->{"after": {"b": "dog", "c": "x", "id": 1}, "key": ["dog"]}',
		'["dog"]->{"after": {"b": "dog", "c": "y", "id": 2}, "key": ["dog"]}' ],
	'key_column: rows that share a key are all there');
sql(q{DELETE FROM keyed WHERE id = 2});
ok(wait_status($node, $job, 'failed'), 'a delete that does not tell the column ends the feed');
like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $job"),
	qr/key_column b of a deleted row of table keyed is not known without REPLICA IDENTITY FULL/, 'and says why');
sql('ALTER TABLE keyed REPLICA IDENTITY FULL');
($job, $prefix) = feed('keyed', q(key_column = b, unordered, envelope = enriched));
wait_feed($node, $job);
sql('DELETE FROM keyed');
wait_feed($node, $job);
is_deeply([ lines_of("${prefix}keyed") ], [
		'{"b": "cat"}->{"after": {"b": "cat", "c": "x", "id": 1}, "op": "c", "ts_ns": <ns>}',
		'{"b": "cat"}->{"after": null, "op": "d", "ts_ns": <ns>}' ],
	'with REPLICA IDENTITY FULL it does');
sql(q{ALTER TABLE keyed RENAME b TO b2; INSERT INTO keyed VALUES (3)});
ok(wait_status($node, $job, 'failed'), 'the key column is renamed: the feed fails');
like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $job"),
	qr/^required column b not present on table keyed$/, 'and says why');

make_topic($k, 'p_many', 7);
sql('CREATE TABLE many (id int PRIMARY KEY); INSERT INTO many SELECT generate_series(1, 50)');
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE many INTO '$uri?topic_prefix=p_' WITH partition_alg = 'FNV-1a', envelope = key_only");
wait_feed($node, $job);
my @bad;
for my $line (lines_of('p_many', partition => 1))
{
	my ($p, $text) = $line =~ /^(\d+) (\[\d+\])->/ or die $line;
	my $hash = 0x811c9dc5;
	$hash = (($hash ^ ord) * 0x01000193) & 0xffffffff for split //, $text;
	$hash = 0xffffffff - $hash + 1 if $hash >= 0x80000000;
	push @bad, $line if $p != $hash % 7;
}
is(scalar(@bad), 0, 'partitions by FNV-1a') or diag("@bad");

# ---- stamps of the initial scan ---------------------------------------------

sql('CREATE TABLE old (id int PRIMARY KEY)');
sql('INSERT INTO old VALUES (1)');
my $committed = sql(q{SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM old});
($job, $prefix) = feed('old', 'updated, mvcc_timestamp');
sql('INSERT INTO old VALUES (2)');
wait_feed($node, $job);
my %stamps = map { $_->{json}{after}{id} => [ $_->{updated}, $_->{json}{mvcc_timestamp} ] }
  kafka_consume($k, "${prefix}old");
is($stamps{1}[1], "${committed}000.0000000000", 'mvcc_timestamp of a scanned row is its commit');
is(hlc_cmp($stamps{1}[1], $stamps{1}[0]), -1, 'before updated');
is($stamps{2}[0], $stamps{2}[1], 'of a change it is updated');

# ---- JSON nulls; messages that are made later; dead letters ------------------

sql(q{CREATE TABLE d (id int PRIMARY KEY, big text, j jsonb, k json, n int);
	ALTER TABLE d ALTER big SET STORAGE EXTERNAL;
	INSERT INTO d VALUES (1, repeat('x', 5000), 'null', ' null ', 1)});
my @later = map { [ feed('d', "encode_json_value_null_as_object, $_") ] } 'envelope = bare, updated', 'envelope = enriched, key_in_value', 'key_column = n, unordered';
wait_feed($node, $_->[0]) for @later;
sql(q{UPDATE d SET n = 2, j = '[null]', k = NULL});
wait_feed($node, $_->[0]) for @later;
my $null = '{"__crdb_json_null__": true}';
is_deeply([ map { s/x{5000}/<big>/r } (map { lines_of("$_->[1]d") } @later[ 0, 1 ]), sort(lines_of("$later[2][1]d")) ], [
		qq([1]->{"__crdb__": {"updated": "<hlc>"}, "big": "<big>", "id": 1, "j": $null, "k": $null, "n": 1}),
		'[1]->{"__crdb__": {"updated": "<hlc>"}, "big": "<big>", "id": 1, "j": [null], "k": null, "n": 2}',
		qq({"id": 1}->{"after": {"big": "<big>", "id": 1, "j": $null, "k": $null, "n": 1}, "key": {"id": 1}, "op": "c", "ts_ns": <ns>}),
		'{"id": 1}->{"after": {"big": "<big>", "id": 1, "j": [null], "k": null, "n": 2}, "key": {"id": 1}, "op": "u", "ts_ns": <ns>}',
		qq([1]->{"after": {"big": "<big>", "id": 1, "j": $null, "k": $null, "n": 1}}),
		'[2]->{"after": {"big": "<big>", "id": 1, "j": [null], "k": null, "n": 2}}' ],
	'values fetched later, JSON nulls told');
cancel(map { $_->[0] } @later);

# The broker refuses a message that it took to be good when the feed began:
# the producer is at its end, and the message that is made anew is known.
make_topic($k, 'small_d', 1);
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE d INTO '$uri?topic_prefix=small_' WITH envelope = enriched, on_bad_message = 'dead_letter'");
wait_feed($node, $job);
my ($ok, $out) = kafka_tool($k, 'kafka.admin.ConfigCommand', '--bootstrap-server', $k->addr, '--alter',
	'--entity-type', 'topics', '--entity-name', 'small_d', '--add-config', 'max.message.bytes=2000');
ok($ok, 'limit of the topic lowered') or diag($out);
sql(q{INSERT INTO d VALUES (2, 'small')});
sql(q{INSERT INTO d SELECT 3, string_agg(md5(i::text), '') FROM generate_series(1, 200) i});
sql(q{INSERT INTO d VALUES (4, 'small')});
wait_feed($node, $job);
is(join(' ', map { /^(\{"id": \d\})/ } lines_of('small_d')), '{"id": 1} {"id": 2} {"id": 4}',
	'a refused enriched message is left out');
is(sql("SELECT string_agg(convert_from(key, 'UTF8'), ' ') FROM cdc_sink.dead_letter WHERE job_id = $job"),
	'{"id": 3}', 'and is a dead letter, once');

done_testing();
