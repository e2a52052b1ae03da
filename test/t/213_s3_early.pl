# A PUT to S3 may begin while those of older objects of its table are under
# way, but for its end: no object is there before the older ones, whatever
# becomes of them.

use strict;
use warnings;

use CdcKafka qw(running_status_like);
use CdcLoad;
use CdcS3;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => 'no S3 server here (test/env/s3.sh fetch)' unless s3_available();

my $s3 = start_s3('test');
$s3->start_proxy;
my $node = new_cluster('s3early', conf => <<CONF);
log_min_messages = debug1
log_statement = none
CONF
my $last = 0;

sub sql { return $node->safe_psql('postgres', @_); }

sub files
{
	my @found = split /\n/, `cd '${\$s3->dir('test/feed')}' 2>/dev/null && find . -type f | sort`;
	return @found;
}

# PUTs that the server has seen begin.
sub begun
{
	return scalar grep { /^PUT \S+\.ndjson / } $s3->heads;
}

# Some objects of 2 MB each, and a bit that stays open.
sub much
{
	my ($objects) = @_;
	my $rows = $objects * 530;
	sql("INSERT INTO t SELECT i, repeat(md5(i::text), 125) FROM generate_series($last + 1, $last + $rows) i");
	$last += $rows;
	return;
}

# All that was inserted is there or in the open object, in order of the names.
sub in_order
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($next, @bad) = (1);
	for my $file (map { $s3->dir('test/feed') . "/$_" } files())
	{
		for my $line (split /\n/, slurp_file($file))
		{
			my ($id) = $line =~ /"id": (\d+), .*\}$/ or push(@bad, 'a torn line'), next;
			push @bad, "$id without $next" if $id > $next;
			$next = $id + 1 if $id >= $next;
		}
	}
	is_deeply([ @bad[ 0 .. ($#bad > 3 ? 3 : $#bad) ] ], [], "$name: nothing is there before what is older");
	return $next - 1;
}

# The first object of some has come, the others are there but for their end.
sub one_of_many
{
	my ($name, $mode) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($files, $begun) = (scalar(files()), begun());
	$s3->mode($mode);
	much(7);
	ok(poll_until(sub { begun() >= $begun + 5 }, 'requests', 20), "$name: four PUTs begin before their turn")
	  or diag(begun() - $begun);
	ok(poll_until(sub { scalar(files()) == $files + 1 }, 'an object', 60), "$name: the first one is there");
	return $files;
}

sub no_trouble
{
	my ($job, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql("SELECT running_status FROM changefeed_jobs WHERE job_id = $job AND running_status LIKE '%error%'"), '', "$name: no trouble");
}

sql('CREATE TABLE t (id int PRIMARY KEY, pad text); ALTER TABLE t ALTER pad SET STORAGE PLAIN');
my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '${\$s3->uri('test/feed', file_size => '2MB')}' "
	  . "WITH min_checkpoint_frequency = '1h'");
wait_status($node, $job, 'running');

my $files = one_of_many('answers are late', 'keep');
usleep(300_000);
is(scalar(files()), $files + 1, 'and no other one');
no_trouble($job, 'answers are late');
$s3->mode('pass');
ok(poll_until(sub { scalar(files()) >= $files + 7 }, 'objects', 60), 'answered: all come');
in_order('answered');
no_trouble($job, 'answered');

# who has to wait for too long is not in trouble, only those may be it waits for
$files = one_of_many('impatient server', 'impatient');
usleep(1_500_000);
no_trouble($job, 'impatient server');
is(scalar(files()), $files + 1, 'impatient server: no other object');
$s3->mode('pass');
ok(poll_until(sub { scalar(files()) >= $files + 7 }, 'objects', 60), 'impatient server: all come in the end');
in_order('impatient server');
no_trouble($job, 'impatient server');

# the first one fails: the others make room for its next attempt
for my $mode ('slowdown', 'reset')
{
	$files = one_of_many($mode, 'keep');
	$s3->mode($mode);
	running_status_like($node, $job, qr/transient error: could not write to /, "$mode: it shows");
	is(scalar(files()), $files + 1, "$mode: no other object");
	$s3->mode('pass');
	ok(poll_until(sub { scalar(files()) >= $files + 7 }, 'objects', 60), "$mode: all come when it is over");
	in_order($mode);
}

# nobody finishes what a lane has begun
for my $signal ('KILL', 'TERM')
{
	$files = one_of_many($signal, 'keep');
	kill_worker($node, 'lane', $signal);
	usleep(200_000);
	in_order($signal);
	wait_up($node);
	$s3->mode('pass');
	much(1);
	ok(poll_until(sub { in_order_up_to() >= $last - 1100 }, 'objects', 60), "$signal: all come again");
	in_order($signal);
}

sub in_order_up_to
{
	my $all = join '', map { slurp_file($s3->dir('test/feed') . "/$_") } files();
	my $max = 0;
	while ($all =~ /"id": (\d+),/g) { $max = $1 if $1 > $max; }
	return $max;
}

# without checksums an object could be cut short: its parts go at the same time
my $other = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '${\$s3->uri('test/parts', AWS_SKIP_CHECKSUM => 'true')}' "
	  . "WITH min_checkpoint_frequency = '1h', initial_scan = 'no'");
wait_status($node, $other, 'running');
much(9);
ok(poll_until(sub { grep { m{^PUT /test/parts/\S+[?&]partNumber=2} } $s3->heads }, 'parts', 60), 'no checksums: an object of the default size goes in parts');
sql("SELECT changefeed_cancel($other)");

sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled');
my $log = slurp_file($node->logfile);
unlike($log, qr/\Q${\substr($s3->{secret}, -20)}\E/, 'no secret in the log');
unlike($log, qr/PANIC|TRAP|segmentation|signal 11/i, 'no crash');
$node->stop;
done_testing();
