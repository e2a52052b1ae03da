# A schedule: pg_cron runs the statement that exports a table.

use strict;
use warnings;

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('schedule', start => 0, conf => q{
shared_preload_libraries = 'cdc_sink, pg_cron'
cron.use_background_workers = on
});
my ($share) = run_command([ $ENV{PG_CONFIG} // 'pg_config', '--sharedir' ]);
plan skip_all => 'pg_cron is not installed (package postgresql-15-cron)'
  unless -f "$share/extension/pg_cron.control";
$node->start;
sub run { return $node->safe_psql('postgres', $_[0]); }

run(q{CREATE EXTENSION cdc_sink; CREATE EXTENSION pg_cron;
	CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)});
my ($dir, $uri) = file_dir($node);
run(qq{SELECT cron.schedule('export', '* * * * *',
	\$\$SELECT changefeed_create('{t}', '$uri', '{"initial_scan": "only"}')\$\$)});
ok( poll_until(sub { run('SELECT count(*) FROM changefeed_jobs WHERE status = $$succeeded$$') > 0 }, 'export', 90),
	'the schedule has exported');
is(join(' ', map { $_->{after}{id} } rows_of(file_messages($dir))), '1 2', 'the table');
run(q{SELECT cron.unschedule('export')});
$node->stop;
done_testing();
