# Large values that an UPDATE leaves alone are not in the WAL. The rungs of the
# ladder: the old row of REPLICA IDENTITY FULL; the table's row, if it still
# has the very same value; the marker, never NULL and never another value.

use strict;
use warnings;

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('toast');
sub run { return $node->safe_psql('postgres', $_[0]); }

run(q{
	CREATE FUNCTION big(seed text) RETURNS text LANGUAGE sql IMMUTABLE AS
	$$ SELECT string_agg(md5(seed || i), '') FROM generate_series(1, 400) i $$;
	CREATE TABLE t (id int PRIMARY KEY, n int, b1 text, b2 text);
	ALTER TABLE t ALTER b2 SET STORAGE EXTERNAL;
	CREATE TABLE f (LIKE t INCLUDING ALL);
	ALTER TABLE f REPLICA IDENTITY FULL;
	CREATE TABLE p (id int PRIMARY KEY, n int, b1 text, b2 text) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
	INSERT INTO t SELECT i, 0, big('a' || i), big('b' || i) FROM generate_series(1, 20) i;
	INSERT INTO f SELECT * FROM t;
	INSERT INTO p SELECT * FROM t});
my %name = map { split / /, $_ } split /\n/,
  run(q{SELECT md5(big(s || i)) || ' ' || s || i FROM generate_series(1, 60) i, unnest('{a,b,c}'::text[]) s});

my ($dir, $uri) = file_dir($node);
my $job = create_feed($node, "CREATE CHANGEFEED FOR t, f, p INTO '$uri' WITH updated, no_initial_scan");
wait_feed($node, $job);

# what came since: "topic key: n b1 b2", values by their names
my $seen = 0;

sub value
{
	my ($v) = @_;
	return 'NULL' if !defined $v;
	return 'MARK' if $v eq '__cdc_sink_unavailable_value';
	return $name{ run("SELECT md5('$v')") } // 'WRONG';
}

sub news
{
	wait_feed($node, $job);
	my @m = sort { hlc_cmp($a->{updated}, $b->{updated}) || $a->{offset} <=> $b->{offset} } rows_of(file_messages($dir));
	my @new = @m[ $seen .. $#m ];
	$seen = @m;
	return join ', ', map {
		my $k = key_text($_) =~ s/\D//gr;
		ref $_->{after}
		  ? "$_->{topic}$k: $_->{after}{n} " . value($_->{after}{b1}) . ' ' . value($_->{after}{b2})
		  : "$_->{topic}$k gone"
	} @new;
}

# changes while nobody reads, so that the table is further on
sub while_paused
{
	my (@sql) = @_;
	run("SELECT changefeed_pause($job)");
	wait_status($node, $job, 'paused') or die;
	run($_) for @sql;
	run("SELECT changefeed_resume($job)");
	return news();
}

# ---- the table still has it
run('UPDATE t SET n = 1 WHERE id = 1; UPDATE p SET n = 1 WHERE id = 1');
is(news(), 't1: 1 a1 b1, p1: 1 a1 b1', 'from the table, and from a partition');
is( while_paused('UPDATE t SET n = 2 WHERE id = 2', 'UPDATE t SET n = 3 WHERE id = 2'),
	't2: 2 a2 b2, t2: 3 a2 b2', 'also when the row has changed again, but for the value');
is( while_paused('UPDATE t SET b1 = big($$c3$$) WHERE id = 3', 'UPDATE t SET n = 4 WHERE id = 3'),
	't3: 0 c3 b3, t3: 4 c3 b3', 'a value of its own and one left alone');
is( while_paused('UPDATE t SET n = 5 WHERE id = 4', 'VACUUM FULL t', 'VACUUM t'),
	't4: 5 a4 b4', 'the table was rewritten meanwhile');
is( while_paused('UPDATE t SET id = 30, n = 6 WHERE id = 5'),
	't5 gone, t30: 6 a5 b5', 'another key');
is(while_paused('UPDATE t SET b1 = NULL WHERE id = 6'), 't6: 0 NULL b6', 'NULL is NULL');
is( while_paused('BEGIN; INSERT INTO t VALUES (40, 0, big($$a40$$), big($$b40$$)); UPDATE t SET n = 1 WHERE id = 40; COMMIT'),
	't40: 0 a40 b40, t40: 1 a40 b40', 'inserted and updated in one transaction');

# ---- it has not: the marker, and what follows is complete
is( while_paused('UPDATE t SET n = 1 WHERE id = 7', 'UPDATE t SET b1 = big($$c7$$) WHERE id = 7'),
	't7: 1 MARK b7, t7: 1 c7 b7', 'replaced since: marked, and only that value');
is( while_paused('BEGIN; UPDATE t SET n = 1 WHERE id = 8; UPDATE t SET b2 = big($$c8$$) WHERE id = 8; COMMIT'),
	't8: 1 a8 MARK, t8: 1 a8 c8', 'also in one transaction');
is( while_paused('UPDATE t SET n = 1 WHERE id = 9', 'DELETE FROM t WHERE id = 9', 'VACUUM t'),
	't9: 1 MARK MARK, t9 gone', 'deleted since');
is( while_paused('UPDATE t SET n = 1 WHERE id = 10', 'DELETE FROM t WHERE id = 10', 'INSERT INTO t VALUES (10, 2, big($$a10$$), big($$c10$$))'),
	't10: 1 MARK MARK, t10 gone, t10: 2 a10 c10', 'another row with the key: not taken for it, though it holds an equal value');

# ---- REPLICA IDENTITY FULL has it always
is( while_paused('UPDATE f SET n = 1 WHERE id = 7', 'UPDATE f SET b1 = big($$c7$$) WHERE id = 7', 'DELETE FROM f WHERE id = 7', 'VACUUM f'),
	'f7: 1 a7 b7, f7: 1 c7 b7, f7 gone', 'REPLICA IDENTITY FULL: from the old row');

is(feed_status($node, $job), 'running', 'the feed runs');
$node->stop;
done_testing();
