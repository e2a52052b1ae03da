# Option diff: `before` of every message is the `after` of the key's message
# before it, also while the initial scan is under way, over pauses and the end
# of the worker; and what ends such a feed.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 55_000;
my $node = new_cluster('diff', conf => 'cdc_sink.feed_memory = 2MB');

sub sql { return $node->safe_psql('postgres', @_); }

# Lines of a feed in the order of arrival within its files: topic, key, after
# and before as text, stamp.
sub lines_of
{
	my ($dir) = @_;
	my @msgs;
	for my $file (sort glob("$dir/*/*.ndjson"))
	{
		my ($topic) = $file =~ /-[0-9a-f]{8}-(.+)-[0-9a-f]+\.ndjson$/;
		for my $line (split /\n/, slurp_file($file))
		{
			$line =~ /^\{"after": (null|\{.*\}), "before": (null|\{.*\}), "key": (\[.*?\]), "updated": "(\d+\.\d{10})"\}$/
			  or die "unexpected line $line";
			push @msgs, { topic => $topic, after => $1, before => $2, key => $3, updated => $4,
				line => $line };
		}
	}
	return @msgs;
}

# The first message of a key has no before; each other one the after of the
# one in front of it. What was sent before may come again.
sub check_before
{
	my (@bad, %state, %newest, %seen);
	for my $m (@_)
	{
		my $k = "$m->{topic} $m->{key}";
		if ($seen{ "$k $m->{line}" }++)
		{
			$state{$k} = $m->{after} if $newest{$k} eq $m->{updated};
			next;
		}
		$newest{$k} = $m->{updated}
		  if !defined $newest{$k} || hlc_cmp($m->{updated}, $newest{$k}) > 0;
		my $want = $state{$k} // 'null';
		push @bad, "$m->{topic}: $m->{line}, wanted before $want" if $m->{before} ne $want;
		$state{$k} = $m->{after};
	}
	return \@bad, \%state;
}

# The stream is read in the order of files; stamps decide between files.
sub by_stamp
{
	my $n = 0;
	$_->{n} = $n++ for @_;
	return sort { hlc_cmp($a->{updated}, $b->{updated}) || $a->{n} <=> $b->{n} } @_;
}

sub check_state
{
	my ($state, $name) = @_;
	my @bad;
	my $table = load_state($node);
	my %key = (acc => '(\d+)', ord => '(\d+), ("[^"]*")', doc => '("[^"]*")');
	for my $t (sort keys %$table)
	{
		my %left = %{ $table->{$t} };
		for my $k (grep { /^$t / } keys %$state)
		{
			next if $state->{$k} eq 'null';
			$k =~ /^$t \[$key{$t}\]$/ or die $k;
			my $id = join '|', map { s/"//gr } grep { defined } $1, $2;
			my ($v) = $state->{$k} =~ /"v": (\d+)/;
			push @bad, "$k: $v, not " . ($left{$id} // 'gone') if ($left{$id} // '') ne $v;
			delete $left{$id};
		}
		push @bad, map { "$t $_ is missing" } keys %left;
	}
	return ok_none(\@bad, $name);
}

load_setup($node);
sql("ALTER TABLE $_ REPLICA IDENTITY FULL") for qw(acc ord doc);
load_fill($node, $rows, 2000);
my $load = load_start($node, $rows, rate => 300);

# feeds whose scans run among writers: one in peace, one that is paused in the
# middle of it, one whose worker ends
my (@dirs, @jobs);
for my $i (0 .. 1)
{
	my ($dir, $uri) = file_dir($node);
	push @dirs, $dir;
	push @jobs, create_feed($node,
		"CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '$uri' WITH diff, updated, min_checkpoint_frequency = '100ms'");
}
poll_until(
	sub { sql("SELECT scan_progress ~ 'rows' FROM changefeed_jobs WHERE job_id = $jobs[1]") =~ /t|^$/ },
	'scan is under way');
sql("SELECT changefeed_pause($jobs[1])");
ok(wait_status($node, $jobs[1], 'paused'), 'paused during the scan');
sql("SELECT changefeed_resume($jobs[1])");
kill_worker($node, 'lane', 'TERM');
my ($dir2, $uri2) = file_dir($node);
push @dirs, $dir2;
push @jobs, create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '$uri2' WITH diff, updated, initial_scan = 'no'");
for my $job (@jobs[ 0, 1 ])
{
	ok( poll_until(
			sub { sql("SELECT scan_progress FROM changefeed_jobs WHERE job_id = $job") eq 'done' },
			"scan of job $job", 120),
		'the scan comes to its end');
}
load_stop($load);
ok(wait_running_again($node, $_), "job $_ has caught up") for @jobs;
for my $i (0 .. 1)
{
	my @msgs = by_stamp(lines_of($dirs[$i]));
	my ($bad, $state) = check_before(@msgs);
	cmp_ok(scalar(@msgs), '>=', $rows, 'messages of feed ' . ($i + 1));
	ok_none($bad, 'before is the after that came before');
	check_state($state, 'and the messages give the tables');
}

# without a scan the first before is what the row was
my %seen;
my @first = grep { !$seen{"$_->{topic} $_->{key}"}++ } by_stamp(lines_of($dirs[2]));
ok((grep { $_->{before} ne 'null' && $_->{after} ne 'null' } @first) > 0,
	'no scan: the first message of a key has its row before');
sql("SELECT changefeed_cancel($_)") for @jobs;

# large values that an update leaves alone, nulls, and a key that moves
sql(q{CREATE TABLE big (id int PRIMARY KEY, n int, t text, x text);
	ALTER TABLE big ALTER t SET STORAGE EXTERNAL, REPLICA IDENTITY FULL});
my ($dir, $uri) = file_dir($node);
my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE big INTO '$uri' WITH diff, updated");
sql(q{INSERT INTO big VALUES (1, 1, repeat('0123456789', 1000))});
sql(q{UPDATE big SET n = 2});
sql(q{UPDATE big SET id = 2});
sql(q{DELETE FROM big});
wait_feed($node, $job);
my @m = map { my $l = $_->{line}; $l =~ s/(0123456789){1000}/<big>/g; $l =~ s/, "updated.*//; $l }
  lines_of($dir);
is_deeply(\@m, [
		'{"after": {"id": 1, "n": 1, "t": "<big>", "x": null}, "before": null, "key": [1]',
		'{"after": {"id": 1, "n": 2, "t": "<big>", "x": null}, "before": {"id": 1, "n": 1, "t": "<big>", "x": null}, "key": [1]',
		'{"after": null, "before": {"id": 1, "n": 2, "t": "<big>", "x": null}, "key": [1]',
		'{"after": {"id": 2, "n": 2, "t": "<big>", "x": null}, "before": null, "key": [2]',
		'{"after": null, "before": {"id": 2, "n": 2, "t": "<big>", "x": null}, "key": [2]' ],
	'insert, update, key moved, delete; large values on both sides');

# a backfill: before is the row without the column that came
sql(q{CREATE TABLE grown (id int PRIMARY KEY, a text); ALTER TABLE grown REPLICA IDENTITY FULL;
	INSERT INTO grown SELECT i, 'r' || i FROM generate_series(1, 3) i});
my ($grown_dir, $grown_uri) = file_dir($node);
my $grown = create_feed($node, "CREATE CHANGEFEED FOR TABLE grown INTO '$grown_uri' WITH diff, updated");
wait_feed($node, $grown);
sql(q{BEGIN; ALTER TABLE grown ADD COLUMN "0" int DEFAULT 7, ADD COLUMN z int DEFAULT 8; COMMIT;
	UPDATE grown SET a = 'new' WHERE id = 2});
wait_feed($node, $grown);
ok( poll_until(sub { wait_feed($node, $grown); scalar(lines_of($grown_dir)) >= 7 }, 'rows of the backfill'),
	'a column is added: a backfill');
is_deeply([ sort map { $_->{line} =~ s/, "updated.*//r } grep { $_->{after} =~ /"z"/ } lines_of($grown_dir) ], [
		'{"after": {"0": 7, "a": "new", "id": 2, "z": 8}, "before": {"0": 7, "a": "r2", "id": 2, "z": 8}, "key": [2]',
		'{"after": {"0": 7, "a": "r1", "id": 1, "z": 8}, "before": {"a": "r1", "id": 1}, "key": [1]',
		'{"after": {"0": 7, "a": "r2", "id": 2, "z": 8}, "before": {"a": "r2", "id": 2}, "key": [2]',
		'{"after": {"0": 7, "a": "r3", "id": 3, "z": 8}, "before": {"a": "r3", "id": 3}, "key": [3]' ],
	'its rows have the row before without the new columns, also one that is changed meanwhile');
sql("SELECT changefeed_cancel($grown)");

# the replica identity goes: what was before is sent, then the feed ends
sql(q{INSERT INTO big VALUES (3); ALTER TABLE big REPLICA IDENTITY DEFAULT; UPDATE big SET n = 3});
ok(wait_status($node, $job, 'failed'), 'without REPLICA IDENTITY FULL the feed fails');
like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $job"),
	qr/option diff needs REPLICA IDENTITY FULL on table "public\.big"/, 'and says why');
is((lines_of($dir))[-1]{key}, '[3]', 'what came before it is there');

# a partition that does not have it
sql(q{CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE leaf1 PARTITION OF root FOR VALUES FROM (0) TO (10);
	ALTER TABLE root REPLICA IDENTITY FULL; ALTER TABLE leaf1 REPLICA IDENTITY FULL});
($dir, $uri) = file_dir($node);
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE root INTO '$uri' WITH diff, updated");
sql(q{INSERT INTO root VALUES (1);
	CREATE TABLE leaf2 PARTITION OF root FOR VALUES FROM (10) TO (20);
	INSERT INTO root VALUES (11)});
ok(wait_status($node, $job, 'failed'), 'a new partition without REPLICA IDENTITY FULL ends the feed');
like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $job"),
	qr/option diff needs REPLICA IDENTITY FULL on table "public\.leaf2"/, 'and is named');

done_testing();
