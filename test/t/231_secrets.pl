# No secret is shown, whichever sink it is for and whichever way it came in:
# by a URI, an option, a user mapping or ALTER, in statements that work and in
# such that fail. Looked through are the answers of all statements, the log at
# debug1, every view, what another session sees, and dumps.

use strict;
use warnings;

use CdcKafka qw(running_status_like);
use CdcS3;
use CdcTest;
use CdcWebhook;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no S3 server here (test/env/s3.sh fetch)' unless s3_available();

my $k = start_kafka(secure => 1);
my $e = $k->env;
my $s3 = start_s3('test');
my $hook = start_webhook();
my $node = new_cluster('secrets', conf => <<CONF);
log_min_messages = debug1
log_error_verbosity = verbose
log_statement = none
log_min_error_statement = error
cdc_sink.idle_resolved_interval = 100ms
CONF

sub sql { return $node->safe_psql('postgres', @_); }

sub param
{
	my ($name, $value) = @_;
	$value =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ge;
	return "$name=$value";
}

# "geheim" is part of all secrets that are made up here
my @secrets = ('geheim', $e->{KAFKA_PASSWORD}, $s3->{secret}, (param('x', $s3->{secret}) =~ /=(.*)/));

sub clean
{
	my ($name, $text) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @found = grep { index($text, $_) >= 0 } @secrets;
	my ($line) = @found ? grep { index($_, $found[0]) >= 0 } split /\n/, $text : ();
	return is("@found", '', "no secret in $name") || diag(substr($line, 0, 400));
}

# ---- feeds that work ----------------------------------------------------------

my $ca = param('ca_cert', encode_base64(slurp_file($e->{KAFKA_CA}), q{}));
my $login = 'tls_enabled=true&sasl_enabled=true&sasl_mechanism=SCRAM-SHA-256&' . param('sasl_user', $e->{KAFKA_USER}) . "&$ca";
my $kafka = "kafka://$e->{KAFKA_SASL}?$login";
my $bad_kafka = 'kafka://127.0.0.1:1?sasl_enabled=true&sasl_user=u';
my $bad_s3 = "s3://test/bad?AWS_ACCESS_KEY_ID=k&AWS_ENDPOINT=$s3->{endpoint}";

(my $kafka_mapped = $kafka) =~ s/&sasl_user=[^&]*//;
sql(qq{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t VALUES (1, 'a');
	CREATE ROLE plain LOGIN;
	CREATE ROLE app LOGIN;
	CREATE ROLE owner LOGIN;
	ALTER DATABASE postgres OWNER TO owner;
	GRANT SELECT ON t TO plain, app, owner;
	GRANT EXECUTE ON FUNCTION changefeed_create(text[], text, jsonb) TO app;
	CREATE SERVER broker FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri '$kafka_mapped', topic_prefix 'm_');
	CREATE SERVER lake FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 's3://test/lake', aws_endpoint '$s3->{endpoint}');
	CREATE SERVER hook FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri '@{[$hook->uri]}');
	GRANT USAGE ON FOREIGN SERVER broker, lake, hook TO app;
	CREATE USER MAPPING FOR app SERVER broker OPTIONS (sasl_user '$e->{KAFKA_USER}', sasl_password '$e->{KAFKA_PASSWORD}');
	CREATE USER MAPPING FOR app SERVER lake OPTIONS (access_key_id '$s3->{key}', secret_access_key '$s3->{secret}');
	CREATE USER MAPPING FOR PUBLIC SERVER hook OPTIONS (webhook_auth_header 'Bearer geheim-alter', extra_headers '{"X": "geheim-mapping"}')});

my @jobs;

sub feed
{
	my ($name, $uri, $options, $user) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri', '$options')",
		extra_params => [ '-U', $user // 'postgres' ]);
	is($rc, 0, "a feed: $name") or diag($err);
	clean("what it says: $name", "$out$err");
	push @jobs, $out if $rc == 0;
	return $out;
}

my $auth = '"webhook_auth_header": "Bearer geheim-option"';
feed('kafka by URI', "$kafka&topic_prefix=u_&" . param('sasl_password', $e->{KAFKA_PASSWORD}),
	'{"extra_headers": "{\"X\": \"geheim-kopf\"}"}');
feed('kafka by mapping', 'external://broker', '{}', 'app');
feed('s3 by URI', $s3->uri('test/uri'), '{}');
feed('s3 by mapping', 'external://lake', '{}', 'app');
my $by_uri = feed('webhook by URI and options', $hook->uri('anything=geheim-uri'), "{$auth}");
feed('webhook by mapping', 'external://hook', '{}', 'app');
feed('files', 'nodelocal://self/files', '{}');

sql(qq{SELECT changefeed_alter($by_uri, set => '{"webhook_auth_header": "Bearer geheim-alter"}')});
sql("SELECT changefeed_alter($by_uri, set => jsonb_build_object('sink', '" . $hook->uri('other=geheim-alter') . "'))");

# an answer that shows what it was asked with
$hook->answers(
	{ status => 500, body => 'no, Bearer geheim-alter, nor geheim-alter', always => JSON::PP::true });
sql("INSERT INTO t VALUES (2, 'b')");
ok(running_status_like($node, $by_uri, qr/webhook answered 500/), 'trouble is told');

# ---- what fails ---------------------------------------------------------------

my %fails = (
	'wrong password' => "changefeed_create('{t}', '$kafka&topic_prefix=w_&sasl_password=geheim')",
	'no broker' => "changefeed_create('{t}', '$bad_kafka&sasl_password=geheim', '{}')",
	'wrong key' => "changefeed_create('{t}', '$bad_s3&AWS_SECRET_ACCESS_KEY=geheim&AWS_SESSION_TOKEN=geheim')",
	'no webhook' => "changefeed_create('{t}', 'webhook-https://127.0.0.1:1/?x=geheim', '{$auth}')",
	'no directory' => "changefeed_create('{t}', 'file:///proc/x?password=geheim', '{}')",
	'misspelt parameter' => "changefeed_create('{t}', '$bad_kafka&sasl_pasword=geheim')",
	'bare &' => "changefeed_create('{t}', '$bad_kafka&sasl_password=x&geheim')",
	'bad escape' => "changefeed_create('{t}', '$bad_kafka&sasl_password=geheim%zz')",
	'user info' => "changefeed_create('{t}', 'kafka://u:geheim\@h/x')",
	'bare slash' => "changefeed_create('{t}', 'kafka://u:ge/geheim\@h')",
	'no scheme' => "changefeed_create('{t}', 'u:geheim\@h')",
	'unknown scheme' => "changefeed_create('{t}', 'nope://u:geheim\@h?password=geheim')",
	'gs' => "changefeed_create('{t}', 'gs://bucket/x?AUTH=specified&CREDENTIALS=geheim')",
	'azure' => "changefeed_create('{t}', 'azure://c/x?AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=geheim')",
	'no table' => "changefeed_create('{nowhere}', '$bad_kafka&sasl_password=geheim', '{$auth}')",
	'option of nested form' => qq{changefeed_create('{t}', 'null://', '{"extra_headers": {"X": "geheim"}}')},
	'not for this sink' => "changefeed_create('{t}', 'null://', '{$auth}')",
	'headers that are none' => qq{changefeed_create('{t}', 'kafka://127.0.0.1:1', '{"extra_headers": "geheim"}')},
	'another spelling' => "changefeed_create('{t}', E'kafka://h?nope=1&sasl_password=\\x67eheim')",
	'put together' => "changefeed_create('{t}', concat('kafka://h?nope=1&sasl_password=geh', 'eim'))",
	'quoted' => "changefeed_create('{t}', 'kafka://h?nope=1&sasl_password=geheim''s')",
	'syntax' => "changefeed_sql(\$\$CREATE CHANGEFEED FOR t INTO 'kafka://h?sasl_password=geheim' WITH WITH\$\$)",
	'syntax of options' => "changefeed_sql(\$\$CREATE CHANGEFEED FOR t INTO 'kafka://h' WITH webhook_auth_header = 'geheim', ,\$\$)",
	'no statement' => "changefeed_sql(\$\$CREATE CHANGEFED FOR t INTO 'kafka://h?sasl_password=geheim'\$\$)",
	'alter sink' => "changefeed_sql(\$\$ALTER CHANGEFEED $by_uri SET sink = '$bad_kafka&sasl_password=geheim'\$\$)",
	'alter option' => "changefeed_alter($by_uri, set => '{\"webhook_auth_header\": \"geheim\\n\"}')",
	'alter nested' => "changefeed_alter($by_uri, set => '{\"extra_headers\": {\"X\": \"geheim\"}}')",
	'alter nothing' => "changefeed_alter(-1, set => '{$auth}')",
	'external with a user' => "changefeed_create('{t}', 'external://u:geheim\@lake')",
	'external with a secret' => "changefeed_create('{t}', 'external://lake?AWS_SECRET_ACCESS_KEY=geheim')",
	'an error behind it' => "changefeed_create('{t}', 'null://u:geheim\@h'), 1 / (SELECT 0 FROM t WHERE id = 1)",
);
for my $name (sort keys %fails)
{
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $fails{$name}");
	isnt($rc, 0, "fails: $name");
	clean("the error: $name", $err =~ s/^LINE.*\n.*\n//mr);
}
# PL/pgSQL quotes statements in the context of an error, for the log, too
for my $name ('wrong password', 'option of nested form', 'syntax', 'alter option', 'put together')
{
	my ($rc) = $node->psql('postgres', "DO \$do\$ BEGIN PERFORM $fails{$name}; END \$do\$");
	isnt($rc, 0, "fails in PL/pgSQL: $name");
}

my %ddl = (
	'secret in a server' => "CREATE SERVER x FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 's3://b/', secret_access_key 'geheim')",
	'secret in its uri' => "CREATE SERVER x FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'kafka://h?sasl_password=geheim')",
	'user in its uri' => "CREATE SERVER x FOREIGN DATA WRAPPER cdc_sink OPTIONS (uri 'kafka://u:geheim\@h')",
	'unknown option' => "ALTER SERVER lake OPTIONS (ADD passwort 'geheim')",
	'unknown option of a mapping' => "ALTER USER MAPPING FOR app SERVER lake OPTIONS (ADD passwort 'geheim')",
	'two, one unknown' => "ALTER USER MAPPING FOR app SERVER lake OPTIONS (SET secret_access_key 'geheim', ADD x 'y')",
	'in the wrong place' => "ALTER USER MAPPING FOR app SERVER lake OPTIONS (ADD aws_endpoint 'http://u:geheim\@h')",
);
for my $name (sort keys %ddl)
{
	my ($rc, $out, $err) = $node->psql('postgres', $ddl{$name});
	isnt($rc, 0, "fails: $name");
	clean("the error: $name", $err =~ s/^LINE.*\n.*\n//mr);
}

# a mapping that is wrong, told by the store
sql("ALTER USER MAPPING FOR app SERVER lake OPTIONS (SET secret_access_key 'geheim-falsch')");
my $id = 10;
ok( poll_until(
		sub {
			sql('INSERT INTO t VALUES (' . $id++ . ", 'c')");
			return sql("SELECT running_status FROM changefeed_jobs WHERE job_id = $jobs[3]") =~ /SignatureDoesNotMatch/;
		},
		'trouble'),
	'a wrong key in a mapping is told');

# ---- what is to be seen -------------------------------------------------------

for my $user ('postgres', 'owner', 'plain')
{
	my $views = $node->safe_psql('postgres', q{
		SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind IN ('v', 'm') AND has_table_privilege(c.oid, 'SELECT') AND relname NOT IN ('pg_user_mappings', '_pg_user_mappings', 'user_mapping_options')
		ORDER BY 1}, extra_params => [ '-U', $user ]);
	my ($rc, $out, $err) = $node->psql('postgres',
		join('', map { "SELECT v::text FROM $_ v;\n" } split /\n/, $views), extra_params => [ '-U', $user ], on_error_stop => 0);
	clean("any view, for $user", $out);
}
for my $user ('owner', 'plain')
{
	clean("the mappings, for $user",
		$node->safe_psql('postgres', 'SELECT * FROM pg_user_mappings; SELECT * FROM information_schema.user_mapping_options', extra_params => [ '-U', $user ]));
}
clean('tables that travel in the WAL or tell of jobs',
	sql('SELECT d::text FROM cdc_sink.definition d; SELECT j::text FROM cdc_sink.job j'));
my ($rc, $out, $err) = $node->psql('postgres', 'SELECT * FROM cdc_sink.secret', extra_params => [ '-U', 'app' ]);
like($err, qr/permission denied/, 'their table is closed, for their owner too');

for my $user ('postgres', 'owner', 'plain')
{
	my $file = $node->basedir . "/$user.sql";
	my @without = $user eq 'plain' ? ('-N', 'cdc_sink') : ();
	$node->command_ok([ 'pg_dump', '-U', $user, '-f', $file, @without, 'postgres' ], "a dump by $user");
	my $dump = slurp_file($file);
	like($dump, qr/CREATE SERVER lake/, 'it has the servers');

	# a superuser's dump has the mappings, as it has those of any wrapper
	if ($user eq 'postgres')
	{
		like($dump, qr/CREATE USER MAPPING FOR app SERVER lake OPTIONS \(.*geheim-falsch/s, 'and the mappings');
		$dump =~ s/CREATE USER MAPPING .*?;\n//gs;
	}
	clean("the dump by $user", $dump);
}
my $file = $node->basedir . '/all.sql';
$node->run_log([ 'pg_dumpall', '-f', $file, '-d', $node->connstr('postgres') ]);
clean('pg_dumpall', slurp_file($file) =~ s/CREATE USER MAPPING .*?;\n//gsr);

$hook->answers;
sql("SELECT changefeed_cancel($_)") for @jobs;
wait_status($node, $_, 'canceled') for @jobs;
is(sql('SELECT count(*) FROM cdc_sink.secret'), '0', 'gone with the jobs');
$node->stop;
my $log = slurp_file($node->logfile);
like($log, qr/librdkafka/, 'the libraries speak in the log');
clean('the log', $log);
unlike($log, qr/PANIC|TRAP|terminated by signal/, 'no crash');
done_testing();
