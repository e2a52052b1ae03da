# The envelope of Debezium's connector: a scripted workload of all operations
# and types gives the messages that the real connector gave, as recorded in
# test/debezium/recorded, in each of its configurations. What may differ stands
# in test/debezium/differences.json, and in the README. `make debezium-compare`
# runs the connector itself.

use strict;
use warnings;

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $here = "$ENV{CDC_TEST_ENV}/../debezium";
my $node = new_cluster('debezium', extension => 0);
my $kafka = start_kafka(conf => ['num.partitions=1']);
my $out = $node->basedir . '/out';
mkdir $out;

sub compare
{
	my (@args) = @_;
	my ($stdout, $stderr) = ('', '');
	my $ok = IPC::Run::run([ 'python3', "$here/compare.py", @args ], '<', \undef, '>', \$stdout, '2>', \$stderr);
	diag($stderr) if $stderr;
	return ($ok, $stdout);
}

sub psql_file
{
	my ($db, $file) = @_;
	my ($stdout, $stderr) = ('', '');
	IPC::Run::run([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', $file ],
		'<', \undef, '>', \$stdout, '2>', \$stderr)
	  or BAIL_OUT("$file: $stderr");
	return;
}

local $ENV{PGOPTIONS} = '-c timezone=UTC -c client_min_messages=warning';
my (undef, $configs) = compare('configs');
my @configs = split /\n/, $configs;
my %job;

# a database for each: its name is in the messages
psql_file('postgres', "$here/setup.sql");
$node->safe_psql('postgres', 'CREATE EXTENSION cdc_sink');
for my $config (@configs)
{
	$node->safe_psql('template1', "CREATE DATABASE $config TEMPLATE postgres");
	my (undef, $statement) = compare('statement', $config, $kafka->{addr});
	append_to_file("$out/$config.sql", $statement);
	psql_file($config, "$out/$config.sql");
	$job{$config} = $node->safe_psql($config, 'SELECT job_id FROM changefeed_jobs');
}
for my $config (@configs)
{
	$node->safe_psql($config, "SELECT changefeed_wait($job{$config}, timeout => '60 s')");
	psql_file($config, "$here/workload.sql");
}
for my $config (@configs)
{
	$node->safe_psql($config, "SELECT changefeed_wait($job{$config}, timeout => '60 s'), changefeed_cancel($job{$config})");

	my ($raw, $err) = ('', '');
	IPC::Run::run([ 'bash', "$here/consume.sh", $kafka->{addr}, 'ours.', $config ], '<', \undef, '>', \$raw, '2>', \$err)
	  or diag($err);
	append_to_file("$out/$config.raw", $raw);
	my (undef, $packed) = compare('pack', "$out/$config.raw");
	append_to_file("$out/$config.json", $packed);
	my ($same, $differences) = compare('diff', $config, "$here/recorded/$config.json.gz", "$out/$config.json");
	ok($same, "$config: as the connector") or diag(substr($differences, 0, 4000));
}
$kafka->stop;
$node->stop('fast');
done_testing();
