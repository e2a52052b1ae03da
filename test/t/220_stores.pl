# Google Cloud Storage, Azure Blob Storage and HTTP storage: what is refused at
# creation, what arrives, tokens that expire or cannot be had, stores that are
# down for a while. Nobody sees a secret.

use strict;
use warnings;

use CdcKafka qw(running_status_like);
use CdcStores;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my %have = map { $_ => store_available($_) } qw(gcs azure web clients);
plan skip_all => 'no stores here (test/env/stores.sh fetch)' unless $have{web};

my %store;
for my $kind (qw(gcs azure))
{
	if ($have{$kind} && $have{clients}) { $store{$kind} = start_store($kind); }
	else { diag("no $kind here: its tests are skipped"); }
}
$store{web} = start_store('web', front => $store{gcs});
my $web = $store{web};

# what a machine of Google or Azure would give the server
$ENV{GCE_METADATA_HOST} = "127.0.0.1:$web->{port}";
$ENV{AZURE_POD_IDENTITY_AUTHORITY_HOST} = "http://127.0.0.1:$web->{port}";
my $node = new_cluster('stores', conf => <<CONF);
cdc_sink.idle_resolved_interval = 100ms
log_min_messages = debug1
log_statement = none
CONF

sub sql { return $node->safe_psql('postgres', @_); }
sub create { return create_feed_of($node, @_); }

sub refused
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return check_refused($node, @_);
}

# A scan only: all rows are there.
sub scanned
{
	my ($uri, $dir, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $id = create('t', $uri, "initial_scan = 'only'");
	ok(wait_status($node, $id, 'succeeded'), "$name: a scan");
	$dir = $dir->() if ref $dir;
	is(scalar(file_messages($dir)), 500, "$name: all rows");
	return;
}

sql('CREATE TABLE t (id int PRIMARY KEY, v text)');
sql("INSERT INTO t SELECT g, 'v' || g FROM generate_series(1, 500) g");
my $wrong_key = MIME::Base64::encode_base64('wrong key of the test' x 3, '');

# ---- what is refused ------------------------------------------------------

if (my $azure = $store{azure})
{
	refused($azure->uri('x', AZURE_ACCOUNT_KEY => $wrong_key),
		qr/could not write to container "test" at 127\.0\.0\.1:\d+: AuthorizationFailure \(HTTP status 403\): Server failed to authenticate/,
		'azure, wrong key');
	refused($azure->uri('x') =~ s,azure://test/,azure://nowhere/,r, qr/container "nowhere" at \S+: ContainerNotFound \(HTTP status 404\)/,
		'azure, no such container');
	refused($azure->uri('x', AZURE_ACCOUNT_KEY => undef, AZURE_SAS_TOKEN => $azure->client('sas', 'r')),
		qr/AuthorizationPermissionMismatch \(HTTP status 403\)/, 'azure, no right to write');
	refused($azure->uri('x', AZURE_ENDPOINT => 'http://127.0.0.1:1/a'), qr/could not write to .*(refused|connect)/i, 'azure, nobody there');
	is($azure->client('list', ''), '', 'azure: nothing was left there');
}
if (my $gcs = $store{gcs})
{
	refused($gcs->uri('x') =~ s,gs://test/,gs://nowhere/,r, qr/could not write to bucket "nowhere" at \S+: .*HTTP status 404/,
		'gcs, no such bucket');
	refused($gcs->uri('x', GCS_ENDPOINT => 'http://127.0.0.1:1'), qr/could not write to .*(refused|connect)/i, 'gcs, nobody there');
	is($gcs->client('list', ''), '', 'gcs: nothing was left there');
}
$web->{user} = 'feed:wrong-of-test';
append_to_file("$web->{dir}/users", "feed:right-of-test\n");
refused($web->uri('x'), qr/could not write to 127\.0\.0\.1:\d+: HTTP status 401: who are you\?/, 'http, wrong password');
$web->{user} = 'feed:right-of-test';
refused('file-https://127.0.0.1:' . $web->{port} . '/dav/x', qr/could not write to .*(SSL|TLS)/i, 'https asked of an http server');
sql('CREATE ROLE app LOGIN; GRANT SELECT ON t TO app; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app');
like(($node->psql('postgres', "SET ROLE app; SELECT changefeed_create('{t}', '$_->[0]')"))[2], $_->[1], "not for everybody: $_->[0]")
  for [ 'file-http://127.0.0.1:1/x', qr/must be superuser to use a store without TLS/ ],
  [ 'gs://test/x?AUTH=implicit', qr/must be superuser to use the credentials of the server/ ],
  [ 'azure://test/x?AUTH=implicit&AZURE_ACCOUNT_NAME=a', qr/must be superuser to use the credentials of the server/ ];
is(sql('SELECT count(*) FROM changefeed_jobs'), '0', 'no job is left');
is(slots($node), '0', 'and no slot');

# ---- what arrives ---------------------------------------------------------

my $stamp = qr/\d{33}/;
for my $kind (grep { $store{$_} } qw(gcs azure web))
{
	my $store = $store{$kind};
	my $job = create('t', $store->uri('a/b c'), "updated, resolved = '100ms'");
	wait_feed($node, $job);
	sql("UPDATE t SET v = 'w' WHERE id <= 100");
	wait_feed($node, $job);
	ok(poll_until(sub { scalar(grep { /RESOLVED/ } $store->names('a/b c')) > 1 }, 'RESOLVED files'), "$kind: RESOLVED files come");
	sql("SELECT changefeed_cancel($job)");
	ok(wait_status($node, $job, 'canceled'), "$kind: canceled");
	is_deeply([ grep { !m{^\d{4}-\d\d-\d\d/($stamp-[0-9a-f]{16}-1-$job-[0-9a-f]{8}-t-1\.ndjson|$stamp\.RESOLVED)$} } $store->names('a/b c') ],
		[], "$kind: names are as they should be, and nothing else is there");
	my @msgs = file_messages($store->fetch('a/b c'));
	is(scalar(rows_of(@msgs)), 600, "$kind: all rows, once");
	check_guarantees(\@msgs, $kind);

	# names that are hard to sign, an old scheme
	my @odd = ('we ird/..%2F', "q'uo\"te", '+&?=#;,$@:!*()[]{}|\\^`~<>', "\x{c3}\x{a4}\x{e6}\x{97}\x{a5}", '.');
	my $ident = join ', ', map { s/"/""/g; "\"$_\"" } my @copy = @odd;
	sql("CREATE TABLE IF NOT EXISTS $_ (id int PRIMARY KEY); INSERT INTO $_ VALUES (1) ON CONFLICT DO NOTHING") for split /, (?=")/, $ident;
	my $uri = $store->uri('odd%20+%25/ü&', topic_prefix => 'p /', partition_format => 'flat');
	$uri =~ s/^file-//;
	my ($rc, $out, $err) = $node->psql('postgres',
		"SELECT changefeed_sql(\$\$CREATE CHANGEFEED FOR $ident INTO 'experimental-$uri' WITH initial_scan = 'only'\$\$)");
	like($err, qr/NOTICE:  scheme experimental-\w+ is the same as (file-)?\w+, which is its name today/, "$kind: experimental-");
	ok(wait_status($node, $out, 'succeeded'), "$kind: tables with odd names");
	is(scalar($store->names("odd +%/\x{c3}\x{bc}&")), scalar(@odd), "$kind: one file for each table");
}

# other ways to show who we are
if (my $azure = $store{azure})
{
	scanned($azure->uri('sas', AZURE_ACCOUNT_KEY => undef, AZURE_SAS_TOKEN => $azure->client('sas', 'cw')),
		sub { $azure->fetch('sas') }, 'azure, SAS');
	scanned($azure->uri('blob') =~ s/^azure/azure-blob/r, sub { $azure->fetch('blob') }, 'azure-blob');
}
scanned("azure://test/app?" . CdcStores::params(
		AZURE_ACCOUNT_NAME => 'me', AZURE_CLIENT_ID => 'app-1', AZURE_CLIENT_SECRET => 's3cret/of+app', AZURE_TENANT_ID => 'my-tenant',
		AZURE_ENDPOINT => "http://127.0.0.1:$web->{port}/blob", AZURE_AUTHORITY_HOST => "http://127.0.0.1:$web->{port}"),
	"$web->{dir}/data/test/app", 'azure, an application');
scanned("azure://test/machine?AUTH=implicit&AZURE_ACCOUNT_NAME=me&AZURE_ENDPOINT=http://127.0.0.1:$web->{port}/blob",
	"$web->{dir}/data/test/machine", 'azure, the machine');
refused("azure://test/x?" . CdcStores::params(
		AZURE_ACCOUNT_NAME => 'me', AZURE_CLIENT_ID => 'app-1', AZURE_CLIENT_SECRET => 'wrong-of-test', AZURE_TENANT_ID => 'my-tenant',
		AZURE_ENDPOINT => "http://127.0.0.1:$web->{port}/blob", AZURE_AUTHORITY_HOST => "http://127.0.0.1:$web->{port}"),
	qr/could not get an access token from 127\.0\.0\.1:\d+: invalid_client \(HTTP status 401\): AADSTS7000215: Invalid client secret provided\.$/m,
	'azure, wrong secret');

# ---- tokens of Google's kind ------------------------------------------------

SKIP:
{
	skip 'no gcs here', 1 unless $store{gcs};
	my %front = (GCS_ENDPOINT => "http://127.0.0.1:$web->{port}/gcs", BEARER_TOKEN => undef, CREDENTIALS => $web->credentials);
	my $gcs = $store{gcs};

	refused($gcs->uri('x', %front, CREDENTIALS => undef, BEARER_TOKEN => 'stale-of-test'),
		qr/bucket "test" at \S+: authError \(HTTP status 401\): Invalid Credentials/, 'gcs, wrong token');
	my $other = slurp_file("$web->{dir}/credentials.json") =~ s/feed\@/other@/r;
	refused($gcs->uri('x', %front, CREDENTIALS => MIME::Base64::encode_base64($other, '')),
		qr/could not get an access token from 127\.0\.0\.1:\d+: invalid_grant \(HTTP status 400\): Invalid JWT/, 'gcs, unknown account');
	refused($gcs->uri('x', %front, ASSUME_ROLE => 'nobody@project.example', GCS_IAM_ENDPOINT => "http://127.0.0.1:$web->{port}/iam"),
		qr/could not get an access token from 127\.0\.0\.1:\d+: PERMISSION_DENIED \(HTTP status 403\): Permission/, 'gcs, role that is not ours');
	scanned($gcs->uri('key', %front), sub { $gcs->fetch('key') }, 'gcs, key of a service account');
	scanned($gcs->uri('role', %front, ASSUME_ROLE => 'between@project.example,last@project.example',
			GCS_IAM_ENDPOINT => "http://127.0.0.1:$web->{port}/iam"), sub { $gcs->fetch('role') }, 'gcs, roles');
	scanned($gcs->uri('machine', GCS_ENDPOINT => $front{GCS_ENDPOINT}, BEARER_TOKEN => undef, AUTH => 'implicit'),
		sub { $gcs->fetch('machine') }, 'gcs, the machine');

	# they expire, are taken back, cannot be had for a while
	$web->plan({ life => 2 });
	my $job = create('t', $gcs->uri('life', %front), "updated, resolved = '100ms', min_checkpoint_frequency = '100ms'");
	wait_feed($node, $job);
	my $before = $web->requests(qr{^/token});
	ok(poll_until(sub { $web->requests(qr{^/token}) > $before + 1 }, 'new tokens'), 'tokens are renewed');
	$web->plan({ revoke => JSON::PP::true() });
	sql('UPDATE t SET v = v WHERE id <= 10');
	wait_feed($node, $job);
	pass('a token that was taken back is replaced');
	ok(scalar(grep { $_->{status} == 401 } $web->requests(qr{/gcs/.*life})), 'which the store had refused');
	$web->plan({ revoke => JSON::PP::true(), refuse_tokens => JSON::PP::true() });
	sql('UPDATE t SET v = v WHERE id <= 10');
	running_status_like($node, $job, qr/transient error: could not get an access token from 127\.0\.0\.1:\d+: temporarily_unavailable \(HTTP status 503\): come back later/, 'no token: it says so');
	$web->plan({});
	wait_feed($node, $job);
	pass('and goes on when there is one');
	sql("SELECT changefeed_cancel($job)");
	ok(wait_status($node, $job, 'canceled'), 'canceled');
	check_guarantees([ file_messages($gcs->fetch('life')) ], 'tokens');
}

# ---- bad days ---------------------------------------------------------------

for my $kind (grep { $store{$_} } qw(gcs azure web))
{
	my $store = $store{$kind};
	my $job = create('t', $store->uri('days'), "updated, resolved = '100ms', min_checkpoint_frequency = '100ms'");
	wait_feed($node, $job);
	$store->crash;
	sql("UPDATE t SET v = 'days' || id");
	running_status_like($node, $job, qr/transient error: could not write to .*127\.0\.0\.1:\d+: .*(refused|connect|reset|closed|empty)/i, "$kind is gone: it says so");
	$store->start;
	wait_feed($node, $job);
	pass("$kind is back: all is sent");
	sql("SELECT changefeed_cancel($job)");
	ok(wait_status($node, $job, 'canceled'), "$kind: canceled");
	my @msgs = file_messages($store->fetch('days'));
	is_deeply(replay_state('t', @msgs), table_state($node, 't', 'id'), "$kind: messages replayed give the table");
	check_guarantees(\@msgs, "$kind, after an outage");
}
{
	my $job = create('t', $web->uri('busy'), "updated, resolved = '100ms', min_checkpoint_frequency = '100ms'");
	wait_feed($node, $job);
	$web->plan({ fail => { match => '/busy/', status => 507, body => 'no space here, feed:right-of-test', times => 1000 } });
	sql("UPDATE t SET v = 'busy'");
	running_status_like($node, $job, qr/transient error: could not write to 127\.0\.0\.1:\d+: HTTP status 507: no space here, feed:redacted/, 'http: the server says why, without our secret');
	$web->plan({});
	wait_feed($node, $job);
	pass('http: all is sent');
	sql("SELECT changefeed_cancel($job)");
}

# ---- what is allowed to everybody, and then no longer ------------------------

sql('ALTER SYSTEM SET cdc_sink.allow_http_webhook = on; ALTER SYSTEM SET cdc_sink.allow_implicit_credentials = on; ALTER SYSTEM SET cdc_sink.allowed_sink_hosts = \'127.0.0.1\'; SELECT pg_reload_conf()');
ok(poll_until(sub { sql('SHOW cdc_sink.allow_implicit_credentials') eq 'on' }, 'reload', 10), 'allowed');
{
	my $uri = "azure://test/app2?AUTH=implicit&AZURE_ACCOUNT_NAME=me&AZURE_ENDPOINT=http://127.0.0.1:$web->{port}/blob";
	my $job = sql("SET ROLE app; SELECT changefeed_create('{t}', '$uri')");
	wait_feed($node, $job);
	sql('ALTER SYSTEM SET cdc_sink.allow_implicit_credentials = off; SELECT pg_reload_conf()');
	ok(wait_status($node, $job, 'paused', 40), 'no longer: the feed is paused');
	like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $job"), qr/must be superuser to use the credentials of the server/, 'and says why');
	sql("SELECT changefeed_cancel($job)");
	sql('ALTER SYSTEM RESET cdc_sink.allowed_sink_hosts; SELECT pg_reload_conf()');
	ok(poll_until(sub { sql('SHOW cdc_sink.allowed_sink_hosts') eq '' }, 'reload', 10), 'any host again');
}

# ---- where the server may not connect -----------------------------------------

$node->append_conf('postgresql.conf', "cdc_sink.allowed_sink_hosts = '127.0.0.1, *.blob.core.windows.net'");
$node->reload;
ok(poll_until(sub { sql('SHOW cdc_sink.allowed_sink_hosts') ne '' }, 'reload', 10), 'a list of hosts');
refused($_->[0], qr/changefeeds must not connect to host "\Q$_->[1]\E"/, "not in the list: $_->[1]")
  for [ 'file-https://localhost/p', 'localhost' ],
  [ 'gs://bucket/p?BEARER_TOKEN=stale-of-test', 'storage.googleapis.com' ],
  [ 'gs://bucket/p?BEARER_TOKEN=stale-of-test&GCS_ENDPOINT=http://127.0.0.1:1&ASSUME_ROLE=a@b', 'iamcredentials.googleapis.com' ],
  [ 'azure://box/p?AZURE_ACCOUNT_NAME=a&AZURE_CLIENT_ID=i&AZURE_CLIENT_SECRET=wrong-of-test&AZURE_TENANT_ID=t', 'login.microsoftonline.com' ],
  [ 'azure://box/p?AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=Z2Vo&AZURE_ENVIRONMENT=AzureUSGovernmentCloud', 'a.blob.core.usgovcloudapi.net' ];

# ---- secrets --------------------------------------------------------------

my @secrets = ('right-of-test', 'wrong-of-test', 'stale-of-test', 's3cret/of\+app', 's3cret%2Fof%2Bapp', 'ya29\.', quotemeta(substr($wrong_key, 0, 30)), 'BEGIN PRIVATE KEY',
	quotemeta(substr($web->credentials, 100, 40)), 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq', 'Authorization:', 'sig(=|%3D)[A-Za-z0-9]', 'eyJhbGciOi');
my $bare = join '|', @secrets;
unlike(sql($_), qr/$bare/, "$_: no secret")
  for 'SELECT * FROM changefeed_jobs', 'SELECT * FROM pg_stat_changefeed', 'SELECT * FROM pg_stat_activity', 'SELECT * FROM cdc_sink.definition';
my $log = slurp_file($node->logfile);
unlike($log, qr/$bare/, 'server log at debug1: no secret');
unlike($log, qr/PANIC|TRAP|segmentation|signal 11/i, 'no crash');
$node->stop;
done_testing();
