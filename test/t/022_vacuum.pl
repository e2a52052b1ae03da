# Trap 1: a decoding context that is opened outside a transaction leaves every
# snapshot of its process unprotected from VACUUM. The worker asserts the flag
# before each visit; here are the effects from outside: what its snapshots see
# is not vacuumed away, and the slot does hold back the catalogs.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('vacuum');
$node->safe_psql('postgres', q{
	CREATE TABLE big (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off);
	CREATE TABLE hold (id int PRIMARY KEY);
	INSERT INTO big SELECT i, repeat('x', 50) FROM generate_series(1, 30000) i;
	INSERT INTO hold VALUES (1)});

# Checkpoint rows are rewritten many times a second and vacuumed all the
# while: a worker whose snapshots are unprotected would lose sight of them.
my ($dir, $uri) = file_dir($node);
my $job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE hold INTO '$uri' "
	  . "WITH updated, resolved='10ms', min_checkpoint_frequency='10ms'");
wait_feed($node, $job);
my ($lane) = worker_pids($node, 'lane');
for my $i (2 .. 40)
{
	$node->safe_psql('postgres', "INSERT INTO hold VALUES ($i)");
	$node->safe_psql('postgres', "VACUUM cdc_sink.$_")
	  for 'job', 'checkpoint', 'definition', 'secret';
}
wait_feed($node, $job);
is((worker_pids($node, 'lane'))[0], $lane, 'the lane lives with its tables being vacuumed');
is(scalar(rows_of(quick_messages($dir))), 40, 'and sends what there is');

# A scan of one snapshot holds it over several tables: what it sees stays.
my ($dir2, $uri2) = file_dir($node);
my $create = session($node);
my $job2 = $create->query(
	"BEGIN; SELECT changefeed_create('{hold,big}', '$uri2', '{\"initial_scan\": \"only\"}')");
my $lock = session($node);
$lock->send('BEGIN; LOCK TABLE hold IN ACCESS EXCLUSIVE MODE');
poll_until(
	sub {
		$lock->is_done;
		$node->safe_psql('postgres',
			"SELECT count(*) FROM pg_locks WHERE relation = 'hold'::regclass AND NOT granted") > 0;
	},
	'lock is queued');
$create->query('COMMIT');
$lock->wait;
ok(poll_until(sub { worker_pids($node, 'scan') }, 'scan worker'), 'a scan begins');
$lock->query('COMMIT');
$node->safe_psql('postgres', 'DELETE FROM big WHERE id % 2 = 0');
$node->safe_psql('postgres', 'VACUUM big');
ok(wait_status($node, $job2, 'succeeded'), 'and ends');
my $n = grep { $_->{topic} eq 'big' } rows_of(quick_messages($dir2));
ok($n == 30000 || $n == 15000, 'a scan sees a table of one moment') or diag("$n rows");

# Old catalog rows are kept for what is still to be decoded: a column that was
# dropped, and its catalogs vacuumed, while the feed was paused.
$node->safe_psql('postgres', "SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'paused');
$node->safe_psql('postgres', q{
	ALTER TABLE hold ADD COLUMN extra text;
	INSERT INTO hold VALUES (100, 'with extra');
	ALTER TABLE hold DROP COLUMN extra;
	INSERT INTO hold VALUES (101);
	VACUUM pg_attribute; VACUUM pg_class; VACUUM pg_type});
$node->safe_psql('postgres', "SELECT changefeed_resume($job)");
wait_feed($node, $job);
my @rows = rows_of(quick_messages($dir));
like((grep { $_->{kt} eq '100' } @rows)[0]{value}, qr/"extra": "with extra"/,
	'a row is decoded as the catalogs were');
unlike((grep { $_->{kt} eq '101' } @rows)[0]{value}, qr/extra/, 'and the next one, too');

$create->close;
$lock->close;
$node->stop;
done_testing();
