# CdcStores: stores to send files to (test/env/stores.sh), and what is in them
# as the stores' own clients see it.
#
# start_store('gcs'|'azure'|'web', front => $gcs): an object with
#   {port} {bucket} {account} {key}
#   uri('path', NAME => 'value', ...)   to the emulator, or the server, itself
#   fetch('path', $dir), names('path')  by the store's own client
#   plan({...}), requests               of the server of our own (web)
#   stop, crash, start                  data and port stay

package CdcStores;

use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(store_available start_store url_escape python client_env);

my $count = 0;
my @all;

sub script
{
	my (@args) = @_;
	my $env = $ENV{CDC_TEST_ENV} // '../env';
	return system('bash', "$env/stores.sh", @args) == 0;
}

sub store_available { return defined $ENV{CDC_CACHE} && script('available', $_[0]); }

sub url_escape
{
	my ($text) = @_;
	$text =~ s/([^A-Za-z0-9_.~-])/sprintf('%%%02X', ord $1)/ge;
	return $text;
}

sub python
{
	my $env = $ENV{CDC_TEST_ENV} // '../env';
	chomp(my $python = `bash $env/stores.sh python`);
	return ($python, "$env/store_client.py");
}

sub start_store
{
	my ($kind, %opt) = @_;
	my $dir = Cwd::abs_path($PostgreSQL::Test::Utils::tmp_check) . "/store-$kind-$$-" . ++$count;
	my $self = bless { dir => $dir, kind => $kind, owner => $$ }, __PACKAGE__;
	push @all, $self;
	script('init', $dir, $kind, $opt{front} ? $opt{front}->{port} : ()) or die "no $kind\n";
	my %env = PostgreSQL::Test::Utils::slurp_file("$dir/env") =~ /^STORE_(\w+)=(.*)$/mg;
	$self->{ lc $_ } = $env{$_} for keys %env;
	$self->start;
	$self->client('make') if $kind eq 'azure';
	return $self;
}

sub start { script('start', $_[0]->{dir}) or die "$_[0]->{kind} does not start\n"; return; }
sub stop { script('stop', $_[0]->{dir}); return; }

# As suddenly as the server allows without forgetting what it has said yes to:
# azurite writes its list of blobs down only from time to time.
sub crash { script($_[0]->{kind} eq 'azure' ? 'stop' : 'kill9', $_[0]->{dir}); return; }

# For the stores' own clients.
sub client_env
{
	my ($self) = @_;
	return (
		STORE_PORT => $self->{port},
		STORE_BUCKET => $self->{bucket},
		STORE_ACCOUNT => $self->{account} // '',
		STORE_KEY => $self->{key} // '',
		$self->{user} ? (STORE_USER => $self->{user}) : ());
}

sub client
{
	my ($self, $cmd, @args) = @_;
	my ($python, $script) = python();
	local %ENV = (%ENV, $self->client_env);
	my ($out, $err);
	IPC::Run::run([ $python, $script, $cmd, $self->{kind}, @args ], '<', \undef, '>', \$out, '2>', \$err)
	  or die "store_client.py $cmd: $err";
	chomp $out;
	return $out;
}

sub names { return split /\n/, $_[0]->client('list', "$_[1]/"); }

sub fetch
{
	my ($self, $path, $dir) = @_;
	$dir //= PostgreSQL::Test::Utils::tempdir("fetched-$self->{kind}");
	$self->client('get', "$path/", $dir);
	return $dir;
}

sub params
{
	my (%param) = @_;
	return join '&', map { "$_=" . url_escape($param{$_}) } grep { defined $param{$_} } sort keys %param;
}

sub uri
{
	my ($self, $path, %param) = @_;
	if ($self->{kind} eq 'gcs')
	{
		%param = (GCS_ENDPOINT => "http://127.0.0.1:$self->{port}", BEARER_TOKEN => 'anybody', %param);
		return "gs://$self->{bucket}/$path?" . params(%param);
	}
	if ($self->{kind} eq 'azure')
	{
		%param = (
			AZURE_ACCOUNT_NAME => $self->{account},
			AZURE_ACCOUNT_KEY => $self->{key},
			AZURE_ENDPOINT => "http://127.0.0.1:$self->{port}/$self->{account}",
			%param);
		return "azure://$self->{bucket}/$path?" . params(%param);
	}
	my $user = $self->{user} ? "$self->{user}@" : '';
	return "file-http://${user}127.0.0.1:$self->{port}/dav/$path?" . params(%param);
}

# ---- the server of our own --------------------------------------------------

sub credentials { return encode_base64(PostgreSQL::Test::Utils::slurp_file("$_[0]->{dir}/credentials.json"), ''); }

sub plan
{
	my ($self, $plan) = @_;
	open my $f, '>', "$self->{dir}/plan.new" or die $!;
	print $f encode_json($plan);
	close $f;
	rename "$self->{dir}/plan.new", "$self->{dir}/plan" or die $!;
	return;
}

sub requests
{
	my ($self, $like) = @_;
	return grep { $_->{path} =~ $like }
	  map { decode_json($_) } split /\n/, PostgreSQL::Test::Utils::slurp_file("$self->{dir}/requests");
}

END
{
	my $rc = $?;
	for my $store (grep { $_->{owner} == $$ } @all)
	{
		eval { kill 'KILL', PostgreSQL::Test::Utils::slurp_file("$store->{dir}/pid") =~ /(\d+)/; unlink "$store->{dir}/pid" };
	}
	$? = $rc;
}

1;
