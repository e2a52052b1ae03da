# Trap 15: rd_kafka_destroy joins a thread that may sit in the resolver. With
# a broker name that the resolver never answers, everything still works at
# once: creation ends, statements can be cancelled, feeds pause and cancel,
# the server shuts down, and nothing crashes.
#
# The whole test runs in a network namespace of its own, with a name server
# that never says a word and its own resolv.conf and hosts.

use strict;
use warnings;

use CdcKafka;
use CdcTest;
use Cwd;
use File::Temp;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = $ENV{CDC_NAMESPACE};
if (!$dir)
{
	$dir = File::Temp::tempdir(CLEANUP => 1);
	append_to_file("$dir/resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n");
	append_to_file("$dir/hosts", "127.0.0.1 localhost\n127.0.0.1 broker.test\n");
	my ($uid, $gid) = ($>, (split / /, $))[0]);

	# root of its own outside, and our user again inside: servers refuse root
	my $outer = <<'SH';
set -e
ip link set lo up
mount --bind "$0/resolv.conf" /etc/resolv.conf
mount --bind "$0/hosts" /etc/hosts
perl -MIO::Socket::INET -e 'IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 53, Proto => "udp") or die'
uid=$1 gid=$2
shift 2
exec perl -MIO::Socket::INET -e '
	my $mute = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 53, Proto => "udp") or die;
	exit(system(@ARGV) == 0 ? 0 : 1);' unshare -U --map-user="$uid" --map-group="$gid" "$@"
SH
	my @in = ('unshare', '-r', '-m', '-n', 'bash', '-c', $outer, $dir, $uid, $gid);
	my $out = '';
	my $ok = IPC::Run::run([ @in, 'bash', '-c', 'id -u; getent ahosts broker.test' ],
		'<', \undef, '>', \$out, '2>', \$out);
	plan skip_all => "no namespaces to be had: $out" unless $ok && $out =~ /^$uid\n127\.0\.0\.1/;
	$ENV{CDC_NAMESPACE} = $dir;
	# our own output is what the other process writes to as well
	open STDOUT, '>&', Test::More->builder->output or die;
	open STDERR, '>&', Test::More->builder->failure_output or die;
	my $rc = system(@in, $^X, $0);
	exit($rc == 0 ? 0 : 1);
}

my $k = start_kafka();
my ($port) = $k->addr =~ /:(\d+)$/;
my $uri = "kafka://broker.test:$port";
my $node = new_cluster('kafka_resolver');

sub sql { return $node->safe_psql('postgres', @_); }

# The name is known, or nobody says.
sub name_known
{
	my ($known) = @_;
	open my $f, '>', "$dir/hosts" or die;
	print $f "127.0.0.1 localhost\n", $known ? "127.0.0.1 broker.test\n" : '';
	close $f;
	return;
}

sql('CREATE TABLE t (id int PRIMARY KEY)');
my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH updated, resolved='100ms'");
sql('INSERT INTO t VALUES (1)');
wait_feed($node, $job);
sql("SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'a feed works while its broker has a name');

name_known(0);
my $hangs = timed(sub { system('timeout', 2, 'getent', 'ahosts', 'broker.test') });
cmp_ok($hangs, '>', 1.9, 'the resolver hangs');

# creation
my ($rc, $out, $err);
my $took = timed(
	sub {
		($rc, $out, $err) = $node->psql('postgres',
			"SET cdc_sink.sink_check_timeout = '2s'; SELECT changefeed_create('{t}', 'kafka://nobody.test')");
	});
isnt($rc, 0, 'creation ends with an error');
like($err, qr/no Kafka broker can be reached/, 'that says what it waited for') or diag($err);
cmp_ok($took, '<', 4, 'in time');
$took = timed(
	sub {
		($rc, $out, $err) = $node->psql('postgres',
			"SET statement_timeout = '500ms'; SELECT changefeed_create('{t}', 'kafka://nobody.test')");
	});
like($err, qr/canceling statement due to statement timeout/, 'it can be cancelled');
cmp_ok($took, '<', 2, 'at once');
ok( poll_until(
		sub { sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'cdc_sink probe'") eq '0' },
		'probes gone', 10),
	'no worker stays behind');

# a feed
sql("SELECT changefeed_resume($job)");
running_status_like($node, $job, qr/transient error: no Kafka broker can be reached/,
	'the feed runs and says what is wrong');
sql('INSERT INTO t VALUES (2)');
for my $what ('pause', 'pause once more')
{
	$took = timed(
		sub {
			sql("SELECT changefeed_pause($job)");
			ok(wait_status($node, $job, 'paused'), $what);
		});
	cmp_ok($took, '<', 1.5, 'at once');
	sql("SELECT changefeed_resume($job)");
	ok(wait_status($node, $job, 'running'), 'and resume');
}
my $pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'cdc_sink lane'");
$took = timed(
	sub {
		sql("SELECT pg_terminate_backend($pid)");
		ok( poll_until(sub { sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") eq '0' }, 'lane gone', 10),
			'the worker can be terminated');
	});
cmp_ok($took, '<', 2, 'at once');
running_status_like($node, $job, qr/transient error: no Kafka broker can be reached/, 'it is started again');

# a second feed is cancelled meanwhile
name_known(1);
my $other = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri?topic_prefix=other_'");
name_known(0);
sql("SELECT changefeed_pause($other)");
ok(wait_status($node, $other, 'paused'), 'pause another');
sql("SELECT changefeed_resume($other)");
running_status_like($node, $other, qr/transient error: |waiting for the former connection/,
	'which hangs, too');
$took = timed(
	sub {
		sql("SELECT changefeed_cancel($other)");
		ok(wait_status($node, $other, 'canceled'), 'cancel');
	});
cmp_ok($took, '<', 2, 'at once');

$took = timed(sub { $node->stop('fast') });
cmp_ok($took, '<', 2, 'fast shutdown within two seconds');
my $log = slurp_file($node->logfile);
unlike($log, qr/terminated by signal|PANIC|TRAP|SIGKILL/, 'no crash');
unlike($log, qr/all server processes terminated; reinitializing/, 'and no restart');

name_known(1);
$node->start;
sql('INSERT INTO t VALUES (3)');
wait_feed($node, $job, 60);
my @msgs = $k->consume('t');
is(join(' ', sort keys %{ { map { $_->{key} => 1 } rows_of(@msgs) } }),
	'[1] [2] [3]', 'with its name back, everything arrives');
check_guarantees(\@msgs, 'afterwards');
$node->stop;
done_testing();
