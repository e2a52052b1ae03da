# CdcTest: what the TAP tests share. Clusters with the extension, a Kafka
# broker, the consumers' side of each sink, and validators of the guarantees.
#
# A message is a hash:
#   topic, partition, offset   where it was (files: offset counts the lines)
#   key, value                 text as received, undef for null
#   json                       the value decoded; numbers stay text ("1.50")
#   after, updated, resolved   of the value, undef where absent
# Resolved messages have `resolved` and no key.

package CdcTest;

use strict;
use warnings;

use Exporter 'import';
use File::Find;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  new_cluster file_dir create_feed create_feed_of check_refused
  feed_status wait_status wait_feed slots
  start_kafka kafka_consume file_messages rows_of decode_text key_text
  poll_until hlc_cmp resolved_of
  check_order check_resolved check_replay check_stamps check_guarantees
  replay_state table_state check_fingerprint
);

my $json = JSON::PP->new->canonical->allow_nonref;

# ---- clusters and feeds ---------------------------------------------------

# new_cluster('name', conf => 'lines', fsync => 1, start => 0, extension => 0,
#	install => 'folder with bin of another release')
sub new_cluster
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name,
		$opt{install} ? (install_path => $opt{install}) : ());

	$node->init(allows_streaming => 'logical');
	my $dir = $node->basedir . '/files';
	mkdir $dir;
	$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'cdc_sink'
wal_level = logical
max_replication_slots = 40
max_worker_processes = 60
max_prepared_transactions = 10
restart_after_crash = on
log_line_prefix = '%m [%p] %b %a '
cdc_sink.file_root = '$dir'
CONF
	$node->append_conf('postgresql.conf', "fsync = on\n") if $opt{fsync};
	$node->append_conf('postgresql.conf', "$opt{conf}\n") if $opt{conf};
	$node->start if $opt{start} // 1;
	$node->safe_psql('postgres', 'CREATE EXTENSION cdc_sink')
	  if ($opt{start} // 1) && ($opt{extension} // 1);
	return $node;
}

# A fresh folder for a feed into files: (path, URI).
my $dirs = 0;

sub file_dir
{
	my ($node) = @_;
	my $dir = $node->basedir . '/files/feed' . ++$dirs;
	mkdir $dir;
	return ($dir, "file://$dir");
}

# create_feed($node, 'CREATE CHANGEFEED ...', $db): the job's id
sub create_feed
{
	my ($node, $stmt, $db) = @_;
	return $node->safe_psql($db // 'postgres',
		"SELECT changefeed_sql(\$stmt\$$stmt\$stmt\$)");
}

# create_feed_of($node, 'tables', 'uri', 'options'): the same, options may be left out
sub create_feed_of
{
	my ($node, $tables, $uri, $with) = @_;
	return create_feed($node, "CREATE CHANGEFEED FOR TABLE $tables INTO '$uri'" . ($with ? " WITH $with" : ''));
}

# A feed of the table t into this URI cannot be created: the error.
sub check_refused
{
	my ($node, $uri, $like, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT changefeed_create('{t}', '$uri')");
	isnt($rc, 0, "$name: refused");
	like($err, $like, "$name: and the error says why");
	return $err;
}

sub feed_status
{
	my ($node, $job, $db) = @_;
	return $node->safe_psql($db // 'postgres',
		"SELECT status FROM changefeed_jobs WHERE job_id = $job");
}

sub wait_status
{
	my ($node, $job, $status, $timeout) = @_;
	return poll_until(
		sub {
			# also while the server restarts after a crash
			my ($rc, $out) = $node->psql('postgres',
				"SELECT status FROM changefeed_jobs WHERE job_id = $job");
			return $rc == 0 && $out eq $status;
		},
		"job $job becomes $status",
		$timeout);
}

# Returns once the sink has acknowledged everything written so far.
sub wait_feed
{
	my ($node, $job, $timeout) = @_;
	$timeout //= $PostgreSQL::Test::Utils::timeout_default // 180;
	$node->safe_psql('postgres',
		"SELECT changefeed_wait($job, timeout => '$timeout s')");
	return;
}

sub slots
{
	my ($node) = @_;
	return $node->safe_psql('postgres',
		'SELECT count(*) FROM pg_replication_slots');
}

# poll_until(sub { ... }, 'what', seconds): true, or undef with a diagnostic
sub poll_until
{
	my ($cond, $what, $timeout) = @_;
	my $end = time() + ($timeout // 60);
	while (1)
	{
		return 1 if $cond->();
		last if time() > $end;
		usleep(100_000);
	}
	diag("timed out: $what");
	return;
}

# ---- Kafka ----------------------------------------------------------------

# start_kafka(secure => 1, conf => ['message.max.bytes=...']): an object with
# {addr} and, for a secure one, {env} (see kafka.sh), and stop, kill9, start,
# restart. Ports and data stay.
sub start_kafka
{
	return CdcTest::Kafka->new(@_);
}

# kafka_consume($kafka, 'topic'): all messages, by partition and offset
sub kafka_consume
{
	my ($kafka, $topic) = @_;
	my ($out, $err) = ('', '');
	my @cmd = (
		'kcat', '-b', $kafka->{addr}, '-C', '-t', $topic,
		'-o', 'beginning', '-e', '-q', '-J',
		# the end is seen by an empty answer: do not wait for the next resolved
		'-X', 'fetch.wait.max.ms=10');
	# it may wait for ever when it starts while partitions come or go
	for my $try (1 .. 3)
	{
		last if IPC::Run::run([ 'timeout', 20, @cmd ], '<', \undef, '>', \$out, '2>', \$err);
		diag("kcat: $err");
		return if $try == 3;
	}
	utf8::decode($out);
	my @msgs;
	for my $line (split /\n/, $out)
	{
		my $m = $json->decode($line);
		push @msgs,
		  message($m->{topic}, $m->{partition}, $m->{offset}, $m->{key},
			$m->{payload});
	}
	return sort {
		     $a->{partition} <=> $b->{partition}
		  || $a->{offset} <=> $b->{offset}
	} @msgs;
}

# ---- files ----------------------------------------------------------------

# file_messages($dir): rows and resolved messages in the order of the names.
# A name that is neither is an error, as is an unfinished last line.
sub file_messages
{
	my ($dir) = @_;
	my (@names, @msgs);
	find(
		{
			no_chdir => 1,
			wanted => sub { push @names, substr($_, length($dir) + 1) if -f $_ }
		},
		$dir);
	for my $name (sort @names)
	{
		my $base = $name;
		$base =~ s,.*/,,;
		# a file still being written is hidden or ends in .tmp
		next if $base =~ /^\./ || $base =~ /\.tmp$/;
		my $text = slurp_file("$dir/$name");
		utf8::decode($text);
		if ($base =~ /^\d{33}\.RESOLVED$/)
		{
			push @msgs, message(undef, 'files', scalar(@msgs), undef, $text);
		}
		elsif ($base =~
			/^(\d{33})-([0-9a-f]{16})-(\d+)-(\d+)-([0-9a-f]{8})-(.+)-([0-9a-f]+)\.ndjson$/
		  )
		{
			my ($stamp, $topic) = ($1, $6);
			die "$name does not end in a line feed\n" unless $text =~ /\n\z/;
			for my $line (split /\n/, $text)
			{
				my $m =
				  message($topic, 'files', scalar(@msgs), undef, $line);
				$m->{key} = $json->encode($m->{json}{key})
				  if exists $m->{json}{key};
				$m->{file} = $name;
				$m->{file_stamp} = $stamp;
				push @msgs, $m;
			}
		}
		else
		{
			die "unexpected file $name\n";
		}
	}
	return @msgs;
}

# ---- messages -------------------------------------------------------------

# JSON with the text of numbers kept: they come back as strings.
sub decode_text
{
	my ($text) = @_;
	$text =~ s/("(?:[^"\\]++|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)/
	  defined $1 ? $1 : "\"$2\""/gex;
	return $json->decode($text);
}

sub message
{
	my ($topic, $partition, $offset, $key, $value) = @_;
	my %m = (
		topic => $topic,
		partition => $partition,
		offset => $offset,
		key => $key,
		value => $value);
	if (defined $value && $value =~ /^\s*\{/)
	{
		my $v = $m{json} = decode_text($value);
		$m{after} = $v->{after};
		$m{updated} = $v->{updated};
		$m{resolved} = $v->{resolved} if !defined $key && !exists $v->{after};
	}
	return \%m;
}

sub rows_of { return grep { !defined $_->{resolved} } @_; }

sub resolved_of { return grep { defined $_->{resolved} } @_; }

# A key in one form, whichever sink it came from.
sub key_text
{
	my ($m) = @_;
	return $m->{kt} if defined $m->{kt};
	return defined $m->{key} ? $json->encode(decode_text($m->{key})) : '';
}

# Compares "<nanoseconds>.<logical>" as the pair of numbers it is.
sub hlc_cmp
{
	my ($x, $y) = @_;
	# as they are written nowadays: 19 digits and 10
	return $x cmp $y if length($x) == 30 && length($y) == 30;
	my @x = split /\./, $x;
	my @y = split /\./, $y;
	return
	     length($x[0]) <=> length($y[0])
	  || $x[0] cmp $y[0]
	  || ($x[1] // 0) <=> ($y[1] // 0);
}

# ---- validators: each returns a list of complaints, empty when all is well

sub where_of
{
	my ($m) = @_;
	return sprintf('%s[%s]@%s %s',
		$m->{topic} // '-', $m->{partition}, $m->{offset}, $m->{key} // '');
}

sub ident_of
{
	my ($m) = @_;
	return join "\0", $m->{topic}, $m->{key} // '', $m->{value} // '';
}

# Order per key: a message not seen before is never older than one of the same
# key that was; a key stays on its partition.
sub check_order
{
	my (@bad, %seen, %newest, %home);
	for my $m (rows_of(@_))
	{
		my $k = "$m->{topic} " . key_text($m);
		push @bad, where_of($m) . " is also on partition $home{$k}"
		  if exists $home{$k} && $home{$k} ne $m->{partition};
		$home{$k} = $m->{partition};
		next if $seen{ ident_of($m) }++;
		next unless defined $m->{updated};
		push @bad, where_of($m) . ": $m->{updated} after $newest{$k}"
		  if exists $newest{$k} && hlc_cmp($m->{updated}, $newest{$k}) < 0;
		$newest{$k} = $m->{updated};
	}
	return @bad;
}

# Resolved R: afterwards its partition has no unseen row at or below R.
sub check_resolved
{
	my (@bad, %seen, %floor);
	for my $m (@_)
	{
		# a RESOLVED file speaks for all topics, a Kafka message for one
		my $p = join '/', $m->{partition} eq 'files' ? '' : $m->{topic},
		  $m->{partition};
		if (defined $m->{resolved})
		{
			$floor{$p} = $m->{resolved}
			  if !exists $floor{$p}
			  || hlc_cmp($m->{resolved}, $floor{$p}) > 0;
			next;
		}
		next if $seen{ ident_of($m) }++;
		next unless defined $m->{updated} && exists $floor{$p};
		push @bad,
		  where_of($m) . ": new row at $m->{updated} below $floor{$p}"
		  if hlc_cmp($m->{updated}, $floor{$p}) <= 0;
	}
	return @bad;
}

# Repeats are contiguous: on each partition a replay starts somewhere in what
# was sent and goes on without a gap to its end before anything new comes.
# check_replay(\@msgs, max => N): also no more than N replays a partition.
sub check_replay
{
	my ($msgs, %opt) = @_;
	my (@bad, %part);
	for my $m (rows_of(@$msgs))
	{
		# line: first-time messages in order; at: index => places in line;
		# now: the places this message may be at
		my $p = $part{"$m->{topic}/$m->{partition}"} //=
		  { line => [], at => {}, now => [-1], replays => 0 };
		my ($line, $id) = ($p->{line}, ident_of($m));
		my $end = $#$line;
		my @next = grep { $_ <= $end && $line->[$_] eq $id }
		  map { $_ + 1 } @{ $p->{now} };
		if (!@next && exists $p->{at}{$id})
		{
			@next = @{ $p->{at}{$id} };
			$p->{replays}++;
		}
		if (!@next)
		{
			push @bad, where_of($m) . ': new, though a replay left out '
			  . ($end - $p->{now}[-1]) . ' messages'
			  unless grep { $_ == $end } @{ $p->{now} };
			push @$line, $id;
			push @{ $p->{at}{$id} }, $#$line;
			@next = ($#$line);
		}
		$p->{now} = \@next;
	}
	for my $name (sort keys %part)
	{
		my $n = $part{$name}{replays};
		push @bad, "$name: $n replays" if defined $opt{max} && $n > $opt{max};
	}
	return @bad;
}

# The same stamps on replay, for tests whose every row version is unique: a
# version has one `updated`, however often it was sent.
sub check_stamps
{
	my (@bad, %stamp);
	for my $m (rows_of(@_))
	{
		next unless ref $m->{after};
		my $v = "$m->{topic} " . key_text($m) . ' ' . $json->encode($m->{after});
		push @bad, where_of($m) . ": stamps $stamp{$v} and $m->{updated}"
		  if exists $stamp{$v} && $stamp{$v} ne $m->{updated};
		$stamp{$v} = $m->{updated};
	}
	return @bad;
}

# The order, resolved and replay validators as tests.
sub check_guarantees
{
	my ($msgs, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %got = (
		'order per key' => [ check_order(@$msgs) ],
		'resolved floor' => [ check_resolved(@$msgs) ],
		'repeats are contiguous' => [ check_replay($msgs, %opt) ]);
	for my $what (sort keys %got)
	{
		my @bad = @{ $got{$what} };
		ok(!@bad, "$name: $what")
		  or diag(join "\n", @bad > 10 ? (@bad[ 0 .. 9 ], '...') : @bad);
	}
	return;
}

# replay_state($topic, @msgs): key => row, after all messages of the topic
sub replay_state
{
	my ($topic, @msgs) = @_;
	my %state;
	for my $m (grep { $_->{topic} eq $topic } rows_of(@msgs))
	{
		if (ref $m->{after}) { $state{ key_text($m) } = $m->{after}; }
		else { delete $state{ key_text($m) }; }
	}
	return \%state;
}

# table_state($node, 'table', 'id, part'): the same from the table
sub table_state
{
	my ($node, $table, $key, $db) = @_;
	my %state;
	my $out = $node->safe_psql($db // 'postgres',
		"SELECT json_build_array($key) || E'\\t' || to_json(t) FROM $table t");
	utf8::decode($out);
	for my $line (split /\n/, $out)
	{
		my ($k, $row) = split /\t/, $line, 2;
		$state{ $json->encode(decode_text($k)) } = decode_text($row);
	}
	return \%state;
}

# The replayed messages give the table.
sub check_fingerprint
{
	my ($node, $table, $key, $msgs, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $got = replay_state($opt{topic} // $table, @$msgs);
	my $want = table_state($node, $table, $key, $opt{db});
	my @bad;
	for my $k (sort keys %{ { %$got, %$want } })
	{
		my $g = exists $got->{$k} ? $json->encode($got->{$k}) : 'nothing';
		my $w = exists $want->{$k} ? $json->encode($want->{$k}) : 'nothing';
		push @bad, "$k: got $g, the table has $w" if $g ne $w;
	}
	return ok(!@bad, $name)
	  || diag(scalar(@bad), " keys differ\n", join "\n",
		@bad > 10 ? @bad[ 0 .. 9 ] : @bad);
}

# ---------------------------------------------------------------------------

package CdcTest::Kafka;

use strict;
use warnings;
use PostgreSQL::Test::Utils;

my $count = 0;
my @all;

sub new
{
	my ($class, %opt) = @_;
	my $dir = $PostgreSQL::Test::Utils::tmp_check . "/kafka$$-" . ++$count;
	$dir = Cwd::abs_path($PostgreSQL::Test::Utils::tmp_check) . "/kafka$$-$count";
	my $self = bless { dir => $dir }, $class;
	push @all, $self;
	$self->script('init', $opt{secure} ? 'secure' : (), @{ $opt{conf} // [] });
	for my $line (split /\n/, PostgreSQL::Test::Utils::slurp_file("$dir/env"))
	{
		$self->{env}{$1} = $2 if $line =~ /^(\w+)=(.*)$/;
	}
	$self->{addr} = $self->{env}{KAFKA};
	$self->start unless exists $opt{start} && !$opt{start};
	return $self;
}

sub script
{
	my ($self, $cmd, @args) = @_;
	my $env = $ENV{CDC_TEST_ENV} // '../env';
	system('bash', "$env/kafka.sh", $cmd, $self->{dir}, @args) == 0
	  or die "kafka.sh $cmd failed\n";
	return;
}

sub start { $_[0]->script('start'); return; }
sub stop { $_[0]->script('stop'); return; }
sub kill9 { $_[0]->script('kill9'); return; }
sub restart { $_[0]->script('restart'); return; }
sub addr { return $_[0]->{addr}; }
sub env { return $_[0]->{env}; }
sub uri { return "kafka://$_[0]->{addr}"; }
sub consume { return CdcTest::kafka_consume(@_); }

END
{
	my $rc = $?;
	for my $k (@all)
	{
		eval { $k->kill9 };
	}
	$? = $rc;
}

1;
