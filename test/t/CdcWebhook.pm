# CdcWebhook: an HTTPS server that takes webhooks (test/env/webhook_server.py).
#
# start_webhook(mode => 'mutual'): an object with
#   uri('params')         webhook-https://... with its authority
#   answers({...}, ...)   what to answer next, see webhook_server.py
#   requests              all so far: path, status, headers, body, json
#   messages              what it said 200 to, as those of CdcTest
#   stop, start           port and data stay

package CdcWebhook;

use strict;
use warnings;

use CdcTest;
use Exporter 'import';
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(start_webhook base64_param);

my $json = JSON::PP->new->canonical->allow_nonref;
my @running;

sub start_webhook
{
	my (%opt) = @_;
	my $self = bless {
		dir => PostgreSQL::Test::Utils::tempdir('webhook'),
		port => PostgreSQL::Test::Cluster::get_free_port(),
		mode => $opt{mode} // 'tls'
	}, __PACKAGE__;
	system('python3', script(), 'init', $self->{dir}) == 0 or die 'no certificates';
	push @running, $self;
	$self->start;
	return $self;
}

sub script { return "$ENV{CDC_TEST_ENV}/webhook_server.py"; }

sub start
{
	my ($self) = @_;
	$self->{pid} = fork() // die 'no fork';
	if ($self->{pid} == 0)
	{
		open STDOUT, '>', "$self->{dir}/log";
		open STDERR, '>&', \*STDOUT;
		exec('python3', script(), 'run', $self->{dir}, $self->{port}, $self->{mode})
		  or exit 1;
	}
	poll_until(
		sub {
			IO::Socket::INET->new(
				PeerAddr => '127.0.0.1',
				PeerPort => $self->{port});
		},
		'webhook server starts', 20) or die 'no server';
	return;
}

sub stop
{
	my ($self) = @_;
	return unless $self->{pid};
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = undef;
	return;
}

END
{
	my $rc = $?;
	$_->stop for @running;
	$? = $rc;
}

# a parameter of a URI whose value is base64
sub base64_param
{
	my ($name, $text) = @_;
	my $value = encode_base64($text, '');
	$value =~ s/([^A-Za-z0-9_.-])/sprintf '%%%02X', ord $1/ge;
	return "$name=$value";
}

sub uri
{
	my ($self, $params, %opt) = @_;
	my @params = $opt{no_ca}
	  || $self->{mode} eq 'http' ? () : base64_param('ca_cert', slurp_file("$self->{dir}/ca.pem"));
	push @params, $params if defined $params;
	my $scheme = $self->{mode} eq 'http' ? 'webhook-http' : 'webhook-https';
	return "$scheme://127.0.0.1:$self->{port}/hook/a%20b" . (@params ? '?' . join('&', @params) : '');
}

sub answers
{
	my ($self, @plan) = @_;
	my $path = "$self->{dir}/plan";
	PostgreSQL::Test::Utils::append_to_file("$path.new", $json->encode(\@plan));
	rename "$path.new", $path or die $!;
	return;
}

sub requests
{
	my ($self) = @_;
	my $file = "$self->{dir}/requests";
	return unless -e $file;
	my @requests = map { $json->decode($_) } split /\n/, slurp_file($file);
	$_->{json} = eval { $json->decode($_->{body}) } for @requests;
	return @requests;
}

sub forget
{
	my ($self) = @_;
	truncate "$self->{dir}/requests", 0;
	return;
}

sub messages
{
	my ($self) = @_;
	my @msgs;
	for my $r (grep { $_->{status} == 200 } $self->requests)
	{
		my $v = CdcTest::decode_text($r->{body});
		if (exists $v->{resolved})
		{
			push @msgs, CdcTest::message(undef, 'files', scalar(@msgs), undef, $r->{body});
			next;
		}
		die "length $v->{length}" unless $v->{length} == @{ $v->{payload} };
		for my $m (@{ $v->{payload} })
		{
			my $key = $json->encode($m->{key});
			push @msgs,
			  {
				topic => $m->{topic},
				partition => 'files',
				offset => scalar(@msgs),
				key => $key,
				value => $json->encode($m),
				json => $m,
				after => $m->{after},
				updated => $m->{updated} };
		}
	}
	return @msgs;
}

1;
