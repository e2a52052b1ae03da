# ALTER CHANGEFEED of paused and running feeds: where it takes effect, that
# nothing is lost or sent by the wrong definition, also over crashes.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('alter', conf => 'cdc_sink.feed_memory = 1MB');
my ($dir, $uri, $job);

sub run { return $node->safe_psql('postgres', $_[0]); }

run(q{
	CREATE TABLE a (id int PRIMARY KEY, v text);
	CREATE TABLE b (id int PRIMARY KEY, v text);
	CREATE TABLE c (id int PRIMARY KEY, v text);
	CREATE TABLE other (id int PRIMARY KEY, v text);
	INSERT INTO a VALUES (1, 'old'); INSERT INTO b SELECT i, 'old' FROM generate_series(1, 1000) i});

sub new_feed
{
	my ($tables, $with) = @_;
	($dir, $uri) = file_dir($node);
	$job = create_feed($node, "CREATE CHANGEFEED FOR TABLE $tables INTO '$uri' WITH updated" . ($with // ''));
	ok(wait_status($node, $job, 'running'), "feed of $tables runs");
	wait_feed($node, $job);
	return;
}

sub alter { return run("SELECT changefeed_sql('ALTER CHANGEFEED $job $_[0]')"); }

sub pause { run("SELECT changefeed_pause($job)"); ok(wait_status($node, $job, 'paused'), 'paused'); return; }

sub resume
{
	run("SELECT changefeed_resume($job)");
	ok(wait_status($node, $job, 'running'), 'resumed');
	wait_feed($node, $job);
	return;
}

sub crash
{
	kill_worker($node, 'lane', 'KILL');
	lane_pid($node);
	return;
}

# the key without the quotes of decode_text
sub kt { my $k = key_text($_[0]); $k =~ s/"//g; return $k; }

# "topic key:v ..." of the rows, each version once
sub shown
{
	my ($d, $topic) = @_;
	my %seen;
	return join ' ', map { ref $_->{after} ? kt($_) . ":$_->{after}{v}" : kt($_) . '-' }
	  grep { !$seen{"$_->{topic} $_->{value}"}++ }
	  grep { !$topic || $_->{topic} eq $topic } rows_of(file_messages($d // $dir));
}

my ($other_dir, $other_uri) = file_dir($node);
my $other = create_feed($node, "CREATE CHANGEFEED FOR TABLE other INTO '$other_uri' WITH updated");
ok(wait_status($node, $other, 'running'), 'another feed');
my ($lane) = worker_pids($node, 'lane');

# ---- paused: in force from the position on ----
new_feed('a, c', ", resolved = '10ms', min_checkpoint_frequency = '10ms'");
pause();
run("INSERT INTO a VALUES (2, 'paused'); INSERT INTO b VALUES (5001, 'paused'); INSERT INTO c VALUES (2, 'paused')");
alter('ADD b DROP c');
run("INSERT INTO a VALUES (3, 'after'); INSERT INTO b VALUES (5002, 'after'); INSERT INTO c VALUES (3, 'after')");
crash();    # between ALTER and its taking effect
resume();
is(shown($dir, 'a'), '[1]:old [2]:paused [3]:after', 'a table that stays: everything');
is(shown($dir, 'b'), '[5001]:paused [5002]:after', 'an added one: from the position on, no scan');
is(shown($dir, 'c'), '', 'a dropped one: nothing from the position on');
check_guarantees([ file_messages($dir) ], 'paused');

# with a scan, while there is a backlog; the crash is in the middle of it
run(q{DELETE FROM c});
pause();
run("INSERT INTO c SELECT i, 'backlog' FROM generate_series(1, 6000) i; UPDATE b SET v = 'new' WHERE id <= 10");
alter('DROP b ADD c WITH initial_scan UNSET resolved SET full_table_name');
run("UPDATE c SET v = 'changed' WHERE id <= 100; DELETE FROM c WHERE id = 7");
run("SELECT changefeed_resume($job)");
ok(wait_status($node, $job, 'running'), 'resumed');
run("UPDATE c SET v = 'again' WHERE id <= 50");
crash();
run("INSERT INTO c VALUES (30000, 'last')");
wait_feed($node, $job);
my %state;
$state{ kt($_) } = ref $_->{after} ? $_->{after}{v} : undef
  for grep { $_->{topic} =~ /\bc$/ } rows_of(file_messages($dir));
my %want = map { my ($k, $v) = split /\|/; ("[$k]" => $v) } split /\n/, run('SELECT id, v FROM c');
delete $state{$_} for grep { !defined $state{$_} } keys %state;
is_deeply(\%state, \%want, 'added with a scan: the newest of each key is the table');
is_deeply([ check_order(file_messages($dir)) ], [], 'in order per key');
is_deeply([ check_resolved(file_messages($dir)) ], [], 'the scan is above what was resolved');
is(run("SELECT topics IS NULL AND array_length(full_table_names, 1) = 2 AND description LIKE '%TABLE postgres.public.c %full_table_name%' FROM changefeed_jobs WHERE job_id = $job"),
	't', 'the view follows');
run("SELECT changefeed_cancel($job)");
is((worker_pids($node, 'lane'))[0] ? 't' : 'f', 't', 'the lane lives');

# ---- running: in force at its commit ----
run("DELETE FROM c; DELETE FROM a");
new_feed('a, c');
run(q{
	INSERT INTO a VALUES (1, 'before'); INSERT INTO c VALUES (1, 'before');
	BEGIN;
	INSERT INTO a VALUES (2, 'same'); INSERT INTO b VALUES (6001, 'same'); INSERT INTO c VALUES (2, 'same');
	SELECT changefeed_alter(} . $job . q{, add => '{b}', drop => '{c}', unset => '{updated}');
	INSERT INTO a VALUES (3, 'same'); INSERT INTO b VALUES (6002, 'same'); INSERT INTO c VALUES (3, 'same');
	COMMIT;
	INSERT INTO a VALUES (4, 'after'); INSERT INTO b VALUES (6003, 'after'); INSERT INTO c VALUES (4, 'after')});
wait_feed($node, $job);
is(shown($dir, 'a'), '[1]:before [2]:same [3]:same [4]:after', 'running: a table that stays');
is(shown($dir, 'b'), '[6003]:after', 'an added one, from the commit on');
is(shown($dir, 'c'), '[1]:before [2]:same [3]:same', 'a dropped one, up to the commit');
is(join(' ', map { defined $_->{updated} ? 1 : 0 } grep { $_->{topic} eq 'a' } rows_of(file_messages($dir))),
	'1 1 1 0', 'options change at the commit');

# rolled back: nothing; two of them at once; then a new sink
run("BEGIN; SELECT changefeed_alter($job, drop => '{a}'); ROLLBACK");
run("SELECT changefeed_alter($job, add => '{c}')");
run("SELECT changefeed_alter($job, drop => '{b}', set => '{\"updated\": true}')");
run("INSERT INTO a VALUES (5, 'two'); INSERT INTO b VALUES (6004, 'two'); INSERT INTO c VALUES (5, 'two')");
wait_feed($node, $job);
like(shown($dir, 'a'), qr/\[5\]:two$/, 'two ALTERs: a goes on');
unlike(shown($dir, 'b'), qr/two/, 'b does not');
like(shown($dir, 'c'), qr/\[5\]:two$/, 'c is back');

run(qq{
	BEGIN;
	INSERT INTO a SELECT i, 'one txn' FROM generate_series(100, 300) i;
	SELECT changefeed_alter($job, add => '{b}');
	SELECT changefeed_alter($job, drop => '{c}');
	COMMIT;
	INSERT INTO b VALUES (6005, 'one txn'); INSERT INTO c VALUES (6, 'one txn')});
wait_feed($node, $job);
like(shown($dir, 'b'), qr/one txn/, 'two in one transaction: the first counts');
unlike(shown($dir, 'c'), qr/one txn/, 'and the second');
run("SELECT changefeed_alter($job, add => '{c}', drop => '{b}')");

# while a backfill is under way: what was before it is not passed over
run(qq{
	CREATE TABLE e (id int PRIMARY KEY, v text);
	CREATE TABLE f (id int PRIMARY KEY, v text)});
my ($main_dir, $main_job) = ($dir, $job);
new_feed('e, c');
run(qq{
	INSERT INTO e SELECT i, 'old' FROM generate_series(1, 3) i;
	ALTER TABLE e ADD COLUMN n int DEFAULT 1;
	INSERT INTO c VALUES (8, 'backfill'); INSERT INTO e VALUES (8, 'backfill');
	SELECT changefeed_alter($job, drop => '{c}', add => '{f}');
	INSERT INTO c VALUES (9, 'dropped'); INSERT INTO e VALUES (9, 'on'); INSERT INTO f VALUES (9, 'on');
	SELECT changefeed_alter($job, drop => '{e}');
	INSERT INTO e VALUES (10, 'dropped'); INSERT INTO f VALUES (10, 'on')});
wait_feed($node, $job);
is(join(' ', grep { /:(?:backfill|dropped)/ } split / /, shown($dir, 'c')), '[8]:backfill', 'beside a backfill: a dropped table, up to the commit');
is(join(' ', sort grep { /\[(?:8|9|10)\]/ } split / /, shown($dir, 'e')), '[8]:backfill [9]:on', 'the backfilled one');
is(join(' ', map { $_->{after}{id} } grep { $_->{after}{n} && $_->{after}{v} eq 'old' } rows_of(file_messages($dir))), '1 2 3', 'with its backfill');
is(shown($dir, 'f'), '[9]:on [10]:on', 'an added one');
check_guarantees([ file_messages($dir) ], 'beside a backfill');
run("SELECT changefeed_cancel($job); DROP TABLE e, f; DELETE FROM c WHERE id IN (8, 9)");
($dir, $job) = ($main_dir, $main_job);
wait_feed($node, $job);

my ($dir2, $uri2) = file_dir($node);
run(qq{
	INSERT INTO a VALUES (6, 'old sink');
	SELECT changefeed_alter($job, set => '{"sink": "$uri2"}');
	INSERT INTO a VALUES (7, 'new sink')});
wait_feed($node, $job);
like(shown($dir, 'a'), qr/\[6\]:old sink$/, 'the old sink has what came before');
is(shown($dir2, 'a'), '[7]:new sink', 'the new one what came after');
is(run("SELECT sink_uri = '$uri2' FROM changefeed_jobs WHERE job_id = $job"), 't', 'the view shows it');

# a scan beside the stream, and the lane killed all the while
$dir = $dir2;
run("DELETE FROM b; INSERT INTO b SELECT i, 'scanned' FROM generate_series(1, 6000) i");
run("SELECT changefeed_alter($job, add => '{b}', initial_scan => true); UPDATE b SET v = 'changed' WHERE id <= 5");
my ($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_alter($job, drop => '{a}')");
like($err, qr/is not done yet/, 'no further ALTER before the scan is done') if $rc;
for (1 .. 2)
{
	crash();
	run("UPDATE b SET v = 'changed $_' WHERE id % 1000 = $_");
}
wait_feed($node, $job);
%state = ();
$state{ kt($_) } = ref $_->{after} ? $_->{after}{v} : undef
  for grep { $_->{topic} eq 'b' } rows_of(file_messages($dir));
delete $state{$_} for grep { !defined $state{$_} } keys %state;
%want = map { my ($k, $v) = split /\|/; ("[$k]" => $v) } split /\n/, run('SELECT id, v FROM b');
is_deeply(\%state, \%want, 'running: added with a scan');
is_deeply([ check_order(file_messages($dir)) ], [], 'in order per key');

# crash of the server between ALTER and its taking effect: the queue is full
($dir2, $uri2) = file_dir($node);
run(q{INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1000, 6000) i});
run(qq{SELECT changefeed_alter($job, drop => '{b}', set => '{"sink": "$uri2"}'); INSERT INTO a VALUES (8, 'last')});
$node->stop('immediate');
$node->start;
wait_feed($node, $job);
is(shown($dir2, 'a'), '[8]:last', 'after a crash the new sink has what came after');
my %old = map { kt($_) => 1 } grep { $_->{topic} eq 'a' } rows_of(file_messages($dir));
is(scalar(grep { $old{"[$_]"} } 1000 .. 6000), 5001, 'and the old one everything before');
is(run("SELECT count(*) FROM cdc_sink.secret WHERE job_id = $job"), '1', 'the secrets of former sinks are gone');

run("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled');
is(run("SELECT count(*) FROM cdc_sink.secret WHERE job_id = $job"), '0', 'no secret stays');
# a way out of an error: the table that was dropped
run('CREATE TABLE gone (id int PRIMARY KEY, v text)');
new_feed('gone, other', ", no_initial_scan, on_error = 'pause'");
run("INSERT INTO gone VALUES (1, 'last'); DROP TABLE gone");
ok(wait_status($node, $job, 'paused'), 'paused by the error');
run("INSERT INTO other VALUES (0, 'paused')");
alter('DROP gone SET on_error = fail');
resume();
is(shown($dir, 'gone') . ' ' . shown($dir, 'other'), '[1]:last [0]:paused', 'goes on without it');
run("SELECT changefeed_cancel($job)");

run("INSERT INTO other VALUES (1, 'x')");
wait_feed($node, $other);
is(shown($other_dir), '[0]:paused [1]:x', 'the other feed has its rows');

done_testing();
