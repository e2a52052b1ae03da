# Encryption and login of the Kafka sink, and that no secret of a feed is ever
# shown: not by an error, the log, a view, another session or a dump.

use strict;
use warnings;

use CdcKafka;
use CdcTest;
use IPC::Run;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

my $k = start_kafka(secure => 1, conf => \@quick_restart);
my $e = $k->env;
my $node = new_cluster('kafka_auth', start => 0);

# everything into the log, but for what users type: that is out of our hands
$node->append_conf('postgresql.conf', <<CONF);
log_min_messages = debug1
log_error_verbosity = verbose
log_statement = none
log_min_error_statement = error
CONF
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION cdc_sink;
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t VALUES (1, 'a');
});

# a parameter of a URI from a file or a text
sub param
{
	my ($name, $value) = @_;
	$value =~ s/([^A-Za-z0-9_.-])/sprintf '%%%02X', ord $1/ge;
	return "$name=$value";
}
sub base64 { return param($_[0], encode_base64($_[1], '')); }

my $ca = base64('ca_cert', slurp_file($e->{KAFKA_CA}));
my $key = slurp_file($e->{KAFKA_CLIENT_KEY});
my $client =
  base64('client_cert', slurp_file($e->{KAFKA_CLIENT_CERT})) . '&' . base64('client_key', $key);
my $wrong_ca = $node->basedir . '/wrong';
system('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
	'/CN=another CA', '-keyout', "$wrong_ca.key", '-out', "$wrong_ca.pem") == 0
  or die 'no CA';
$wrong_ca = base64('ca_cert', slurp_file("$wrong_ca.pem"));

my $n = 0;
my %secret = (alice => [ $e->{KAFKA_PASSWORD} ]);

# create($address, 'parameters'): (worked, job or error, seconds)
sub create
{
	my ($address, $params) = @_;
	my ($rc, $out, $err);
	my $topic = 'topic_prefix=n' . ++$n . '_';
	my $took = timed(
		sub {
			($rc, $out, $err) = $node->psql('postgres',
				"SELECT changefeed_sql(\$s\$CREATE CHANGEFEED FOR TABLE t INTO 'kafka://$address?$topic&$params' WITH updated, resolved\$s\$)"
			);
		});
	return ($rc == 0, $rc == 0 ? $out : $err, $took);
}

sub works
{
	my ($name, $address, $params) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($ok, $job) = create($address, $params);
	return fail("$name: $job") unless $ok;
	wait_feed($node, $job);
	is(scalar(rows_of($k->consume("n${n}_t"))), 1, "$name works");
	$node->safe_psql('postgres', "SELECT changefeed_cancel($job)");
	return;
}

sub refused
{
	my ($name, $like, $address, $params, @secrets) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($ok, $error, $took) = create($address, $params);
	ok(!$ok, "$name is refused");
	like($error, $like, "$name: the error says why");
	cmp_ok($took, '<', 8, "$name: soon");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM changefeed_jobs WHERE finished IS NULL'),
		'0', "$name: no job is left");
	is(scalar(grep { index($error, $_) >= 0 } @secrets), 0, "$name: no secret in the error");
	return;
}

sub all_done
{
	return poll_until(
		sub {
			$node->safe_psql('postgres',
				'SELECT count(*) FROM changefeed_jobs WHERE finished IS NULL') eq '0';
		},
		'jobs end');
}

sub sasl
{
	my ($mechanism, $password, $user) = @_;
	return "tls_enabled=true&sasl_enabled=true&sasl_mechanism=$mechanism&"
	  . param('sasl_user', $user // $e->{KAFKA_USER}) . '&'
	  . param('sasl_password', $password) . "&$ca";
}

works('TLS with a CA', $e->{KAFKA_TLS}, "tls_enabled=true&$ca");
works('TLS without verification', $e->{KAFKA_TLS}, 'tls_enabled=true&insecure_tls_skip_verify=true');
works('mutual TLS', $e->{KAFKA_MTLS}, "tls_enabled=true&$ca&$client");
works("SASL_SSL with $_", $e->{KAFKA_SASL}, sasl($_, $e->{KAFKA_PASSWORD}))
  for qw(PLAIN SCRAM-SHA-256 SCRAM-SHA-512);
all_done();

my $wrong = 'wr0ng-pass&word %42';
refused('another CA', qr/no Kafka broker can be reached: .*certificate/,
	$e->{KAFKA_TLS}, "tls_enabled=true&$wrong_ca");
refused('the system\'s CAs', qr/no Kafka broker can be reached: .*certificate/,
	$e->{KAFKA_TLS}, 'tls_enabled=true');
refused('mutual TLS without a certificate', qr/no Kafka broker can be reached: /,
	$e->{KAFKA_MTLS}, "tls_enabled=true&$ca");
refused('plain text to TLS', qr/no Kafka broker can be reached: /, $e->{KAFKA_TLS}, '');
for my $mechanism (qw(PLAIN SCRAM-SHA-256 SCRAM-SHA-512))
{
	refused("a wrong password with $mechanism",
		qr/no Kafka broker can be reached: .*[Aa]uthentication failed/,
		$e->{KAFKA_SASL}, sasl($mechanism, $wrong), $wrong);
}
refused('an unknown user', qr/[Aa]uthentication failed/,
	$e->{KAFKA_SASL}, sasl('SCRAM-SHA-256', $wrong, 'nobody'), $wrong);
refused('login without encryption', qr/no Kafka broker can be reached: /,
	$e->{KAFKA_SASL}, 'sasl_enabled=true&sasl_user=alice&' . param('sasl_password', $wrong), $wrong);

# ---- secrets of a feed that runs ------------------------------------------

my @jobs = (
	(create($e->{KAFKA_SASL}, sasl('SCRAM-SHA-512', $e->{KAFKA_PASSWORD})))[1],
	(create($e->{KAFKA_MTLS}, "tls_enabled=true&$ca&$client"))[1]);
wait_feed($node, $_) for @jobs;

# trouble has words of its own
$k->kill9;
$k->start;
$node->safe_psql('postgres', q{INSERT INTO t VALUES (2, 'b')});
wait_feed($node, $_) for @jobs;

my ($key_line) = $key =~ /\n(\S{40})/;
my $key_base64 = substr(encode_base64($key, ''), 100, 40);
my @secrets = ($e->{KAFKA_PASSWORD}, $wrong, (param('x', $wrong) =~ /=(.*)/), $key_line, $key_base64);

sub clean
{
	my ($name, $text) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @found = grep { index($text, $_) >= 0 } @secrets;
	return is("@found", '', "no secret in $name");
}

my $views = $node->safe_psql('postgres',
	"SELECT j::text FROM changefeed_jobs j UNION ALL SELECT s::text FROM pg_stat_changefeed s");
clean('the views', $views);
like($views, qr/sasl_password=redacted/, 'which show that there is one');
clean('the settings', $node->safe_psql('postgres', 'SELECT s::text FROM pg_settings s'));
clean('the definitions, which travel in the WAL',
	$node->safe_psql('postgres', 'SELECT d::text FROM cdc_sink.definition d'));
clean('pg_stat_activity', $node->safe_psql('postgres', 'SELECT a::text FROM pg_stat_activity a'));

# what another session sees of a creation that is under way
kafka_stop_clock($k);
my ($out, $err) = ('', '');
my $creation = IPC::Run::start(
	[
		'psql', '-XAt', '-d', $node->connstr('postgres'),
		'-c', "SET application_name = 'creator'",
		'-c', "SET cdc_sink.sink_check_timeout = '2s'",
		'-c', "SELECT changefeed_create('{t}', 'kafka://$e->{KAFKA_SASL}?" . sasl('PLAIN', $e->{KAFKA_PASSWORD}) . "')"
	],
	'<', \undef, '>', \$out, '2>', \$err);
my $seen = '';
ok( poll_until(
		sub {
			$seen = $node->safe_psql('postgres',
				"SELECT a::text FROM pg_stat_activity a WHERE application_name = 'creator' AND state = 'active' AND query ~ 'changefeed'");
			return $seen =~ /sasl_password/;
		},
		'creation', 20),
	'a creation is seen by others');
clean('pg_stat_activity while a feed is being created', $seen);
$creation->finish;
kafka_go_on($k);
like($err, qr/no Kafka broker can be reached/, 'brokers hang: it ends with an error');
clean('its error', $err);

my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'the database is dumped');
clean('the dump', slurp_file($dump));

$node->safe_psql('postgres', "SELECT changefeed_cancel($_)") for @jobs;
ok(all_done(), 'the feeds are canceled');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cdc_sink.secret'),
	'0', 'and their secrets are gone');
$node->stop;
my $log = slurp_file($node->logfile);
like($log, qr/librdkafka/, 'the library speaks in the log');
clean('the log of the server', $log);
unlike($log, qr/terminated by signal|PANIC|TRAP/, 'no crash');
done_testing();
