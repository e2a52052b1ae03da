# Constant headers of Kafka messages (option extra_headers): on every message,
# in order, and shown nowhere.

use strict;
use warnings;

use CdcTest;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $k = start_kafka();
my $node = new_cluster('kafka_headers', conf => 'log_statement = none');

$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT i, 'scan' FROM generate_series(1, 2000) i;
});
my $job = create_feed($node,
	qq{CREATE CHANGEFEED FOR t INTO '@{[$k->uri]}' WITH updated, resolved = '200ms', }
	  . q{extra_headers = '{"tenant": "acme", "token": "geheim-kopf", "empty": ""}'});
$node->safe_psql('postgres', "UPDATE t SET v = 'u' || i FROM generate_series(1, 50) i WHERE id % 100 = i;");
$node->safe_psql('postgres', "UPDATE t SET v = 'last' WHERE id <= 20");
$node->safe_psql('postgres', 'DELETE FROM t WHERE id = 1');
wait_feed($node, $job);
poll_until(
	sub { $node->safe_psql('postgres', "SELECT resolved_messages > 0 FROM pg_stat_changefeed") eq 't' },
	'a resolved message');

my ($out, $err);
IPC::Run::run(
	[
		'timeout', 30, 'kcat', '-b', $k->{addr}, '-C', '-t', 't', '-o', 'beginning', '-e', '-q', '-J', '-X', 'fetch.wait.max.ms=10'
	],
	'<', \undef, '>', \$out, '2>', \$err) or die "kcat: $err";
my %seen;
for my $line (split /\n/, $out)
{
	my $m = decode_json($line);
	my $kind = defined $m->{key} ? 'row' : 'resolved';
	$seen{ "$kind " . join ',', @{ $m->{headers} // [] } }++;
}
# jsonb's order: by length, then bytes
my $headers = 'empty,,token,geheim-kopf,tenant,acme';
is_deeply([ sort keys %seen ], [ "resolved $headers", "row $headers" ], 'every message has the headers')
  or diag(explain(\%seen));

my @msgs = kafka_consume($k, 't');
check_guarantees(\@msgs, 'with headers', max => 0);
check_fingerprint($node, 't', 'id', \@msgs, 'the messages give the table');

# a message that is too large with its headers is found before it is sent
my $big = create_feed($node, "CREATE CHANGEFEED FOR t INTO '@{[$k->uri]}?topic_prefix=big_' "
	  . q{WITH initial_scan = 'no', on_bad_message = 'dead_letter', extra_headers = '}
	  . encode_json({ x => 'y' x 16000 }) . q{'});
$node->safe_psql('postgres', "INSERT INTO t VALUES (9001, repeat('a', 1048550 - 16000)), (9002, 'small')");
wait_feed($node, $big);
is($node->safe_psql('postgres', "SELECT string_agg(error, '|') FROM cdc_sink.dead_letter WHERE job_id = $big")
	  =~ s/message of \d+ bytes/message of N bytes/r,
	'message of N bytes is larger than the 1048588 bytes that Kafka topic "big_t" takes',
	'headers count for the size of a message');

# refused
for my $bad ('[]', '{"": "a"}', '{"a": 1}', '{"a": "' . 'x' x 16384 . '"}', '"geheim-kopf"')
{
	my ($rc, $o, $e) = $node->psql('postgres',
		"SELECT changefeed_sql(\$\$CREATE CHANGEFEED FOR t INTO '@{[$k->uri]}' WITH extra_headers = '$bad'\$\$)");
	like($e, qr/extra_headers/, 'refused: ' . substr($bad, 0, 20));
	unlike($e, qr/geheim-kopf|xxx/, 'without its value');
}

my $all = join '', map { $node->safe_psql('postgres', "SELECT v::text FROM $_ v") }
  qw(changefeed_jobs pg_stat_changefeed pg_stat_activity cdc_sink.definition);
unlike($all, qr/geheim-kopf/, 'no view shows a header');
unlike($all, qr/\byyy/, 'not a long one');
unlike(slurp_file($node->logfile), qr/geheim-kopf/, 'nor does the log');

done_testing();
