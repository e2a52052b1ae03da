# Options lsn, op and txn: where a row comes from. The last message of a
# transaction is marked as such, however the transaction is cut into batches,
# detached and sent again.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('metadata', conf => q{
cdc_sink.feed_memory = 256kB
cdc_sink.isolation_delay = 20ms
logical_decoding_work_mem = 64kB
});

sub run { return $node->safe_psql('postgres', $_[0]); }

run(q{
	CREATE TABLE t (id int PRIMARY KEY, v text, big text);
	ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
	INSERT INTO t VALUES (0, 'there', repeat('y', 5000))});
my $with = 'updated, lsn, op, txn';

sub feed
{
	my ($options) = @_;
	my ($dir, $uri) = file_dir($node);
	my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH $options");
	ok(wait_status($node, $job, 'running'), "WITH $options runs");
	return ($job, $dir);
}

# Rows in the order of the files' names, by their text: some are too large for
# a parser in Perl.
sub meta
{
	my ($dir) = @_;
	my @rows;
	for my $file (sort glob "$dir/*/*.ndjson")
	{
		for my $line (split /\n/, slurp_file($file))
		{
			my ($big, $v) = $line =~ /^\{"after": \{"big": "(\w*)", "id": \d+, "v": "(\w*)"\}/;
			$line =~ /"key": \[(\d+)\], "lsn": (null|"[^"]+"), "op": "(.)", "txn": (null|\{.*\}), "updated": "[^"]+"\}$/
			  or die "unexpected line in $file: " . substr($line, -300);
			push @rows, { id => $1, op => $3, lsn => $2 =~ tr/"//dr, txn => JSON::PP::decode_json("[$4]")->[0],
				v => $v // '', big => length($big // ''), value => $line };
		}
	}
	return @rows;
}

# Complaints about the messages of whole transactions, in order.
sub check_txns
{
	my (@bad, $xid, $seq, $last);
	for my $m (@_)
	{
		my $t = $m->{txn} or next;
		if (!defined $xid || $t->{xid} ne $xid)
		{
			push @bad, "transaction $xid has no end" if defined $xid && !$last;
			($xid, $seq, $last) = ($t->{xid}, 0, 0);
		}
		push @bad, "$xid: message $t->{seq} behind its last" if $last;
		$seq++;
		push @bad, "$xid: message $t->{seq}, not $seq" if $t->{seq} != $seq;
		$last = $t->{last};
	}
	push @bad, "transaction $xid has no end" if defined $xid && !$last;
	return @bad;
}

# ---- what they say ----
my ($job, $dir) = feed($with);
wait_feed($node, $job);
run(q{
	BEGIN;
	INSERT INTO t VALUES (1, 'a', 'b');
	UPDATE t SET v = 'c' WHERE id = 1;
	UPDATE t SET id = 2 WHERE id = 1;
	DELETE FROM t WHERE id = 2;
	COMMIT;
	INSERT INTO t VALUES (3, 'alone', '')});
# a large value that is fetched later, in the last message and before it
run(q{BEGIN; UPDATE t SET v = 'x' WHERE id = 0; UPDATE t SET v = 'y' WHERE id = 3; COMMIT});
run(q{BEGIN; UPDATE t SET v = 'z' WHERE id = 3; UPDATE t SET v = 'zz' WHERE id = 0; COMMIT});
wait_feed($node, $job);
my @m = meta($dir);
is(join(' ', map { "$_->{op}$_->{id}" } @m), 'r0 c1 u1 d1 c2 d2 c3 u0 u3 u3 u0', 'kinds of changes');
is_deeply([ $m[0]{lsn}, $m[0]{txn} ], [ 'null', undef ], 'a row of the scan is of no transaction');
is(join(' ', map { $_->{txn} ? $_->{txn}{seq} . ($_->{txn}{last} ? '!' : '') : '-' } @m),
	'- 1 2 3 4 5! 1! 1 2! 1 2!', 'numbers in the transactions, and their ends');
is($m[-1]{big}, 5000, 'with a value fetched in the last message');
my %commit = map { $_->{txn} ? ("$_->{txn}{xid} $_->{txn}{commit_lsn}" => 1) : () } @m;
is(scalar(keys %commit), 4, 'one xid and one commit for each');
is(run(join ' AND ', 'SELECT true', map { "'$m[$_]{lsn}'::pg_lsn <= '$m[$_ + 1]{lsn}' AND '$m[$_]{lsn}'::pg_lsn < '$m[$_]{txn}{commit_lsn}'" } 1 .. 4),
	't', 'positions go up and lie before the commit');
like($m[-1]{value}, qr/"txn": \{"commit_lsn": "[0-9A-F]+\/[0-9A-F]+", "last": true, "seq": 2, "xid": \d+\}, "updated"/,
	'members in order');

my ($bare, $bare_dir) = feed("envelope = 'bare', $with, no_initial_scan");
run(q{INSERT INTO t VALUES (4, 'bare', '')});
wait_feed($node, $bare);
my ($b) = rows_of(file_messages($bare_dir));
is_deeply([ @{ $b->{json}{__crdb__} }{qw(op)}, @{ $b->{json}{__crdb__}{txn} }{qw(seq last)} ], [ 'c', 1, JSON::PP::true ],
	'the bare envelope has them beside its other metadata');
run("SELECT changefeed_cancel($bare)");

# ---- transactions larger than a batch, and than the queue ----
my $n = 5000;
run("INSERT INTO t SELECT i, repeat('x', 200), '' FROM generate_series(1001, 1000 + $n) i");
wait_feed($node, $job);
@m = meta($dir);
my @big = grep { $_->{id} > 1000 } @m;
is(scalar(@big), $n, 'all of a large transaction is there');
is(scalar(grep { $_->{txn}{last} } @big), 1, 'with one end');
is_deeply([ check_txns(@m) ], [], 'in order, the end at the end');

# its sink hangs in the middle, is mended, and hangs again
for my $what ('values', 'large values', 'rows that are larger than the queue')
{
	rename $dir, "$dir.away" or die;
	append_to_file($dir, 'in the way');
	if ($what eq 'values')
	{
		run("UPDATE t SET v = repeat('y', 200) WHERE id > 1000");
	}
	elsif ($what eq 'large values')
	{
		run("INSERT INTO t SELECT i, 'large', repeat('z', 20000) FROM generate_series(20001, 20050) i");
		run("UPDATE t SET v = 'fetched' WHERE id > 20000");
	}
	else
	{
		run("INSERT INTO t SELECT i, 'huge', repeat('z', 400000) FROM generate_series(30001, 30003) i");
		run("UPDATE t SET v = 'fetched' WHERE id > 30000");
	}
	ok(poll_until(
			sub {
				run("SELECT running_status FROM changefeed_jobs WHERE job_id = $job") =~ /transient error|catching up/;
			},
			"feed in trouble"), "$what: the feed is in trouble");
	unlink $dir;
	rename "$dir.away", $dir or die;
	ok(wait_running_again($node, $job, 60), "$what: it catches up");
	wait_feed($node, $job);
	@m = meta($dir);
	is_deeply([ check_txns(@m) ], [], "$what: numbers and ends as they should be, nothing twice");
}
is(scalar(grep { $_->{v} eq 'fetched' && $_->{big} >= 20000 } @m), 53, 'large values are all there');

# ---- the same bytes again after a crash ----
rename $dir, "$dir.away" or die;
append_to_file($dir, 'in the way');
run("BEGIN; UPDATE t SET v = 'again' WHERE id BETWEEN 1001 AND 1100; DELETE FROM t WHERE id = 1100; COMMIT");
ok(kill_worker($node, 'lane', 'KILL'), 'killed');
wait_up($node);
unlink $dir;
rename "$dir.away", $dir or die;
ok(wait_running_again($node, $job, 60), 'it goes on');
wait_feed($node, $job);
my (%seen, @once);
for my $m (meta($dir)) { push @once, $m unless $seen{ $m->{value} }++; }
is_deeply([ check_txns(@once) ], [], 'a repeat has the same bytes');
is($once[-1]{txn}{seq}, 101, 'to the last message');

run("SELECT changefeed_cancel($job)");
$node->stop('fast');
done_testing();
