# Trap 12: the caches of the worker change sides between the past, as it is
# decoded, and now, as its statements see it. DDL that runs ahead of a feed must
# not show in older rows, and must show in newer ones. Trap 13: changes of a
# table whose identity does not tell the old row end the feed, not silently.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('caches');
$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, a text);
	CREATE TABLE beat (id int PRIMARY KEY)});
my ($dir, $uri) = file_dir($node);
my $job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH updated, initial_scan='no'");

# The worker of this feed visits the catalog all the time.
my $beat = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE beat INTO 'null://' WITH resolved='10ms', min_checkpoint_frequency='10ms'");
wait_feed($node, $_) for $job, $beat;

# Everything happens while the feed is away; then it reads the past.
$node->safe_psql('postgres', "SELECT changefeed_pause($job)");
wait_status($node, $job, 'paused');
my %expected;
for my $i (1 .. 20)
{
	$node->safe_psql('postgres', "INSERT INTO t VALUES ($i, 'x')");
	$expected{$i} = join ' ', 'id', $i == 1 ? 'a' : 'c' . ($i - 1);
	$node->safe_psql('postgres',
		'ALTER TABLE t RENAME COLUMN ' . ($i == 1 ? 'a' : 'c' . ($i - 1)) . " TO c$i");
}
$node->safe_psql('postgres', "SELECT changefeed_resume($job)");
for my $i (1 .. 10) { $node->safe_psql('postgres', "INSERT INTO beat VALUES ($i)"); }
wait_feed($node, $job);
my %got = map { $_->{after}{id} => join ' ', sort { $a eq 'id' ? -1 : 1 } keys %{ $_->{after} } }
  rows_of(file_messages($dir));
is_deeply(\%got, \%expected, 'trap 12: each row has the columns of its own time');

$node->safe_psql('postgres', q{
	CREATE TABLE n (id int PRIMARY KEY, v text);
	INSERT INTO n VALUES (1, 'a'), (2, 'b')});
my ($ndir, $nuri) = file_dir($node);
my $njob = create_feed($node, "CREATE CHANGEFEED FOR TABLE n INTO '$nuri' WITH updated");
wait_feed($node, $njob);
$node->safe_psql('postgres', 'ALTER TABLE n REPLICA IDENTITY NOTHING; UPDATE n SET id = 3 WHERE id = 2');
ok(wait_status($node, $njob, 'failed'), 'trap 13: a change that hides the old key ends the feed');
like($node->safe_psql('postgres', "SELECT error FROM changefeed_jobs WHERE job_id = $njob"),
	qr/replica identity/, 'by its name');
is((grep { $_->{after} && $_->{after}{id} eq '3' } rows_of(file_messages($ndir))) + 0, 0,
	'the half of a change was not sent');

done_testing();
