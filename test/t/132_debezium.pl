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
plan skip_all => 'no multiranges before PostgreSQL 14'
  if $node->safe_psql('postgres', 'SHOW server_version_num') < 140000;
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

# Defaults in schemas are evaluated by workers with the rights of a superuser:
# functions that users made are not called for them.
$node->safe_psql('postgres', <<'EOF');
CREATE TYPE mine AS (a int);
CREATE FUNCTION to_int(mine) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RAISE 'called by %', current_user; END $$;
CREATE CAST (mine AS int) WITH FUNCTION to_int(mine);
CREATE DOMAIN checked AS int CHECK (to_int(ROW(VALUE)::mine) > 0);
CREATE TYPE holds_checked AS (a checked);
CREATE TYPE feeling AS ENUM ('sad', 'fine');
CREATE TABLE defaults (id int PRIMARY KEY, a int DEFAULT '(1)'::mine::int,
	b text DEFAULT '(1)'::text::holds_checked::text, c feeling DEFAULT 'fine', d int DEFAULT '5'::text::int);
INSERT INTO defaults VALUES (1, 1, 'b', 'sad', 1);
EOF
my ($dir) = file_dir($node, 'defaults');
my $defaults = $node->safe_psql('postgres', "SELECT changefeed_create('{defaults}', 'file://$dir', '{\"envelope\": \"debezium\"}')");
$node->safe_psql('postgres', "INSERT INTO defaults VALUES (2, 1, 'b', 'sad', 1); SELECT changefeed_wait($defaults)");
my @fields = map { /"type":"(?:int32|string)"[^{}]*(?:\{[^{}]*\})?[^{}]*?"default":("?\w*"?),"field":"([a-d])"/g } map { slurp_file($_) } glob("$dir/*/*.ndjson");
is_deeply({ reverse @fields }, { a => '0', b => '""', c => '"fine"', d => '5' }, 'defaults: no function of users is called');
$kafka->stop;
$node->stop('fast');
done_testing();
