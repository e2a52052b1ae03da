# All connections to S3 break at once, with as many parts of a large object under
# way as may be: the upload goes on, what it has already is not sent again.

use strict;
use warnings;

use CdcS3;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no S3 server here (test/env/s3.sh fetch)' unless s3_available();

my $s3 = start_s3('test');
my $node = new_cluster('s3cut', conf => "cdc_sink.feed_memory = 128MB\nmax_wal_size = 4GB");
my $ps = `ps -eo pid=,args=`;
plan skip_all => 'no ps here' unless $? == 0;
my ($server) = $ps =~ /^ *(\d+) .*\Q$s3->{dir}\E\/data/m;

sub sql { return $node->safe_psql('postgres', @_); }
sub parts { return scalar grep { /^PUT \S*partNumber=/ } $s3->heads; }
sub begun { return scalar grep { /^POST \S*uploads=/ } $s3->heads; }

# 8 MB in one transaction
sub much
{
	sql("INSERT INTO big SELECT repeat('x', 8000), i FROM generate_series(1, 1000) i");
	return;
}

# Each connection has a process of its own in the proxy; how many there were.
sub cut { return kill 'KILL', split ' ', `ps -o pid= --ppid $s3->{proxy_pid}`; }

sub failed { return sql('SELECT retries FROM changefeed_jobs'); }

sql('CREATE TABLE big (pad text, i int, id bigserial PRIMARY KEY); ALTER TABLE big ALTER pad SET STORAGE EXTERNAL');
$s3->start_proxy;
my $uri = $s3->uri('test/cut', file_size => '200MB');
my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE big INTO '$uri' WITH no_initial_scan, min_checkpoint_frequency = '1h'");
wait_status($node, $job, 'running');
much() for 1 .. 3;
ok(poll_until(sub { begun() == 1 && glob($s3->dir('test') . '/.sgwtmp/multipart/*/*') }, 'an upload', 60), 'an upload is under way');

kill 'STOP', $server;
my $before = parts();
much() for 1 .. 9;
ok(poll_until(sub { parts() - $before >= 8 }, 'parts', 60), 'with as many parts as may be');
cut();
ok(poll_until(sub { failed() >= 7 }, 'failures', 30), 'they fail');
ok(poll_until(sub { cut() }, 'a connection', 30) && poll_until(sub { failed() >= 8 }, 'one more', 90), 'and one that is sent again');
kill 'CONT', $server;
ok(poll_until(sub { sql('SELECT running_status FROM changefeed_jobs') !~ /transient/ }, 'well', 60), 'all is well again');
is(begun(), 1, 'and the upload goes on');
sql("SELECT changefeed_cancel($job)");
$node->stop('immediate');
done_testing();
