# Trap 2: newer minor releases refuse output plugins that a setting does not
# list. The worker permits ours for itself; nobody else can use the plugin.

use strict;
use warnings;

use CdcLoad;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('plugin');
my $known = $node->safe_psql('postgres',
	"SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'");
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)');
my ($dir, $uri) = file_dir($node);
my $job = create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$uri'");
if ($known)
{
	$node->safe_psql('postgres', q{
		ALTER SYSTEM SET output_plugin_libraries = '';
		SELECT pg_reload_conf()});
}
$node->restart;
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
wait_feed($node, $job);
is(scalar(rows_of(quick_messages($dir))), 1,
	'a feed works whatever output_plugin_libraries says' . ($known ? '' : ' (no such setting here)'));

my ($rc, $out, $err) = $node->psql('postgres',
	"SELECT pg_create_logical_replication_slot('mine', 'cdc_sink')");
isnt($rc, 0, 'the plugin is of no use to others');
like($err, qr/can only be used by changefeeds|output_plugin_libraries/, 'and says so');
is(slots($node), '1', 'no slot is left of it');
my ($slot) = $node->safe_psql('postgres', 'SELECT slot_name FROM pg_replication_slots');
$node->safe_psql('postgres', "SELECT changefeed_pause($job)");
($rc, $out, $err) = $node->psql('postgres',
	"SELECT pg_logical_slot_get_changes('$slot', NULL, NULL)");
isnt($rc, 0, 'nor can our slot be read');

$node->stop;
done_testing();
