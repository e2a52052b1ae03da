# Files on a disk that is full, and in a folder where nobody may write: refused
# at creation; later the feed says so and goes on when there is room again.
# Nothing is missing, and no file is there in part.

use strict;
use warnings;

use CdcKafka qw(running_status_like);
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir('disk');
my $library = "$dir/small_disk.so";
my $full = "$dir/full";
system("cc -shared -fPIC -o '$library' '$ENV{CDC_TEST_ENV}/small_disk.c' -ldl") == 0
  or plan skip_all => 'no compiler here';

my $node = new_cluster('disk', conf => "cdc_sink.idle_resolved_interval = 100ms\n", start => 0);
my $files = $node->basedir . '/files';
{
	local %ENV = (
		%ENV,
		LD_PRELOAD => $library,
		SMALL_DISK => $files,
		SMALL_DISK_FULL => $full,
		SMALL_DISK_ROOM => 3);
	$node->start;
}

sub sql { return $node->safe_psql('postgres', @_); }
sub full { append_to_file($full, ''); return; }
sub parts { my ($path) = @_; return split /\n/, `find '$path' -name '.tmp-*'`; }

sql('CREATE EXTENSION cdc_sink; CREATE TABLE t (id int PRIMARY KEY, v text)');
sql("INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 500) g");

# ---- at creation --------------------------------------------------------------

my ($path, $uri) = file_dir($node);
full();
check_refused($node, $uri, qr{could not write file "\Q$path\E/\S+": No space left on device}, 'a full disk');
unlink $full;
chmod 0500, $path or die $!;
check_refused($node, $uri, qr{could not create file "\Q$path\E/\S+": Permission denied}, 'a folder to read only');
check_refused($node, "$uri/below", qr{could not create directory "\Q$path\E/below": Permission denied}, 'nor below it');
chmod 0700, $path;
is(sql('SELECT count(*) FROM changefeed_jobs'), '0', 'no job is left');
is(slots($node), '0', 'and no slot');
is_deeply([ glob("$path/* $path/.tmp-*") ], [], 'and nothing in the folder');

# ---- later --------------------------------------------------------------------

my $job = create_feed_of($node, 't', $uri, "updated, resolved = '100ms', min_checkpoint_frequency = '100ms'");
wait_feed($node, $job);
my $version = 0;

sub bad_day
{
	my ($name, $like, $begin, $end) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$begin->();
	$version++;
	sql("UPDATE t SET v = '$version of ' || id");
	running_status_like($node, $job, $like, "$name: the feed runs and says so");
	my @whole = -d $path ? file_messages($path) : ();
	is(scalar(grep { ($_->{after}{v} // '') =~ /^$version of/ } rows_of(@whole)), 0, "$name: nothing is there in part");
	$end->();
	wait_feed($node, $job);
	my %seen = map { $_->{after}{id} => 1 } grep { ($_->{after}{v} // '') eq "$version of $_->{after}{id}" } rows_of(file_messages($path));
	is(scalar(keys %seen), 500, "$name: all rows are there when it is over");
	ok(poll_until(sub { sql("SELECT in_trouble FROM pg_stat_changefeed WHERE job_id = $job") eq 'f' }, 'trouble over', 10),
		"$name: and the trouble is forgotten");
	return;
}

bad_day('full disk', qr{transient error: could not write file "\Q$path\E/\.tmp-\S+": No space left on device},
	\&full, sub { unlink $full });
bad_day('read only', qr{transient error: could not create file "\Q$path\E/\.tmp-\S+": Permission denied},
	sub { chmod 0500, $path }, sub { chmod 0700, $path });
bad_day('no folder', qr{transient error: could not open directory "\Q$path\E": No such file or directory},
	sub { rename $path, "$path.away" or die $! }, sub { rename "$path.away", $path or die $! });

# canceled while there is no room
full();
sql('UPDATE t SET v = NULL');
running_status_like($node, $job, qr/No space left on device/, 'full once more');
sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'a feed without room can be canceled');
unlink $full;
ok(poll_until(sub { !parts($path) }, 'no part', 10), 'no part of a file is left');
check_guarantees([ file_messages($path) ], 'through all this');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segmentation|signal 11/i, 'no crash');
$node->stop;
done_testing();
