# The initial scan is consistent with the stream: no row missing, none stale,
# none doubled, with writers at work and transactions open at creation.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

# several chunks for each table
my $rows = 110_000;
my $node = new_cluster('scan');
load_setup($node);
load_fill($node, $rows, 55_000);
my $oracle = oracle_make($node);
my $load = load_start($node, $rows, rate => 400);

# The first feed of a database, while a transaction is open: it cannot know
# its exact start, so it is made and starts as soon as that has ended.
my ($dir1, $uri1) = file_dir($node);
my $open = session($node);
$open->query(q{BEGIN; UPDATE acc SET v = nextval('vers') WHERE id = 7});
my ($rc, $job1, $notice) = $node->psql('postgres', qq{
	SET cdc_sink.start_timeout = '300ms';
	SELECT changefeed_sql('CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO ''$uri1'' WITH updated, resolved')});
like($notice, qr/NOTICE:  changefeed will start later.*transaction of process \d+/s,
	'an open transaction at creation: a notice that names it');
is(feed_status($node, $job1), 'pending', 'and the job is pending');
is(scalar(rows_of(file_messages($dir1))), 0, 'nothing is sent before it starts');
$open->query(q{COMMIT});
ok(wait_status($node, $job1, 'running'), 'it starts when the transaction ends');
my $marker = $node->safe_psql('postgres',
	q{UPDATE ord SET v = nextval('vers') WHERE a = (SELECT min(a) FROM ord) RETURNING v});
($marker) = split /\n/, $marker;

# The lane is ready now: an exact start, also with transactions open that
# have written, are prepared, or read only.
$open->query(q{BEGIN; UPDATE acc SET v = nextval('vers') WHERE id IN (11, 12)});
my $prepared = session($node);
$prepared->query(q{BEGIN; UPDATE doc SET v = nextval('vers') WHERE k IN ('k11', 'k12')});
$prepared->query(q{PREPARE TRANSACTION 'before'});
my $reader = session($node);
$reader->query(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM acc});
my ($dir2, $uri2) = file_dir($node);
my $job2 = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '$uri2' WITH updated, resolved");
$open->query(q{UPDATE ord SET v = nextval('vers') WHERE a = 11; COMMIT});
$prepared->query(q{COMMIT PREPARED 'before'});
ok( poll_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT scan_progress FROM changefeed_jobs WHERE job_id = $job2") eq 'done';
		},
		'scan of the second feed'),
	'the scan ends under load and with a reader open');
$reader->query('COMMIT');

# A third with no scan, and one that is only a scan
my ($dir3, $uri3) = file_dir($node);
my $job3 = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '$uri3' WITH updated, initial_scan='no'");
my ($dir4, $uri4) = file_dir($node);
my $job4 = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, ord INTO '$uri4' WITH initial_scan='only'");
ok(wait_status($node, $job4, 'succeeded'), 'a feed that is only a scan succeeds');

load_stop($load);
wait_feed($node, $_) for $job1, $job2, $job3;
my @events = oracle_read($oracle);
diag(scalar(@events), ' events by the writers');

my @m1 = quick_messages($dir1);
ok_none([ check_complete_after($marker, \@m1, \@events) ],
	'late start: every version after the start is there');
my @m2 = quick_messages($dir2);
ok_none([ check_exact($oracle, $job2, \@m2, \@events, scan => 1) ],
	'exact start: the scan as of the creation, then every version');
my @m3 = quick_messages($dir3);
ok_none([ check_exact($oracle, $job3, \@m3, \@events) ],
	'no scan: every version from the creation on');

my $state = load_state($node);
my $n = 0;
for my $msgs (\@m1, \@m2)
{
	$n++;
	ok_none([ replay_differences($msgs, $state) ],
		"feed $n: messages replayed give the tables");
	ok_none([ sent_twice_at_start($msgs) ], "feed $n: the scan sends no key twice");
	check_guarantees($msgs, "feed $n", max => 0);
}
check_guarantees(\@m3, 'feed 3', max => 0);
ok_none([ resolved_by_arrival($dir1) ], 'feed 1: nothing comes late');
ok_none([ resolved_by_arrival($dir2) ], 'feed 2: nothing comes late');

# The export is a state of one moment: a row is in it once.
my %seen;
$seen{"$_->{topic} $_->{kt}"}++ for rows_of(quick_messages($dir4));
ok(keys %seen > $rows, 'initial_scan=only: rows were sent');
is(scalar(grep { $_ > 1 } values %seen), 0, 'initial_scan=only: each row once');

$open->close;
$prepared->close;
$reader->close;
$node->stop;
done_testing();
