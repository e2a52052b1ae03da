# Option diff when the queue is lost while a scan is under way: the broker
# refuses a message, which ends the producer, and the feed starts over where
# the scan began. Every key still has its row first, then each change.

use strict;
use warnings;

use CdcKafka;
use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 5_000;
my $k = start_kafka();
my $node = new_cluster('diff_replay', conf => 'cdc_sink.feed_memory = 1MB');

sub sql { return $node->safe_psql('postgres', @_); }

make_topic($k, $_, 3) for qw(slow acc);
sql(q{CREATE SEQUENCE vers;
	CREATE TABLE acc (id int PRIMARY KEY, v bigint NOT NULL, pad text);
	CREATE TABLE slow (id int PRIMARY KEY, v bigint NOT NULL);
	ALTER TABLE acc REPLICA IDENTITY FULL; ALTER TABLE slow REPLICA IDENTITY FULL});
sql("INSERT INTO acc SELECT i, nextval('vers'), repeat('p', 100) FROM generate_series(1, $rows) i");
# two chunks
sql("INSERT INTO slow SELECT i, nextval('vers') FROM generate_series(1, 51000) i");

# so many changes of keys of both tables
sub change
{
	my ($n) = @_;
	sql(join ';', map {
			"UPDATE acc SET v = nextval('vers') WHERE id % 97 = " . ($_ % 97) . ' AND id > 100',
			"DELETE FROM acc WHERE id = " . ($rows - $_),
			"UPDATE slow SET v = nextval('vers') WHERE id = " . $_ } $n .. $n + 9);
	return;
}

my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE slow, acc INTO '" . $k->uri
	. "' WITH diff, updated, on_bad_message = 'dead_letter'");
# the scan gets no further than to the second chunk of the first table
my $lock = session($node);
$lock->query('BEGIN; LOCK TABLE slow IN ACCESS EXCLUSIVE MODE');
my ($ok, $out) = kafka_tool($k, 'kafka.admin.ConfigCommand', '--bootstrap-server', $k->addr, '--alter',
	'--entity-type', 'topics', '--entity-name', 'acc', '--add-config', 'max.message.bytes=50000');
ok($ok, 'limit of the topic lowered') or diag($out);
# what stands behind the message that is refused is lost with the producer
sql("BEGIN; UPDATE acc SET pad = repeat('x', 90000), v = nextval('vers') WHERE id = 7;
	UPDATE acc SET v = nextval('vers') WHERE id % 50 = 3; COMMIT");
ok( poll_until(
		sub { sql("SELECT dead_letters > 0 FROM pg_stat_changefeed WHERE job_id = $job") eq 't' },
		'a dead letter'),
	'a message is refused, the producer replaced');
cmp_ok(sql("SELECT retries FROM pg_stat_changefeed WHERE job_id = $job"), '>', 0, 'which was counted');
isnt(sql("SELECT scan_progress FROM changefeed_jobs WHERE job_id = $job"), 'done', 'during the scan');
$lock->query('COMMIT');
change($_ * 10 + 1) for 0 .. 3;
sql("UPDATE acc SET pad = 'small', v = nextval('vers') WHERE id = 7");
wait_feed($node, $job);
is(sql("SELECT string_agg(DISTINCT convert_from(key, 'UTF8'), ' ') FROM cdc_sink.dead_letter WHERE job_id = $job"),
	'[7]', 'no other message is a dead letter');

my (@bad, %state, %newest, %seen);
my @msgs;
for my $topic (qw(slow acc))
{
	my $lines = '';
	IPC::Run::run([ 'timeout', 60, 'kcat', '-b', $k->addr, '-C', '-t', $topic, '-o', 'beginning', '-e', '-q',
			'-X', 'fetch.wait.max.ms=10', '-f', "$topic %k\t%s\n" ],
		'<', \undef, '>', \$lines) or die 'kcat';
	push @msgs, split /\n/, $lines;
}
for my $line (@msgs)
{
	my ($id, $text) = split /\t/, $line;
	$text =~ /^\{"after": (null|\{.*\}), "before": (null|\{.*\}), "updated": "(\d+\.\d{10})"\}$/
	  or die "unexpected message $text";
	my ($after, $before, $updated) = ($1, $2, $3);
	next if $id eq 'acc [7]';	# what it was in between is a dead letter
	if ($seen{"$id $text"}++)
	{
		$state{$id} = $after if $newest{$id} eq $updated;
		next;
	}
	$newest{$id} = $updated
	  if !defined $newest{$id} || hlc_cmp($updated, $newest{$id}) > 0;
	my $want = $state{$id} // 'null';
	push @bad, "$id: before $before, wanted $want" if $before ne $want;
	$state{$id} = $after;
}
ok_none(\@bad, 'before is the after that came before');
my %left = map { split /\|/ } split /\n/,
  sql(q{SELECT 'acc [' || id || ']', v FROM acc WHERE id <> 7 UNION ALL SELECT 'slow [' || id || ']', v FROM slow});
my @wrong;
for my $id (keys %state)
{
	next if $state{$id} eq 'null';
	my ($v) = $state{$id} =~ /"v": (\d+)/;
	push @wrong, "$id is $v" if ($left{$id} // '') ne $v;
	delete $left{$id};
}
push @wrong, map { "$_ is missing" } keys %left;
ok_none(\@wrong, 'and the messages give the table');
cmp_ok(scalar(@msgs), '>', scalar(keys %seen), 'some came again');

done_testing();
