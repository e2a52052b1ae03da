# Schema changes of watched tables: which are events, and what each policy
# makes of them.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('policies');
my ($dir, $job, $told);

sub run { return $node->safe_psql('postgres', $_[0]); }

# new_feed('tables', options, sql): sets $dir and $job
sub new_feed
{
	my ($tables, $options, $sql) = @_;
	run($sql) if $sql;
	($dir, my $uri) = file_dir($node);
	$job = create_feed($node,
		"CREATE CHANGEFEED FOR TABLE $tables INTO '$uri' WITH updated, resolved, min_checkpoint_frequency='100ms'" . ($options // ''));
	wait_feed($node, $job) unless ($options // '') =~ /cursor/;
	$told = 0;
	new_rows();
	return;
}

sub end_feed
{
	run("SELECT changefeed_cancel($job)");
	return;
}

# Rows that came since the last call, as "key col=value ..." sorted.
sub new_rows
{
	my @rows = rows_of(file_messages($dir));
	my @new = @rows[ $told .. $#rows ];
	$told = @rows;
	return @new;
}

sub shown
{
	return join '; ', sort map {
		my $m = $_;
		my $k = key_text($m);
		$k =~ s/[\["\]]//g;
		ref $m->{after}
		  ? join ' ', "$k:", map { my $v = $m->{after}{$_} // 'null'; "$_=" . (ref $v ? join '/', map { $_ // 'null' } @{$v}{ sort keys %$v } : $v) } sort keys %{ $m->{after} }
		  : "$k: gone"
	} @_;
}

# after('DDL', 'what came', 'name')
sub after
{
	my ($sql, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	run($sql);
	wait_feed($node, $job);
	my @new = new_rows();
	is(shown(@new), $expected, $name);
	return @new;
}

sub job_error
{
	return run("SELECT status || ': ' || error FROM changefeed_jobs WHERE job_id = $job");
}

sub check_all
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @all = file_messages($dir);
	ok_none([ check_order(@all) ], "$what: order per key");
	ok_none([ check_resolved(@all) ], "$what: resolved floor");
	return;
}

# ---- backfill, which is the default ----
new_feed('b, other', '', q{
	CREATE TABLE b (id int PRIMARY KEY, v varchar(5));
	INSERT INTO b VALUES (1, 'a'), (2, 'b');
	CREATE TABLE other (id int PRIMARY KEY);
	INSERT INTO other VALUES (7)});
my @rows = after(q{ALTER TABLE b ADD COLUMN c int DEFAULT 5},
	'1: c=5 id=1 v=a; 2: c=5 id=2 v=b', 'a column with a default: every row of this table again');
is(scalar(keys %{ { map { $_->{updated} => 1 } @rows } }), 1, 'with one stamp');
after(q{ALTER TABLE b ADD COLUMN n int}, '', 'a nullable column: nothing');
after(q{ALTER TABLE b DROP COLUMN n}, '1: c=5 id=1 v=a; 2: c=5 id=2 v=b', 'a dropped column: every row');
after(q{ALTER TABLE b ALTER COLUMN v TYPE text}, '', 'a type without a rewrite: nothing');
after(q{ALTER TABLE b ALTER COLUMN c TYPE text USING 'x' || c},
	'1: c=x5 id=1 v=a; 2: c=x5 id=2 v=b', 'a type with a rewrite: every row');
after(q{ALTER TABLE b ALTER COLUMN c TYPE text USING c || 'y'},
	'1: c=x5y id=1 v=a; 2: c=x5y id=2 v=b', 'converted to the same type: every row');
after(q{ALTER TABLE b ADD COLUMN r text DEFAULT substr(clock_timestamp()::text, 1, 2)},
	'1: c=x5y id=1 r=20 v=a; 2: c=x5y id=2 r=20 v=b', 'a volatile default: every row');
after(q{ALTER TABLE b DROP COLUMN r, ADD COLUMN g int GENERATED ALWAYS AS (id * 2) STORED},
	'1: c=x5y g=2 id=1 v=a; 2: c=x5y g=4 id=2 v=b', 'a generated and stored column: every row');
after(q{ALTER TABLE b ADD COLUMN d int DEFAULT 1, ADD COLUMN e int},
	'1: c=x5y d=1 e=null g=2 id=1 v=a; 2: c=x5y d=1 e=null g=4 id=2 v=b', 'two columns at once: once');
after(q{VACUUM FULL b}, '', 'VACUUM FULL: nothing');
after(q{CLUSTER b USING b_pkey}, '', 'CLUSTER: nothing');
after(q{ALTER TABLE b RENAME COLUMN c TO cc}, '', 'a renamed column: nothing');
after(q{ALTER TABLE b ALTER COLUMN v SET DEFAULT 'q', ALTER COLUMN v SET NOT NULL, ALTER COLUMN d DROP DEFAULT},
	'', 'defaults and NOT NULL of columns that are there: nothing');
after(q{CREATE INDEX ON b (v); COMMENT ON TABLE b IS 'x'; ANALYZE b; ALTER TABLE b ADD CHECK (id > 0); GRANT SELECT ON b TO public},
	'', 'indexes, comments, statistics, constraints, rights: nothing');
after(q{CREATE SCHEMA s; ALTER TABLE b SET SCHEMA s; ALTER TABLE s.b RENAME TO bb; INSERT INTO s.bb (id, v, cc, d) VALUES (3, 'new', 'z', 3)},
	'3: cc=z d=3 e=null g=6 id=3 v=new', 'moved and renamed: nothing but new rows');
is(join(' ', sort keys %{ { map { $_->{topic} => 1 } rows_of(file_messages($dir)) } }), 'b other', 'under the old topic');
after(q{BEGIN; ALTER TABLE s.bb ADD COLUMN never int DEFAULT 1; ROLLBACK}, '', 'rolled back: nothing');
after(q{BEGIN; SAVEPOINT x; ALTER TABLE s.bb ADD COLUMN sub int DEFAULT 1; RELEASE x; SAVEPOINT y; ALTER TABLE s.bb DROP COLUMN sub; ROLLBACK TO y; COMMIT},
	'1: cc=x5y d=1 e=null g=2 id=1 sub=1 v=a; 2: cc=x5y d=1 e=null g=4 id=2 sub=1 v=b; 3: cc=z d=3 e=null g=6 id=3 sub=1 v=new',
	'in a subtransaction: every row');
run('ALTER TABLE s.bb DROP COLUMN sub');
wait_feed($node, $job);
new_rows();
after(q{BEGIN; UPDATE s.bb SET v = 'in' WHERE id = 1; ALTER TABLE s.bb DROP COLUMN e; INSERT INTO s.bb (id, v, cc, d) VALUES (4, 'in', 'i', 4); COMMIT},
	'1: cc=x5y d=1 e=null g=2 id=1 v=in; 1: cc=x5y d=1 g=2 id=1 v=in; '
	  . '2: cc=x5y d=1 g=4 id=2 v=b; 3: cc=z d=3 g=6 id=3 v=new; '
	  . '4: cc=i d=4 g=8 id=4 v=in; 4: cc=i d=4 g=8 id=4 v=in',
	'rows of the same transaction, and then every row');
check_all('backfill');
# A file name ends in -<topic>-<schema version in hex>.ndjson
my @versions = map { /-b-([0-9a-f]+)\.ndjson$/ ? hex $1 : () } sort { $a cmp $b } glob("$dir/*/*b-*.ndjson");
cmp_ok(scalar(keys %{ { map { $_ => 1 } @versions } }), '>', 5, 'files tell the version of the columns');

# ---- changes that nobody saw happen ----
run("SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'paused');
run(q{ALTER TABLE s.bb DROP COLUMN d});
$node->restart;
run("SELECT changefeed_resume($job)");
wait_feed($node, $job);
is(shown(new_rows()), '1: cc=x5y g=2 id=1 v=in; 2: cc=x5y g=4 id=2 v=b; 3: cc=z g=6 id=3 v=new; 4: cc=i g=8 id=4 v=in',
	'changed while paused, and nothing was written: every row');
$node->restart;
after(q{ALTER TABLE s.bb DROP COLUMN g}, '1: cc=x5y id=1 v=in; 2: cc=x5y id=2 v=b; 3: cc=z id=3 v=new; 4: cc=i id=4 v=in',
	'changed first thing after a restart: every row');
$node->restart;
after(q{ANALYZE s.bb; INSERT INTO s.bb (id, v) VALUES (5, 'n')}, '5: cc=5 id=5 v=n', 'and no change is seen twice');
check_all('backfill with restarts');

# many changes at once
run(q{
	ALTER TABLE s.bb ADD COLUMN m1 int DEFAULT 1;
	ALTER TABLE s.bb ADD COLUMN m2 int DEFAULT 2;
	ALTER TABLE s.bb ADD COLUMN m3 int DEFAULT 3;
	ALTER TABLE s.bb DROP COLUMN m2;
	UPDATE s.bb SET v = 'last' WHERE id = 2});
wait_feed($node, $job);
@rows = new_rows();
my %last;
$last{ key_text($_) } = $_->{after} for @rows;
is_deeply(
	[ map { join ' ', map { $_ // 'null' } @{$_}{qw(id v cc m1 m3)} } sort { $a->{id} <=> $b->{id} } values %last ],
	[ '1 in x5y 1 3', '2 last x5y 1 3', '3 new z 1 3', '4 in i 1 3', '5 n 5 1 3' ],
	'many changes: the last state of each row is the last one told');
check_all('many changes');
end_feed();

# ---- column_changes ----
new_feed('cc', ", schema_change_events='column_changes'",
	q{CREATE TABLE cc (id int PRIMARY KEY); INSERT INTO cc VALUES (1)});
after('ALTER TABLE cc ADD COLUMN n int', '1: id=1 n=null', 'column_changes: a nullable column is an event');
after('ALTER TABLE cc RENAME COLUMN n TO m', '', 'column_changes: another name is none');
end_feed();

# The first row that the feed sees stands behind an ALTER TABLE of its own
# transaction: in another file than the rows of the scan all the same.
new_feed('onetxn', '', q{CREATE TABLE onetxn (id int PRIMARY KEY); INSERT INTO onetxn VALUES (1)});
after('BEGIN; ALTER TABLE onetxn ADD COLUMN n int; INSERT INTO onetxn VALUES (2, 3); COMMIT', '2: id=2 n=3', 'added and written at once');
my %columns;
$columns{ $_->{file} }{ join ' ', sort keys %{ $_->{after} } } = 1 for rows_of(file_messages($dir));
is(join('; ', sort map { join ', ', keys %$_ } values %columns), 'id; id n', 'a file holds rows of one set of columns');
end_feed();

# ---- nobackfill, ignore ----
for my $policy ('nobackfill', 'IGNORE')
{
	new_feed('nb', ", schema_change_policy='$policy'",
		q{DROP TABLE IF EXISTS nb; CREATE TABLE nb (id int PRIMARY KEY); INSERT INTO nb VALUES (1)});
	after('ALTER TABLE nb ADD COLUMN n int NOT NULL DEFAULT 4; INSERT INTO nb VALUES (2)',
		'2: id=2 n=4', "$policy: new rows only");
	end_feed();
}

# ---- stop ----
for my $ddl ('ALTER TABLE st ADD COLUMN n int DEFAULT 4', 'ALTER TABLE st DROP COLUMN v',
	'ALTER TABLE st DROP CONSTRAINT st_pkey, ADD PRIMARY KEY (v)')
{
	new_feed('st', ", schema_change_policy='stop'",
		q{DROP TABLE IF EXISTS st; CREATE TABLE st (id int PRIMARY KEY, v text NOT NULL); INSERT INTO st VALUES (1, 'x')});
	run("INSERT INTO st VALUES (2, 'y'); ALTER TABLE st REPLICA IDENTITY FULL; VACUUM FULL st; $ddl; DELETE FROM st");
	ok(wait_status($node, $job, 'failed', 30), "stop: $ddl");
	like(job_error(), qr/^failed: schema change occurred at (\d+\.\d{10}) \(table "postgres\.public\.st"\)/, 'tells when');
	my ($at) = job_error() =~ /occurred at ([\d.]+)/;
	is(shown(new_rows()), '2: id=2 v=y', 'sends what is before, and nothing behind');
	my @resolved = resolved_of(file_messages($dir));
	is($resolved[-1]{resolved}, $at, 'the last resolved is the moment of the change');
	check_all("stop: $ddl");
}
new_feed('sp', ", schema_change_policy='stop', on_error='pause'",
	q{CREATE TABLE sp (id int PRIMARY KEY); INSERT INTO sp VALUES (1)});
run('ALTER TABLE sp ADD COLUMN n int DEFAULT 4; INSERT INTO sp VALUES (2)');
ok(wait_status($node, $job, 'paused', 30), 'stop with on_error=pause: paused');
run("SELECT changefeed_resume($job)");
ok(wait_status($node, $job, 'running'), 'resumed');
wait_feed($node, $job);
is(shown(new_rows()), '2: id=2 n=4', 'and goes on behind the change');
run(qq{
	CREATE TABLE sp2 (id int PRIMARY KEY);
	BEGIN;
	ALTER TABLE sp ADD COLUMN m int DEFAULT 5;
	SELECT changefeed_alter($job, add => '{sp2}');
	COMMIT;
	INSERT INTO sp2 VALUES (7)});
ok(wait_status($node, $job, 'paused', 30), 'a change and an ALTER CHANGEFEED in one transaction: paused');
run("SELECT changefeed_resume($job)");
ok(wait_status($node, $job, 'running'), 'resumed');
wait_feed($node, $job);
is(shown(new_rows()), '7: id=7', 'by the new definition');
end_feed();

# ---- a cursor in the past: changes behind it are events ----
run(q{ALTER SYSTEM SET cdc_sink.history_retention = '10min'});
run('SELECT pg_reload_conf()');
new_feed('cu', '', q{CREATE TABLE cu (id int PRIMARY KEY); INSERT INTO cu VALUES (1)});
run('INSERT INTO cu VALUES (2)');
wait_feed($node, $job);
my $cursor = (new_rows())[-1]{updated};
run('INSERT INTO cu VALUES (3); ALTER TABLE cu ADD COLUMN n int DEFAULT 1; INSERT INTO cu VALUES (4)');
wait_feed($node, $job);
end_feed();
new_feed('cu', ", cursor='$cursor', schema_change_policy='stop'");
ok(wait_status($node, $job, 'failed', 30), 'a change behind the cursor');
like(job_error(), qr/schema change occurred/, 'is found');
is(shown(rows_of(file_messages($dir))), '3: id=3', 'and stops the feed there');
run('ALTER SYSTEM RESET cdc_sink.history_retention');
run('SELECT pg_reload_conf()');

# ---- in the transaction that creates the feed ----
run(q{CREATE TABLE own (id int PRIMARY KEY); INSERT INTO own VALUES (1)});
($dir, my $own_uri) = file_dir($node);
($job) = run(qq{
	BEGIN;
	SELECT 'job ' || changefeed_create('{own}', '$own_uri', '{"updated": true}');
	ALTER TABLE own ADD COLUMN n int DEFAULT 1;
	COMMIT}) =~ /job (\d+)/;
$told = 0;
wait_feed($node, $job);
is(shown(new_rows()), '1: id=1 n=1', 'changed behind its creation: as it was at the commit');
after('ANALYZE own; INSERT INTO own VALUES (2)', '2: id=2 n=1', 'and no change later');
end_feed();

# ---- labels and attributes ----
new_feed('en', '', q{
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TYPE pair AS (a int, b text);
	CREATE TABLE en (id int PRIMARY KEY, m mood, p pair);
	INSERT INTO en VALUES (1, 'sad', (1, 'x'))});
after(q{
	INSERT INTO en VALUES (2, 'ok', (2, 'y'));
	ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
	INSERT INTO en VALUES (3, 'blue', NULL);
	ALTER TYPE mood ADD VALUE 'happy';
	INSERT INTO en VALUES (4, 'happy', NULL);
	ALTER TYPE pair ADD ATTRIBUTE c int},
	'2: id=2 m=ok p=2/y; 3: id=3 m=blue p=null; 4: id=4 m=happy p=null',
	'labels as of their time, without a backfill');
end_feed();

# ---- keys ----
new_feed('k', '', q{CREATE TABLE k (a int PRIMARY KEY, b text NOT NULL); INSERT INTO k VALUES (1, 'x')});
after(q{ALTER TABLE k DROP CONSTRAINT k_pkey, ADD PRIMARY KEY (b); INSERT INTO k VALUES (2, 'y'); DELETE FROM k WHERE a = 1},
	'x: gone; y: a=2 b=y', 'another key: later rows have it');
after(q{ALTER TABLE k REPLICA IDENTITY FULL; UPDATE k SET a = 3; ALTER TABLE k REPLICA IDENTITY DEFAULT},
	'y: a=3 b=y', 'another replica identity: goes on');
after(q{BEGIN; ALTER TABLE k DROP CONSTRAINT k_pkey, ADD PRIMARY KEY (a); ALTER TABLE k ADD COLUMN c int DEFAULT 1; COMMIT},
	'3: a=3 b=y c=1', 'another key and a new column: every row under the new key');
end_feed();

# ---- partitions, inheritance ----
new_feed('p, parent', '', q{
	CREATE TABLE p (id int, part int, v text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
	CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
	CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) PARTITION BY LIST (id);
	CREATE TABLE p2a PARTITION OF p2 FOR VALUES IN (1, 2, 3);
	INSERT INTO p VALUES (1, 1, 'a'), (2, 2, 'b');
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (x int, PRIMARY KEY (id)) INHERITS (parent);
	INSERT INTO parent VALUES (1);
	INSERT INTO child VALUES (2)});
after(q{ALTER TABLE p ADD COLUMN n int DEFAULT 7},
	'1,1: id=1 n=7 part=1 v=a; 2,2: id=2 n=7 part=2 v=b', 'a column of the root: every row of every partition');
after(q{ALTER TABLE p ADD COLUMN m int}, '', 'a nullable one: nothing');
after(q{VACUUM FULL p1; ALTER TABLE p RENAME COLUMN m TO mm}, '', 'a partition written anew: nothing');
after(q{ALTER TABLE p ALTER COLUMN n TYPE int USING n + 1},
	'1,1: id=1 mm=null n=8 part=1 v=a; 2,2: id=2 mm=null n=8 part=2 v=b', 'values converted: every row');
after(q{CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3); INSERT INTO p VALUES (3, 3, 'c')},
	'3,3: id=3 mm=null n=7 part=3 v=c', 'a new partition: its rows once');
after(q{BEGIN; CREATE TABLE p4 PARTITION OF p FOR VALUES IN (4); INSERT INTO p VALUES (4, 4, 'd'); COMMIT},
	'4,4: id=4 mm=null n=7 part=4 v=d', 'made and filled in one transaction: its rows once');
after(q{BEGIN; CREATE TABLE p5 (LIKE p INCLUDING ALL); INSERT INTO p5 VALUES (5, 5, 'e'); ALTER TABLE p ATTACH PARTITION p5 FOR VALUES IN (5); COMMIT},
	'5,5: id=5 mm=null n=7 part=5 v=e', 'made, filled and attached in one transaction: its rows');
after(q{CREATE TABLE p6 (LIKE p INCLUDING ALL); INSERT INTO p6 VALUES (6, 6, 'f'); ALTER TABLE p ATTACH PARTITION p6 FOR VALUES IN (6)},
	'6,6: id=6 mm=null n=7 part=6 v=f', 'attached with rows: they are sent');
after(q{ALTER TABLE p DETACH PARTITION p6; INSERT INTO p6 VALUES (7, 6, 'g'); DELETE FROM p6}, '', 'detached: nothing more of it');
after(q{ALTER TABLE parent ADD COLUMN n int DEFAULT 1; INSERT INTO child VALUES (3, 1)},
	'1: id=1 n=1', 'inheritance: the rows of the parent itself');
after(q{BEGIN; ALTER TABLE p DETACH PARTITION p5; INSERT INTO p5 VALUES (10, 5, 'x'); ALTER TABLE p ATTACH PARTITION p5 FOR VALUES IN (5); COMMIT},
	'10,5: id=10 mm=null n=7 part=5 v=x; 5,5: id=5 mm=null n=7 part=5 v=e', 'detached for a part of a transaction: its rows');

# what another feed watches from the start is not seen by this one
(undef, my $all_uri) = file_dir($node);
my $all = create_feed($node, "CREATE CHANGEFEED FOR ALL TABLES INTO '$all_uri' WITH initial_scan = 'no'");
wait_feed($node, $all);
after(q{BEGIN; CREATE TABLE p11 (LIKE p INCLUDING ALL); INSERT INTO p11 VALUES (11, 11, 'y'); ALTER TABLE p ATTACH PARTITION p11 FOR VALUES IN (11); COMMIT},
	'11,11: id=11 mm=null n=7 part=11 v=y', 'made, filled and attached beside a feed of all tables: its rows');
after(q{BEGIN; CREATE TABLE p12 PARTITION OF p FOR VALUES IN (12); INSERT INTO p VALUES (12, 12, 'z'); COMMIT},
	'12,12: id=12 mm=null n=7 part=12 v=z', 'made and filled beside it: its rows once');
run("SELECT changefeed_cancel($all)");
check_all('partitions');

# ---- gone ----
run(q{INSERT INTO p VALUES (8, 1, 'last'); ALTER TABLE parent SET UNLOGGED; INSERT INTO p VALUES (9, 1, 'behind')});
ok(wait_status($node, $job, 'failed', 30), 'SET UNLOGGED: failed');
like(job_error(), qr/table "postgres\.public\.parent" is no longer logged/, 'by name');
is(shown(new_rows()), '8,1: id=8 mm=null n=7 part=1 v=last', 'after what was before it, and nothing behind');

$node->stop;
done_testing();
