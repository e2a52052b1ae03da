# CdcS3: an S3 server that checks signatures, and a proxy in front of it for
# bad days. The objects are files of the server, so what CdcTest and CdcLoad
# know of files serves them too.

package CdcS3;

use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Utils;
use Socket qw(SOL_SOCKET SO_LINGER);
use Time::HiRes qw(sleep);

our @EXPORT = qw(start_s3 s3_available);

my $count = 0;
my @all;

sub s3_available
{
	my $cache = $ENV{CDC_CACHE} // return;
	my ($binary) = glob("$cache/versitygw-*/versitygw");
	return defined $binary && -x $binary;
}

# start_s3('bucket', ...): an object with {endpoint} {key} {secret}, and stop,
# kill9, start; uri('bucket/path', NAME => 'value', ...); dir('bucket/path')
sub start_s3 { return CdcS3->new(@_); }

sub new
{
	my ($class, @buckets) = @_;
	my $dir = Cwd::abs_path($PostgreSQL::Test::Utils::tmp_check) . "/s3-$$-" . ++$count;
	my $self = bless { dir => $dir, owner => $$ }, $class;
	push @all, $self;
	$self->script('init', @buckets);
	my %env = PostgreSQL::Test::Utils::slurp_file("$dir/env") =~ /^S3_(\w+)=(.*)$/mg;
	$self->{ lc $_ } = $env{$_} for keys %env;
	$self->start;
	return $self;
}

sub script
{
	my ($self, $cmd, @args) = @_;
	my $env = $ENV{CDC_TEST_ENV} // '../env';
	system('bash', "$env/s3.sh", $cmd, $self->{dir}, @args) == 0
	  or die "s3.sh $cmd failed\n";
	return;
}

sub start { $_[0]->script('start'); return; }
sub stop { $_[0]->script('stop'); return; }
sub kill9 { $_[0]->script('kill9'); return; }

sub dir { return "$_[0]->{dir}/data/$_[1]"; }

sub uri
{
	my ($self, $path, %param) = @_;
	%param = (
		AWS_ACCESS_KEY_ID => $self->{key},
		AWS_SECRET_ACCESS_KEY => $self->{secret},
		AWS_ENDPOINT => $self->{proxy} // $self->{endpoint},
		%param);
	my @params;
	for my $name (sort keys %param)
	{
		my $value = $param{$name} // next;
		$value =~ s/([^A-Za-z0-9_.~-])/sprintf('%%%02X', ord $1)/ge;
		push @params, "$name=$value";
	}
	return "s3://$path?" . join '&', @params;
}

# ---- the proxy ------------------------------------------------------------

# From now on URIs name the proxy.
sub start_proxy
{
	my ($self) = @_;
	my $listen = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		Listen => 64,
		ReuseAddr => 1,
		Proto => 'tcp') or die "proxy: $!";
	$self->{proxy} = 'http://127.0.0.1:' . $listen->sockport;
	$self->{mode_file} = "$self->{dir}/mode";
	$self->mode('pass');
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		@all = ();
		setpgrp(0, 0);
		$SIG{CHLD} = 'IGNORE';
		$SIG{TERM} = 'DEFAULT';
		my $waiting = IO::Select->new($listen);
		while (getppid() == $self->{owner})
		{
			next unless $waiting->can_read(1);
			my $client = $listen->accept or next;
			my $child = fork;
			next if $child;
			eval { $self->relay($client) };
			POSIX::_exit(0);
		}
		POSIX::_exit(0);
	}
	$self->{proxy_pid} = $pid;
	close $listen;
	return;
}

# What some modes answer: status and its text, code, message, further headers.
my %answers = (
	internal => [ '500 Internal Server Error', 'InternalError', 'We encountered an internal error. Please try again.' ],
	slowdown => [ '503 Slow Down', 'SlowDown', 'Please reduce your request rate.' ],
	throttle => [ '429 Too Many Requests', 'TooManyRequests', 'Please wait.', "Retry-After: 2\r\n" ],
	expired => [ '400 Bad Request', 'ExpiredToken', 'The provided token has expired.' ],
	skewed => [ '403 Forbidden', 'RequestTimeTooSkewed', 'The difference between the request time and the current time is too large.' ],
	denied => [ '403 Forbidden', 'AccessDenied', 'Access Denied' ],
	impatient => [ '400 Bad Request', 'RequestTimeout', 'Your socket connection was not written to for too long.' ],);

# pass; internal, slowdown, throttle, expired, skewed, denied: an S3 error; reset: the connection breaks after
# some of the body; lost: the server gets it all, its answer is lost;
# lost-commit: the same, but only for the completion of a multipart upload;
# keep: it gets all, its answers wait until the mode is pass; impatient: the
# same, but who stops in a body is refused; hang: no answer; drip: one that does
# not end; late: the server gets each request a second later, even if the client
# has left. Breaks what is under way, but between pass and keep or impatient.
sub mode
{
	my ($self, $mode) = @_;
	open my $f, '>', "$self->{mode_file}.new" or die $!;
	print $f $mode;
	close $f;
	rename "$self->{mode_file}.new", $self->{mode_file} or die $!;
	return;
}

sub break_off
{
	my ($client) = @_;
	setsockopt($client, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
	close $client;
	return;
}

sub refuse
{
	my ($client, $mode) = @_;
	my ($status, $code, $message, $more) = @{ $answers{$mode} };
	my $xml = "<?xml version=\"1.0\"?><Error><Code>$code</Code><Message>$message</Message></Error>";
	syswrite($client, "HTTP/1.1 $status\r\nContent-Type: application/xml\r\n" . ($more // '')
		  . 'Content-Length: ' . length($xml) . "\r\nConnection: close\r\n\r\n$xml");
	return;
}

sub relay
{
	my ($self, $client) = @_;
	my $mode = PostgreSQL::Test::Utils::slurp_file($self->{mode_file});
	my $server;
	return $self->relay_late($client) if $mode eq 'late';
	if ($mode =~ /^(pass|lost|lost-commit|keep|impatient)$/)
	{
		$server = IO::Socket::INET->new(PeerAddr => $self->{endpoint} =~ s,^http://,,r);
		return break_off($client) unless $server;
	}
	my $set = IO::Select->new($client, $server // ());
	my $got = '';
	my $commit = 0;
	my ($kept, $left, $idle) = ('', 0, 0);
	while (1)
	{
		# in this order: what comes after the mode was set is under that mode
		my @ready = $set->can_read(0.1);
		my $now = PostgreSQL::Test::Utils::slurp_file($self->{mode_file});
		if ($mode =~ /^(keep|impatient)$/ && $now eq 'pass')
		{
			syswrite($client, $kept);
			($kept, $mode) = ('', 'pass');
		}
		($left, $mode) = (0, $now) if $mode eq 'pass' && $now =~ /^(keep|impatient)$/;
		return break_off($client) if $now ne $mode;
		$idle = @ready ? 0 : $idle + 1;
		return refuse($client, 'impatient') if $mode eq 'impatient' && $left > 0 && $idle >= 5;
		for my $from (@ready)
		{
			my $n = sysread($from, my $buf, 65536);
			return unless $n;
			if ($server)
			{
				if ($mode =~ /^(keep|impatient)$/)
				{
					$kept .= $buf if $from == $server;
					next if $from == $server;
					$left -= $n;
					$left = $2 - $n + length($1) if $buf =~ /^([A-Z]+ .*?\r\ncontent-length: *(\d+).*?\r\n\r\n)/is;
				}
				return break_off($client) if $mode eq 'lost' && $from == $server && $buf !~ m,^HTTP/1.1 100,;
				$self->note_head($buf) if $from == $client;
				$commit = $mode eq 'lost-commit' && $1 eq 'POST' && $2 =~ /uploadId=/
				  if $from == $client && $buf =~ m,^([A-Z]+) (\S+) HTTP/1,;
				return break_off($client) if $commit && $from == $server && $buf !~ m,^HTTP/1.1 100,;
				my $to = $from == $client ? $server : $client;
				my $off = 0;
				$off += syswrite($to, $buf, $n - $off, $off) // return while $off < $n;
				next;
			}
			$got .= $buf;
			next unless $got =~ /\r\n\r\n/;
			my ($head, $body) = split /\r\n\r\n/, $got, 2;
			my ($len) = $head =~ /^content-length: *(\d+)/im;
			syswrite($client, "HTTP/1.1 100 Continue\r\n\r\n") if $head =~ s/^expect:.*\r\n//im && length $body == 0;
			next if $mode eq 'hang';
			if ($mode eq 'reset')
			{
				return break_off($client) if length($body) >= ($len // 0) / 2;
				next;
			}
			next if length($body) < ($len // 0);
			if ($mode eq 'drip')
			{
				syswrite($client, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
				while (PostgreSQL::Test::Utils::slurp_file($self->{mode_file}) eq $mode)
				{
					syswrite($client, "10000\r\n" . 'x' x 65536 . "\r\n") // last;
					sleep 0.02;
				}
				return break_off($client);
			}
			open my $times, '>>', "$self->{dir}/times" or die $!;
			syswrite($times, "$mode " . Time::HiRes::time() . "\n");
			return refuse($client, $mode);
		}
	}
}

# The heads of requests that were passed on, for heads().
sub note_head
{
	my ($self, $buf) = @_;
	return unless $buf =~ m,^([A-Z]+ \S+ HTTP/1.*?\r\n)\r\n,s;
	open my $f, '>>', "$self->{dir}/heads" or return;
	syswrite($f, $1 . "\r\n");
	return;
}

sub heads
{
	my ($self) = @_;
	return -e "$self->{dir}/heads" ? split /\r\n\r\n/, PostgreSQL::Test::Utils::slurp_file("$self->{dir}/heads") : ();
}

# When such a mode has answered.
sub answered_at
{
	my ($self, $mode) = @_;
	return unless -e "$self->{dir}/times";
	return PostgreSQL::Test::Utils::slurp_file("$self->{dir}/times") =~ /^$mode ([\d.]+)$/mg;
}

# One request whole, then its answer.
sub relay_late
{
	my ($self, $client) = @_;
	my $got = '';
	$SIG{PIPE} = 'IGNORE';
	while (1)
	{
		my $want;
		while (!defined $want || length($got) < $want)
		{
			sysread($client, $got, 65536, length $got) or return;
			$want = length($1) + ($1 =~ /^content-length: *(\d+)/im ? $1 : 0)
			  if !defined $want && $got =~ /^(.*?\r\n\r\n)/s;
		}
		sleep 1;
		my $server = IO::Socket::INET->new(PeerAddr => $self->{endpoint} =~ s,^http://,,r) or return;
		my $off = 0;
		$off += syswrite($server, $got, $want - $off, $off) // return while $off < $want;
		substr($got, 0, $want) = '';
		my $answer = '';
		until ($answer =~ /^(.*?\r\n\r\n)/s
			&& length($answer) >= length($1) + ($1 =~ /^content-length: *(\d+)/im ? $1 : 0))
		{
			sysread($server, $answer, 65536, length $answer) or return;
		}
		syswrite($client, $answer) or return;
	}
}

END
{
	my $rc = $?;
	for my $s3 (grep { $_->{owner} == $$ } @all)
	{
		kill 'TERM', -$s3->{proxy_pid} if $s3->{proxy_pid};
		eval { $s3->kill9 };
	}
	$? = $rc;
}

1;
