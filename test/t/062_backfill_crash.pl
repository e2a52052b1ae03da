# Backfills with writers at work and processes, servers and feeds that stop
# in the middle: every row comes with its new column, none at or below an
# earlier resolved, and a backfill that starts over has the same stamp.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rows = 400;
my $node = new_cluster('backfill', conf => 'cdc_sink.idle_resolved_interval = 50ms');

sub run { return $node->safe_psql('postgres', $_[0]); }

# Rows above 1000000 are never written again.
run(qq{
	CREATE TABLE acc (id int PRIMARY KEY, v int);
	CREATE TABLE hold (id int PRIMARY KEY, v int);
	INSERT INTO acc SELECT i, 0 FROM generate_series(1, $rows) i;
	INSERT INTO acc SELECT 1000000 + i, -1 FROM generate_series(1, $rows) i;
	INSERT INTO hold SELECT i, 0 FROM generate_series(1, 200) i;
	CREATE TABLE stop_writing (id int);
	CREATE PROCEDURE work() LANGUAGE plpgsql AS \$\$
	DECLARE
		k int;
		n int := 0;
	BEGIN
		WHILE NOT EXISTS (SELECT FROM stop_writing) LOOP
			n := n + 1;
			k := 1 + (random() * $rows)::int;
			IF n % 7 = 0 THEN
				DELETE FROM acc WHERE id = k;
			ELSIF n % 5 = 0 THEN
				UPDATE acc SET id = k + 500000, v = v + 1 WHERE id = k
					AND NOT EXISTS (SELECT FROM acc WHERE id = k + 500000);
			ELSE
				INSERT INTO acc (id, v) VALUES (k, 1) ON CONFLICT (id) DO UPDATE SET v = acc.v + 1;
			END IF;
			COMMIT;
			PERFORM pg_sleep(0.004);
		END LOOP;
	END\$\$});

my ($dir, $uri) = file_dir($node);
my $job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, hold INTO '$uri' WITH updated, resolved, min_checkpoint_frequency='50ms'");
wait_feed($node, $job);

my $writer;

sub start_writing
{
	$writer = session($node);
	$writer->send('CALL work()');
	return;
}
start_writing();

sub progress
{
	return run("SELECT running_status || ' / ' || scan_progress FROM changefeed_jobs WHERE job_id = $job");
}

# hold_in_backfill(DDL of one transaction): the backfill has read acc and
# waits for hold; returns the session that keeps it there.
sub hold_in_backfill
{
	my ($ddl) = @_;
	my $alter = session($node);
	$alter->query("BEGIN; $ddl");
	my $lock = session($node);
	$lock->send('BEGIN; LOCK TABLE hold IN ACCESS EXCLUSIVE MODE');
	poll_until(
		sub {
			run("SELECT count(*) FROM pg_locks WHERE relation = 'hold'::regclass AND NOT granted") > 0;
		},
		'lock is queued', 20);
	$alter->query('COMMIT');
	$alter->close;
	$lock->wait;
	ok( poll_until(sub { progress() =~ m{^schema change backfill: .* / [1-9]\d* rows sent$} },
			'rows of the backfill', 30),
		'a backfill is under way, and the view shows it') || diag(progress());
	return $lock;
}

# Nothing lost, nothing doubled under two stamps: the new column has arrived
# with every row there is.
my %stamps;

sub check_state
{
	my ($what, $column) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_running_again($node, $job), "$what: the feed has caught up");
	my @all = file_messages($dir);
	my %of;
	my %seen;
	for my $m (rows_of(@all))
	{
		next unless ref $m->{after} && exists $m->{after}{$column} && $m->{after}{v} == -1;
		next if $stamps{ $m->{updated} };
		$of{ $m->{updated} }++;
		$seen{ key_text($m) } = 1;
	}
	is(scalar(keys %of), 1, "$what: one stamp, however often it started") || diag(explain(\%of));
	is(scalar(keys %seen), $rows, "$what: and every row that nobody wrote has come");
	$stamps{$_} = 1 for keys %of;
	return;
}

my @days = (
	[ 'lane killed with KILL', sub { kill_worker($node, 'lane', 'KILL'); wait_up($node) } ],
	[ 'scan worker killed with TERM', sub { kill_worker($node, 'scan', 'TERM') } ],
	[ 'server killed', sub { $node->kill9; start_again($node); wait_up($node) } ],
	[ 'paused and resumed', sub {
			run("SELECT changefeed_pause($job)");
			wait_status($node, $job, 'paused');
			usleep(200_000);
			run("SELECT changefeed_resume($job)");
		} ],
	[ 'another change of the same tables', sub {
			# it waits for the lock of the one who holds the backfill
			my $s = session($node);
			$s->send('ALTER TABLE hold ADD COLUMN x int DEFAULT 1');
			run("ALTER TABLE acc DROP COLUMN v2");
			kill_worker($node, 'lane', 'TERM');
			return $s;
		} ]);
my $n = 0;
for my $day (@days)
{
	my ($what, $do) = @$day;
	$n++;
	my $lock = hold_in_backfill("ALTER TABLE acc ADD COLUMN v$n int DEFAULT $n; ALTER TABLE hold ADD COLUMN v$n int DEFAULT $n");
	my $resolved = () = glob("$dir/*/*.RESOLVED");
	usleep(300_000);
	is(scalar(() = glob("$dir/*/*.RESOLVED")), $resolved, "$what: no resolved meanwhile");
	$do->();
	lane_pid($node);
	if ($what =~ /server|lane killed with KILL/)
	{
		# these went with the server
		eval { $_->close; 1 } for $lock, $writer;
		start_writing();
	}
	else
	{
		$lock->query('COMMIT');
		$lock->close;
	}
	check_state($what, "v$n") if $what !~ /another/;
}
ok(wait_running_again($node, $job), 'two changes in a row: the feed has caught up');

run('INSERT INTO stop_writing VALUES (1)');
$writer->wait;
$writer->close;
wait_feed($node, $job);
my @all = file_messages($dir);
check_fingerprint($node, 'acc', 'id', \@all, 'replay gives the table');
check_fingerprint($node, 'hold', 'id', \@all, 'and the other table');
ok_none([ check_order(@all) ], 'all days: order per key');
ok_none([ check_resolved(@all) ], 'all days: resolved floor');

# canceled in the middle: no worker and no slot stay behind
my $lock = hold_in_backfill('ALTER TABLE acc ADD COLUMN last int DEFAULT 1; ALTER TABLE hold ADD COLUMN last int DEFAULT 1');
run("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled in the middle of a backfill');
ok(poll_until(sub { !worker_pids($node, 'scan') }, 'no scan worker', 30), 'its worker goes');
$lock->query('COMMIT');
$lock->close;
ok(poll_until(sub { slots($node) eq '0' }, 'no slot', 30), 'no slot is left');

$node->stop;
done_testing();
