# A row whose value its type's output function refuses ends the worker once;
# then the feed's on_bad_message decides, and the other feeds go on. Trap 4: the
# worker never goes on with the context in which the error was raised.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('bad_rows', conf => 'allow_system_table_mods = on');

# A label that does not exist, through a cast that nobody should have.
$node->safe_psql('postgres', q{
	CREATE TYPE mood AS ENUM ('well');
	INSERT INTO pg_cast (oid, castsource, casttarget, castfunc, castcontext, castmethod)
	VALUES (99998, 'oid'::regtype, 'mood'::regtype, 0, 'e', 'b');
	CREATE TABLE t (id int PRIMARY KEY, m mood);
	CREATE TABLE other (id int PRIMARY KEY)});

my ($fail_dir, $fail_uri) = file_dir($node);
my ($dead_dir, $dead_uri) = file_dir($node);
my ($other_dir, $other_uri) = file_dir($node);
my $fail = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$fail_uri' WITH updated");
my $dead = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE t INTO '$dead_uri' WITH updated, on_bad_message='dead_letter'");
my $other = create_feed($node, "CREATE CHANGEFEED FOR TABLE other INTO '$other_uri' WITH updated");
wait_feed($node, $_) for $fail, $dead, $other;

# Two bad rows in one transaction, one more in the next, good ones around.
$node->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO t VALUES (1, 'well');
	INSERT INTO t VALUES (2, 77777::oid::mood), (3, 'well'), (4, 88888::oid::mood);
	INSERT INTO t VALUES (5, 'well');
	COMMIT;
	INSERT INTO t VALUES (6, 99999::oid::mood);
	INSERT INTO t VALUES (7, 'well');
	INSERT INTO other VALUES (1)});

ok(wait_status($node, $fail, 'failed'), 'on_bad_message=fail: the feed fails');
like($node->safe_psql('postgres', "SELECT error FROM changefeed_jobs WHERE job_id = $fail"),
	qr/could not be encoded: invalid internal value for enum/, 'and says why');
wait_feed($node, $dead);
wait_feed($node, $other);
is($node->safe_psql('postgres', "SELECT count(*) FROM cdc_sink.dead_letter WHERE job_id = $dead"),
	3, 'on_bad_message=dead_letter: the three are in the table');
is_deeply([ sort map { $_->{after}{id} } rows_of(file_messages($dead_dir)) ],
	[ 1, 3, 5, 7 ], 'and the rows around them at the sink');
is(scalar(rows_of(file_messages($other_dir))), 1, 'a feed of another table is not touched');
is(feed_status($node, $dead), 'running', 'the feed goes on');

done_testing();
