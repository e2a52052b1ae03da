# Files of the stores that are larger than what a feed may hold in memory: they
# go in parts, are there whole or not at all, and nothing is missing when the
# store, the worker or an answer is lost in the middle.

use strict;
use warnings;

use CdcLoad;
use CdcStores;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my %have = map { $_ => store_available($_) } qw(gcs azure web clients);
plan skip_all => 'no stores here (test/env/stores.sh fetch)'
  unless $have{clients} && $have{web} && ($have{gcs} || $have{azure});

my %store = map { $_ => start_store($_) } grep { $have{$_} } qw(gcs azure);
my $web = start_store('web', front => $store{gcs});
my $node = new_cluster('large', conf => <<CONF);
cdc_sink.idle_resolved_interval = 100ms
cdc_sink.feed_memory = 16MB
CONF

sub sql { return $node->safe_psql('postgres', @_); }

sub create
{
	my ($uri) = @_;
	return create_feed($node,
		"CREATE CHANGEFEED FOR TABLE big INTO '$uri' WITH updated, resolved = '3s', min_checkpoint_frequency = '3s', initial_scan = 'no'");
}

# What an ended feed has brought: all of this table, in few files.
sub check_all
{
	my ($store, $path, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $dir = $store->fetch($path);
	my ($biggest, $lines, $broken, %seen) = (0, 0, 0);
	for my $file (split /\n/, `find '$dir' -name '*.ndjson'`)
	{
		$biggest = -s $file if -s $file > $biggest;
		open my $f, '<', $file or die $!;
		while (my $line = <$f>)
		{
			$lines++;
			if ($line =~ /^\{"after": \{"id": (\d+), "pad": "(\w{32})\g{2}{31}"\}, "key": \[\g1\], "updated": "[0-9.]+"\}$/) { $seen{$1} = 1; }
			else { $broken++; }
		}
	}
	cmp_ok($biggest, '>', 13_000_000, "$name: a file larger than what fits into memory");
	is(join(' ', scalar(keys %seen), $broken), '30000 0', "$name: all rows, and they are whole");
	is($lines, 30000, "$name: once") unless $opt{repeats};
	return;
}

sub ended
{
	my ($job) = @_;
	sql("SELECT changefeed_cancel($job)");
	return ok(wait_status($node, $job, 'canceled'), 'canceled');
}

my %front = (GCS_ENDPOINT => "http://127.0.0.1:$web->{port}/gcs", BEARER_TOKEN => undef, CREDENTIALS => $web->credentials);
my %more = (gcs => \%front, azure => {});

# an application of Google's kind, beside us
sub curl
{
	my ($path, @args) = @_;
	my ($out, $err);
	IPC::Run::run([ 'curl', '-s', @args, "http://127.0.0.1:$web->{port}$path" ], '<', \undef, '>', \$out, '2>', \$err);
	return $out;
}

sub gcs
{
	my ($method, $path) = @_;
	my ($token) = curl('/computeMetadata/v1/instance/service-accounts/default/token', '-H', 'Metadata-Flavor: Google') =~ /"access_token": "([^"]+)"/;
	return curl("/gcs/test$path", '-X', $method, '-H', "Authorization: Bearer $token");
}

# uploads that were begun
sub begun { return gcs('GET', "?uploads=&prefix=$_[0]/") =~ m{<Key>([^<]+)</Key>}g; }

for my $kind (sort keys %store)
{
	my $store = $store{$kind};

	# 32 MB in files of 24, with 16 MB of memory
	sql('CREATE TABLE IF NOT EXISTS big (id int PRIMARY KEY, pad text)');
	sql('TRUNCATE big') if $kind ne (sort keys %store)[0];
	my $job = create($store->uri('whole', %{ $more{$kind} }, file_size => '24MB'));
	sql('INSERT INTO big SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, 30000) g');
	wait_feed($node, $job);
	ended($job);
	check_all($store, 'whole', "$kind, plain");

	# the commit is carried out, its answer is lost
	if ($kind eq 'gcs')
	{
		sql('TRUNCATE big');
		$job = create($store->uri('lost', %front, file_size => '24MB'));
		$web->plan({ fail => { match => '?uploadId=', status => 503, after => JSON::PP::true(), times => 1 } });
		sql('INSERT INTO big SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, 30000) g');
		wait_feed($node, $job);
		$web->plan({});
		ended($job);
		ok(scalar($web->requests(qr{^/gcs/test/lost/[^?]*$})), 'gcs, answer lost: it looked whether the file is there');
		check_all($store, 'lost', 'gcs, answer lost');

		# parts that fail for a while
		sql('TRUNCATE big');
		$job = create($store->uri('parts', %front, file_size => '24MB'));
		$web->plan({ fail => { match => 'partNumber=3', status => 500, body => 'not now', times => 3 } });
		sql('INSERT INTO big SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, 30000) g');
		wait_feed($node, $job);
		$web->plan({});
		ended($job);
		check_all($store, 'parts', 'gcs, parts fail');
	}

	# the worker dies, and the store, while parts are there
	sql('TRUNCATE big');
	$job = create($store->uri('crash', %{ $more{$kind} }, file_size => '24MB'));
	$web->plan({ fail => { match => 'partNumber=2', status => 503, body => 'not now', times => 1_000_000 } });
	sql('INSERT INTO big SELECT g, repeat(md5(g::text), 32) FROM generate_series(1, 15000) g');
	ok(poll_until(sub { $kind eq 'gcs' ? $web->requests(qr{/crash/.*partNumber=}) : $store->client('begun', 'crash/') ne '' }, 'parts', 30),
		"$kind: parts are there");

	# others begin some, too: one at the same place, one for a job of the same number
	my $foreign = '2026-01-01/202601010000000000000000000000000-0000000000000001-1-' . $job . '-00000000-big-1.ndjson';
	if ($kind eq 'gcs')
	{
		gcs('POST', "/crash/$_?uploads=") for 'a', 'b', 'somebody-else', $foreign;
		is(scalar(my @all = begun('crash')), 5, 'gcs: uploads of others, and ours');
	}
	kill_worker($node, 'lane', 'KILL');
	$web->plan({});
	wait_up($node);
	sql('INSERT INTO big SELECT g, repeat(md5(g::text), 32) FROM generate_series(15001, 30000) g');
	$store->crash;
	$store->start;
	wait_feed($node, $job);
	ended($job);
	check_all($store, 'crash', "$kind, after a crash", repeats => 1);
	is_deeply([ begun('crash') ], [ map { "crash/$_" } $foreign, 'a', 'b', 'somebody-else' ],
		'gcs: what the killed worker had begun is given up, and nothing else') if $kind eq 'gcs';
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segmentation|signal 11/i, 'no crash but those we made');
$node->stop;
done_testing();
