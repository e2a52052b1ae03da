# Large values that an UPDATE leaves alone are not in the WAL. The rungs of the
# ladder: the old row of REPLICA IDENTITY FULL; what the worker has kept of the
# row's last version; the table's row, if it still has the very same value; the
# marker, never NULL and never another value.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use Digest::MD5 qw(md5_hex);
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
my %name;
for my $i (1 .. 60)
{
	for my $s ("a$i", "b$i", "c$i")
	{
		$name{ join '', map { md5_hex($s . $_) } 1 .. 400 } = $s;
	}
}

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
	return $name{$v} // 'WRONG';
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

# ---- what the worker has read since it went on is kept
my @short_life = (
	'INSERT INTO t VALUES (50, 0, big($$a50$$), big($$b50$$))',
	'UPDATE t SET n = 1 WHERE id = 50',
	'UPDATE t SET b1 = big($$c50$$) WHERE id = 50',
	'DELETE FROM t WHERE id = 50');
is( while_paused(@short_life),
	't50: 0 a50 b50, t50: 1 a50 b50, t50: 1 c50 b50, t50 gone',
	'kept, though the table has neither value nor row any more');
is( while_paused(
		'INSERT INTO t VALUES (51, 0, big($$a51$$), big($$b51$$))',
		'UPDATE t SET id = 52, n = 1 WHERE id = 51',
		'UPDATE t SET n = 2 WHERE id = 52',
		'INSERT INTO t VALUES (51, 0, $$x$$, big($$c51$$))',
		'UPDATE t SET n = 1 WHERE id = 51',
		'DELETE FROM t WHERE id IN (51, 52)') =~ s/WRONG/x/gr,
	't51: 0 a51 b51, t51 gone, t52: 1 a51 b51, t52: 2 a51 b51, t51: 0 x c51, t51: 1 x c51, t52 gone, t51 gone',
	'kept under another key');
is( while_paused(
		'INSERT INTO t VALUES (53, 0, big($$a53$$), big($$b53$$))',
		'DELETE FROM t WHERE id = 53',
		'INSERT INTO t VALUES (53, 0, NULL, big($$c53$$))',
		'UPDATE t SET b1 = big($$c53$$), n = 1 WHERE id = 53',
		'UPDATE t SET b1 = NULL, n = 2 WHERE id = 53',
		'UPDATE t SET n = 3 WHERE id = 53',
		'DELETE FROM t WHERE id = 53'),
	't53: 0 a53 b53, t53 gone, t53: 0 NULL c53, t53: 1 c53 c53, t53: 2 NULL c53, t53: 3 NULL c53, t53 gone',
	'of the row that has the key now');
is( while_paused(
		'INSERT INTO t VALUES (55, 0, big($$a55$$), big($$b55$$))',
		'ALTER TABLE t REPLICA IDENTITY FULL',
		'UPDATE t SET n = 1, b1 = big($$c55$$) WHERE id = 55',
		'ALTER TABLE t REPLICA IDENTITY DEFAULT',
		'UPDATE t SET n = 2 WHERE id = 55',
		'DELETE FROM t WHERE id = 55'),
	't55: 0 a55 b55, t55: 1 c55 b55, t55: 2 MARK MARK, t55 gone',
	'not beyond REPLICA IDENTITY FULL, with which nothing is kept');
run('DELETE FROM p');
news();
is( while_paused(
		'INSERT INTO p VALUES (54, 0, big($$a54$$), big($$b54$$))',
		'UPDATE p SET n = 1 WHERE id = 54',
		'ALTER TABLE p ALTER b2 TYPE text USING md5(b2)',
		'UPDATE p SET n = 2 WHERE id = 54',
		'DELETE FROM p WHERE id = 54') =~ s/WRONG/short/gr,
	'p54: 0 a54 b54, p54: 1 a54 b54, p54: 2 MARK short, p54 gone',
	'not beyond a rewrite of the table, which shows no rows');

$node->append_conf('postgresql.conf', 'cdc_sink.toast_cache = 0');
$node->restart;
is( while_paused(@short_life),
	't50: 0 a50 b50, t50: 1 MARK MARK, t50: 1 c50 MARK, t50 gone', 'toast_cache = 0: nothing is kept');
is(feed_status($node, $job), 'running', 'the feed runs');

# ---- never a value of another version: each message against what a trigger
# has noted of the version, while workers die and feeds go back in the WAL
my $seed = $ENV{CDC_SEED} // int(rand(1_000_000));
diag("CDC_SEED=$seed");
$node->append_conf('postgresql.conf', 'cdc_sink.toast_cache = 128kB');
$node->restart;
run(q{
	CREATE SEQUENCE versions;
	CREATE TYPE label AS ENUM ('x', 'y', 'z');
	CREATE TABLE noted (ver bigint PRIMARY KEY, h1 text, h2 text);
	CREATE TABLE r (id int, k text, l label, ver bigint, b1 text, b2 text, PRIMARY KEY (k, id, l))
		PARTITION BY RANGE (id);
	ALTER TABLE r ALTER b2 SET STORAGE EXTERNAL;
	CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (12);
	CREATE TABLE r2 (junk text, ver bigint, b2 text, l label NOT NULL, id int NOT NULL, b1 text, k text NOT NULL);
	ALTER TABLE r2 DROP junk;
	ALTER TABLE r ATTACH PARTITION r2 FOR VALUES FROM (12) TO (24);
	CREATE FUNCTION number() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN NEW.ver := nextval('versions'); RETURN NEW; END $$;
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO noted VALUES (NEW.ver, md5(NEW.b1), md5(NEW.b2)); RETURN NULL; END $$;
	CREATE TRIGGER number BEFORE INSERT OR UPDATE ON r FOR EACH ROW EXECUTE FUNCTION number();
	CREATE TRIGGER note AFTER INSERT OR UPDATE ON r FOR EACH ROW EXECUTE FUNCTION note();
	CREATE FUNCTION value() RETURNS text LANGUAGE sql AS
	$$ SELECT CASE WHEN x < 0.08 THEN NULL WHEN x < 0.16 THEN 'small'
		WHEN x < 0.3 THEN (SELECT repeat(string_agg(md5(x::text || i), ''), 2) FROM generate_series(1, 80) i)
		ELSE (SELECT string_agg(md5(x::text || i), '') FROM generate_series(1, (x ^ 4 * 600)::int + 1) i) END
		FROM random() x $$;
	CREATE FUNCTION change() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		n int := random() * 22;
		x float8 := random();
	BEGIN
		INSERT INTO r SELECT n, md5(n::text), 'x', 0, value(), value()
			WHERE NOT EXISTS (SELECT FROM r WHERE id = n);
		CASE
			WHEN x < 0.45 THEN UPDATE r SET ver = 0 WHERE id = n;
			WHEN x < 0.6 THEN UPDATE r SET b1 = value() WHERE id = n;
			WHEN x < 0.7 THEN UPDATE r SET b2 = value() WHERE id = n;
			WHEN x < 0.75 THEN UPDATE r SET b1 = b2, b2 = b1 WHERE id = n;
			WHEN x < 0.85 THEN UPDATE r SET k = repeat(k, 1 + (random() * 9)::int) WHERE id = n AND length(k) < 2000;
			WHEN x < 0.89 THEN UPDATE r SET l = (enum_range(l))[1] WHERE id = n;
			WHEN x < 0.93 THEN UPDATE r SET id = (id + 12) % 24, b1 = value()
				WHERE id = n AND NOT EXISTS (SELECT FROM r WHERE id = (n + 12) % 24);
			WHEN x < 0.995 THEN DELETE FROM r WHERE id = n;
			ELSE TRUNCATE r;
		END CASE;
	END $$;
	CREATE PROCEDURE churn(times int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. times LOOP
			IF random() < 0.1 THEN
				BEGIN
					PERFORM change(), change();
					RAISE division_by_zero;
				EXCEPTION WHEN division_by_zero THEN
				END;
			END IF;
			PERFORM change();
			IF random() < 0.5 THEN COMMIT; END IF;
		END LOOP;
	END $$});
run("SELECT changefeed_cancel($job)");
my (@dirs, @jobs);
for (1, 2)
{
	my ($d, $u) = file_dir($node);
	push @dirs, $d;
	push @jobs, create_feed($node,
		"CREATE CHANGEFEED FOR r INTO '$u' WITH updated, no_initial_scan, schema_change_policy = nobackfill, truncate = ignore");
}
my $churn = sub { run("SELECT setseed(" . ($seed++ % 1000) / 1000 . "); CALL churn($_[0])") };
$churn->(300);
run("SELECT changefeed_pause($jobs[0])");
$churn->(200);
run("SELECT changefeed_resume($jobs[0])");
run(q{ALTER TYPE label RENAME VALUE 'y' TO 'w'; ALTER TYPE label RENAME VALUE 'x' TO 'y'; ALTER TYPE label RENAME VALUE 'w' TO 'x'});
$churn->(200);
kill_worker($node, 'lane', 'TERM');
run(q{ALTER TABLE r ALTER b1 TYPE text USING b1 || '!'});
$churn->(200);
run('ALTER TABLE r1 REPLICA IDENTITY FULL');
$churn->(50);
run('ALTER TABLE r1 REPLICA IDENTITY DEFAULT');
$churn->(100);
run('VACUUM FULL r; VACUUM r');
kill_worker($node, 'lane', 'KILL');
poll_until(sub { $node->psql('postgres', 'SELECT') == 0 }, 'the server is back') or die;
$churn->(200);
run("SELECT changefeed_pause($_)") for @jobs;
wait_status($node, $_, 'paused') or die for @jobs;
$churn->(200);
run('DELETE FROM r');
run("SELECT changefeed_resume($_)") for @jobs;

my %noted = map { my ($v, @h) = split /\|/, $_, -1; $v => \@h } split /\n/, run('SELECT * FROM noted');
for my $i (0, 1)
{
	wait_feed($node, $jobs[$i]);
	my (@wrong, %seen, $marks);
	for my $m (rows_of(file_messages($dirs[$i])))
	{
		my $after = $m->{after};
		next if ref $after ne 'HASH';
		my @got = map { defined $_ ? $_ : '' } @$after{qw(b1 b2)};
		my $known = $noted{ $after->{ver} } // [ '?', '?' ];
		for (0, 1)
		{
			if ($got[$_] eq '__cdc_sink_unavailable_value') { $marks++; next; }
			push @wrong, "version $after->{ver} column " . ($_ + 1)
			  if ($got[$_] eq '' ? '' : md5_hex($got[$_])) ne $known->[$_];
		}
		$seen{ $after->{ver} } = 1;
	}
	is_deeply(\@wrong, [], 'feed ' . ($i + 1) . ': no value of another version');
	is(join(' ', grep { !$seen{$_} } sort keys %noted), '', '... and no version is missing');
	note("marked: $marks of " . keys %noted);
}
$node->stop;
done_testing();
