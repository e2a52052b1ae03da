# Large objects in S3: they go up in parts while they grow, so that a feed
# needs far less memory than its objects are large. Nothing is missing
# and no upload is left behind, whatever breaks in between.

use strict;
use warnings;

use CdcKafka qw(rss_anon running_status_like);
use CdcLoad;
use CdcS3;
use CdcTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => 'no S3 server here (test/env/s3.sh fetch)' unless s3_available();

my $s3 = start_s3('test');
my $node = new_cluster('s3large', conf => <<CONF);
cdc_sink.feed_memory = 16MB
cdc_sink.idle_resolved_interval = 100ms
max_wal_size = 4GB
log_min_messages = debug1
log_statement = none
CONF
my $rows = 2500;

sub sql { return $node->safe_psql('postgres', @_); }

sub create
{
	my ($uri, $with) = @_;
	return create_feed($node, "CREATE CHANGEFEED FOR TABLE big INTO '$uri' WITH $with");
}

sub files
{
	my ($path) = @_;
	my @found = split /\n/, `cd '${\$s3->dir($path)}' 2>/dev/null && find . -type f | sort`;
	return map { s,^\./,,r } @found;
}

# Multipart uploads that are under way, each a folder in the server.
sub uploads
{
	my @found = glob($s3->dir('test') . '/.sgwtmp/multipart/*/*');
	return scalar @found;
}

# 8 MB in one transaction
my $version = 0;

sub much
{
	$version++;
	sql("UPDATE big SET v = $version, pad = pad_of(id, $version)");
	return;
}

sub uploading
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(poll_until(sub { uploads() > 0 }, 'an upload', 30), "$name: an upload is under way");
}

# In the order of names: each version of each row, in order, none below a
# RESOLVED that was seen before.
sub complete
{
	my ($path, $name, $cat) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (%seen, %last, $n, @bad);
	my ($resolved, $largest) = ('', 0);
	for my $file (files($path))
	{
		my $full = $s3->dir($path) . "/$file";
		open my $f, '-|', ($cat // 'cat') . " '$full'" or die $!;
		while (my $line = <$f>)
		{
			if ($line =~ /^\{"resolved":"([\d.]+)"/) { $resolved = $1; next; }
			my ($id, $v, $updated) = $line =~ /"id": (\d+), .*?"v": (\d+)\}.*"updated": "([\d.]+)"/ or push(@bad, "?? $line"), next;
			$n++;
			next if $seen{"$id/$v"}++;
			push @bad, "row $id: $v after $last{$id}" if defined $last{$id} && $v <= $last{$id};
			push @bad, "row $id: $v at $updated after RESOLVED $resolved" if $updated le $resolved;
			$last{$id} = $v;
		}
		close $f or push @bad, "$file cannot be read";
		$largest = -s $full if -s $full > $largest;
	}
	is(scalar(keys %seen), $rows * ($version + 1), "$name: every version of every row");
	is_deeply([ @bad[ 0 .. ($#bad > 3 ? 3 : $#bad) ] ], [], "$name: in order, above the RESOLVED ones");
	note("$name: $n rows, largest object $largest");
	return $largest;
}

sql(<<SQL);
CREATE FUNCTION pad_of(id int, v bigint) RETURNS text LANGUAGE sql STRICT AS
  \$\$ SELECT string_agg(md5(id || '.' || v || '.' || i), '') FROM generate_series(1, 100) i \$\$;
CREATE TABLE big (id int PRIMARY KEY, pad text, v bigint NOT NULL);
ALTER TABLE big ALTER pad SET STORAGE EXTERNAL;
INSERT INTO big SELECT i, pad_of(i, 0), 0 FROM generate_series(1, $rows) i;
SQL

# ---- as it should be ------------------------------------------------------

# the checkpoint is far away, so the objects are as large as they may be
my $job = create($s3->uri('test/one', file_size => '30MB'), "updated, min_checkpoint_frequency = '1h'");
wait_status($node, $job, 'running');
much() for 1 .. 7;
ok(poll_until(sub { scalar(files('test/one')) >= 2 }, 'objects', 60), 'objects come at file_size');
uploading('cut by size');
my $peak = PostgreSQL::Test::Utils::slurp_file('/proc/' . lane_pid($node) . '/status') =~ /^VmHWM:\s+(\d+) kB/m ? $1 : 0;
note("peak of the lane: $peak kB, of it its own now: " . rss_anon(lane_pid($node)) . ' kB');
my @large = grep { -s $s3->dir("test/one/$_") > 28_000_000 } files('test/one');
cmp_ok(scalar(@large), '>=', 1, 'larger than all of the memory');
is(sql("SELECT count(*) FROM changefeed_jobs WHERE job_id = $job AND coalesce(last_error, '') <> ''"), '0', 'without trouble');

# what is paused or canceled leaves nothing behind
sql("SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'paused');
ok(poll_until(sub { uploads() == 0 }, 'no upload', 10), 'paused: its upload is aborted');
sql("SELECT changefeed_resume($job)");
uploading('resumed');
sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled');
ok(poll_until(sub { uploads() == 0 }, 'no upload', 10), 'canceled: its upload is aborted')
  or diag(scalar(`find '${\$s3->dir('test')}/.sgwtmp' | xargs ls -ld --time-style=full-iso`));

# scan only: the end of it does not wait for the checkpoint; compressed as well
for my $how ([ '' ], [ 'gzip', 'gzip -dc' ], [ 'zstd', 'zstd -dc' ])
{
	my ($compression, $cat) = @$how;
	my $path = 'test/scan' . $compression;
	my $id = create($s3->uri($path, file_size => '7MB'),
		"initial_scan = 'only', min_checkpoint_frequency = '1h'" . ($compression ? ", compression = '$compression'" : ''));
	ok(wait_status($node, $id, 'succeeded'), "scan only $compression");
  SKIP:
	{
		skip "no $compression here", 2 if $compression && system("command -v $compression >/dev/null") != 0;
		my ($n, %ids) = (0);
		my $f = join ' ', map { "'" . $s3->dir("$path/$_") . "'" } files($path);
		for my $line (split /\n/, `for f in $f; do ${\($cat // 'cat')} < "\$f"; done`)
		{
			$n++;
			$ids{$1} = 1 if $line =~ /"id": (\d+)/;
		}
		is($n, $rows, "scan only $compression: all rows once");
		is(scalar(keys %ids), $rows, "scan only $compression: each of them");
	}
}
is(uploads(), 0, 'no upload is left');

# ---- bad days -------------------------------------------------------------

$s3->start_proxy;
sql("UPDATE big SET v = 0, pad = pad_of(id, 0)");
$version = 0;
my $path = 'test/bad';
$job = create($s3->uri($path, file_size => '100MB'),
	"updated, resolved = '1s', min_checkpoint_frequency = '1500ms'");
wait_feed($node, $job);

sub healthy
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(wait_running_again($node, $job, 60), "$what: all is sent when it is over");
}

for my $day (
	[ 'slowdown', qr/SlowDown \(HTTP status 503\)/ ],
	[ 'reset', qr/reset|closed|empty|send|broken/i ],
	[ 'lost', qr/reset|closed|empty|recv/i ],
	[ 'lost-commit', qr/reset|closed|empty|recv/i ])
{
	my ($mode, $like) = @$day;
	$s3->mode($mode);
	much();
	running_status_like($node, $job, qr/transient error: could not write to .*$like/, "$mode: the feed runs and says what is wrong");
	$s3->mode('pass');
	healthy($mode);
}

# the server dies under an upload
much();
uploading('server killed');
$s3->kill9;
usleep(300_000);
$s3->start;
healthy('server killed');

# somebody gives up the upload: what went with it is sent again
much();
uploading('upload gone');
$s3->mode('hang');
system('rm', '-rf', $s3->dir('test') . '/.sgwtmp/multipart');
much();
$s3->mode('pass');
healthy('upload gone');

# the lane dies under an upload, which is swept later, and no other one
my $empty = 'x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
my $curl = "curl -s -H '$empty' --aws-sigv4 aws:amz:us-east-1:s3 -u '$s3->{key}:$s3->{secret}'";
my $foreign = '2026-01-01/202601010000000000000000000000000-0000000000000001-1-' . $job . '-00000000-big-1.ndjson';
for my $key ('somebody-else', $foreign)
{
	like(scalar(`$curl -X POST '$s3->{endpoint}/$path/$key?uploads='`), qr/UploadId/, 'another writer begins an upload');
}
my $others = uploads();
cmp_ok($others, '>=', 2, 'and it is there');
for my $signal ('KILL', 'TERM')
{
	much();
	ok(poll_until(sub { uploads() > $others }, 'an upload', 30), "$signal: an upload is under way");
	kill_worker($node, 'lane', $signal);
	usleep(200_000);
	wait_up($node);
}
healthy('lane killed');
ok(poll_until(sub { uploads() <= 2 }, 'swept', 30), 'uploads of killed lanes are swept');
is(uploads(), 2, 'those of others are not');

much();
ok(poll_until(sub { uploads() > 2 }, 'an upload', 30), 'server of the database killed: an upload is under way');
$node->stop('immediate');
start_again($node);
wait_up($node);
healthy('database killed');
is(complete($path, 'in the end') > 7_000_000, 1, 'of large objects');
sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled');
ok(poll_until(sub { uploads() == 2 }, 'no upload', 10), 'no upload is left');

# ---- local files ----------------------------------------------------------

# the same in a folder: larger than memory, whole or not at all
{
	my ($dir, $uri) = file_dir($node);
	my $id = create("$uri?file_size=30MB", "updated, min_checkpoint_frequency = '1h'");
	wait_status($node, $id, 'running');
	sql("UPDATE big SET v = v + 1, pad = pad_of(id, v)") for 1 .. 4;
	ok(poll_until(sub { `find '$dir' -name '*.ndjson' -size +28M | wc -l` >= 1 }, 'a file', 60), 'file: it comes at file_size');
	my $ours;
	ok( poll_until(
			sub {
				sql("UPDATE big SET v = v + 1, pad = pad_of(id, v) WHERE id <= 500");
				($ours) = map { m{/\.tmp-$id-([0-9a-f]{16})-} } glob("$dir/.tmp-$id-*");
				return defined $ours;
			},
			'an open file', 30),
		'file: one is open');

	# a cluster of its own may have a feed with the same number here
	no warnings 'portable';
	my $other = sprintf('%016x', (hex($ours) - (1 << 22)) ^ 1);
	my @foreign = map { "$dir/.tmp-$id-$_" } "$other-00000000", 'nobody-00000000';
	append_to_file($_, 'x') for @foreign;
	kill_worker($node, 'lane', 'KILL');
	usleep(200_000);
	wait_up($node);
	ok(poll_until(sub { !(my @left = glob("$dir/.tmp-$id-$ours-*")) }, 'swept', 30), 'file: what was left is swept');
	is(scalar(grep { -e } @foreign), 2, 'file: what others write is not');
	unlink @foreign;

	# enough for another one, also if the first one's checkpoint was written
	sql("UPDATE big SET v = v + 1, pad = pad_of(id, v)") for 1 .. 4;
	ok(poll_until(sub { `find '$dir' -name '*.ndjson' -size +28M | wc -l` >= 2 }, 'files', 60), 'file: larger than memory');
	# the second one may have been renamed just now
	ok(poll_until(sub { my @open = glob("$dir/.tmp-$id-*"); @open }, 'an open file', 30), 'file: one is open');
	sql("SELECT changefeed_cancel($id)");
	ok(wait_status($node, $id, 'canceled'), 'canceled');
	ok(poll_until(sub { `ls -A '$dir'` !~ /\.tmp-/ }, 'no file', 10), 'file: nothing incomplete is left');
	my %seen;
	for my $line (split /\n/, `cat '$dir'/*/*.ndjson`)
	{
		$seen{$1} = 1 if $line =~ /"id": (\d+), .*"v": \d+\}/;
	}
	is(scalar(keys %seen), $rows, 'file: every row');
}

my $log = slurp_file($node->logfile);
unlike($log, qr/\Q${\substr($s3->{secret}, -20)}\E/, 'no secret in the log');
unlike($log, qr/PANIC|TRAP|segmentation|signal 11/i, 'no crash but those we made');
$node->stop;
done_testing();
