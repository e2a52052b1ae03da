# Foreign servers as sinks: a running feed follows what its server and user
# mapping say, whatever is done to them, and loses nothing. Where the server
# may be made to connect.

use strict;
use warnings;

use CdcKafka qw(running_status_like);
use CdcS3;
use CdcTest;
use CdcWebhook;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no S3 server here (test/env/s3.sh fetch)' unless s3_available();

my $s3 = start_s3('test');
my $hook = start_webhook();
my $node = new_cluster('external', conf => <<CONF);
cdc_sink.idle_resolved_interval = 100ms
cdc_sink.restrict_sinks = external
log_min_messages = debug1
log_statement = none
CONF
my $files = $node->basedir . '/files';

sub sql { return $node->safe_psql('postgres', @_); }

# as the user of the feeds: (return code, output, error)
sub as_app
{
	my ($statement) = @_;
	return $node->psql('postgres', $statement, extra_params => [ '-U', 'app' ]);
}

sub create
{
	my ($uri, $with) = @_;
	my ($rc, $out, $err) = as_app("SELECT changefeed_create('{t}', '$uri', '$with')");
	is($rc, 0, "a feed into $uri") or diag($err);
	return $out;
}

my $id = 0;

# rows that no message has had yet
sub write_rows
{
	my ($n) = @_;
	my $from = $id + 1;
	$id += $n;
	sql("INSERT INTO t SELECT i, 'v' || i FROM generate_series($from, $id) i");
	return;
}

# rows from 1 on are all there
sub complete
{
	my ($name, @msgs) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %seen = map { $_->{after}{id} => 1 } grep { $_->{after} } rows_of(@msgs);
	my @missing = grep { !$seen{$_} } 1 .. $id;
	is(scalar(@missing), 0, $name) or diag("missing: @missing[0 .. 9]");
	return;
}

sql(q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE ROLE app LOGIN;
	GRANT SELECT ON t TO app;
	GRANT EXECUTE ON FUNCTION changefeed_create(text[], text, jsonb) TO app;
});
my $with = '{"updated": true, "resolved": "200ms", "min_checkpoint_frequency": "100ms"}';

# ---- a store ----------------------------------------------------------------

sql(qq{
	CREATE SERVER lake FOREIGN DATA WRAPPER cdc_sink
		OPTIONS (uri 's3://test/lake', aws_endpoint '$s3->{endpoint}', region 'us-east-1');
	GRANT USAGE ON FOREIGN SERVER lake TO app;
	CREATE USER MAPPING FOR PUBLIC SERVER lake
		OPTIONS (access_key_id '$s3->{key}', secret_access_key 'wrong-for-all')});
my ($rc, $out, $err) = as_app("SELECT changefeed_create('{t}', 'external://lake')");
like($err, qr/SignatureDoesNotMatch/, 'the mapping of PUBLIC counts for who has none, and the probe uses it');
unlike($err, qr/wrong-for-all/, 'and does not show it');
($rc, $out, $err) = as_app("SELECT changefeed_create('{t}', '" . $s3->uri('test/x') . "')");
like($err, qr/only be used with external connection sinks/, 'no other sink for users');
unlike($err, qr/\Q$s3->{secret}\E/, 'without the secret');

($rc, $out, $err) = as_app("CREATE USER MAPPING FOR app SERVER lake OPTIONS (access_key_id '$s3->{key}', secret_access_key '$s3->{secret}')");
is($rc, 0, 'a user makes a mapping for himself') or diag($err);
write_rows(100);
my $job = create('external://lake/deeper?file_size=1MB', $with);
write_rows(100);
wait_feed($node, $job);
complete('rows are in the store', file_messages($s3->dir('test/lake/deeper')));

# another key: trouble, and on as soon as it is right again
sql("ALTER USER MAPPING FOR app SERVER lake OPTIONS (SET secret_access_key 'wrong-for-app')");
write_rows(10);
running_status_like($node, $job, qr/transient error: .*SignatureDoesNotMatch/, 'a changed key is taken');
sql("ALTER USER MAPPING FOR app SERVER lake OPTIONS (SET secret_access_key '$s3->{secret}')");
wait_feed($node, $job, 20);
complete('and the right one again', file_messages($s3->dir('test/lake/deeper')));

# without USAGE
sql('REVOKE USAGE ON FOREIGN SERVER lake FROM app');
running_status_like($node, $job, qr/transient error: permission denied for foreign server lake$/, 'USAGE is lost');
my $before = () = file_messages($s3->dir('test/lake/deeper'));
write_rows(10);
is(sql("SELECT changefeed_wait($job, timeout => '1 s')"), 'f', 'nothing is sent');
is(scalar(() = file_messages($s3->dir('test/lake/deeper'))), $before, 'nor is there a file');

# also across a restart
$node->restart;
running_status_like($node, $job, qr/transient error: permission denied for foreign server lake$/, 'still after a restart');
sql('GRANT USAGE ON FOREIGN SERVER lake TO app');
wait_feed($node, $job, 20);
complete('USAGE is back', file_messages($s3->dir('test/lake/deeper')));

# the server goes and comes
sql('DROP SERVER lake CASCADE');
running_status_like($node, $job, qr/transient error: foreign server "lake" does not exist$/, 'the server is dropped');
write_rows(10);
sql(qq{
	CREATE SERVER lake FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'kafka://127.0.0.1:1');
	GRANT USAGE ON FOREIGN SERVER lake TO app});
running_status_like($node, $job, qr/transient error: new sink type "kafka" does not match original sink type "s3"$/,
	'one of another type');
sql("ALTER SERVER lake OPTIONS (SET uri 's3://test/lake', ADD aws_endpoint '$s3->{endpoint}')");
running_status_like($node, $job, qr/transient error: AUTH is set to 'specified', but AWS_ACCESS_KEY_ID is not set$/, 'no mapping');
sql("CREATE USER MAPPING FOR app SERVER lake OPTIONS (access_key_id '$s3->{key}', secret_access_key '$s3->{secret}')");
wait_feed($node, $job, 20);
my @msgs = file_messages($s3->dir('test/lake/deeper'));
complete('a server of the same name is the same sink', @msgs);
check_guarantees(\@msgs, 'through all this');

# ---- another place ----------------------------------------------------------

# writers at work while the feed moves
sql("ALTER SERVER lake OPTIONS (SET uri 's3://test/shore')");
write_rows(5) for 1 .. 20;
ok( poll_until(
		sub {
			write_rows(5);
			return -d $s3->dir('test/shore/deeper');
		},
		'the other place', 20),
	'a feed moves with its server');
wait_feed($node, $job);
my @lake = file_messages($s3->dir('test/lake/deeper'));
my @shore = file_messages($s3->dir('test/shore/deeper'));
complete('what is not in one place is in the other', @lake, @shore);
ok(!(grep { $_->{after}{id} <= 230 } rows_of(@shore)), 'what was acknowledged is not sent again');
sql("SELECT changefeed_cancel($job)");
wait_status($node, $job, 'canceled');

# ---- in the middle of a transaction --------------------------------------------

# larger than what the feed may hold, and as much patience with its sink as
# there can be: it waits in there for a key that is right
sql($_) for "ALTER SYSTEM SET cdc_sink.feed_memory = '4MB'", "ALTER SYSTEM SET cdc_sink.isolation_delay = '1h'", 'SELECT pg_reload_conf()';
$job = create('external://lake/midway', $with =~ s/\}/, "initial_scan": "no"}/r);
wait_feed($node, $job);
sql("ALTER USER MAPPING FOR app SERVER lake OPTIONS (SET secret_access_key 'wrong-for-app')");
write_rows(1);
running_status_like($node, $job, qr/transient error: .*SignatureDoesNotMatch/, 'a wrong key');
my $first = $id + 1;
$id += 12_000;
sql("INSERT INTO t SELECT i, repeat('v', 1000) FROM generate_series($first, $id) i");
ok(poll_until(sub { sql("SELECT queued_bytes >= 4000000 FROM pg_stat_changefeed WHERE job_id = $job") eq 't' }, 'full', 60),
	'the feed holds what it may of a transaction');
sql("ALTER USER MAPPING FOR app SERVER lake OPTIONS (SET secret_access_key '$s3->{secret}')");
wait_feed($node, $job, 60);
like(slurp_file($node->logfile), qr/transaction at \S+ is decoded again, after a look at a foreign server/,
	'the right key is taken before the end of the transaction');
my %midway = map { $_->{after}{id} => 1 } rows_of(file_messages($s3->dir('test/shore/midway')));
is(scalar(grep { !$midway{$_} } $first - 1 .. $id), 0, 'and all rows come');

# also by a feed that waits while another one is sent such a transaction
my $other = sql("SELECT changefeed_create('{t}', 'file://$files/midway', '{\"initial_scan\": \"no\"}')");
wait_feed($node, $other);
sql("ALTER USER MAPPING FOR app SERVER lake OPTIONS (SET secret_access_key 'wrong-for-app')");
write_rows(1);
running_status_like($node, $job, qr/transient error: .*SignatureDoesNotMatch/, 'a wrong key again');
$first = $id + 1;
$id += 12_000;
sql("INSERT INTO t SELECT i, repeat('w', 1000) FROM generate_series($first, $id) i");
ok(poll_until(sub { sql("SELECT queued_bytes >= 4000000 FROM pg_stat_changefeed WHERE job_id = $job") eq 't' }, 'full', 60),
	'it holds what it may again');
sql("ALTER USER MAPPING FOR app SERVER lake OPTIONS (SET secret_access_key '$s3->{secret}')");
wait_feed($node, $_, 60) for $job, $other;
%midway = map { $_->{after}{id} => 1 } rows_of(file_messages($s3->dir('test/shore/midway')));
is(scalar(grep { !$midway{$_} } $first - 1 .. $id), 0, 'all rows come');
my %there = map { $_->{after}{id} => 1 } rows_of(file_messages("$files/midway"));
is(scalar(grep { !$there{$_} } $first - 1 .. $id), 0, 'of both feeds');
sql("SELECT changefeed_cancel($_)") for $job, $other;
wait_status($node, $_, 'canceled') for $job, $other;
sql($_) for 'ALTER SYSTEM RESET cdc_sink.feed_memory', 'ALTER SYSTEM RESET cdc_sink.isolation_delay', 'SELECT pg_reload_conf()';

# ---- webhooks and files -------------------------------------------------------

sql('TRUNCATE t');
$id = 0;
write_rows(10);
sql(qq{
	CREATE SERVER hook FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri '@{[$hook->uri]}', topic_prefix 'pre_');
	GRANT USAGE ON FOREIGN SERVER hook TO app;
	CREATE USER MAPPING FOR app SERVER hook OPTIONS (webhook_auth_header 'Bearer geheim-hook', extra_headers '{"X-Key": "geheim-kopf"}')});
$job = create('external://hook', $with);
wait_feed($node, $job);
my ($request) = grep { $_->{json}{payload} } $hook->requests;
is($request->{headers}{authorization}, 'Bearer geheim-hook', 'a header out of the mapping');
is($request->{headers}{'x-key'}, 'geheim-kopf', 'and another');
unlike($request->{path}, qr/topic_prefix/, 'topic_prefix is no part of the request');
is($request->{json}{payload}[0]{topic}, 'pre_t', 'but of the topic');
sql(q{ALTER USER MAPPING FOR app SERVER hook OPTIONS (SET webhook_auth_header 'Bearer geheim-zwei', DROP extra_headers)});
ok( poll_until(
		sub {
			write_rows(1);
			wait_feed($node, $job);
			my @r = grep { $_->{json}{payload} } $hook->requests;
			return $r[-1]{headers}{authorization} eq 'Bearer geheim-zwei' && !exists $r[-1]{headers}{'x-key'};
		},
		'new headers', 15),
	'changed headers are taken');
complete('all rows', $hook->messages);
sql("SELECT changefeed_pause($job)");
wait_status($node, $job, 'paused');
sql('ALTER USER MAPPING FOR app SERVER hook OPTIONS (DROP webhook_auth_header)');
sql("SELECT changefeed_resume($job)");
write_rows(1);
wait_feed($node, $job);
ok(!exists((grep { $_->{json}{payload} } $hook->requests)[-1]{headers}{authorization}), 'changed while the feed was paused');
is(sql("SELECT description FROM changefeed_jobs WHERE job_id = $job"),
	qq{CREATE CHANGEFEED FOR TABLE t INTO 'external://hook' WITH OPTIONS (min_checkpoint_frequency = '100ms', resolved = '200ms', updated)},
	'the description names the server only');

# another server, by ALTER
sql(qq{
	CREATE SERVER hook2 FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri '@{[$hook->uri]}');
	GRANT USAGE ON FOREIGN SERVER hook2 TO app;
	CREATE USER MAPPING FOR app SERVER hook2 OPTIONS (webhook_auth_header 'Bearer geheim-drei')});
sql('GRANT EXECUTE ON FUNCTION changefeed_sql(text) TO app');
sql("SELECT changefeed_pause($job)");
wait_status($node, $job, 'paused');
($rc, $out, $err) = as_app("SELECT changefeed_sql(\$\$ALTER CHANGEFEED $job SET sink = '@{[$hook->uri]}'\$\$)");
like($err, qr/only be used with external connection sinks/, 'ALTER names no other sink either');
($rc, $out, $err) = as_app("SELECT changefeed_sql(\$\$ALTER CHANGEFEED $job SET sink = 'external://lake'\$\$)");
like($err, qr/new sink type "s3" does not match original sink type "webhook"/, 'nor one of another type');
($rc, $out, $err) = as_app("SELECT changefeed_sql(\$\$ALTER CHANGEFEED $job SET sink = 'external://hook2'\$\$)");
is($rc, 0, 'another server') or diag($err);
sql("SELECT changefeed_resume($job)");
write_rows(1);
wait_feed($node, $job);
($request) = reverse grep { $_->{json}{payload} } $hook->requests;
is($request->{headers}{authorization}, 'Bearer geheim-drei', 'has the mapping of the other server');
is($request->{json}{payload}[0]{topic}, 't', 'and no topic_prefix');
complete('all rows, after ALTER', $hook->messages);

# another owner, with a mapping of his own
sql(q{
	CREATE ROLE other;
	GRANT SELECT ON t TO other;
	CREATE USER MAPPING FOR other SERVER hook2 OPTIONS (webhook_auth_header 'Bearer geheim-vier')});
my $alter_owner = "SELECT changefeed_sql('ALTER JOB $job OWNER TO other')";
($rc, $out, $err) = $node->psql('postgres', $alter_owner);
like($err, qr/permission denied for foreign server hook2/, 'a new owner needs USAGE too');
sql('GRANT USAGE ON FOREIGN SERVER hook2 TO other');
sql($alter_owner);
ok( poll_until(
		sub {
			write_rows(1);
			wait_feed($node, $job);
			return (grep { $_->{json}{payload} } $hook->requests)[-1]{headers}{authorization} eq 'Bearer geheim-vier';
		},
		'the new owner', 15),
	'the mapping of the new owner is taken');
complete('all rows, under another owner', $hook->messages);

# the wrong owner for a place outside of cdc_sink.file_root
my $outside = $node->basedir . '/outside';
mkdir $outside;
sql(qq{
	CREATE SERVER disk FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'file://$outside');
	GRANT USAGE ON FOREIGN SERVER disk TO app;
	CREATE ROLE keeper;
	GRANT USAGE ON FOREIGN DATA WRAPPER cdc_sink TO keeper});
my $disk = create('EXTERNAL://disk/sub', $with);
wait_feed($node, $disk);
complete('files where only a superuser may write', file_messages("$outside/sub"));
sql('ALTER SERVER disk OWNER TO keeper');
running_status_like($node, $disk, qr/transient error: must be superuser to write changefeed files outside/,
	'the server\'s owner may not');
mkdir "$files/kept";
mkdir "$files/kept/sub";
sql("SET ROLE keeper; ALTER SERVER disk OPTIONS (SET uri 'file://$files/kept')");
write_rows(5);
wait_feed($node, $disk, 20);
my %kept = map { $_->{after}{id} => 1 } rows_of(file_messages("$files/kept/sub"));
ok($kept{$id}, 'he may below file_root');

# ---- hosts --------------------------------------------------------------------

sub allow
{
	my ($list) = @_;
	sql("ALTER SYSTEM SET cdc_sink.allowed_sink_hosts = '$list'");
	sql('SELECT pg_reload_conf()');
	return poll_until(sub { sql('SHOW cdc_sink.allowed_sink_hosts') eq $list }, 'setting');
}

isnt(($node->psql('postgres', "ALTER SYSTEM SET cdc_sink.allowed_sink_hosts = '$_'"))[0], 0, "not a list: $_")
  for 'a:b', 'x.*.com', 'a b:c', '[::1';
my ($hook_host) = $hook->uri =~ m,//([^/]+),;
my ($s3_host) = $s3->{endpoint} =~ m,//([^/]+),;
allow('*.example.com, example.org:443');
running_status_like($node, $job, qr/transient error: changefeeds must not connect to host "127\.0\.0\.1:?\d*"$/,
	'a feed that runs is stopped');
$node->restart;
running_status_like($node, $job, qr/transient error: changefeeds must not connect to host/, 'and does not start');
write_rows(5);
for my $uri (
	"kafka://localhost,$s3_host", 'webhook-https://example.com/', 'webhook-https://example.org:8443/',
	$s3->uri('test/x'), 'kafka://[::1]', 'kafka://xexample.com')
{
	($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri')");
	like($err, qr/changefeeds must not connect to host/, 'refused, superusers too: ' . $uri =~ s/\?.*//r);
}
for my $uri ('kafka://a.EXAMPLE.com:1?nope=1', 'webhook-https://example.org/?ca_cert=1')
{
	($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri')");
	unlike($err, qr/must not connect/, "in the list: $uri");
}
allow("$hook_host,");
wait_feed($node, $job, 30);
complete('the host is allowed again', $hook->messages);

sql('DROP SERVER hook, hook2 CASCADE; DROP SERVER disk CASCADE');
sql("SELECT changefeed_cancel($_)") for $job, $disk;
ok(wait_status($node, $_, 'canceled'), 'a feed without its server can be canceled') for $job, $disk;
$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/geheim|wrong-for/, 'the log holds no secret');
unlike($log, qr/PANIC|TRAP|terminated by signal/, 'no crash');
done_testing();
