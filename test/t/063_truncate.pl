# TRUNCATE with truncate = 'emit' and 'ignore': the message stands where it
# belongs, on every partition, also beside a scan and for partitioned tables.

use strict;
use warnings;

use CdcKafka;
use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('truncate');
my ($dir, $job);

sub run { return $node->safe_psql('postgres', $_[0]); }

sub new_feed
{
	my ($tables, $options) = @_;
	($dir, my $uri) = file_dir($node);
	$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE $tables INTO '$uri' WITH updated$options");
	wait_feed($node, $job);
	return;
}

# "id" for rows, "id-" for deletes, "T(table)" for a TRUNCATE
sub shown
{
	return join ' ', map {
		my $k = defined $_->{key} ? key_text($_) : '';
		$k =~ s/[\["\]]//g;
		$_->{json}{truncate} ? "T($_->{json}{truncate}{table})"
		  : ref $_->{after} ? $_->{after}{id} : "$k-"
	} @_;
}

sub messages { return rows_of(file_messages($dir)); }

# ---- emit ----
run(q{CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY, CONSTRAINT f FOREIGN KEY (id) REFERENCES t);
	INSERT INTO t VALUES (1)});
new_feed('t, u', ", truncate='emit'");
run(q{
	INSERT INTO t VALUES (2);
	TRUNCATE t CASCADE;
	INSERT INTO t VALUES (3);
	BEGIN; INSERT INTO t VALUES (4); TRUNCATE t, u; INSERT INTO t VALUES (5); COMMIT;
	BEGIN; TRUNCATE t, u; ROLLBACK;
	DELETE FROM t});
wait_feed($node, $job);
my @all = messages();
is(shown(grep { $_->{topic} eq 't' } @all), '1 2 T(public.t) 3 4 T(public.t) 5 5-', 'in the order of the commits and within them');
is(shown(grep { $_->{topic} eq 'u' } @all), 'T(public.u) T(public.u)', 'CASCADE: each table in its topic');
my ($four) = grep { ref $_->{after} && $_->{after}{id} == 4 } @all;
my ($t) = (grep { $_->{json}{truncate} && $_->{topic} eq 't' } @all)[1];
is($t->{json}{updated}, $four->{updated}, 'with the stamp of its transaction');
is(feed_status($node, $job), 'running', 'and the feed goes on');
run("SELECT changefeed_cancel($job)");

# ---- ignore ----
run('TRUNCATE t, u');
new_feed('t', ", truncate='IGNORE'");
run('INSERT INTO t VALUES (2); TRUNCATE t, u; INSERT INTO t VALUES (3)');
wait_feed($node, $job);
is(shown(messages()), '2 3', 'ignored');
run("SELECT changefeed_cancel($job)");

# ---- partitions ----
run(q{
	CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (10);
	CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
	INSERT INTO p VALUES (1), (11)});
new_feed('p', ", truncate='emit'");
run('TRUNCATE p; INSERT INTO p VALUES (2), (12); TRUNCATE p1; INSERT INTO p VALUES (3)');
wait_feed($node, $job);
like(shown(messages()), qr/^(1 11|11 1) T\(public\.p\) 2 12 T\(public\.p1\) 3$/, 'the root once, or the partition by its name');
run("SELECT changefeed_cancel($job)");

# ---- beside a scan: what it reads later must not come back ----
run(q{
	CREATE TABLE s (id int PRIMARY KEY);
	CREATE TABLE hold (id int PRIMARY KEY);
	INSERT INTO s SELECT generate_series(1, 1000)});
($dir, my $uri) = file_dir($node);
my $create = session($node);
$job = $create->query("BEGIN; SELECT changefeed_create('{hold,s}', '$uri', '{\"updated\": true, \"truncate\": \"emit\"}')");
my $hold = session($node);
$hold->send('BEGIN; LOCK TABLE hold IN ACCESS EXCLUSIVE MODE');
poll_until(sub { run("SELECT count(*) FROM pg_locks WHERE relation = 'hold'::regclass AND NOT granted") > 0 }, 'lock is queued', 20);
$create->query('COMMIT');
$create->close;
$hold->wait;
run('INSERT INTO s VALUES (2000); TRUNCATE s; INSERT INTO s VALUES (2001)');
$hold->query('COMMIT');
$hold->close;
wait_feed($node, $job);
is(shown(messages()), '2000 T(public.s) 2001', 'a table that was truncated while its scan waited');
run("SELECT changefeed_cancel($job)");

# ---- every partition of a topic ----
my $k = start_kafka(conf => ['num.partitions=3']);
run('TRUNCATE t, u');
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '" . $k->uri . "' WITH updated, truncate='emit'");
run('INSERT INTO t SELECT generate_series(1, 300); TRUNCATE t, u; INSERT INTO t SELECT generate_series(1, 300)');
wait_feed($node, $job);
my %seen;
push @{ $seen{ $_->{partition} } }, $_ for rows_of($k->consume('t'));
is(scalar(keys %seen), 3, 'three partitions');
for my $p (sort keys %seen)
{
	my @of = @{ $seen{$p} };
	my @at = grep { $of[$_]{json}{truncate} } 0 .. $#of;
	is(scalar(@at), 1, "partition $p: one message of the TRUNCATE");
	is($at[0], (scalar(@of) - 1) / 2, 'between the rows before and those behind');
	is($of[ $at[0] ]{key}, undef, 'without a key');
}
$k->stop;

$node->stop;
done_testing();
