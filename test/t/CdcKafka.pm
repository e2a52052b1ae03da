# CdcKafka: what the tests of the Kafka sink share. Topics are looked after
# with the broker's own tools, messages read by kcat.

package CdcKafka;

use strict;
use warnings;

use CdcTest;
use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  @quick_restart
  kafka_tool make_topic kafka_stop_clock kafka_go_on
  quick_consume consume_all topic_partitions partition_of
  running_status running_status_like rss_anon timed
);

# A broker that was killed is let in again after this time, not after 9 s.
our @quick_restart = ('broker.session.timeout.ms=3000', 'broker.heartbeat.interval.ms=500');

# kafka_tool($kafka, 'Class', args ...): (worked, output)
sub kafka_tool
{
	my ($kafka, @args) = @_;
	my $out = '';
	my $env = $ENV{CDC_TEST_ENV} // '../env';
	my $ok = IPC::Run::run([ 'bash', "$env/kafka.sh", 'tool', $kafka->{dir}, @args ],
		'<', \undef, '>', \$out, '2>&1');
	return ($ok, $out);
}

# make_topic($kafka, 'topic', partitions, 'key=value', ...)
sub make_topic
{
	my ($kafka, $topic, $partitions, @config) = @_;
	my ($ok, $out) = kafka_tool(
		$kafka, 'org.apache.kafka.tools.TopicCommand',
		'--bootstrap-server', $kafka->addr, '--create', '--topic', $topic,
		'--partitions', $partitions, map { ('--config', $_) } @config);
	die "could not make topic $topic: $out" unless $ok;
	return;
}

# A broker that hangs: it neither answers nor closes anything.
sub kafka_stop_clock
{
	my ($kafka) = @_;
	kill 'STOP', pid_of($kafka) or die 'no broker to stop';
	return;
}

sub kafka_go_on
{
	my ($kafka) = @_;
	kill 'CONT', pid_of($kafka) or die 'no broker to go on';
	return;
}

sub pid_of
{
	my ($kafka) = @_;
	my $pid = slurp_file("$kafka->{dir}/pid");
	chomp $pid;
	return $pid;
}

# quick_consume($kafka, 'topic', ...): as consume() of each, by regular
# expressions, with CdcLoad's members kt and v
sub quick_consume
{
	my ($kafka, @topics) = @_;
	my @all;
	for my $topic (@topics)
	{
		my ($out, $err) = ('', '');
		my @cmd = (
			'kcat', '-b', $kafka->{addr}, '-C', '-t', $topic,
			'-o', 'beginning', '-e', '-q', '-X', 'fetch.wait.max.ms=10',
			'-f', '%p\t%o\t%K\t%k\t%S\t%s\n');
		IPC::Run::run([ 'timeout', 60, @cmd ], '<', \undef, '>', \$out, '2>', \$err)
		  or die "kcat: $err";
		my @msgs;
		for my $line (split /\n/, $out)
		{
			my ($p, $o, $klen, $key, $vlen, $value) = split /\t/, $line, 6;
			my %m = (topic => $topic, partition => $p, offset => $o, value => $value);
			$m{key} = $key if $klen >= 0;
			if (!defined $m{key} && $value =~ /^\{"resolved":"(\d+\.\d{10})"\}$/)
			{
				$m{resolved} = $1;
			}
			elsif ($value =~ /^\{"after": (null|\{.*\})(?:, "updated": "(\d+\.\d{10})")?\}$/)
			{
				$m{after} = $1 eq 'null' ? undef : 1;
				$m{updated} = $2;
				$m{v} = $1 if $m{after} && $value =~ /"v": (\d+)/;
				$m{kt} = $key;
				$m{kt} =~ s/^\[|\]$|"//g;
				$m{kt} =~ s/, /|/g;
			}
			else
			{
				die "unexpected message $line in $topic";
			}
			push @msgs, \%m;
		}
		push @all, sort {
			     $a->{partition} <=> $b->{partition}
			  || $a->{offset} <=> $b->{offset}
		} @msgs;
	}
	return @all;
}

# Messages of several topics, with their values decoded.
sub consume_all
{
	my ($kafka, @topics) = @_;
	return map { $kafka->consume($_) } @topics;
}

# { topic => partitions }, as a client sees them
sub topic_partitions
{
	my ($kafka) = @_;
	my $out = '';
	IPC::Run::run([ 'kcat', '-b', $kafka->{addr}, '-L' ], '<', \undef, '>', \$out, '2>', '/dev/null')
	  or die 'kcat -L failed';
	return { $out =~ /topic "([^"]+)" with (\d+) partitions/g };
}

# Java's partition of a key: murmur2, as in Apache Kafka's clients.
sub partition_of
{
	my ($key, $n) = @_;
	return (murmur2($key) & 0x7fffffff) % $n;
}

sub murmur2
{
	my ($data) = @_;
	use integer;
	my $m = 0x5bd1e995;
	my $len = length $data;
	my $h = (0x9747b28c ^ $len) & 0xffffffff;
	my $mul = sub {
		my ($x) = @_;
		# 32 bits times 32 bits, low half, within 64 bits
		my ($lo, $hi) = ($x & 0xffff, ($x >> 16) & 0xffff);
		return ($lo * $m + ((($hi * ($m & 0xffff)) & 0xffff) << 16)) & 0xffffffff;
	};
	my $i = 0;
	for (; $i + 4 <= $len; $i += 4)
	{
		my $k = $mul->(unpack('V', substr($data, $i, 4)));
		$k = $mul->($k ^ ($k >> 24));
		$h = $mul->($h) ^ $k;
	}
	my @tail = unpack 'C*', substr($data, $i);
	if (@tail)
	{
		my $n = @tail;
		$h ^= $tail[$_] << (8 * $_) for 0 .. $n - 1;
		$h = $mul->($h);
	}
	$h ^= ($h >> 13);
	$h = $mul->($h);
	$h ^= ($h >> 15);
	return $h & 0xffffffff;
}

sub running_status
{
	my ($node, $job) = @_;
	return $node->safe_psql('postgres',
		"SELECT running_status FROM changefeed_jobs WHERE job_id = $job");
}

# Waits until the status of a running job is like this.
sub running_status_like
{
	my ($node, $job, $like, $name, $timeout) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $last = '';
	my $ok = poll_until(
		sub {
			$last = $node->safe_psql('postgres',
				"SELECT status || ' | ' || coalesce(running_status, '') FROM changefeed_jobs WHERE job_id = $job"
			);
			return $last =~ /^running \| / && $last =~ $like;
		},
		$name, $timeout // 40);
	return ok($ok, $name) || diag("status: $last");
}

# kB of memory of its own that a process has
sub rss_anon
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m ? $1 : undef;
}

# timed(sub { ... }): seconds it took
sub timed
{
	my ($code) = @_;
	my $start = Time::HiRes::time();
	$code->();
	return Time::HiRes::time() - $start;
}

1;
