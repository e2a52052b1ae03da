# What the layout of files promises to readers: who goes through the names in
# order and comes to a RESOLVED file has the tables as they were at that moment.
# Each store is read with its own client, in several layouts, while the feed
# works and after it was interrupted; what the tables were is known from a
# journal that triggers wrote in the same transactions.

use strict;
use warnings;

use CdcLoad qw(kill_worker wait_up);
use CdcS3;
use CdcStores;
use CdcTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => "no clients of stores here (test/env/stores.sh fetch)" unless store_available('clients');

my %store = map { $_ => start_store($_) } grep { store_available($_) } qw(gcs azure web);
my $s3 = s3_available() ? start_s3('test') : undef;
my ($python, $client) = python();
(my $rebuild = $client) =~ s/store_client/rebuild/;
my $node = new_cluster('rebuild', conf => "cdc_sink.idle_resolved_interval = 100ms\n");

sub sql { return $node->safe_psql('postgres', @_); }

# ---- tables, journal, load --------------------------------------------------

sql(<<'SQL');
CREATE TABLE item (id int PRIMARY KEY, v int, pad text);
CREATE TABLE pair (a int, b text, n int, PRIMARY KEY (a, b));
CREATE TABLE mark (tx bigint PRIMARY KEY);
CREATE TABLE journal (n bigserial PRIMARY KEY, tx bigint, tab text, key jsonb, line jsonb);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	old_key jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL WHEN TG_TABLE_NAME = 'item' THEN
		jsonb_build_array(to_jsonb(OLD) -> 'id') ELSE jsonb_build_array(to_jsonb(OLD) -> 'a', to_jsonb(OLD) -> 'b') END;
	new_key jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL WHEN TG_TABLE_NAME = 'item' THEN
		jsonb_build_array(to_jsonb(NEW) -> 'id') ELSE jsonb_build_array(to_jsonb(NEW) -> 'a', to_jsonb(NEW) -> 'b') END;
BEGIN
	IF old_key IS NOT NULL AND old_key IS DISTINCT FROM new_key THEN
		INSERT INTO journal (tx, tab, key) VALUES (txid_current(), TG_TABLE_NAME, old_key);
	END IF;
	IF new_key IS NOT NULL THEN
		INSERT INTO journal (tx, tab, key, line) VALUES (txid_current(), TG_TABLE_NAME, new_key, to_jsonb(NEW));
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON pair FOR EACH ROW EXECUTE FUNCTION note();
-- one item, then one pair: two of these never wait for each other in a circle
CREATE PROCEDURE work(seconds float) LANGUAGE plpgsql AS $$
DECLARE
	k int;
	i int := 0;
	start timestamptz := clock_timestamp();
BEGIN
	WHILE clock_timestamp() < start + seconds * interval '1 s' LOOP
		i := i + 1;
		k := 1 + random() * 300;
		INSERT INTO item VALUES (k, i, repeat('x', (random() * 300)::int)) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v, pad = EXCLUDED.pad;
		UPDATE item SET v = -i WHERE id = k AND random() < 0.3;
		DELETE FROM item WHERE id = k AND random() < 0.2;
		k := 1 + random() * 50;
		INSERT INTO pair VALUES (k, 'b' || k % 3, i) ON CONFLICT (a, b) DO UPDATE SET n = EXCLUDED.n;
		DELETE FROM pair WHERE a = k AND b = 'b' || k % 3 || 'x';
		UPDATE pair SET b = b || 'x' WHERE a = k AND b = 'b' || k % 3 AND random() < 0.2;
		INSERT INTO mark VALUES (txid_current()) ON CONFLICT DO NOTHING;
		COMMIT;
		PERFORM pg_sleep(0.03 * random());
	END LOOP;
END $$;
SQL

my @load;

sub load
{
	my ($seconds) = @_;
	for (1 .. 3)
	{
		my $out = '';
		push @load, IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "CALL work($seconds)" ], '<', \undef, '>', \$out, '2>&1');
	}
	return;
}

sub load_end
{
	$_->finish for splice @load;
	return;
}

# ---- feeds --------------------------------------------------------------------

# name => [ uri, parameters, options, how its files get into a folder, prefix ]
my %feed;
my ($dir, $uri) = file_dir($node);
$feed{'files, as they are'} = [ "$uri/plain", '', '', sub { "$dir/plain" }, '' ];
$feed{'files, flat, zstd'} = [ "$uri/flat", 'partition_format=flat&file_size=2kB', "compression = 'zstd'", sub { "$dir/flat" }, '' ];
if ($s3)
{
	my $get = sub {
		my ($path) = @_;
		return sub {
			my $to = PostgreSQL::Test::Utils::tempdir('fetched-s3');
			local %ENV = (%ENV, S3_ENDPOINT => $s3->{endpoint}, S3_KEY => $s3->{key}, S3_SECRET => $s3->{secret}, STORE_BUCKET => 'test');
			system($python, $client, 'get', 's3', "$path/", $to) == 0 or die 'no s3';
			return $to;
		};
	};
	$feed{'s3, as they are'} = [ $s3->uri('test/plain'), '', '', $get->('plain'), '' ];
	$feed{'s3, hourly, gzip'} = [ $s3->uri('test/hourly'), 'partition_format=hourly&file_size=4kB&topic_prefix=p-', "compression = 'gzip'", $get->('hourly'), 'p-' ];
}
for my $kind (sort keys %store)
{
	my $store = $store{$kind};
	$feed{"$kind, as they are"} = [ $store->uri('plain'), '', '', sub { $store->fetch('plain') }, '' ];
	$feed{"$kind, flat, zstd"} =
	  [ $store->uri('flat'), 'partition_format=flat&file_size=4kB&topic_prefix=p_', "compression = 'zstd'", sub { $store->fetch('flat') }, 'p_' ];
}

sql('CALL work(0.5)');
load(4);
my %job;
for my $name (sort keys %feed)
{
	my ($place, $params, $options) = @{ $feed{$name} };
	$place .= ($place =~ /\?/ ? '&' : '?') . $params if $params ne '';
	$job{$name} = create_feed($node,
		"CREATE CHANGEFEED FOR TABLE item, pair, mark INTO '$place' WITH updated, resolved = '200ms', min_checkpoint_frequency = '200ms'"
		  . ($options ? ", $options" : ''));
}

my $journal = PostgreSQL::Test::Utils::tempdir('journal') . '/lines';

sub check
{
	my ($name, $when, $whole) = @_;
	my ($place, $params, $options, $get, $prefix) = @{ $feed{$name} };
	my $from = $get->();
	# later than the files: it may know more than they do, never less
	open my $f, '>', $journal or die $!;
	print $f sql("SELECT json_build_object('n', n, 'tx', tx, 'tab', tab, 'key', key, 'row', line) FROM journal ORDER BY n");
	close $f;
	my $out = '';
	IPC::Run::run([ $python, $rebuild, $from, $journal, $prefix ], '<', \undef, '>', \$out, '2>&1');
	my @lines = split /\n/, $out;
	my $last = pop @lines;
	my ($resolved, $rows, $all, $before) = $last =~ /^(\d+) resolved, (\d+) rows, (\d+) transactions, (\d+) of them before the last$/;
	ok(defined $resolved && !@lines, "$name, $when: the tables at each RESOLVED file") or diag($out);
	cmp_ok($resolved // 0, ">", 3, "$name, $when: of many") if $whole;
	is($before, $all, "$name, $when: to the end") if $whole;
	note("$name, $when: $last");
	return;
}

# ---- while the feeds work, and after interruptions ------------------------------

wait_feed($node, $job{$_}) for keys %job;
load_end();
load(4);
usleep(1_000_000);
check($_, 'while it works') for grep { /as they are/ } sort keys %feed;
kill_worker($node, 'lane', 'TERM');
wait_up($node);
load_end();
load(3);
usleep(800_000);
if ($s3) { $s3->kill9; $s3->start; }
for my $store (values %store) { $store->crash; $store->start; }
usleep(300_000);
$node->stop('immediate');
load_end();
$node->start;
wait_up($node);
load(1);
load_end();
for my $name (sort keys %feed)
{
	wait_feed($node, $job{$name});
	my $hwm = sql("SELECT extract(epoch FROM now())::numeric * 1000000000");
	ok(poll_until(sub { sql("SELECT coalesce(high_water_timestamp, 0) > $hwm FROM changefeed_jobs WHERE job_id = $job{$name}") eq 't' }, 'resolved', 30),
		"$name: resolved goes on");
}
sql("SELECT changefeed_cancel($_)") for values %job;
ok(wait_status($node, $job{$_}, 'canceled'), "$_: canceled") for sort keys %job;
check($_, 'at the end', 1) for sort keys %feed;
cmp_ok(sql('SELECT count(*) FROM mark'), '>', 500, 'many transactions');

# and a reader who misses something sees it
{
	# every second one: the rows of a single one may all have come again
	my @files = sort glob("$dir/plain/*/*-item-1.ndjson");
	unlink $files[ 2 * $_ ] for 0 .. $#files / 2;
	my $out = '';
	IPC::Run::run([ $python, $rebuild, "$dir/plain", $journal ], '<', \undef, '>', \$out);
	like($out, qr/^at \S+\.RESOLVED: item \[\d+\]: files say/, 'a file less is noticed');
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segmentation|signal 11/i, 'no crash but those we made');
$node->stop;
done_testing();
