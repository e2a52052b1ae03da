# Whose key an S3 feed uses: given with a session token, from the environment,
# of an instance, a container, a web identity, and of roles that are assumed
# one with the other; renewed in time, and fetched anew when the store
# does not take it. What hands out keys is test/env/aws_server.py, which
# checks signatures; the store is a real one.

use strict;
use warnings;

use CdcKafka qw(running_status_like);
use CdcLoad;
use CdcS3;
use CdcTest;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no S3 server here (test/env/s3.sh fetch)' unless s3_available();

my $s3 = start_s3('test');
my %root = (key => $s3->{key}, secret => $s3->{secret}, endpoint => $s3->{endpoint});

# ---- what hands out keys --------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir('aws');
my $json = JSON::PP->new->canonical;
my %keys = (
	AKIDUSER => { secret => 'user/secret+1', token => '' },
	ASIAFIRST => { secret => 'first/secret+2', token => 'first-token-value-2' },
	ASIASTORE => { secret => 'store/secret+3', token => 'store-token-value-3' });
my %rules = (
	life => 3600,
	store_key => 'ASIASTORE',
	web_token => 'web-identity-token-4',
	container_token => 'container-token-5',
	roles => {
		'arn:aws:iam::1:role/first' => { by => 'AKIDUSER', gives => 'ASIAFIRST' },
		'arn:aws:iam::1:role/store' => { by => 'ASIAFIRST', external_id => 'ext:id/6', gives => 'ASIASTORE' },
		'arn:aws:iam::1:role/self' => { by => 'ASIASTORE', gives => 'ASIASTORE' } });

sub put_file
{
	my ($name, $text) = @_;
	open my $f, '>', "$dir/$name.new" or die $!;
	print $f $text;
	close $f;
	rename "$dir/$name.new", "$dir/$name" or die $!;
	return;
}

sub set_rules
{
	my (%new) = @_;
	put_file('rules.json', $json->encode({ %rules, %new }));
	return;
}

put_file('keys.json', $json->encode(\%keys));
put_file('store.json', $json->encode(\%root));
put_file('web_token', "$rules{web_token}\n");
put_file('container_token', "$rules{container_token}\n");
set_rules();
my $aws_pid = fork // die 'no fork';
if ($aws_pid == 0)
{
	open STDOUT, '>', "$dir/out";
	open STDERR, '>&', \*STDOUT;
	exec('python3', "$ENV{CDC_TEST_ENV}/aws_server.py", $dir) or exit 1;
}
END
{
	my $rc = $?;
	kill 'KILL', $aws_pid if $aws_pid;
	$? = $rc;
}
poll_until(sub { -e "$dir/port" }, 'server of credentials', 20) or die 'no server';
my $aws = 'http://127.0.0.1:' . slurp_file("$dir/port");

# Faults first, then who knows these keys, then the real store.
$s3->{endpoint} = $aws;
$s3->{key} = 'ASIASTORE';
$s3->{secret} = $keys{ASIASTORE}{secret};
$s3->start_proxy;

sub asked
{
	my ($like) = @_;
	return 0 unless -e "$dir/log";
	return scalar(grep { $_ =~ $like } split /\n/, slurp_file("$dir/log"));
}

# ---- an instance ----------------------------------------------------------

delete $ENV{$_} for grep { /^AWS_/ } keys %ENV;
$ENV{AWS_EC2_METADATA_SERVICE_ENDPOINT} = $aws;
my $node = new_cluster('s3auth', conf => <<CONF);
cdc_sink.idle_resolved_interval = 100ms
log_min_messages = debug1
log_statement = none
CONF

sub sql { return $node->safe_psql('postgres', @_); }

my %none = (AWS_ACCESS_KEY_ID => undef, AWS_SECRET_ACCESS_KEY => undef);
my %user = (AWS_ACCESS_KEY_ID => 'AKIDUSER', AWS_SECRET_ACCESS_KEY => $keys{AKIDUSER}{secret}, AWS_STS_ENDPOINT => $aws);
my $chain = 'arn:aws:iam::1:role/first,arn:aws:iam::1:role/store;external_id=ext:id/6';
sub create { return create_feed($node, "CREATE CHANGEFEED FOR TABLE t INTO '$_[0]' WITH updated, resolved = '100ms'"); }

sub refused
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return check_refused($node, @_);
}

sub exported
{
	my ($path, $name, %param) = (@_, AWS_SKIP_CHECKSUM => 'false');
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $job = create_feed($node,
		"CREATE CHANGEFEED FOR TABLE t INTO '" . $s3->uri("test/$path", %param) . "' WITH initial_scan = 'only'");
	ok(wait_status($node, $job, 'succeeded'), "$name: a scan");
	is(scalar(file_messages($s3->dir("test/$path"))), 20, "$name: all rows");
	return;
}

sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 20) g");
exported('instance', 'instance', %none, AUTH => 'implicit');
is(asked(qr{^PUT /latest/api/token .*200$}) > 0, 1, 'version 2 of the metadata is asked');
my ($head) = grep { m{^PUT /test/instance/} } $s3->heads;
like($head, qr/^x-amz-security-token: store-token-value-3/mi, 'the token goes with the key');
like($head, qr/SignedHeaders=[a-z0-9;-]*x-amz-security-token/, 'and is signed');
exported('instance_role', 'instance and role', %none, AUTH => 'implicit', ASSUME_ROLE => 'arn:aws:iam::1:role/self', AWS_STS_ENDPOINT => $aws);
set_rules(fail => [ '/latest/meta-data/iam/security-credentials/', 404, 'NotFound', 'No role here.' ]);
refused($s3->uri('test/x', %none, AUTH => 'implicit'),
	qr/could not get the credentials of the instance: NotFound \(HTTP status 404\): No role here/, 'instance without a role');
set_rules();

# ---- who may --------------------------------------------------------------

sql('CREATE ROLE app LOGIN; GRANT SELECT ON t TO app; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO app');
sub app
{
	my ($uri) = @_;
	return $node->psql('postgres', "SET ROLE app; SELECT changefeed_create('{t}', '$uri')");
}
my $implicit = $s3->uri('test/app', %none, AUTH => 'implicit');
sql('ALTER SYSTEM SET cdc_sink.allow_http_webhook = on; SELECT pg_reload_conf()');
like((app($implicit))[2], qr/must be superuser to use the credentials of the server/, "the server's credentials are not for everybody");
sql('ALTER SYSTEM SET cdc_sink.allow_implicit_credentials = on; SELECT pg_reload_conf()');
ok(poll_until(sub { sql('SHOW cdc_sink.allow_implicit_credentials') eq 'on' }, 'the setting'), 'unless a setting says so');
like((app($implicit))[2], qr/must be superuser to send the credentials of the server \(AUTH=implicit\) to another endpoint/, 'and then only for Amazon');
sql("ALTER SYSTEM SET cdc_sink.allowed_sink_hosts = '127.0.0.1'; SELECT pg_reload_conf()");
ok(poll_until(sub { sql('SHOW cdc_sink.allowed_sink_hosts') ne '' }, 'the setting'), 'and for hosts that are listed');
my (undef, $app_job) = app($implicit);
like($app_job, qr/^\d+$/, 'then they are');
ok(wait_status($node, $app_job, 'running'), 'and the feed runs');
sql('ALTER SYSTEM RESET cdc_sink.allow_implicit_credentials; ALTER SYSTEM RESET cdc_sink.allowed_sink_hosts; SELECT pg_reload_conf()');
ok(wait_status($node, $app_job, 'paused'), 'taken back, the feed is paused');
like(sql("SELECT error FROM changefeed_jobs WHERE job_id = $app_job"),
	qr/the owner of the changefeed must be superuser to use the credentials of the server/, 'and says why');
sql("SELECT changefeed_cancel($app_job)");

# ---- given keys and roles -------------------------------------------------

exported('token', 'session token', AWS_SESSION_TOKEN => 'store-token-value-3');
exported('chain', 'two roles', %user, ASSUME_ROLE => $chain);
is(asked(qr{AssumeRole arn:aws:iam::1:role/(first|store) 200}) >= 4, 1, 'each is assumed');
refused($s3->uri('test/x', %user, ASSUME_ROLE => $chain =~ s/id\/6/id\/7/r),
	qr{could not assume role "arn:aws:iam::1:role/store": AccessDenied \(HTTP status 403\): User ASIAFIRST is not authorized}, 'wrong external id');
refused($s3->uri('test/x', %user, AWS_SECRET_ACCESS_KEY => 'wrong', ASSUME_ROLE => $chain),
	qr{could not assume role "arn:aws:iam::1:role/first": SignatureDoesNotMatch \(HTTP status 403\)}, 'wrong secret for the first role');
refused($s3->uri('test/x', %user, ASSUME_ROLE => $chain, AWS_STS_ENDPOINT => 'http://127.0.0.1:1'),
	qr{could not assume role "arn:aws:iam::1:role/first": .*(refused|connect)}i, 'nobody there');
refused($s3->uri('test/x', AWS_SESSION_TOKEN => 'store-token-value-4'),
	qr{could not write to bucket "test" at \S+ InvalidClientTokenId \(HTTP status 403\)}, 'wrong session token');
refused($s3->uri('test/x', %user, ASSUME_ROLE => 'first'), qr/invalid param ASSUME_ROLE/, 'not a role');
refused($s3->uri('test/x', %user, ASSUME_ROLE => "$chain;external_id=b"), qr/invalid param ASSUME_ROLE/, 'two external ids');
refused($s3->uri('test/x', %none), qr/AWS_ACCESS_KEY_ID is not set/, 'no key');
refused($s3->uri('test/x', AUTH => 'implicit'), qr/param AWS_ACCESS_KEY_ID does not go with AUTH=implicit/, 'two kinds of auth');

sql("ALTER SYSTEM SET cdc_sink.allowed_sink_hosts = '127.0.0.1'; SELECT pg_reload_conf()");
ok(poll_until(sub { sql('SHOW cdc_sink.allowed_sink_hosts') ne '' }, 'the setting'), 'a list of hosts');
refused($s3->uri('test/x', %user, ASSUME_ROLE => $chain, AWS_STS_ENDPOINT => 'https://elsewhere.example'),
	qr/changefeeds must not connect to host "elsewhere.example"/, 'where roles are assumed must be in it');
sql('ALTER SYSTEM RESET cdc_sink.allowed_sink_hosts; SELECT pg_reload_conf()');

# what the objects are to be is told where they begin
exported('class', 'storage class', AWS_SESSION_TOKEN => 'store-token-value-3', S3_STORAGE_CLASS => 'STANDARD', AWS_SERVER_ENC_MODE => 'AES256');
($head) = grep { m{^PUT /test/class/20} } $s3->heads;
like($head, qr/^x-amz-server-side-encryption: AES256\r?$/mi, 'encryption is asked for');
like($head, qr/^x-amz-storage-class: STANDARD\r?$/mi, 'and a class');
like($head, qr/SignedHeaders=[a-z0-9;-]*x-amz-server-side-encryption;x-amz-storage-class/, 'both signed');

# the store has its own opinion from the start
for my $day ([ 'expired', 'ExpiredToken' ], [ 'skewed', 'RequestTimeTooSkewed' ], [ 'denied', 'AccessDenied' ])
{
	my ($mode, $code) = @$day;
	$s3->mode($mode);
	refused($s3->uri('test/x', AWS_SESSION_TOKEN => 'store-token-value-3'),
		qr{could not write to bucket "test" at \S+ $code \(HTTP status 4\d\d\)}, "$mode at creation");
}
$s3->mode('pass');
is(sql("SELECT count(*) FROM changefeed_jobs WHERE status NOT IN ('succeeded', 'canceled')"), '0', 'no job is left');

# authorities of one's own
{
	my $tls = start_s3('tls', 'safe');
	my $ca = encode_base64(slurp_file("$tls->{dir}/cert.pem"), '');
	my $job = create_feed($node,
		"CREATE CHANGEFEED FOR TABLE t INTO '" . $tls->uri('safe/x', ca_cert => $ca) . "' WITH initial_scan = 'only'");
	ok(wait_status($node, $job, 'succeeded'), 'ca_cert: a scan');
	is(scalar(file_messages($tls->dir('safe/x'))), 20, 'ca_cert: all rows');
	my $other = start_s3('tls', 'safe');
	refused($other->uri('safe/x', ca_cert => $ca), qr/certificate/, 'ca_cert: of somebody else');
	refused($tls->uri('safe/x', ca_cert => encode_base64('x', '')), qr/ca_cert is not a certificate/, 'ca_cert: none');
}

# ---- a key that does not hold ---------------------------------------------

set_rules(life => 6);
my $role = qr{AssumeRole arn:aws:iam::1:role/store 200};
my $job = create($s3->uri('test/live', %user, ASSUME_ROLE => $chain));
wait_feed($node, $job);
my $before = asked($role);
ok(poll_until(sub { sql("INSERT INTO t SELECT max(id) + 1, 'w' FROM t"); asked($role) >= $before + 2 }, 'renewed', 40), 'keys are renewed');
wait_feed($node, $job);
is(sql("SELECT coalesce(last_error, '') FROM changefeed_jobs WHERE job_id = $job"), '', 'before they expire');

# the one who gives them out fails for longer than the key holds
set_rules(life => 6, fail => [ 'AssumeRole', 503, 'ServiceUnavailable', 'Come again.' ]);
sql("INSERT INTO t SELECT max(id) + 1, 'x' FROM t");
ok(poll_until(
		sub {
			sql("UPDATE t SET v = v || 'y' WHERE id = 1");
			sql("SELECT running_status FROM changefeed_jobs WHERE job_id = $job") =~
			  qr{transient error: could not assume role "arn:aws:iam::1:role/first": ServiceUnavailable \(HTTP status 503\): Come again};
		},
		'trouble', 40),
	'the feed says that it gets no key');
is(feed_status($node, $job), 'running', 'and runs');
set_rules();
ok(wait_running_again($node, $job, 60), 'and goes on when there is one');

# the store has its own opinion
for my $day ([ 'expired', 'ExpiredToken' ], [ 'skewed', 'RequestTimeTooSkewed' ], [ 'denied', 'AccessDenied' ], [ 'throttle', 'TooManyRequests' ])
{
	my ($mode, $code) = @$day;
	$before = asked($role);
	$s3->mode($mode);
	sql("INSERT INTO t SELECT max(id) + 1, 'z' FROM t");
	running_status_like($node, $job, qr/transient error: could not write to bucket "test" at \S+ $code \(HTTP status 4\d\d\): /, "$mode: the feed says so");
	if ($mode eq 'expired')
	{
		ok(poll_until(sub { asked($role) > $before }, 'fetched anew', 20), 'expired: the key is fetched anew');
	}
	if ($mode eq 'throttle')
	{
		ok(poll_until(sub { my @n = $s3->answered_at($mode); @n > 2 }, 'answers', 30), 'throttle: it tries again');
		my @at = $s3->answered_at($mode);
		is(scalar(grep { $at[$_] - $at[ $_ - 1 ] < 1.9 } 1 .. $#at), 0, 'throttle: not before Retry-After says so');
	}
	$s3->mode('pass');
	ok(wait_running_again($node, $job, 60), "$mode: and goes on");
}
sql("SELECT changefeed_cancel($job)");
ok(wait_status($node, $job, 'canceled'), 'canceled');
my $n = sql('SELECT count(*) FROM t');
my %seen = map { $_->{after}{id} => 1 } rows_of(file_messages($s3->dir('test/live')));
is(scalar(keys %seen), $n, 'nothing is missing');

# ---- other places in the environment --------------------------------------

sub elsewhere
{
	my ($name, %env) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql('TRUNCATE t; INSERT INTO t SELECT g FROM generate_series(1, 20) g');
	delete $ENV{$_} for grep { /^AWS_/ } keys %ENV;
	$ENV{$_} = $env{$_} for keys %env;
	$node->restart;
	wait_up($node);
	exported($name =~ s/ /_/gr, $name, %none, AUTH => 'implicit');
	return;
}
elsewhere('container', AWS_CONTAINER_CREDENTIALS_FULL_URI => "$aws/container", AWS_CONTAINER_AUTHORIZATION_TOKEN => $rules{container_token});
elsewhere('container file', AWS_CONTAINER_CREDENTIALS_FULL_URI => "$aws/container", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE => "$dir/container_token");
elsewhere('web identity', AWS_WEB_IDENTITY_TOKEN_FILE => "$dir/web_token", AWS_ROLE_ARN => 'arn:aws:iam::1:role/web', AWS_ENDPOINT_URL_STS => $aws);
refused($s3->uri('test/x', %none, AUTH => 'implicit', AWS_STS_ENDPOINT => $aws), qr/AWS_STS_ENDPOINT does not go with a web identity/,
	'whose token is not for everybody');
elsewhere('environment', AWS_ACCESS_KEY_ID => 'ASIASTORE', AWS_SECRET_ACCESS_KEY => $keys{ASIASTORE}{secret}, AWS_SESSION_TOKEN => $keys{ASIASTORE}{token});
delete $ENV{$_} for grep { /^AWS_/ } keys %ENV;
$ENV{AWS_EC2_METADATA_DISABLED} = 'true';
$node->restart;
wait_up($node);
refused($s3->uri('test/x', %none, AUTH => 'implicit'), qr/the environment of the server has no AWS_ACCESS_KEY_ID/, 'nothing in the environment');

# ---- secrets --------------------------------------------------------------

my $log = slurp_file($node->logfile);
my $views = join "\n", map { sql("SELECT * FROM $_") } 'changefeed_jobs', 'pg_stat_changefeed', 'pg_stat_activity', 'cdc_sink.definition';
for my $secret ($rules{web_token}, $rules{container_token}, $root{secret}, map { ($_->{secret}, $_->{token} || ()) } values %keys)
{
	my $like = qr/\Q$secret\E/;
	unlike($log, $like, 'server log at debug1: no secret') or diag($secret);
	unlike($views, $like, 'views: no secret');
}
unlike($log, qr/PANIC|TRAP|segmentation|signal 11/i, 'no crash');
$node->stop;
done_testing();
