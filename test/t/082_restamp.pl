# A transaction keeps its one stamp however often its feed is detached and
# brought back in the middle of it (S17, S24), and many rewinds do not use up
# core's few callback slots (trap 11).

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('restamp', conf => q{
cdc_sink.feed_memory = '256kB'
cdc_sink.isolation_delay = 0
});
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
my ($dir, $uri) = file_dir($node);
my $job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH updated, resolved='100ms', min_checkpoint_frequency='100ms'");
wait_feed($node, $job);
$node->safe_psql('postgres',
	"INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i");
$node->safe_psql('postgres', "INSERT INTO t VALUES (0, 'end')");
wait_feed($node, $job);

my @msgs = file_messages($dir);
my @rows = grep { $_->{after}{id} ne '0' } rows_of(@msgs);
my %stamps = map { $_->{updated} => 1 } @rows;
is(scalar(keys %stamps), 1, 'one transaction, one stamp');
my %ids = map { $_->{after}{id} => 1 } @rows;
is(scalar(keys %ids), 20000, 'all its rows');
is(scalar(@rows), 20000, 'each once');
is_deeply([ check_resolved(@msgs) ], [], 'no row below a resolved that came before');

my $detaches = () = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /starting logical decoding for slot/g;
cmp_ok($detaches, '>', 12, "decoding was begun anew often enough to tell ($detaches times)");
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/out of relcache_callback_list slots/, 'trap 11');

done_testing();
