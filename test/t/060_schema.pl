# What happens to tables while a feed runs: columns, keys, partitions, rights,
# TRUNCATE, DROP; and all the kinds of transactions there are.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('schema', conf => 'logical_decoding_work_mem = 64kB');
my ($dir, $job);

# new_feed('table', options): sets $dir and $job; the table is new and empty
sub new_feed
{
	my ($tables, $options, $sql) = @_;
	$node->safe_psql('postgres', $sql) if $sql;
	($dir, my $uri) = file_dir($node);
	$job = create_feed($node,
		"CREATE CHANGEFEED FOR TABLE $tables INTO '$uri' WITH updated" . ($options // ''));
	ok(wait_status($node, $job, 'running'), "feed of $tables runs");
	return;
}

sub run { return $node->safe_psql('postgres', $_[0]); }

sub msgs { return rows_of(file_messages($_[0] // $dir)); }

# "key:v" of each message in order, "key-" for deletes
sub shown
{
	my ($column, $d) = @_;
	return join ' ', map {
		my $k = key_text($_);
		$k =~ s/^\[|\]$|"//g;
		ref $_->{after} ? "$k:" . ($_->{after}{$column} // 'null') : "$k-"
	} msgs($d);
}

sub status_error
{
	return run("SELECT status || ': ' || error FROM changefeed_jobs WHERE job_id = $job");
}

# ends_with(qr/error/, 'shown', 'what'): fails with this, everything before sent
sub fails_with
{
	my ($re, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_status($node, $job, 'failed', 30), "$what: the feed fails");
	like(status_error(), $re, "$what: and names why");
	return;
}

# ---- columns ----
new_feed('c', ", schema_change_policy='nobackfill'", 'CREATE TABLE c (id int PRIMARY KEY, v text, w int)');
run(q{
	INSERT INTO c VALUES (1, 'a', 1);
	ALTER TABLE c ADD COLUMN x int DEFAULT 7;
	INSERT INTO c VALUES (2, 'b', 2, 8);
	UPDATE c SET v = 'aa' WHERE id = 1;
	ALTER TABLE c DROP COLUMN w;
	INSERT INTO c VALUES (3, 'c', 9);
	ALTER TABLE c RENAME COLUMN v TO vv;
	INSERT INTO c VALUES (4, 'd', 10);
	ALTER TABLE c ALTER COLUMN x TYPE text;
	INSERT INTO c VALUES (5, 'e', 'text');
	BEGIN;
	INSERT INTO c VALUES (6, 'in', 'one');
	ALTER TABLE c ADD COLUMN z int;
	INSERT INTO c VALUES (7, 'in', 'one', 1);
	ALTER TABLE c DROP COLUMN z;
	INSERT INTO c VALUES (8, 'in', 'one');
	COMMIT;
	BEGIN; ALTER TABLE c ADD COLUMN never int; INSERT INTO c VALUES (9, 'x', 'x', 1); ROLLBACK;
	INSERT INTO c VALUES (10, 'end', 'end');
	ALTER TABLE c RENAME TO c_new;
	INSERT INTO c_new VALUES (11, 'renamed', 'table');
});
wait_feed($node, $job);
is_deeply(
	[ map { $_->{after} } msgs() ],
	[
		{ id => 1, v => 'a', w => 1 },
		{ id => 2, v => 'b', w => 2, x => 8 },
		{ id => 1, v => 'aa', w => 1, x => 7 },
		{ id => 3, v => 'c', x => 9 },
		{ id => 4, vv => 'd', x => 10 },
		{ id => 5, vv => 'e', x => 'text' },
		{ id => 6, vv => 'in', x => 'one' },
		{ id => 7, vv => 'in', x => 'one', z => 1 },
		{ id => 8, vv => 'in', x => 'one' },
		{ id => 10, vv => 'end', x => 'end' },
		{ id => 11, vv => 'renamed', x => 'table' } ],
	'each row with the columns of its moment');
is(feed_status($node, $job), 'running', 'column changes do not end a feed');
run("SELECT changefeed_cancel($job)");

# ---- TRUNCATE ----
new_feed('tr, tr2', '', q{
	CREATE TABLE tr (id int PRIMARY KEY, v text);
	CREATE TABLE tr2 (id int PRIMARY KEY, v text)});
run(q{INSERT INTO tr SELECT i, 'before' FROM generate_series(1, 2000) i; INSERT INTO tr2 VALUES (1, 'x'); TRUNCATE tr});
fails_with(qr/^failed: "tr" was truncated/, 'TRUNCATE');
is(scalar(msgs()), 2001, 'TRUNCATE: everything before it was sent');

new_feed('tr, tr2', ", on_error='pause'", 'TRUNCATE tr, tr2');
run(q{
	BEGIN;
	INSERT INTO tr VALUES (1, 'same transaction, before');
	INSERT INTO tr2 VALUES (1, 'before');
	TRUNCATE tr;
	INSERT INTO tr VALUES (2, 'same transaction, behind');
	INSERT INTO tr2 VALUES (2, 'behind');
	COMMIT;
	INSERT INTO tr VALUES (3, 'next')});
ok(wait_status($node, $job, 'paused'), 'TRUNCATE with on_error=pause: paused');
like(run("SELECT running_status FROM changefeed_jobs WHERE job_id = $job"),
	qr/"tr" was truncated.*on_error=pause/, 'and says why');
run("SELECT changefeed_resume($job)");
ok(wait_status($node, $job, 'running'), 'resumes');
wait_feed($node, $job);
is(join(' ', sort map { "$_->{topic}$_->{after}{id}" } msgs()),
	'tr1 tr2 tr21 tr22 tr3', 'a resume loses nothing of the same transaction, and repeats nothing');
is(feed_status($node, $job), 'running', 'and goes on');
run("SELECT changefeed_cancel($job)");

# ---- DROP TABLE ----
new_feed('dr, dr2', '', q{
	CREATE TABLE dr (id int PRIMARY KEY, v text);
	CREATE TABLE dr2 (id int PRIMARY KEY)});
run(q{INSERT INTO dr SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i;
	BEGIN; INSERT INTO dr VALUES (0, 'and the table goes'); DROP TABLE dr; COMMIT});
fails_with(qr/^failed: "(public\.)?dr" was dropped/, 'DROP TABLE');
is(scalar(msgs()), 20001, 'DROP TABLE: everything before it was sent');

# ---- a table without columns, all of which are its key
new_feed('nothing', '', q{
	CREATE TABLE nothing (); ALTER TABLE nothing REPLICA IDENTITY FULL});
run('INSERT INTO nothing DEFAULT VALUES; DELETE FROM nothing');
wait_feed($node, $job);
is(join(' ', map { key_text($_) . (ref $_->{after} ? ':' . keys %{ $_->{after} } : '-') } msgs()),
	'[]:0 []-', 'no columns at all');
run("SELECT changefeed_cancel($job)");

# ---- what else ends a feed: no key, unlogged, rights, row security
sub ends_feed
{
	my ($what, $sql, $re) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	new_feed('e', '', q{
		DROP TABLE IF EXISTS e; CREATE TABLE e (id int PRIMARY KEY, k2 int NOT NULL DEFAULT 0, v text);
		CREATE UNIQUE INDEX e_k2 ON e (id, k2)});
	run(q{INSERT INTO e SELECT i, i, repeat('y', 100) FROM generate_series(1, 20000) i});
	run("$sql; INSERT INTO e (id, k2, v) VALUES (-1, -1, 'behind')");
	fails_with($re, $what);
	my @m = msgs();
	is(scalar(grep { $_->{after}{id} > 0 && defined $_->{after}{v} } @m), 20000, "$what: everything before it was sent");
	is(scalar(grep { $_->{after}{id} < 0 } @m), 0, "$what: and nothing behind it");
	return;
}
ends_feed('no primary key',
	'ALTER TABLE e DROP CONSTRAINT e_pkey', qr/table "public\.e" has neither a primary key nor another replica identity/);
ends_feed('replica identity that is not the key',
	'ALTER TABLE e REPLICA IDENTITY USING INDEX e_k2; UPDATE e SET v = NULL WHERE id = 1', qr/replica identity does not tell/);
ends_feed('SET UNLOGGED', 'ALTER TABLE e SET UNLOGGED', qr/no longer logged/);

# another key, while no worker looks and no row is written in between
new_feed('k', '', q{CREATE TABLE k (id int PRIMARY KEY, k2 int NOT NULL)});
run(q{INSERT INTO k VALUES (1, 1)});
wait_feed($node, $job);
run("SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'paused');
run(q{ALTER TABLE k DROP CONSTRAINT k_pkey, ADD PRIMARY KEY (id, k2)});
$node->restart;
run("SELECT changefeed_resume($job)");
run(q{INSERT INTO k VALUES (2, 2); UPDATE k SET k2 = 3 WHERE id = 1; DELETE FROM k WHERE id = 2});
wait_feed($node, $job);
is(shown('k2'), '1:1 2,2:2 1,1- 1,3:3 2,2-', 'another key while paused: later rows have it');
run("SELECT changefeed_cancel($job)");

# with the owner's rights
sub owner_feed
{
	my ($options) = @_;
	($dir, my $uri) = file_dir($node);
	run(q{
		DROP TABLE IF EXISTS o;
		DROP ROLE IF EXISTS feeder;
		CREATE ROLE feeder LOGIN;
		GRANT EXECUTE ON FUNCTION changefeed_create(text[], text, jsonb) TO feeder;
		CREATE TABLE o (id int PRIMARY KEY, v text);
		GRANT SELECT ON o TO feeder});
	$job = run(qq{
		SET SESSION AUTHORIZATION feeder;
		SELECT changefeed_create('{o}', 'null://', '{"initial_scan": "no"$options}')});
	ok(wait_status($node, $job, 'running'), 'a feed of an ordinary role');
	run(q{INSERT INTO o SELECT i, 'x' FROM generate_series(1, 5000) i});
	return;
}
owner_feed('');
run('REVOKE SELECT ON o FROM feeder');
fails_with(qr/may no longer read/, 'REVOKE');
is( run("SELECT messages FROM cdc_sink.feed_stats() WHERE job_id = $job") || '5000',
	'5000', 'REVOKE: everything before it was sent');
run('DROP OWNED BY feeder');
owner_feed('');
run('ALTER TABLE o ENABLE ROW LEVEL SECURITY');
fails_with(qr/row security/, 'row security');
run('DROP OWNED BY feeder');
owner_feed(', "on_error": "pause"');
my ($rc, $out, $err) = $node->psql('postgres', 'REASSIGN OWNED BY feeder TO postgres; DROP OWNED BY feeder; DROP ROLE feeder');
if ($rc == 0)
{
	ok( poll_until(
			sub { feed_status($node, $job) =~ /^(running|paused)$/ }, 'owner gone'),
		'the owner is reassigned or gone: the feed runs on or is paused');
	diag('owner gone: ', run("SELECT status || ' ' || coalesce(running_status, '') FROM changefeed_jobs WHERE job_id = $job"));
}
else
{
	like($err, qr/depend|cannot be dropped/, 'the owner cannot be dropped while the feed depends on it');
}
run("SELECT changefeed_cancel($job)");

# ---- partitions ----
new_feed('p', '', q{
	CREATE TABLE p (id int, part int, v text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
	CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
	CREATE TABLE p2 (v text, gone int, part int NOT NULL, id int NOT NULL);
	ALTER TABLE p2 DROP COLUMN gone;
	ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2);
	INSERT INTO p VALUES (1, 1, 'scan'), (2, 2, 'scan')});
wait_feed($node, $job);
run(q{
	INSERT INTO p VALUES (3, 1, 'new');
	UPDATE p SET part = 2, v = 'moved' WHERE id = 3;
	UPDATE p SET v = 'again' WHERE id = 3;
	CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3);
	INSERT INTO p VALUES (4, 3, 'new leaf');
	DELETE FROM p WHERE id = 2;
	CREATE TABLE p4 (LIKE p INCLUDING ALL);
	INSERT INTO p4 VALUES (5, 4, 'not watched yet');
	ALTER TABLE p ATTACH PARTITION p4 FOR VALUES IN (4);
	INSERT INTO p VALUES (6, 4, 'attached');
	ALTER TABLE p DETACH PARTITION p1;
	INSERT INTO p1 VALUES (7, 1, 'not watched any more')});
wait_feed($node, $job);
my $got = shown('v');
like($got, qr/^(1,1:scan 2,2:scan|2,2:scan 1,1:scan) /, 'a partitioned table is scanned through its root');
$got =~ s/^1,1:scan 2,2:scan |^2,2:scan 1,1:scan //;
ok($got =~ s/ ?\b5,4:not watched yet//, 'rows of a partition that is attached are sent');
is( $got,
	'3,1:new 3,1- 3,2:moved 3,2:again 4,3:new leaf 2,2- 6,4:attached',
	'rows that move between partitions, new leaves, attach and detach');
is(join(' ', sort keys %{ { map { $_->{topic} => 1 } msgs() } }), 'p', 'all under the root\'s name');
run("SELECT changefeed_cancel($job)");

# ---- keys and identities ----
new_feed('pk, f', ", initial_scan='no'", q{
	CREATE TABLE pk (id int PRIMARY KEY, v text);
	CREATE TABLE f (a int, b text);
	ALTER TABLE f REPLICA IDENTITY FULL;
	INSERT INTO f VALUES (1, 'x'), (1, 'x')});
run(q{
	INSERT INTO pk VALUES (1, 'a'), (2, 'b');
	UPDATE pk SET id = 3 WHERE id = 1;
	UPDATE pk SET id = id + 100;
	DELETE FROM pk WHERE id = 103;
	INSERT INTO f VALUES (2, NULL);
	UPDATE f SET b = 'y' WHERE a = 2;
	DELETE FROM f WHERE a = 2});
wait_feed($node, $job);
my @m = msgs();
my $pk = join ' ', map { my $k = key_text($_); $k =~ s/[\["\]]//g; $k . (ref $_->{after} ? ':' . $_->{after}{v} : '-') }
  grep { $_->{topic} eq 'pk' } @m;
is($pk, '1:a 2:b 1- 3:a 2- 102:b 3- 103:a 103-', 'a changed key is delete and insert');
my $full = join ' ', map { key_text($_) . (ref $_->{after} ? '' : '-') } grep { $_->{topic} eq 'f' } @m;
is($full, '["2",null] ["2",null]- ["2","y"] ["2","y"]-', 'no key and REPLICA IDENTITY FULL: all columns');
run("SELECT changefeed_cancel($job)");

# ---- kinds of transactions ----
new_feed('x', ", initial_scan='no'", 'CREATE TABLE x (id int PRIMARY KEY, v text)');
run(q{
	BEGIN;
	INSERT INTO x VALUES (1, 'top');
	SAVEPOINT a; INSERT INTO x VALUES (2, 'rolled back'); ROLLBACK TO a;
	SAVEPOINT b; INSERT INTO x VALUES (3, 'kept'); SAVEPOINT c; UPDATE x SET v = 'inner' WHERE id = 1; RELEASE c; RELEASE b;
	COMMIT;
	BEGIN; INSERT INTO x VALUES (4, 'never'); ROLLBACK;
	INSERT INTO x VALUES (1, 'conflict') ON CONFLICT (id) DO UPDATE SET v = excluded.v;
	INSERT INTO x VALUES (1, 'nothing'), (5, 'five') ON CONFLICT DO NOTHING;
	BEGIN; INSERT INTO x VALUES (6, 'prepared'); PREPARE TRANSACTION 'p1';
	BEGIN; INSERT INTO x VALUES (7, 'prepared, never'); PREPARE TRANSACTION 'p2';
	INSERT INTO x VALUES (8, 'between');
	COMMIT PREPARED 'p1';
	ROLLBACK PREPARED 'p2';
	BEGIN; INSERT INTO x VALUES (9, '1'); UPDATE x SET v = '2' WHERE id = 9; DELETE FROM x WHERE id = 9; INSERT INTO x VALUES (9, '3'); COMMIT});
wait_feed($node, $job);
is( shown('v'),
	'1:top 3:kept 1:inner 1:conflict 5:five 8:between 6:prepared 9:1 9:2 9- 9:3',
	'savepoints, ON CONFLICT, two-phase, several versions in one transaction');
my %nines = map { $_->{updated} => 1 } grep { key_text($_) eq '["9"]' } msgs();
is(scalar(keys %nines), 1, 'one transaction, one updated');

# several big ones at the same time, which spill
my @s = map { session($node) } 1 .. 3;
$s[$_]->query("BEGIN; INSERT INTO x SELECT i, 's$_' FROM generate_series(" . (10000 * ($_ + 1)) . ', ' . (10000 * ($_ + 1) + 4999) . ') i') for 0 .. 2;
for my $i (0 .. 2)
{
	$s[$_]->query("SAVEPOINT s$i; UPDATE x SET v = 't$i' WHERE v = 's$_' AND id % 2 = 0"
		  . ($i == 1 ? "; ROLLBACK TO s$i" : '')) for 0 .. 2;
}
$s[1]->query('COMMIT');
$s[0]->query('COMMIT');
$s[2]->query('ROLLBACK');
$_->close for @s;
my $copy = $node->basedir . '/copy.txt';
append_to_file($copy, join '', map { "$_\tcopied\n" } 100_001 .. 103_000);
run("COPY x FROM '$copy'");
wait_feed($node, $job);
check_fingerprint($node, 'x', 'id', [ file_messages($dir) ],
	'big transactions that spill and COPY: replay gives the table');
is(scalar(grep { $_->{after} && $_->{after}{v} eq 'copied' } msgs()), 3000, 'COPY: every row once');
SKIP:
{
	skip 'spills are counted from PostgreSQL 14 on', 1 if run('SHOW server_version_num') < 140000;
	is( run(q{SELECT sum(spill_txns) > 0 FROM pg_stat_replication_slots}),
		't', 'there was a spill');
}
run("SELECT changefeed_cancel($job)");
ok(poll_until(sub { slots($node) eq '0' }, 'no slot'), 'no slot is left');

$node->stop;
done_testing();
