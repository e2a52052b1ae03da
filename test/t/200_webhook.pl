# The webhook sink against a real HTTPS server: what is refused at creation,
# what a request looks like, and that nothing is lost, late or out of order
# whatever the server does.

use strict;
use warnings;

use CdcKafka;
use CdcLoad;
use CdcTest;
use CdcWebhook;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $hook = start_webhook();
my $node = new_cluster('webhook', start => 0, conf => <<CONF);
log_min_messages = debug1
log_statement = none
log_min_error_statement = error
CONF
$node->start;
sub sql { return $node->safe_psql('postgres', @_); }
sql('CREATE EXTENSION cdc_sink; CREATE TABLE t (id int PRIMARY KEY, v text)');

sub create { return create_feed_of($node, 't', @_); }

sub refused
{
	my ($uri, $like, $name, $with) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($rc, $out, $err) = $node->psql('postgres',
		"SELECT changefeed_sql(\$s\$CREATE CHANGEFEED FOR TABLE t INTO '$uri'"
		  . ($with ? " WITH $with" : '') . '$s$)');
	isnt($rc, 0, "$name: an error");
	return like($err, $like, "$name: that says why");
}

# requests with rows
sub batches { return grep { $_->{json}{payload} } $_[0]->requests; }

sub over
{
	my ($job) = @_;
	sql("SELECT changefeed_cancel($job)");
	wait_status($node, $job, 'canceled');
	$hook->forget;
	$hook->answers;
	return sql('TRUNCATE t');
}

# ---- creation ---------------------------------------------------------------

refused($hook->uri(undef, no_ca => 1), qr/webhook cannot be reached: .*certificate/i,
	'unknown authority');
refused('webhook-https://no-such-host.invalid/', qr/webhook cannot be reached: .*resolve/i,
	'no such host');
$hook->stop;
refused($hook->uri, qr/webhook cannot be reached: .*(refused|connect)/i, 'server down');
$hook->start;
refused('webhook-http://127.0.0.1:1/', qr/requires webhook-https/, 'without TLS');
is(sql('SELECT count(*) FROM changefeed_jobs'), '0', 'no job is left');
is(scalar($hook->requests), 0, 'nothing was sent');

# ---- what a request looks like ----------------------------------------------

my $secret = 'c2VjcmV0LW9mLXRoZS1ob29r';
my $job = create(
	$hook->uri('who=J%C3%BCrgen%20%26%20co'),
	"webhook_auth_header = 'Bearer $secret', extra_headers = '{\"X-Api-Key\": \"key-$secret\"}', "
	  . "updated, resolved = '100ms', min_checkpoint_frequency = '100ms'");
sql("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 3) g");
wait_feed($node, $job);
sql('DELETE FROM t WHERE id = 2');
wait_feed($node, $job);
ok( poll_until(
		sub {
			my @r = resolved_of($hook->messages);
			my @m = rows_of($hook->messages);
			return @r && hlc_cmp($r[-1]{resolved}, $m[-1]{updated}) >= 0;
		},
		'resolved', 10),
	'resolved messages arrive');
{
	my ($r) = batches($hook);
	is($r->{path}, '/hook/a%20b?who=J%C3%BCrgen%20%26%20co', 'path and parameters are the request\'s');
	is($r->{headers}{authorization}, "Bearer $secret", 'Authorization');
	is($r->{headers}{'x-api-key'}, "key-$secret", 'further headers');
	is($r->{headers}{'content-type'}, 'application/json', 'Content-Type');
	like($r->{headers}{'idempotency-key'}, qr/^$job-[0-9a-f]{32}$/, 'Idempotency-Key');
	like(
		$r->{body},
		qr/^\{"payload":\[\{"after": \{"id": 1, "v": "x"\}, "key": \[1\], "topic": "t", "updated": "[\d.]+"\}/,
		'body');
	my @m = $hook->messages;
	is(join(' ', map { ($_->{after} ? '' : '-') . $_->{key} } rows_of(@m)), '["1"] ["2"] ["3"] -["2"]',
		'all rows');
	ok_none([ check_resolved(@m) ], 'resolved messages hold');
	my %seen;
	ok(!(grep { $seen{ $_->{resolved} }++ } resolved_of(@m)), 'each is sent once');
}
like(sql("SELECT description FROM changefeed_jobs WHERE job_id = $job"),
	qr/extra_headers = 'redacted'.*webhook_auth_header = 'redacted'/, 'description');

# an answer that shows the secret
$hook->answers({ status => 500, body => "no access with Bearer $secret", always => JSON::PP::true });
sql("INSERT INTO t VALUES (10, 'y')");
running_status_like($node, $job, qr/webhook answered 500: no access with (Bearer )?redacted/, 'trouble is told');
is( sql("SELECT count(*) FROM changefeed_jobs j, pg_stat_changefeed s, pg_stat_activity a, cdc_sink.definition d "
		  . "WHERE (j::text || s::text || a::text || d::text) LIKE '%' || 'c2VjcmV0' || 'LW9m%'"),
	'0', 'the secret is in no view');
unlike(slurp_file($node->logfile), qr/$secret/, 'nor in the log');
$hook->answers;
wait_feed($node, $job);
over($job);
is(sql('SELECT count(*) FROM cdc_sink.secret'), '0', 'and gone with the job');

# ---- compression, client certificates, without TLS --------------------------

for my $kind (qw(gzip zstd))
{
	$job = create($hook->uri, "compression = '$kind', resolved = '100ms', min_checkpoint_frequency = '100ms'");
	sql("INSERT INTO t SELECT g, repeat('ab', 1000) FROM generate_series(1, 500) g");
	wait_feed($node, $job);
	is(scalar(rows_of($hook->messages)), 500, "$kind: all rows");
	my ($r) = batches($hook);
	is($r->{headers}{'content-encoding'}, $kind, "$kind: Content-Encoding");
	cmp_ok($r->{headers}{'content-length'}, '<', length($r->{body}) / 5, "$kind: is smaller");
	ok(poll_until(sub { resolved_of($hook->messages) }, 'resolved', 10), "$kind: resolved");
	over($job);
}
{
	my $mutual = start_webhook(mode => 'mutual');
	my $client = join '&', base64_param('client_cert', slurp_file("$mutual->{dir}/client.pem")),
	  base64_param('client_key', slurp_file("$mutual->{dir}/client.key"));
	$job = create($mutual->uri($client));
	sql("INSERT INTO t VALUES (1, 'a')");
	wait_feed($node, $job);
	is(scalar(rows_of($mutual->messages)), 1, 'client certificate');
	is(($mutual->requests)[0]{path}, '/hook/a%20b', 'certificates are not sent on');
	unlike(sql("SELECT description FROM changefeed_jobs WHERE job_id = $job"), qr/client_key=(?!redacted)/,
		'the key is not shown');
	over($job);
	$mutual->stop;

	my $plain = start_webhook(mode => 'http');
	sql('ALTER SYSTEM SET cdc_sink.allow_http_webhook = on; SELECT pg_reload_conf()');
	$job = create($plain->uri);
	sql("INSERT INTO t VALUES (1, 'a')");
	wait_feed($node, $job);
	is(scalar(rows_of($plain->messages)), 1, 'without TLS where it is allowed');
	sql('ALTER SYSTEM RESET cdc_sink.allow_http_webhook; SELECT pg_reload_conf()');
	over($job);
	$plain->stop;
}

# ---- batches -----------------------------------------------------------------

$job = create($hook->uri,
	"webhook_sink_config = '{\"Flush\": {\"Messages\": 50, \"Frequency\": \"400ms\"}}', min_checkpoint_frequency = '1h'");
sql("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 120) g");
ok(poll_until(sub { rows_of($hook->messages) == 120 }, 'rows', 10), 'batches: all rows');
is(join(' ', sort map { $_->{json}{length} } batches($hook)), '20 50 50', 'batches: as asked for');
over($job);

# ---- a message the server refuses ---------------------------------------------

my $bad = { status => 422, body => 'unlucky', match => '"id": 13,', always => JSON::PP::true };
$hook->answers($bad);
$job = create($hook->uri, "on_bad_message = 'dead_letter'");
sql("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g");
wait_feed($node, $job);
my %sent = map { $_->{key} => 1 } rows_of($hook->messages);
is(scalar(keys %sent), 99, 'refused: all others arrive');
like(sql("SELECT convert_from(value, 'UTF8') || error FROM cdc_sink.dead_letter WHERE job_id = $job"),
	qr/"id": 13,.*webhook answered 422 .*unlucky/, 'refused: it is kept');
over($job);
$hook->answers($bad);
$job = create($hook->uri);
sql("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g");
ok(wait_status($node, $job, 'failed', 20), 'refused: the feed fails');
like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $job"), qr/refused: webhook answered 422/,
	'refused: and says why');
$hook->answers;
$hook->forget;
sql('TRUNCATE t');

# ---- Retry-After, and a pause while nothing is answered -----------------------

$job = create($hook->uri, "webhook_sink_config = '{\"Retry\": {\"Backoff\": \"10ms\"}}'");
$hook->answers({ status => 429, headers => { 'Retry-After' => '2' } });
sql("INSERT INTO t VALUES (1, 'a')");
wait_feed($node, $job);
{
	my @r = $hook->requests;
	is(join(' ', map { $_->{status} } @r), '429 200', 'Retry-After: tried once more');
	cmp_ok($r[1]{at} - $r[0]{at}, '>', 1.9, 'Retry-After: not before');
	is($r[1]{headers}{'idempotency-key'}, $r[0]{headers}{'idempotency-key'}, 'the repeat can be told');
}
$hook->answers({ hang => 1, always => JSON::PP::true });
sql("INSERT INTO t VALUES (2, 'a')");
poll_until(sub { grep { !$_->{status} } $hook->requests }, 'hangs', 10);
my $took = timed(
	sub {
		sql("SELECT changefeed_pause($job)");
		wait_status($node, $job, 'paused', 10);
	});
cmp_ok($took, '<', 1.5, 'a pause does not wait for an answer');
sql("SELECT changefeed_resume($job)");
running_status_like($node, $job, qr/webhook cannot be reached: timeout/, 'no answer in time is trouble');
over($job);

# ---- everything at once --------------------------------------------------------

load_setup($node);
load_fill($node, 300);
my $oracle = oracle_make($node);
$job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE acc, ord, doc INTO '" . $hook->uri . "' WITH updated, "
	  . "resolved = '100ms', min_checkpoint_frequency = '100ms', webhook_client_timeout = '500ms', "
	  . "webhook_sink_config = '{\"Retry\": {\"Backoff\": \"20ms\"}}'");
wait_feed($node, $job);
my $load = load_start($node, 300, rate => 150);
for my $fault (
	{ status => 500 }, { status => 503, headers => { 'Retry-After' => '1' } },
	{ reset => 1 }, { delay => 0.8 }, { status => 408 }, { status => 401 },
	{ status => 301, headers => { Location => 'https://127.0.0.1:1/' } })
{
	$hook->answers(({%$fault}) x 3);
	sleep 0.6;
}
$hook->stop;
sleep 1;
running_status_like($node, $job, qr/webhook cannot be reached: .*(refused|connect|reset)/i, 'server gone: the feed runs and says so');
$hook->start;
ok(wait_running_again($node, $job, 60), 'server back: the feed catches up');
$hook->answers(({ delay => 0.3 }) x 5);
sleep 0.3;
kill_worker($node, 'lane', 'KILL');
wait_up($node);
ok(wait_running_again($node, $job, 60), 'worker killed: the feed catches up');
load_stop($load);
ok(wait_running_again($node, $job, 60), 'all is sent');

my @msgs = $hook->messages;
for my $m (rows_of(@msgs))
{
	$m->{kt} = join '|', @{ $m->{json}{key} };
	$m->{v} = $m->{after}{v} if $m->{after};
}
ok_none([ check_order(@msgs) ], 'the order of each key holds');
ok_none([ check_resolved(@msgs) ], 'resolved messages hold');
my @events = oracle_read($oracle);
ok_none([ check_exact($oracle, $job, \@msgs, \@events, scan => 1) ],
	'every version committed, in order, and nothing else');
cmp_ok((sort { $b <=> $a } map { $_->{parallel} } $hook->requests)[0], '>', 1, 'requests were parallel');
sql("SELECT changefeed_cancel($job)");

done_testing();
