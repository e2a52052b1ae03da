# The S3 sink against a server that checks signatures: what is refused at
# creation, what the objects are, and days on which the store answers badly,
# not at all, or dies, and the lane too. Nothing is missing, no object is
# there in part, and nobody sees the secret.

use strict;
use warnings;

use CdcKafka qw(running_status_like timed);
use CdcLoad;
use CdcS3;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => 'no S3 server here (test/env/s3.sh fetch)' unless s3_available();

my $s3 = start_s3('test');
my $node = new_cluster('s3', conf => <<CONF);
cdc_sink.idle_resolved_interval = 100ms
log_min_messages = debug1
log_statement = none
CONF

sub sql { return $node->safe_psql('postgres', @_); }
sub create { return create_feed_of($node, @_); }

sub objects
{
	my ($path) = @_;
	my @found = split /\n/, `cd '${\$s3->dir($path)}' && find . -type f | sort`;
	return map { s,^\./,,r } @found;
}

# ---- what is refused ------------------------------------------------------

sql('CREATE TABLE t (id int PRIMARY KEY, v text)');

sub refused
{
	my ($uri, $like, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $err;
	my $took = timed(
		sub {
			local $Test::Builder::Level = $Test::Builder::Level + 2;
			$err = check_refused($node, $uri, $like, $name);
		});
	unlike($err, qr/\Q$s3->{secret}\E|secret-of-test/, "$name: without the secret");
	cmp_ok($took, '<', 8, "$name: soon");
	return;
}

refused($s3->uri('test/x', AWS_SECRET_ACCESS_KEY => 'secret-of-test'),
	qr/SignatureDoesNotMatch \(HTTP status 403\)/, 'wrong secret');
refused($s3->uri('test/x', AWS_ACCESS_KEY_ID => 'nobody'),
	qr/(InvalidAccessKeyId|UserNotFound) \(HTTP status 40[34]\)/, 'unknown key');
refused($s3->uri('nowhere/x'), qr/bucket "nowhere" at \S+ NoSuchBucket \(HTTP status 404\)/, 'no such bucket');
refused($s3->uri('test/x', AWS_ENDPOINT => 'http://127.0.0.1:1'),
	qr/could not write to bucket "test" at 127.0.0.1:1: .*(refused|connect)/i, 'endpoint down');
refused($s3->uri('test/x', AWS_ENDPOINT => 'http://no-such-host.invalid:9000'),
	qr/could not write to bucket .*resolve/i, 'name that does not resolve');
refused($s3->uri('test/x', AWS_ENDPOINT => $s3->{endpoint} =~ s/http/https/r),
	qr/could not write to bucket .*(SSL|TLS)/i, 'https asked of an http server');
refused($s3->uri('test/x', AWS_SECRET_ACCESS_KEY => undef),
	qr/AUTH is set to 'specified', but AWS_SECRET_ACCESS_KEY is not set/, 'no secret');
refused($s3->uri('test/x', AWS_SECRET_ACESS_KEY => 'secret-of-test'),
	qr/unknown s3 query parameters: \[AWS_SECRET_ACESS_KEY\]/, 'unknown parameter');

refused($s3->uri('test/../x'), qr/must not contain empty parts, "\."/, 'path that goes up');
refused($s3->uri('/x'), qr/S3 sink needs a bucket/, 'no bucket');
refused($s3->uri('test/x', AWS_ENDPOINT => 'ftp://h'), qr/invalid param AWS_ENDPOINT/, 'bad endpoint');
refused($s3->uri('test/x', AWS_SERVER_ENC_MODE => 'aws:kms'), qr/AWS_SERVER_KMS_ID must be set/, 'no key of KMS');

sql('CREATE ROLE app LOGIN; GRANT SELECT ON t TO app; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app');
like(($node->psql('postgres', "SET ROLE app; SELECT changefeed_create('{t}', 's3://test/x?AUTH=implicit')"))[2],
	qr/must be superuser to use the credentials of the server/, "the server's credentials are not for everybody");
is(sql('SELECT count(*) FROM changefeed_jobs'), '0', 'no job is left');
is(slots($node), '0', 'and no slot');
is_deeply([ objects('test') ], [], 'and nothing in the bucket');

# ---- what arrives ---------------------------------------------------------

my $stamp = qr/\d{33}/;
sql("INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 500) g");
my $job = create('t', $s3->uri('test/a/b c', S3_STORAGE_CLASS => 'STANDARD'), "updated, resolved = '100ms'");
wait_feed($node, $job);
sql("UPDATE t SET v = 'w' WHERE id <= 100; DELETE FROM t WHERE id > 400");
wait_feed($node, $job);
ok(poll_until(sub { scalar(grep { /RESOLVED/ } objects('test/a/b c')) > 2 }, 'RESOLVED objects'), 'RESOLVED objects come');
sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled');
is_deeply([ grep { !m{^\d{4}-\d\d-\d\d/($stamp-[0-9a-f]{16}-1-$job-[0-9a-f]{8}-t-1\.ndjson|$stamp\.RESOLVED)$} } objects('test/a/b c') ],
	[], 'names are as they should be, and nothing else is there');
my @msgs = file_messages($s3->dir('test/a/b c'));
is(scalar(rows_of(@msgs)), 700, 'all rows, once');
check_guarantees(\@msgs, 'plain');

# the old scheme, flat names, small objects
{
	my ($rc, $out, $err) = $node->psql('postgres',
		"SELECT changefeed_create('{t}', 'experimental-" . $s3->uri('test/flat', partition_format => 'flat', file_size => '4KB')
		  . "', '{\"initial_scan\": \"only\"}')");
	is($rc, 0, 'experimental-s3 works');
	like($err, qr/NOTICE:  scheme experimental-s3 is the same as s3/, 'and says that it is no longer needed');
	ok(wait_status($node, $out, 'succeeded'), 'a scan only');
	my @names = objects('test/flat');
	cmp_ok(scalar(@names), '>', 3, 'file_size cuts objects');
	is_deeply([ grep { m{/} } @names ], [], 'flat');
	is(scalar(file_messages($s3->dir('test/flat'))), 400, 'all rows');
}

# compression, here and in files
for my $how ([ 'gzip', 'gz', 'gzip -dc' ], [ 'zstd', 'zst', 'zstd -dc' ])
{
	my ($name, $ext, $tool) = @$how;
	my ($dir, $file_uri) = file_dir($node);
	for my $place ([ $s3->uri("test/$name", file_size => '2kB'), $s3->dir("test/$name") ], [ $file_uri, $dir ])
	{
		my ($uri, $where) = @$place;
		my $id = create('t', $uri, "compression = '$name', initial_scan = 'only'");
		ok(wait_status($node, $id, 'succeeded'), "$name: a scan");
		my @names = split /\n/, `find '$where' -type f`;
		is_deeply([ grep { !/-t-1\.ndjson\.$ext$/ } @names ], [], "$name: names of objects");
	  SKIP:
		{
			skip "no $name here", 1 if system("command -v $name >/dev/null") != 0;
			my $rows = `find '$where' -type f -print0 | xargs -0 -n1 $tool | sort -u | wc -l`;
			is($rows + 0, 400, "$name: all rows");
		}
	}
}
like(($node->psql('postgres', "SELECT changefeed_create('{t}', '" . $s3->uri('test/x') . "', '{\"kafka_sink_config\": \"{}\"}')"))[2],
	qr/this sink is incompatible with option kafka_sink_config/, 'an option of another sink');

# the bucket as a part of the host's name
{
	my $port = $s3->{endpoint} =~ s/.*://r;
	my $id = create('t', $s3->uri('test/host', AWS_ENDPOINT => "http://LocalHost:$port/", AWS_USE_PATH_STYLE => 'false'),
		"initial_scan = 'only'");
	ok(wait_status($node, $id, 'succeeded'), 'virtual-host style');
	is(scalar(file_messages($s3->dir('test/host'))), 400, 'virtual-host style: all rows');
}

# a body is signed where somebody could come in between, or when asked for; the
# server compares its checksum
$s3->start_proxy;
for my $case (
	[ 'UNSIGNED-PAYLOAD', 1, {} ],
	[ '[0-9a-f]{64}', 1, { AWS_SKIP_CHECKSUM => 'false' } ],
	[ 'UNSIGNED-PAYLOAD', 0, { AWS_SKIP_CHECKSUM => 'true' } ])
{
	my ($like, $checksum, $param) = @$case;
	my $id = create('t', $s3->uri('test/body', %$param), "initial_scan = 'only'");
	ok(wait_status($node, $id, 'succeeded'), 'body signed or not: a scan');
	my ($head) = grep { m{^PUT /test/body/20} } reverse $s3->heads;
	like($head, qr/^x-amz-content-sha256: $like\r?$/mi, 'body signed or not: as it should be');
	is(scalar(() = $head =~ m{^x-amz-checksum-crc32c: [A-Za-z0-9+/]{6}==\r?$}mig), $checksum, 'body signed or not: with a checksum unless it is not to be');
}

# TLS, where the body is not signed
{
	my $tls = start_s3('tls', 'safe');
	refused($tls->uri('safe/x'), qr/could not write to bucket "safe" .*certificate/i, 'certificate that is not trusted');
	my $id = create('t', $tls->uri('safe/x', AWS_SKIP_TLS_VERIFY => 'true'), "updated, resolved = '100ms'");
	wait_feed($node, $id);
	is(scalar(rows_of(file_messages($tls->dir('safe/x')))), 400, 'https: all rows');
	sql("SELECT changefeed_cancel($id)");
}

# names that are hard to sign
my @odd = ('we ird/..%2F', "q'uo\"te", '+&?=#;,$@:!*()[]{}|\\^`~<>', "\x{c3}\x{a4}\x{e6}\x{97}\x{a5}", '.', 'a-b-1.ndjson', 'L' x 63);
my $ident = join ', ', map { s/"/""/g; "\"$_\"" } my @copy = @odd;
sql("CREATE TABLE $_ (id int PRIMARY KEY); INSERT INTO $_ VALUES (1)") for split /, (?=")/, $ident;
$job = create($ident, $s3->uri('test/odd%20+%25/ü&', topic_prefix => 'p /', AWS_SKIP_CHECKSUM => 'false'), "initial_scan = 'only'");
ok(wait_status($node, $job, 'succeeded'), 'tables with odd names');
is(scalar(objects('test/odd +%')), scalar(@odd), 'one object for each table');

# ---- bad days -------------------------------------------------------------

load_setup($node);
load_fill($node, 300);
my $oracle = oracle_make($node);
my $path = 'test/load';
$job = create('acc, ord, doc', $s3->uri($path, AWS_SKIP_CHECKSUM => 'false'), "updated, resolved = '100ms', min_checkpoint_frequency = '50ms'");
wait_feed($node, $job);
my $load = load_start($node, 300, rate => 150);

# locked at once, for the writers would make a deadlock of it
sub much
{
	sql("BEGIN; LOCK TABLE acc IN SHARE ROW EXCLUSIVE MODE; UPDATE acc SET v = nextval('vers'), pad = repeat(md5(v::text), 30); COMMIT")
	  for 1 .. 10;
	return;
}

sub healthy
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(wait_running_again($node, $job, 60), "$what: all is sent when it is over");
	ok(poll_until(sub { sql("SELECT in_trouble FROM pg_stat_changefeed WHERE job_id = $job") eq 'f' }, 'trouble over', 10),
		"$what: and the trouble is forgotten");
	return;
}

for my $day (
	[ 'slowdown', qr/transient error: could not write to .*: SlowDown \(HTTP status 503\): Please reduce your request rate/ ],
	[ 'internal', qr/transient error: could not write to .*: InternalError \(HTTP status 500\): We encountered an internal error/ ],
	[ 'reset', qr/transient error: could not write to bucket "test" at .*(reset|closed|empty|send|broken)/i ],
	[ 'lost', qr/transient error: could not write to .*(reset|closed|empty|recv)/i ],
	[ 'drip', qr/transient error: could not write to bucket "test" at \S+ the answer is too long/ ],
	[ 'hang', qr/transient error: could not write to bucket "test" at .*(too slow|time)/i ])
{
	my ($mode, $like) = @$day;
	$s3->mode($mode);
	much();
	running_status_like($node, $job, $like, "$mode: the feed runs and says what is wrong");
	is(feed_status($node, $job), 'running', "$mode: the feed runs");
	$s3->mode('pass');
	healthy($mode);
}

# the bucket is gone for a while
rename $s3->dir('test'), $s3->dir('away') or die $!;
much();
running_status_like($node, $job, qr/transient error: could not write to bucket "test" at \S+ NoSuchBucket \(HTTP status 404\)/, 'no bucket: the feed runs and says so');
rename $s3->dir('away'), $s3->dir('test') or die $!;
healthy('no bucket');

# the server dies under the requests
for my $i (1 .. 4)
{
	much();
	usleep(rand(200_000));
	$s3->kill9;
	usleep(rand(300_000));
	if ($i == 1)
	{
		running_status_like($node, $job, qr/transient error: could not write to /, 'server gone: the feed runs and says so');
	}
	$s3->start;
}
healthy('server killed');

# the lane dies under the requests, also while they hang
for my $signal ('TERM', 'KILL', 'TERM')
{
	much();
	usleep(rand(300_000));
	kill_worker($node, 'lane', $signal);
	usleep(rand(200_000));
	wait_up($node);
	ok(lane_pid($node), "lane killed with $signal: it comes back");
}
$s3->mode('hang');
sleep 1;
kill_worker($node, 'lane', 'TERM');
wait_up($node);
$s3->mode('pass');
healthy('lane killed');

# what is on its way when a feed is paused does not come in behind its back
$s3->mode('late');
for my $i (1 .. 3)
{
	much();
	usleep(300_000 + rand(700_000));
	sql("SELECT changefeed_pause($job)");
	ok(wait_status($node, $job, 'paused', 10), 'late: paused');
	sql("SELECT changefeed_resume($job)");
	ok(wait_status($node, $job, 'running', 10), 'late: resumed');
}
$s3->mode('pass');
healthy('late');

# pause and cancel do not wait for a store that hangs
$s3->mode('hang');
sleep 1;
my $took = timed(sub { sql("SELECT changefeed_pause($job)"); ok(wait_status($node, $job, 'paused', 10), 'hanging: the feed pauses') });
cmp_ok($took, '<', 2, 'hanging: at once');
$s3->mode('pass');
sql("SELECT changefeed_resume($job)");
load_stop($load);
ok(wait_up($node), 'the server is up');
healthy('at the end');

my @events = oracle_read($oracle);
my $state = load_state($node);
my $dir = $s3->dir($path);
my @arrived = quick_messages($dir, arrival => 1);
my @named = quick_messages($dir);
ok_none([ check_exact($oracle, $job, \@arrived, \@events, scan => 1) ], 'every version committed, in order, and nothing else');
ok_none([ replay_differences(\@arrived, $state) ], 'messages replayed give the tables');
check_guarantees(\@arrived, 'by arrival');
ok_none([ check_order(@named) ], 'by name: order per key');
ok_none([ check_resolved(@named) ], 'by name: resolved floor');
ok(@events > 3000, 'of many') or diag(scalar @events);
is_deeply([ grep { /\.sgwtmp/ } objects('test') ], [], 'no upload is left half done');
sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled');

# ---- secrets --------------------------------------------------------------

my $secret = $s3->{secret};
(my $escaped = $secret) =~ s/([^A-Za-z0-9_.~-])/sprintf('%%%02X', ord $1)/ge;
my $bare = quotemeta(substr($secret, -20));
unlike(sql($_), qr/$bare/, "$_: no secret")
  for 'SELECT * FROM changefeed_jobs', 'SELECT * FROM pg_stat_changefeed', 'SELECT * FROM pg_stat_activity', 'SELECT * FROM cdc_sink.definition';
my $log = slurp_file($node->logfile);
unlike($log, qr/$bare|Authorization|Signature=[0-9a-f]/, 'server log at debug1: no secret');
unlike($log, qr/PANIC|TRAP|segmentation|signal 11/i, 'no crash but those we made');
$node->stop;
done_testing();
