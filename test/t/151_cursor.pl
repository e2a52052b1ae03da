# cursor: a feed that starts in the past gets exactly what is behind it, with
# the stamps that other feeds have given, from any stamp, time or position
# that the slot still holds; also after crashes, beside a load, in a long
# transaction, with a scan; and what is too old is refused.

use strict;
use warnings;

use CdcTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('cursor', conf => q{
cdc_sink.idle_resolved_interval = 20ms
cdc_sink.history_retention = 1h
});
sub run { return $node->safe_psql('postgres', $_[0]); }

run(q{
	CREATE TABLE t (id int PRIMARY KEY, v int);
	CREATE TABLE u (id int PRIMARY KEY, v int);
	CREATE SEQUENCE s;
	INSERT INTO t SELECT i, 0 FROM generate_series(1, 50) i});

sub now_hlc { return run(q{SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint || '000.0000000000'}); }

# the one that has seen everything
my ($all_dir, $all_uri) = file_dir($node);
my $all = create_feed($node,
	"CREATE CHANGEFEED FOR t, u INTO '$all_uri' WITH updated, resolved = '20ms', min_checkpoint_frequency = '20ms', no_initial_scan");

my $script = $node->basedir . '/load.sql';
append_to_file($script, q{
INSERT INTO t SELECT nextval('s') + 1000, 1;
UPDATE t SET v = v + 1 WHERE id = (random() * 49)::int + 1;
BEGIN;
INSERT INTO u SELECT nextval('s'), 1;
INSERT INTO t SELECT nextval('s') + 1000, 2;
END;
});

sub load
{
	my ($seconds) = @_;
	my $h = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '3', '-R', '150', '-T', $seconds, '-f', $script,
			'-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', \my $out, '2>', \my $err);
	return $h;
}

# stamps, times and positions from in between, with what is behind each
my @cursors;
my $h = load(5);
for my $i (1 .. 4)
{
	run('SELECT pg_sleep(0.9)');
	push @cursors, [ 'time', now_hlc() ];
	push @cursors, [ 'position', run('SELECT pg_current_wal_insert_lsn()') ];
	push @cursors, [ 'flushed position', run('SELECT pg_current_wal_flush_lsn()') ];
}
$h->finish;
wait_feed($node, $all);
my @early = file_messages($all_dir);
my @resolved = map { $_->{resolved} } resolved_of(@early);
my @stamps = map { $_->{updated} } rows_of(@early);
push @cursors, [ 'resolved', $resolved[ @resolved * $_ / 4 ] ] for 1 .. 3;
push @cursors, [ 'updated', $stamps[ @stamps * $_ / 4 ] ] for 1 .. 3;
push @cursors, [ 'last resolved', $resolved[-1] ];

sub words { return map { "$_->{topic} " . key_text($_) . " $_->{after}{v}\@$_->{updated}" } @_; }

sub take_over
{
	my ($what, $cursor, $options) = @_;
	my ($dir, $uri) = file_dir($node);
	my $job = create_feed($node,
		"CREATE CHANGEFEED FOR t, u INTO '$uri' WITH updated, cursor = '$cursor'" . ($options // ''));
	return { what => "$what $cursor", cursor => $cursor, dir => $dir, job => $job };
}

# no change behind the cursor is missing or has another stamp; none before it
sub compare
{
	my ($f, $all_msgs) = @_;
	wait_feed($node, $f->{job});
	my @got = rows_of(file_messages($f->{dir}));
	my @want = sort { hlc_cmp($a->{updated}, $b->{updated}) } rows_of(@$all_msgs);
	my $lsn = $f->{cursor} =~ m{/};
	if ($lsn)
	{
		# where the position lies among the stamps is for the feed to say
		my $n = @got;
		ok(@got <= @want && @got > 0, "$f->{what}: " . @got . ' rows');
		@want = @want[ @want - @got .. $#want ];
	}
	else
	{
		@want = grep { hlc_cmp($_->{updated}, $f->{cursor}) > 0 } @want;
	}
	my ($g, $w) = (join("\n", sort(words(@got))), join("\n", sort(words(@want))));
	ok($g eq $w, "$f->{what}: exactly the " . @want . ' rows behind it')
	  or diag(scalar(@got), ' instead of ', scalar(@want));
	is(join("\n", check_order(@got)), '', "$f->{what}: order");
	return;
}

my @feeds = map { take_over(@$_) } @cursors;
wait_feed($node, $all);
my @now = file_messages($all_dir);
compare($_, \@now) for @feeds;

# a position counts what was committed at it
my $lsn = run('SELECT pg_current_wal_insert_lsn()');
run('INSERT INTO t VALUES (100001, 1)');
my $f = take_over('position', $lsn);
wait_feed($node, $f->{job});
is(join(' ', map { $_->{after}{id} } rows_of(file_messages($f->{dir}))), '100001', 'only what was committed behind a position');
push @feeds, $f;
run("SELECT changefeed_cancel($_->{job})") for @feeds;

# ---- with a scan: each row as it is, or its changes
my $cursor = now_hlc();
run('UPDATE t SET v = -1 WHERE id <= 5; DELETE FROM t WHERE id = 6; INSERT INTO t VALUES (100002, 1)');
$f = take_over('scan', $cursor, ', initial_scan, resolved');
wait_feed($node, $f->{job});
check_fingerprint($node, 't', 'id', [ grep { defined $_->{resolved} || $_->{topic} eq 't' } file_messages($f->{dir}) ],
	'initial_scan with cursor: replay gives the table');
my @m = rows_of(file_messages($f->{dir}));
is(scalar(grep { hlc_cmp($_->{updated}, $cursor) < 0 } @m), 0, 'nothing is stamped below the cursor');
ok((grep { $_->{updated} eq $cursor } @m) > 1000, 'rows that did not change carry the cursor');
run("SELECT changefeed_cancel($f->{job})");

# ---- columns that came in between
run('CREATE TABLE d (id int PRIMARY KEY, a int)');
run('SELECT pg_sleep(0.1)');
$cursor = now_hlc();
run('INSERT INTO d VALUES (1, 1)');
run('ALTER TABLE d ADD COLUMN b int');
run('INSERT INTO d VALUES (2, 2, 2)');
run('ALTER TABLE d DROP COLUMN a');
run('INSERT INTO d VALUES (3, 3)');
my ($d_dir, $d_uri) = file_dir($node);
my $d = create_feed($node, "CREATE CHANGEFEED FOR d INTO '$d_uri' WITH cursor = '$cursor', schema_change_policy = 'nobackfill'");
wait_feed($node, $d);
is(join(' ', map { $_->{value} } rows_of(file_messages($d_dir))),
	'{"after": {"a": 1, "id": 1}, "key": [1]} {"after": {"a": 2, "b": 2, "id": 2}, "key": [2]} {"after": {"b": 3, "id": 3}, "key": [3]}',
	'rows of the past have the columns of their moment');
run("SELECT changefeed_cancel($d)");

# ---- in a transaction that stays open while others go on
$cursor = now_hlc();
run('INSERT INTO t VALUES (100003, 1)');
my ($dir, $uri) = file_dir($node);
my $psql = $node->background_psql('postgres');
my $job = $psql->query_safe(qq{BEGIN; SELECT changefeed_create('{t}', '$uri', '{"cursor": "$cursor", "updated": true}')});
$job =~ s/\D//g;
$node->append_conf('postgresql.conf', 'cdc_sink.history_retention = 0');
$node->reload;
run("INSERT INTO t VALUES ($_, 1)") for 100004 .. 100006;
wait_feed($node, $all);
run('SELECT pg_sleep(2.5)');    # more than one visit of the lane to its rows
$psql->query_safe('COMMIT');
$psql->quit;
wait_feed($node, $job);
is(join(' ', map { $_->{after}{id} } rows_of(file_messages($dir))), '100003 100004 100005 100006',
	'the history stays for a creation that is not committed yet');
run("SELECT changefeed_cancel($job)");

# ---- a paused feed keeps the past for others, without the setting, also over a crash
my ($p_dir, $p_uri) = file_dir($node);
my $paused = create_feed($node, "CREATE CHANGEFEED FOR t INTO '$p_uri' WITH updated, resolved = '20ms', no_initial_scan");
$h = load(2);
run('SELECT pg_sleep(1)');
run("SELECT changefeed_pause($paused)");
ok(wait_status($node, $paused, 'paused'), 'paused');
$h->finish;

# from the first mark on that is kept for it, a cursor is good after a crash
my $at = run('SELECT pg_current_wal_insert_lsn()');
ok( poll_until(
		sub {
			run('INSERT INTO u SELECT nextval($$s$$), 1');
			return run("SELECT count(*) > 0 FROM cdc_sink.history WHERE lsn >= '$at'") eq 't';
		},
		'a mark', 30),
	'the history goes on for it');
$cursor = now_hlc();
run('INSERT INTO t VALUES (100007, 1)');
wait_feed($node, $all);
$node->stop('immediate');
$node->start;
run('INSERT INTO t VALUES (100008, 1)');
is( run(q{SELECT bool_and(s.confirmed_flush_lsn <= c.resume_lsn) FROM pg_replication_slots s,
	cdc_sink.checkpoint c JOIN cdc_sink.job j USING (job_id) WHERE j.finished IS NULL}),
	't', 'the slot is not ahead of any feed');
my $high = run("SELECT high_water_timestamp FROM changefeed_jobs WHERE job_id = $paused");
($dir, $uri) = file_dir($node);
my $heir = create_feed($node, "CREATE CHANGEFEED FOR t INTO '$uri' WITH updated, cursor = '$high'");
my $late = take_over('after a crash', $cursor);
run("SELECT changefeed_resume($paused)");
wait_feed($node, $_) for $paused, $heir, $late->{job}, $all;
@now = grep { $_->{topic} eq 't' } rows_of(file_messages($all_dir));
my @heir = rows_of(file_messages($dir));
my $full = sprintf '%d.%010d', split /\./, "$high.0";
$full = $high =~ /\./ ? $high : "$high.0000000000";

# the crash may have sent rows to the feed that has seen everything once more
my %behind = map { $_ => 1 } words(grep { hlc_cmp($_->{updated}, $full) > 0 } @now);
is(join("\n", sort(words(@heir))), join("\n", sort keys %behind),
	'a new feed takes over from the high water of a paused one');
my %late = map { $_ => 1 } words(rows_of(file_messages($late->{dir})));
is(scalar(grep { !$late{$_} } words(grep { hlc_cmp($_->{updated}, $cursor) > 0 } @now)), 0,
	'nothing is missing behind a cursor from before the crash');
run("SELECT changefeed_cancel($_)") for $paused, $heir, $late->{job};

# ---- a bounded export, all of it in the past
$node->append_conf('postgresql.conf', 'cdc_sink.history_retention = 1h');
$node->reload;
wait_feed($node, $all);

# the setting has to reach the lane, and its history has to begin
ok( poll_until(
		sub {
			my $now = now_hlc();
			my ($rc, $job) = $node->psql('postgres',
				"SELECT changefeed_sql(\$\$CREATE CHANGEFEED FOR t INTO 'null://' WITH cursor = '$now'\$\$)");
			run("SELECT changefeed_cancel($job)") if $rc == 0;
			return $rc == 0;
		},
		'a history', 30),
	'the history begins');
run('INSERT INTO t VALUES (100010, 1)');
$cursor = now_hlc();
run('INSERT INTO t VALUES (100011, 1); INSERT INTO u VALUES (100011, 1)');
my $end = now_hlc();
run('INSERT INTO t VALUES (100012, 1)');
$f = take_over('export', $cursor, ", end_time = '$end', resolved");
ok(wait_status($node, $f->{job}, 'succeeded'), 'an export of the past succeeds');
is(join(' ', map { $_->{after}{id} } rows_of(file_messages($f->{dir}))), '100011 100011', 'with what lies between');
is((resolved_of(file_messages($f->{dir})))[-1]{resolved}, $end, 'and its last resolved');

# ---- paused on its way, and refused
sub refused
{
	my ($what, $options, $re) = @_;
	my ($rc, $out, $err) = $node->psql('postgres',
		"SELECT changefeed_sql(\$\$CREATE CHANGEFEED FOR t INTO 'null://' WITH $options\$\$)");
	isnt($rc, 0, "$what is refused");
	like($err, $re, "$what: why");
	return;
}
refused('before the history', "cursor = '2020-01-01'", qr/cursor 1577836800000000000.0000000000 is older than the GC threshold \d+\.\d{10}.*HINT:  Use a more recent cursor/s);
refused('a position before it', "cursor = '0/1'", qr{cursor 0/1 is older than the GC threshold [0-9A-F]+/[0-9A-F]+});
refused('the future', "cursor = '+1 hour'", qr/is in the future/);
refused('a position in the future', "cursor = 'FFFFFF/0'", qr/is in the future/);

# a refusal that is caught leaves no hold behind
run(q{DO $$ BEGIN PERFORM changefeed_create('{t}', 'null://', '{"cursor": "0/1"}');
	EXCEPTION WHEN OTHERS THEN NULL; END $$});
$node->append_conf('postgresql.conf', 'cdc_sink.history_retention = 0');
$node->reload;
my $before = run('SELECT confirmed_flush_lsn FROM pg_replication_slots');
ok( poll_until(
		sub {
			run('INSERT INTO u VALUES (-(SELECT count(*) FROM u), 1)');
			return run("SELECT confirmed_flush_lsn > pg_lsn '$before' FROM pg_replication_slots") eq 't';
		},
		'confirmed'),
	'the slot moves on');
$node->append_conf('postgresql.conf', 'cdc_sink.history_retention = 1h');
$node->reload;

# ---- the slot outlives the last feed for as long as the setting says
wait_feed($node, $all);
$cursor = run("SELECT high_water_timestamp FROM changefeed_jobs WHERE job_id = $all");
run("SELECT changefeed_cancel($all)");
ok(wait_status($node, $all, 'canceled'), 'the last feed is canceled');
$cursor = run("SELECT high_water_timestamp FROM changefeed_jobs WHERE job_id = $all");
run('INSERT INTO t VALUES (100013, 1)');
run('SELECT pg_sleep(1)');
is(slots($node), '1', 'the slot stays');
$f = take_over('a canceled feed', $cursor);
wait_feed($node, $f->{job});
is(join(' ', map { $_->{after}{id} } rows_of(file_messages($f->{dir}))), '100013', 'a new feed takes over from a canceled one');
run("SELECT changefeed_cancel($f->{job})");
$node->append_conf('postgresql.conf', 'cdc_sink.history_retention = 0');
$node->reload;
ok(poll_until(sub { slots($node) eq '0' }, 'no slot'), 'and goes with the setting');
is(run('SELECT count(*) < 100 FROM cdc_sink.history'), 't', 'the history is bounded');

$node->stop;
done_testing();
