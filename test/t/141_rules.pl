# Changefeeds by rule: tables that join and leave, with all of their rows,
# over crashes; lists of columns.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('rules');
my ($dir, $uri, $job);

sub run { return $node->safe_psql('postgres', $_[0]); }

sub new_feed
{
	my ($what, $with) = @_;
	($dir, $uri) = file_dir($node);
	$job = create_feed($node, "CREATE CHANGEFEED FOR $what INTO '$uri' WITH updated" . ($with // ''));
	ok(wait_status($node, $job, 'running'), "feed for $what runs");
	wait_feed($node, $job);
	return;
}

sub crash
{
	my ($lane) = worker_pids($node, 'lane');
	kill 9, $lane if $lane;
	poll_until(sub { my ($p) = worker_pids($node, 'lane'); $p && $p != ($lane // 0) }, 'a new lane', 60);
	return;
}

# "key:v ..." of a topic's rows, each version once
sub shown
{
	my ($topic) = @_;
	my %seen;
	return join ' ', map {
		my $k = key_text($_);
		$k =~ s/"//g;
		ref $_->{after} ? "$k:" . ($_->{after}{v} // '-') : "$k-"
	} grep { $_->{topic} eq $topic && !$seen{ $_->{value} }++ } rows_of(file_messages($dir));
}

sub tables { return run("SELECT replace(full_table_names::text, 'postgres.', '') FROM changefeed_jobs WHERE job_id = $job"); }

run(q{
	CREATE SCHEMA s; CREATE SCHEMA out;
	CREATE TABLE s.a (id int PRIMARY KEY, v text); INSERT INTO s.a VALUES (1, 'old');
	CREATE TABLE s.x (id int PRIMARY KEY, v text); INSERT INTO s.x VALUES (1, 'excepted');
	CREATE TABLE out.moved (id int PRIMARY KEY, v text); INSERT INTO out.moved SELECT i, 'old' FROM generate_series(1, 3) i;
	CREATE TABLE out.o (id int PRIMARY KEY, v text)});

# ---- TABLES IN SCHEMA ----
new_feed('TABLES IN SCHEMA s EXCEPT TABLE s.x', ", resolved = '10ms', min_checkpoint_frequency = '10ms'");
is(shown('a'), '[1]:old', 'what is there is scanned');

# made and filled in one transaction, by several statements, in one that fails
run(q{
	CREATE TABLE s.b (id int PRIMARY KEY, v text); INSERT INTO s.b VALUES (1, 'later');
	BEGIN; CREATE TABLE s.c (id int PRIMARY KEY, v text); INSERT INTO s.c VALUES (1, 'same'); SAVEPOINT p;
	CREATE TABLE s.d (id int PRIMARY KEY, v text); INSERT INTO s.d VALUES (1, 'sub'); RELEASE p; UPDATE s.c SET v = 'same 2'; COMMIT;
	BEGIN; CREATE TABLE s.never (id int PRIMARY KEY); INSERT INTO s.never VALUES (1); ROLLBACK;
	CREATE TABLE s.ctas AS SELECT 1 AS id, 'ctas'::text AS v; ALTER TABLE s.ctas ADD PRIMARY KEY (id);
	BEGIN; CREATE TABLE s.dump (id int, v text); INSERT INTO s.dump VALUES (1, 'dumped'); ALTER TABLE s.dump ADD PRIMARY KEY (id); COMMIT;
	CREATE UNLOGGED TABLE s.un (id int PRIMARY KEY); CREATE TEMP TABLE tt (id int PRIMARY KEY);
	INSERT INTO s.a VALUES (2, 'new'); INSERT INTO s.x VALUES (2, 'excepted'); INSERT INTO out.o VALUES (1, 'out')});
wait_feed($node, $job);
is(shown('a'), '[1]:old [2]:new', 'a');
is(shown('b'), '[1]:later', 'a new table');
is(shown('c'), '[1]:same [1]:same 2', 'made and filled in one transaction');
is(shown('d'), '[1]:sub', 'in a subtransaction');
is(shown('ctas'), '[1]:ctas', 'got its key later: with its rows');
is(shown('dump'), '[1]:dumped', 'got its key in the transaction: with its rows');
is(shown('x') . shown('o') . shown('never') . shown('un'), '', 'nothing of others');
ok(poll_until(sub { tables() eq '{s.a,s.b,s.c,s.d,s.ctas,s.dump}' }, 'tables', 10), 'the view shows them')
  or diag(tables());

# moved in and out, dropped and made again, renamed; with crashes in between
run(q{ALTER TABLE out.moved SET SCHEMA s; INSERT INTO s.moved VALUES (4, 'in')});
crash();
run(q{
	ALTER TABLE s.b SET SCHEMA out; INSERT INTO out.b VALUES (2, 'gone');
	BEGIN; DROP TABLE s.c; CREATE TABLE s.c (id int PRIMARY KEY, v text); INSERT INTO s.c VALUES (9, 'again'); COMMIT;
	DROP TABLE s.d; ALTER TABLE s.a RENAME TO a2; INSERT INTO s.a2 VALUES (3, 'renamed')});
crash();
wait_feed($node, $job);
is(join(' ', sort split / /, shown('moved')), '[1]:old [2]:old [3]:old [4]:in', 'moved in: with its rows');
is(shown('b'), '[1]:later', 'moved out');
is(shown('c'), '[1]:same [1]:same 2 [9]:again', 'dropped and made again');
is(shown('a'), '[1]:old [2]:new [3]:renamed', 'a renamed one keeps its topic');
is(run("SELECT status FROM changefeed_jobs WHERE job_id = $job"), 'running', 'a dropped table does not end the feed');
ok(poll_until(sub { tables() eq '{s.a,s.moved,s.ctas,s.dump,s.c}' }, 'tables', 10), 'the view follows')
  or diag(tables());
run(q{ALTER TABLE out.b SET SCHEMA s; INSERT INTO s.b VALUES (3, 'back')});
wait_feed($node, $job);
is(join(' ', sort(map { s/:later/:later/r } split / /, shown('b'))), '[1]:later [1]:later [2]:gone [3]:back', 'back again: with its rows');

# no key: left out until it has one
run(q{CREATE TABLE s.nokey (id int, v text); INSERT INTO s.nokey VALUES (1, 'none')});
wait_feed($node, $job);
is(shown('nokey'), '', 'a table without a key is left out');
like(run("SELECT last_error FROM changefeed_jobs WHERE job_id = $job"), qr/s\.nokey" is left out: it has no primary key/, 'and the view says so');
run(q{ALTER TABLE s.nokey ADD PRIMARY KEY (id); INSERT INTO s.nokey VALUES (2, 'key')});
wait_feed($node, $job);
is(join(' ', sort split / /, shown('nokey')), '[1]:none [2]:key', 'until it has one: then with its rows');

# partitions
run(q{
	CREATE TABLE s.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (0) TO (10); INSERT INTO s.p VALUES (1, 'p');
	BEGIN; CREATE TABLE s.q (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE s.q1 PARTITION OF s.q FOR VALUES FROM (0) TO (10); INSERT INTO s.q VALUES (1, 'q'); COMMIT});
wait_feed($node, $job);
is(shown('p') . ' ' . shown('q') . shown('p1') . shown('q1'), '[1]:p [1]:q', 'partitioned tables, by their roots');

# paused, altered, and on over what happened meanwhile
run("SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'paused');
run(q{CREATE TABLE s.e (id int PRIMARY KEY, v text); INSERT INTO s.e VALUES (1, 'paused'); INSERT INTO s.moved VALUES (5, 'paused')});
run("SELECT changefeed_alter($job, set => '{\"on_error\": \"pause\"}'); SELECT changefeed_resume($job)");
ok(wait_status($node, $job, 'running'), 'resumed');
run(q{INSERT INTO s.e VALUES (2, 'on'); INSERT INTO s.b VALUES (4, 'on')});
wait_feed($node, $job);
is(shown('e'), '[1]:paused [2]:on', 'a table that was made during the pause');
like(shown('moved'), qr/\[5\]:paused$/, 'one that had joined before');
like(shown('b'), qr/\[4\]:on$/, 'and another');
$node->stop('immediate');
$node->start;
run(q{CREATE TABLE s.f (id int PRIMARY KEY, v text); INSERT INTO s.f VALUES (1, 'f'); INSERT INTO s.e VALUES (3, 'f')});
wait_feed($node, $job);
is(shown('f'), '[1]:f', 'after a crash of the server: a new one');
like(shown('e'), qr/\[3\]:f$/, 'and those it had');
is_deeply([ check_order(file_messages($dir)) ], [], 'in order per key');
is_deeply([ check_resolved(file_messages($dir)) ], [], 'nothing new below a resolved');
run("SELECT changefeed_cancel($job)");

# ---- PUBLICATION, without a scan ----
run(q{CREATE PUBLICATION pub FOR TABLE s.a2; CREATE TABLE out.many (id int PRIMARY KEY, v text);
	INSERT INTO out.many SELECT i, 'old' FROM generate_series(1, 2000) i});
new_feed('PUBLICATION pub', ', no_initial_scan');
run(q{INSERT INTO s.a2 VALUES (10, 'pub'); ALTER PUBLICATION pub ADD TABLE out.many; UPDATE out.many SET v = 'new' WHERE id % 2 = 0});
crash();
run(q{INSERT INTO out.many VALUES (2001, 'last'); ALTER PUBLICATION pub DROP TABLE s.a2; INSERT INTO s.a2 VALUES (11, 'gone')});
wait_feed($node, $job);
is(shown('a2'), '[10]:pub', 'published for a while');
my %state;
$state{ key_text($_) } = $_->{after}{v} for grep { $_->{topic} eq 'many' } rows_of(file_messages($dir));
is(scalar(keys %state), 2001, 'added: with all of its rows');
is(scalar(grep { $_ eq 'new' } values %state), 1000, 'as they are');
is_deeply([ check_order(file_messages($dir)) ], [], 'in order per key');
run(q{ALTER PUBLICATION pub SET TABLE s.a2; INSERT INTO out.many VALUES (2002, 'gone'); INSERT INTO s.a2 VALUES (12, 'set')});
wait_feed($node, $job);
unlike(shown('many'), qr/gone/, 'SET TABLE: one leaves');
like(shown('a2'), qr/\[12\]:set/, 'one comes back');
run("SELECT changefeed_cancel($job)");

# ---- ALL TABLES, and rights that come later ----
run(q{CREATE ROLE feeder LOGIN; GRANT EXECUTE ON FUNCTION changefeed_sql(text) TO feeder; GRANT USAGE ON SCHEMA s TO feeder;
	GRANT SELECT ON s.a2, s.e TO feeder; CREATE PUBLICATION two FOR TABLE s.a2, s.e});
($dir, $uri) = file_dir($node);
$job = run(qq{SET ROLE feeder; SELECT changefeed_sql(\$\$CREATE CHANGEFEED FOR PUBLICATION two INTO '$uri' WITH updated, no_initial_scan\$\$)});
ok(wait_status($node, $job, 'running'), "feed of an ordinary user");
run(q{ALTER PUBLICATION two ADD TABLE s.f; INSERT INTO s.f VALUES (2, 'secret'); INSERT INTO s.e VALUES (4, 'seen')});
wait_feed($node, $job);
is(shown('f'), '', 'a table without the right to read it is left out');
is(shown('e'), '[4]:seen', 'the others go on');
run(q{GRANT SELECT ON s.f TO feeder; INSERT INTO s.f VALUES (3, 'granted')});
wait_feed($node, $job);
is(join(' ', sort split / /, shown('f')), '[1]:f [2]:secret [3]:granted', 'granted: with its rows');
run("SELECT changefeed_cancel($job)");

new_feed('ALL TABLES EXCEPT TABLE s.x', ', no_initial_scan, full_table_name');
run(q{INSERT INTO out.o VALUES (5, 'all'); INSERT INTO s.x VALUES (5, 'all'); CREATE TABLE public.o (id int PRIMARY KEY, v text); INSERT INTO public.o VALUES (1, 'all')});
wait_feed($node, $job);
is(join(' ', map { shown("postgres.$_") } qw(out.o public.o s.x)), '[5]:all [1]:all ', 'all tables');
my %topics = map { $_->{topic} => 1 } file_messages($dir);
ok(!grep({ /cdc_sink|pg_/ } keys %topics), "none of the system's or the extension's own");
run("SELECT changefeed_cancel($job)");

# ---- lists of columns ----
run(q{
	CREATE TABLE cols (id int PRIMARY KEY, v text, secret text, big text); ALTER TABLE cols ALTER big SET STORAGE EXTERNAL;
	INSERT INTO cols VALUES (1, 'one', 'geheim', repeat('x', 5000));
	CREATE TABLE part (id int, v text, secret text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE part1 (secret text, id int NOT NULL, v text); ALTER TABLE part ATTACH PARTITION part1 FOR VALUES FROM (0) TO (100)});
new_feed('TABLE cols (v, id), TABLE part (id, v)');
run(q{
	UPDATE cols SET v = 'two'; UPDATE cols SET secret = 'geheim 2'; DELETE FROM cols;
	INSERT INTO part VALUES (1, 'p', 'geheim');
	ALTER TABLE cols RENAME v TO w; INSERT INTO cols VALUES (2, 'w', 'geheim');
	ALTER TABLE cols ADD other int DEFAULT 5; ALTER TABLE cols DROP secret});
wait_feed($node, $job);
my @values = map { $_->{value} } rows_of(file_messages($dir));
is(scalar(grep { /geheim|secret|big|xxx/ } @values), 0, 'no other column is sent, by scan or stream');
is(shown('cols'), '[1]:one [1]:two [1]:two [1]- [2]:-', 'an update of others is sent all the same')
  or diag(join "\n", @values);
like($values[-1], qr/"w": "w"/, 'a renamed column stays in the list');
is(shown('part'), '[1]:p', 'partitions go by name');
my %versions = map { $_->{file} =~ /-([0-9a-f]+)\.ndjson$/ ? ($1 => 1) : () } grep { $_->{topic} eq 'cols' } rows_of(file_messages($dir));
is(scalar(keys %versions), 2, 'a schema version for the renamed column, none for others');
like(run("SELECT description FROM changefeed_jobs WHERE job_id = $job"), qr/TABLE cols \(v, id\), TABLE part \(id, v\)/, 'described');
run("SELECT changefeed_cancel($job)");

# ---- an external sink that is not known for a while: its prefix is waited for
my ($ext_dir, $ext_uri) = file_dir($node);
run(qq{
	CREATE SCHEMA e;
	CREATE TABLE e.first (id int PRIMARY KEY, v text);
	CREATE SERVER lake FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri '$ext_uri?topic_prefix=pre_')});
$job = create_feed($node, "CREATE CHANGEFEED FOR TABLES IN SCHEMA e INTO 'external://lake' WITH updated, resolved = '10ms', min_checkpoint_frequency = '10ms'");
wait_feed($node, $job);
run('ALTER SERVER lake RENAME TO elsewhere');
ok(poll_until(sub { run("SELECT coalesce(last_error, '') FROM changefeed_jobs WHERE job_id = $job") =~ /lake/ }, "trouble", 30), "the sink is gone");
run(q{
	BEGIN; INSERT INTO e.first VALUES (1, 'a'); CREATE TABLE e.second (id int PRIMARY KEY, v text);
	INSERT INTO e.second VALUES (1, 'b'); INSERT INTO e.first VALUES (2, 'c'); COMMIT;
	CREATE TABLE e.third (id int PRIMARY KEY, v text); INSERT INTO e.third VALUES (1, 'd')});
crash();
run("INSERT INTO e.first VALUES (3, 'e')");
run('ALTER SERVER elsewhere RENAME TO lake');
wait_feed($node, $job);
$dir = $ext_dir;
is(join(' / ', map { shown("pre_$_") } qw(first second third)),
	'[1]:a [2]:c [3]:e / [1]:b / [1]:d', 'tables that joined meanwhile have its prefix, too');

done_testing();
