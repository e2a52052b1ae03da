# pg_upgrade to the same release, or from that in CDC_OLD_INSTALL (a folder
# with bin; other major releases): its servers run none of our workers,
# slots are lost or stand in the way (from 17 on), feeds come back paused and
# are created anew, above all stamps that were sent. And what a feed does that
# stands before the slot: it fails, and never goes on over a hole.

use strict;
use warnings;

use CdcTest;
use CdcWebhook;
use File::Find;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = 'log_min_messages = debug1';
my $old = new_cluster('old', conf => $conf, install => $ENV{CDC_OLD_INSTALL});
my $hook = start_webhook();
my $slots_move = $old->safe_psql('postgres', 'SHOW server_version_num') >= 170000;

sub run { my ($sql, $node) = @_; return ($node // $old)->safe_psql('postgres', $sql); }

my ($new_bin) = run_command([ $ENV{PG_CONFIG}, '--bindir' ]);
my $old_bin = $ENV{CDC_OLD_INSTALL} ? "$ENV{CDC_OLD_INSTALL}/bin" : $new_bin;

sub bindir { my ($node) = @_; return $node eq $old ? $old_bin : $new_bin; }

# pg_ctl start without the library
sub start_without
{
	my ($node) = @_;
	return command_ok_quiet(bindir($node) . '/pg_ctl', '-D', $node->data_dir, '-l', $node->logfile, '-w',
		'-o', "-c shared_preload_libraries=''", 'start');
}

sub stop_without
{
	my ($node) = @_;
	return command_ok_quiet(bindir($node) . '/pg_ctl', '-D', $node->data_dir, '-w', 'stop');
}

sub command_ok_quiet
{
	my @cmd = @_;
	my $log = PostgreSQL::Test::Utils::tempdir() . '/out';
	return system("@{[map { quotemeta } @cmd]} >$log 2>&1") == 0 || BAIL_OUT(slurp_file($log));
}

# the statuses of these jobs
sub statuses
{
	my ($node, @jobs) = @_;
	return run("SELECT string_agg(status, ' ' ORDER BY job_id) FROM changefeed_jobs WHERE job_id IN ("
		  . join(', ', @jobs) . ')', $node);
}

run(q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t VALUES (1, 'one');
	CREATE SCHEMA s CREATE TABLE r (id int PRIMARY KEY)});
my ($run_dir, $run_uri) = file_dir($old);
my ($ext_dir, $ext_uri) = file_dir($old);
my ($rule_dir, $rule_uri) = file_dir($old);
run("CREATE SERVER place FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri '$ext_uri')");
my $running = run("SELECT changefeed_create('{t}', '$run_uri', '{\"updated\": true, \"resolved\": \"100ms\"}')");
my $external = run("SELECT changefeed_create('{t}', 'external://place', '{\"initial_scan\": \"no\"}')");
my $secret = run(qq{SELECT changefeed_create('{t}', '@{[$hook->uri]}',
	'{"initial_scan": "no", "webhook_auth_header": "Bearer geheim123"}')});
my $rule = run("SELECT changefeed_sql(\$\$CREATE CHANGEFEED FOR TABLES IN SCHEMA s INTO '$rule_uri' WITH initial_scan = 'no'\$\$)");
my $over = run(q{SELECT changefeed_create('{t}', 'null://', '{"initial_scan": "only"}')});
my @live = ($running, $external, $secret, $rule);
ok(wait_status($old, $over, 'succeeded'), 'one has ended');
run(q{INSERT INTO t VALUES (2, 'two')});
wait_feed($old, $_) for @live;
run("SELECT changefeed_pause($external)");
ok(wait_status($old, $external, 'paused'), 'one is paused');
run(q{INSERT INTO t VALUES (3, 'three')});
wait_feed($old, $_) for $running, $secret;
my $known = $hook->requests;

# ---- the upgrade
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(allows_streaming => 'logical');
$new->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'cdc_sink'
wal_level = logical
max_replication_slots = 40
max_worker_processes = 60
cdc_sink.allow_http_webhook = on
$conf
CONF
$old->stop;
like(slurp_file($old->logfile), qr/registering background worker "cdc_sink launcher"/, 'a server starts the launcher');
my $cwd = PostgreSQL::Test::Utils::tempdir('upgrade');
my @upgrade = ("$new_bin/pg_upgrade", '-b', $old_bin, '-B', $new_bin, '-d', $old->data_dir, '-D', $new->data_dir,
	'-p', $old->port, '-P', $new->port, '-s', $new->host, '--retain');

# (success, what it said)
sub upgrade
{
	my (@more) = @_;
	my $rc = system("cd \Q$cwd\E && @{[map { quotemeta } @upgrade, @more]} >out 2>&1");
	my $said = slurp_file("$cwd/out");
	# what it did, without its servers' log at debug1
	find({ no_chdir => 1, wanted => sub { $said .= slurp_file($_) if $rc && /dump_[^\/]*\.log$/ } },
		$cwd, $new->data_dir);
	return ($rc == 0, $said);
}

if ($slots_move)
{
	my ($good, $said) = upgrade('--check');
	ok(!$good, 'from 17 on pg_upgrade wants the slots read to the end');
	like($said, qr/logical replication slots that (cannot|can't) be upgraded|output plugin|has not consumed/, 'and says so');
	start_without($old);
	run(q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE plugin = 'cdc_sink'});
	stop_without($old);
}
my ($good, $said) = upgrade();
ok($good, 'pg_upgrade') or diag($said);
my @logs;
find({ no_chdir => 1, wanted => sub { push @logs, $_ if /server[^\/]*\.log$/ } }, $cwd, $new->data_dir);
isnt(scalar @logs, 0, 'its servers have logged');
my $logged = join '', map { slurp_file($_) } @logs;
like($logged, qr/loaded library "cdc_sink"/, 'with the library, at debug1');
unlike($logged, qr/registering background worker "cdc_sink/, 'they run none of our workers');

# ---- the new cluster
my @sent = file_messages($run_dir);
my @resolved = resolved_of(@sent);
my $last = $resolved[-1]{resolved};
$new->start;
ok( poll_until(
		sub { run('SELECT count(*) FROM cdc_sink.job WHERE finished IS NULL', $new) eq '0' },
		'taken note of'),
	'jobs of another cluster are found');
is(statuses($new, @live), 'paused paused paused paused', 'all are paused');
is(statuses($new, $over), 'succeeded', 'one that has ended stays');
like(run("SELECT running_status FROM changefeed_jobs WHERE job_id = $running", $new), qr/pg_upgrade/, 'the view says why');
cmp_ok(hlc_cmp(run("SELECT high_water_timestamp FROM changefeed_jobs WHERE job_id = $running", $new), $last),
	'>=', 0, 'and how far it had come');
like(slurp_file($new->logfile), qr/What was written after \d{4}-.* is not sent, except by its initial scan/, 'the log, too');
is(run(q{SELECT count(*) FROM pg_replication_slots}, $new), '0', 'they hold no WAL');

run("SELECT changefeed_resume($_)", $new) for @live;
run(q{INSERT INTO t VALUES (4, 'four'); INSERT INTO s.r VALUES (5)}, $new);
$new->safe_psql('postgres', "SELECT changefeed_wait($_, timeout => '60 s')") for @live;
my @all = file_messages($run_dir);
my %state = map { $_->{key} => $_->{after}{v} } rows_of(@all);
is(join(' ', map { $state{$_} } sort keys %state), 'one two three four', 'a feed with a scan has all');
my @later = grep { $_->{updated} && hlc_cmp($_->{updated}, $last) > 0 } rows_of(@all);
is(scalar @later, 4, 'all that it sent again is above what was resolved');
check_resolved(@all);
is(join(' ', map { $_->{after}{id} } rows_of(file_messages($ext_dir))), '2 4', 'an external sink gets what comes');
is(join(' ', map { $_->{after}{id} } rows_of(file_messages($rule_dir))), '5', 'a rule finds its schema');
my @fresh = map { @{ $_->{json}{payload} } } ($hook->requests)[ $known .. $hook->requests - 1 ];
is(join(' ', map { $_->{after}{id} } @fresh), '4', 'and so does one with a password');

# ---- feeds that stand before their slot
run("SELECT changefeed_pause($external)", $new);
ok(wait_status($new, $external, 'paused'), 'paused');
$new->stop;
start_without($new);
run("UPDATE cdc_sink.checkpoint SET resume_lsn = '0/1' WHERE job_id IN ($running, $external)", $new);
stop_without($new);
$new->start;
ok(wait_status($new, $_, 'failed'), 'a feed that stands before the slot fails') for $running, $external;
run(q{INSERT INTO t VALUES (6, 'six')}, $new);
$new->safe_psql('postgres', "SELECT changefeed_wait($secret, timeout => '60 s')");
is(statuses($new, $secret, $rule), 'running running', 'the others go on');

# its creation was never decoded, and the slot that held it is another one
$new->stop;
start_without($new);
run(q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots}, $new);
run("UPDATE cdc_sink.checkpoint SET resume_lsn = NULL WHERE job_id = $rule; UPDATE cdc_sink.job SET status = 'pending' WHERE job_id = $rule", $new);
stop_without($new);
$new->start;
ok(wait_status($new, $_, 'failed'), 'a feed without its slot fails') for $rule, $secret;
is(run('SELECT DISTINCT error FROM changefeed_jobs WHERE status = $$failed$$', $new),
	'the replication slot of the changefeed no longer exists', 'all say why');

$new->stop;
$hook->stop;
done_testing();
