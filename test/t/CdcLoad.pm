# CdcLoad: writers for the tests that no change is lost, and the oracle that
# says what had to arrive.
#
# The oracle is a slot of core's test_decoding, made before any writer starts:
# it knows every committed version in commit order, and where in that order
# a feed was created. Every row version carries a number of its own in "v".
#
# Messages are read by regular expressions, since there are many. They have
# the members of CdcTest's, but `after` is true or undef, and there is
#   kt   the key's values joined by |
#   v    the version, undef for a delete

package CdcLoad;

use strict;
use warnings;

use CdcTest;
use Exporter 'import';
use File::Find;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(stat time usleep);
use Time::Local qw(timegm);

our @EXPORT = qw(
  load_setup load_fill load_start load_stop load_state
  oracle_make oracle_read check_exact check_complete_after
  quick_messages resolved_by_arrival check_bounds
  replay_differences sent_twice_at_start ok_none
  session lane_pid worker_pids kill_worker start_again wait_up wait_gone_pid
  wait_running_again
);

our %KEYS = (acc => ['id'], ord => [ 'a', 'b' ], doc => ['k']);

# ---- writers --------------------------------------------------------------

sub load_setup
{
	my ($node) = @_;
	$node->safe_psql('postgres', <<'SQL');
CREATE SEQUENCE vers;
CREATE TABLE acc (id int PRIMARY KEY, v bigint NOT NULL, pad text);
CREATE TABLE ord (a int, b text, v bigint NOT NULL, pad text, PRIMARY KEY (a, b));
CREATE TABLE doc (k text PRIMARY KEY, v bigint NOT NULL, pad text);

-- One small change among n keys of each table; about half of them fall on
-- 50 hot keys spread over the range.
CREATE FUNCTION load_step(n int) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	x int := random() * n;
	x2 int := random() * n;
BEGIN
	IF random() < 0.5 THEN x := (x % 50) * (n / 50); END IF;
	IF random() < 0.3 THEN PERFORM set_config('synchronous_commit', 'off', true); END IF;
	CASE (random() * 13)::int
	WHEN 0 THEN DELETE FROM acc WHERE id = x;
	WHEN 1 THEN INSERT INTO acc VALUES (x, nextval('vers'), 'again')
		ON CONFLICT (id) DO UPDATE SET v = nextval('vers');
	WHEN 2 THEN UPDATE acc SET id = x2, v = nextval('vers') WHERE id = x;
	WHEN 3 THEN UPDATE ord SET v = nextval('vers') WHERE a = x;
	WHEN 4 THEN UPDATE ord SET b = 'b' || x2, v = nextval('vers') WHERE a = x;
	WHEN 5 THEN DELETE FROM ord WHERE a = x;
	WHEN 6 THEN INSERT INTO ord VALUES (x, 'b' || x2, nextval('vers'), 'x')
		ON CONFLICT DO NOTHING;
	WHEN 7 THEN UPDATE doc SET v = nextval('vers') WHERE k = 'k' || x;
	WHEN 8 THEN INSERT INTO doc SELECT 'k' || i, nextval('vers'), 'm'
			FROM generate_series(x2, x2 + 2) i
		ON CONFLICT (k) DO UPDATE SET v = nextval('vers');
	WHEN 9 THEN DELETE FROM doc WHERE k = 'k' || x;
	WHEN 10 THEN
		UPDATE acc SET v = nextval('vers') WHERE id = x;
		BEGIN
			UPDATE acc SET v = nextval('vers') WHERE id = x;
			RAISE no_data_found;
		EXCEPTION WHEN no_data_found THEN NULL;
		END;
		UPDATE doc SET k = 'k' || x2, v = nextval('vers') WHERE k = 'k' || x;
	ELSE UPDATE acc SET v = nextval('vers') WHERE id = x;
	END CASE;
EXCEPTION WHEN unique_violation OR deadlock_detected THEN NULL;
END $$;
SQL
	return;
}

# load_fill($node, n, n2): n rows in acc, n2 in each of the others
sub load_fill
{
	my ($node, $n, $n2) = @_;
	$n2 //= $n;
	$node->safe_psql('postgres', <<SQL);
INSERT INTO acc SELECT i, nextval('vers'), repeat('p', 30) FROM generate_series(1, $n) i;
INSERT INTO ord SELECT i, 'b' || i, nextval('vers'), 'q' FROM generate_series(1, $n2) i;
INSERT INTO doc SELECT 'k' || i, nextval('vers'), 'r' FROM generate_series(1, $n2) i;
SQL
	return;
}

my @loads;

# load_start($node, n, rate => transactions a second, clients => 4): goes on,
# also over restarts of the server, until load_stop()
sub load_start
{
	my ($node, $n, %opt) = @_;
	my $stop = $node->basedir . '/stop' . scalar(@loads);
	my $script = $node->basedir . '/load.sql';
	my ($clients, $rate) = ($opt{clients} // 4, $opt{rate} // 400);
	append_to_file($script, "BEGIN;\nSELECT load_step($n);\nSELECT load_step($n);\nCOMMIT;\n")
	  unless -e $script;
	my $cmd =
	    "for i in \$(seq 1 150); do [ ! -e '$stop' ] || exit 0; "
	  . "pgbench -n -c $clients -j 1 -T 1 -R $rate -f '$script' || sleep 0.2; done";
	my $load = {
		stop => $stop,
		proc => IPC::Run::start(
			[ 'bash', '-c', $cmd ],
			'<', \undef,
			'>', $node->basedir . '/load.log',
			'2>&1',
			init => sub {
				$ENV{PGHOST} = $node->host;
				$ENV{PGPORT} = $node->port;
				$ENV{PGDATABASE} = 'postgres';
			})
	};
	push @loads, $load;
	return $load;
}

sub load_stop
{
	my ($load) = @_;
	append_to_file($load->{stop}, '');
	$load->{proc}->finish if $load->{proc};
	$load->{proc} = undef;
	return;
}

END
{
	my $rc = $?;
	append_to_file($_->{stop}, '') for grep { $_->{proc} } @loads;
	$? = $rc;
}

# load_state($node): { table => { key => v } }
sub load_state
{
	my ($node) = @_;
	my %state;
	for my $t (sort keys %KEYS)
	{
		my $key = join " || '|' || ", @{ $KEYS{$t} };
		my $out =
		  $node->safe_psql('postgres', "SELECT $key || ' ' || v FROM $t");
		$state{$t} = { map { split / / } split /\n/, $out };
	}
	return \%state;
}

# ---- the oracle -----------------------------------------------------------

# oracle_make($node): call it while nothing else writes
sub oracle_make
{
	my ($node) = @_;
	$node->safe_psql('postgres',
		"SELECT pg_create_logical_replication_slot('oracle', 'test_decoding')");
	return { node => $node, base => load_state($node) };
}

sub tuple_of
{
	my ($text) = @_;
	my %t;
	while ($text =~ /(\w+)\[[^\]]*\]:('(?:[^']|'')*'|\S+)/g)
	{
		my ($name, $value) = ($1, $2);
		$value =~ s/^'(.*)'$/$1/;
		$t{$name} = $value;
	}
	return \%t;
}

# oracle_read($oracle, keys => { table => [columns] }): everything committed
# since, in order: { xid, job (a definition), table, kt, v }
sub oracle_read
{
	my ($oracle, %opt) = @_;
	my $keys = $opt{keys} // \%KEYS;
	my $out = $oracle->{node}->safe_psql('postgres',
		"SELECT data FROM pg_logical_slot_peek_changes('oracle', NULL, NULL)");
	my ($xid, @events);
	for my $line (split /\n/, $out)
	{
		if ($line =~ /^BEGIN (\d+)/) { $xid = $1; next; }
		if ($line =~ /^table cdc_sink\.definition: INSERT: job_id\[bigint\]:(\d+)/)
		{
			push @events, { xid => $xid, job => $1 };
			next;
		}
		next unless $line =~ /^table public\.(\w+): (INSERT|UPDATE|DELETE): (.*)$/;
		my ($t, $op, $rest) = ($1, $2, $3);
		next unless $keys->{$t};
		my ($old, $new);
		if ($op eq 'DELETE') { $old = tuple_of($rest); }
		elsif ($rest =~ /^old-key: (.*?) new-tuple: (.*)$/)
		{
			($old, $new) = (tuple_of($1), tuple_of($2));
		}
		else { $new = tuple_of($rest); }
		my $key = sub { my $r = $_[0]; join '|', map { $r->{$_} } @{ $keys->{$t} } };
		my ($ko, $kn) = map { $_ ? $key->($_) : undef } ($old, $new);
		push @events, { xid => $xid, table => $t, kt => $ko }
		  if $old && (!$new || $ko ne $kn);
		push @events, { xid => $xid, table => $t, kt => $kn, v => $new->{v} }
		  if $new;
	}
	return @events;
}

# ---- messages -------------------------------------------------------------

# quick_messages($dir, arrival => 1): as file_messages(); in the order in
# which the files appeared instead of that of their names
sub quick_messages
{
	my ($dir, %opt) = @_;
	my (@files, @msgs);
	find(
		{
			no_chdir => 1,
			wanted => sub {
				my $base = $_;
				$base =~ s,.*/,,;
				return if $base =~ /^\./ || $base =~ /\.tmp$/ || !-f $_;
				push @files,
				  { name => substr($_, length($dir) + 1), ctime => (stat($_))[10] };
			}
		},
		$dir);
	@files =
	  sort { ($opt{arrival} ? $a->{ctime} <=> $b->{ctime} : 0) || $a->{name} cmp $b->{name} }
	  @files;
	for my $f (@files)
	{
		my $text = slurp_file("$dir/$f->{name}");
		if ($f->{name} =~ /\.RESOLVED$/)
		{
			$text =~ /^\{"resolved":"([\d.]+)"\}$/ or die "bad $f->{name}: $text";
			push @msgs,
			  { partition => 'files', offset => scalar(@msgs), resolved => $1 };
			next;
		}
		$f->{name} =~ /-[0-9a-f]{8}-(.+)-[0-9a-f]+\.ndjson$/
		  or die "unexpected file $f->{name}";
		my $topic = $1;
		die "$f->{name} does not end in a line feed\n" unless $text =~ /\n\z/;
		for my $line (split /\n/, $text)
		{
			$line =~ /^\{"after": (null|\{.*\}), "key": (\[.*?\])(?:, "updated": "(\d+\.\d{10})")?\}$/
			  or die "unexpected line $line in $f->{name}";
			my %m = (
				topic => $topic,
				partition => 'files',
				offset => scalar(@msgs),
				file => $f->{name},
				key => $2,
				value => $line,
				after => ($1 eq 'null' ? undef : 1),
				updated => $3);
			$m{v} = $1 if $m{after} && $line =~ /"v": (\d+)/;
			$m{kt} = $m{key};
			$m{kt} =~ s/^\[|\]$|"//g;
			$m{kt} =~ s/, /|/g;
			push @msgs, \%m;
		}
	}
	return @msgs;
}

# check_bounds(@msgs): no row is older than the stamp in its file's name
sub check_bounds
{
	my (%bound, @bad);
	for my $m (rows_of(@_))
	{
		my $b = $bound{ $m->{file} } //= do
		{
			my ($y, $mo, $d, $h, $mi, $s, $ns, $l) =
			  $m->{file} =~ /(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d{9})(\d{10})-[^\/]*$/;
			timegm($s, $mi, $h, $d, $mo - 1, $y) . "$ns.$l";
		};
		push @bad, "$m->{file}: $m->{topic} $m->{kt} at $m->{updated}, name says $b"
		  if defined $m->{updated} && hlc_cmp($m->{updated}, $b) < 0;
	}
	return @bad;
}

# The floor of each RESOLVED file by the time it appeared.
sub resolved_by_arrival
{
	my ($dir) = @_;
	return check_resolved(quick_messages($dir, arrival => 1));
}

# replay_differences(\@msgs, \%state): where the messages replayed do not
# give this load_state()
sub replay_differences
{
	my ($msgs, $state) = @_;
	my (%replay, @bad);
	for my $m (rows_of(@$msgs))
	{
		if (defined $m->{v}) { $replay{ $m->{topic} }{ $m->{kt} } = $m->{v}; }
		else { delete $replay{ $m->{topic} }{ $m->{kt} }; }
	}
	for my $t (sort keys %$state)
	{
		my ($got, $want) = ($replay{$t} // {}, $state->{$t});
		push @bad, "$t $_: not sent" for grep { !exists $got->{$_} } keys %$want;
		push @bad, "$t $_: not in the table" for grep { !exists $want->{$_} } keys %$got;
		push @bad, map { "$t $_: sent $got->{$_}, is $want->{$_}" }
		  grep { exists $got->{$_} && $got->{$_} ne $want->{$_} } keys %$want;
	}
	return @bad;
}

# sent_twice_at_start(\@msgs): keys that the scan sent more than once
sub sent_twice_at_start
{
	my (%n, $t0);
	for my $m (rows_of(@{ $_[0] }))
	{
		$t0 = $m->{updated}
		  if !defined $t0 || ($m->{updated} ne $t0 && hlc_cmp($m->{updated}, $t0) < 0);
	}
	for my $m (rows_of(@{ $_[0] }))
	{
		$n{"$m->{topic} $m->{kt}"}++ if $m->{updated} eq $t0;
	}
	return grep { $n{$_} > 1 } sort keys %n;
}

# ok_none(\@complaints, 'name')
sub ok_none
{
	my ($bad, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $n = @$bad;
	return ok(!$n, $name)
	  || diag("$n complaints\n",
		join "\n", $n > 10 ? (@$bad[ 0 .. 9 ], '...') : @$bad);
}

sub first_times
{
	my %seen;
	return grep { !$seen{ join ' ', $_->{topic}, $_->{key} // '', $_->{value} }++ } rows_of(@_);
}

sub show { return join ',', map { $_ // 'deleted' } @_; }

# check_exact($oracle, job, \@msgs, \@events, scan => 1): complaints. What was
# sent is exactly what was committed after the feed's creation, per key and in
# order; with a scan, before it the row as of the creation, unless something
# newer of it was sent.
sub check_exact
{
	my ($oracle, $job, $msgs, $events, %opt) = @_;
	my (%state, %want, %got, %t0, $seen, @bad);
	my %watched = map { $_ => 1 } @{ $opt{tables} // [ keys %KEYS ] };

	%state = map { $_ => { %{ $oracle->{base}{$_} // {} } } } keys %watched;
	for my $e (@$events)
	{
		if (defined $e->{job}) { $seen ||= $e->{job} == $job; next; }
		my $t = $e->{table};
		next unless $watched{$t};
		if ($seen) { push @{ $want{$t}{ $e->{kt} } }, $e; }
		elsif (defined $e->{v}) { $state{$t}{ $e->{kt} } = $e->{v}; }
		else { delete $state{$t}{ $e->{kt} }; }
	}
	return ("the creation of job $job was not decoded") unless $seen;

	my @rows = first_times(@$msgs);
	my $t0 = '';
	if ($opt{scan})
	{
		for my $m (@rows)
		{
			$t0 = $m->{updated}
			  if $t0 eq '' || $m->{updated} ne $t0 && hlc_cmp($m->{updated}, $t0) < 0;
		}
	}
	for my $m (@rows)
	{
		if ($m->{updated} eq $t0)
		{
			my $w = $state{ $m->{topic} }{ $m->{kt} };
			push @bad, "$m->{topic} $m->{kt}: scanned $m->{v}, was " . ($w // 'not there')
			  if !defined $w || $w ne $m->{v};
			$t0{ $m->{topic} }{ $m->{kt} } = 1;
			next;
		}
		push @{ $got{ $m->{topic} }{ $m->{kt} } }, $m;
	}

	# every version, in order; one stamp for each transaction
	my %stamp;
	for my $t (sort keys %watched)
	{
		my %all = map { $_ => 1 } keys %{ $want{$t} // {} }, keys %{ $got{$t} // {} };
		for my $k (sort keys %all)
		{
			my @w = @{ $want{$t}{$k} // [] };
			my @g = @{ $got{$t}{$k} // [] };
			my ($ws, $gs) = (show(map { $_->{v} } @w), show(map { $_->{v} } @g));
			if ($ws ne $gs)
			{
				push @bad, "$t $k: got $gs, committed were $ws";
				next;
			}
			for my $i (0 .. $#w)
			{
				my $x = $w[$i]{xid};
				push @bad, "transaction $x: stamps $stamp{$x} and $g[$i]{updated}"
				  if exists $stamp{$x} && $stamp{$x} ne $g[$i]{updated};
				$stamp{$x} = $g[$i]{updated};
			}
		}
		next unless $opt{scan};
		for my $k (sort keys %{ $state{$t} })
		{
			push @bad, "$t $k: neither scanned nor changed since"
			  unless $t0{$t}{$k} || $got{$t}{$k};
		}
	}

	# stamps follow the order of commit
	my ($last, $lastx) = ($t0, 'creation');
	for my $e (@$events)
	{
		my $x = $e->{xid};
		next unless exists $stamp{$x};
		my $s = delete $stamp{$x};
		push @bad, "transaction $x at $s after $lastx at $last"
		  if $last ne '' && hlc_cmp($s, $last) <= 0;
		($last, $lastx) = ($s, $x);
	}
	return @bad;
}

# check_complete_after($v, \@msgs, \@events): for a feed whose start is not
# known exactly. Per key, what was sent ends in all that was committed after
# the version numbered v was.
sub check_complete_after
{
	my ($v, $msgs, $events) = @_;
	my (%want, %got, @bad, $seen);
	for my $e (@$events)
	{
		next if defined $e->{job};
		push @{ $want{"$e->{table} $e->{kt}"} }, $e->{v} // 'deleted' if $seen;
		$seen ||= ($e->{v} // '') eq $v;
	}
	return ("version $v was not decoded") unless $seen;
	push @{ $got{"$_->{topic} $_->{kt}"} }, $_->{v} // 'deleted'
	  for first_times(@$msgs);
	for my $k (sort keys %want)
	{
		my @w = @{ $want{$k} };
		my @g = @{ $got{$k} // [] };
		my @tail = @g > @w ? @g[ $#g - $#w .. $#g ] : @g;
		push @bad, "$k: got @g, committed were @w" if "@tail" ne "@w";
	}
	return @bad;
}

# ---- processes ------------------------------------------------------------

# wait_up($node): until the server takes connections again
sub wait_up
{
	my ($node) = @_;
	return poll_until(
		sub {
			my ($rc) = eval { $node->psql('postgres', 'SELECT 1') };
			return defined $rc && $rc == 0;
		},
		'server accepts connections',
		60);
}

# Pids of our workers, by backend type: 'launcher', 'lane', 'scan', 'setup'.
sub worker_pids
{
	my ($node, $kind) = @_;
	my ($rc, $out) = eval {
		$node->psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE backend_type = 'cdc_sink $kind'");
	};
	return defined $rc && $rc == 0 && defined $out ? split /\n/, $out : ();
}

# lane_pid($node, $db): waits for the lane worker
sub lane_pid
{
	my ($node, $db) = @_;
	my $pid = '';
	$db //= 'postgres';
	poll_until(
		sub {
			my ($rc, $out) = eval {
				$node->psql('postgres',
					"SELECT pid FROM pg_stat_activity WHERE backend_type = 'cdc_sink lane' AND datname = '$db'");
			};
			return 0 unless defined $rc && $rc == 0;
			$pid = $out;
			return $out =~ /^\d+$/;
		},
		"lane of $db") or return;
	return $pid;
}

sub wait_gone_pid
{
	my ($pid, $timeout) = @_;
	return poll_until(sub { !kill 0, $pid }, "process $pid ends", $timeout);
}

# kill_worker($node, kind, signal): one by the kernel's way; false if none is
sub kill_worker
{
	my ($node, $kind, $signal) = @_;
	my ($pid) = worker_pids($node, $kind);
	return unless $pid;
	my $seen = -s $node->logfile;
	kill $signal, $pid or return;

	# a psql that comes before the server has noticed dies in mid-statement
	poll_until(
		sub { slurp_file($node->logfile, $seen) =~ /all server processes terminated; reinitializing/ },
		'the server starts over', 60)
	  if $signal eq 'KILL';
	return 1;
}

# After kill9 the old processes hold the shared memory for a moment: they
# are known by their working directory.
sub start_again
{
	my ($node) = @_;
	my $data = $node->data_dir;
	if (-e "$data/postmaster.pid")
	{
		my ($pid) = split /\n/, slurp_file("$data/postmaster.pid");
		wait_gone_pid($pid, 30);
	}
	poll_until(
		sub { !grep { (readlink($_) // '') eq $data } glob('/proc/[0-9]*/cwd') },
		'processes of the old server end', 30);
	return $node->start;
}

# wait_running_again($node, job): lane up and everything so far acknowledged
sub wait_running_again
{
	my ($node, $job, $timeout) = @_;
	return poll_until(
		sub {
			my ($rc, $out) = $node->psql('postgres',
				"SELECT changefeed_wait($job, timeout => '10 s')");
			return $rc == 0 && $out eq 't';
		},
		"job $job has caught up",
		$timeout // 90);
}

# session($node, $db): a psql of its own that stays; {query} runs a statement
# and returns its output, errors included
sub session
{
	return CdcLoad::Session->new(@_);
}

package CdcLoad::Session;

use strict;
use warnings;

sub new
{
	my ($class, $node, $db) = @_;
	my $self = bless { in => '', out => '', n => 0 }, $class;
	$self->{timer} = IPC::Run::timer(90);
	$self->{proc} = IPC::Run::start(
		[
			'psql', '-XqAt', '-v', 'ON_ERROR_STOP=0', '-d',
			$node->connstr($db // 'postgres') . " options='-c client_min_messages=warning'"
		],
		'<', \$self->{in},
		'>', \$self->{out},
		'2>&1',
		$self->{timer});
	return $self;
}

# Sends without waiting; wait() gets the output.
sub send
{
	my ($self, $sql) = @_;
	$self->{mark} = '-- done ' . ++$self->{n} . ' --';
	$self->{out} = '';
	$self->{in} .= "$sql;\n\\echo $self->{mark}\n";
	$self->{proc}->pump_nb;
	return;
}

sub is_done
{
	my ($self) = @_;
	$self->{proc}->pump_nb;
	return $self->{out} =~ /^\Q$self->{mark}\E$/m;
}

sub wait
{
	my ($self) = @_;
	$self->{timer}->start(90);
	$self->{proc}->pump until $self->is_done;
	my $out = $self->{out};
	$out =~ s/^\Q$self->{mark}\E\n.*//ms;
	chomp $out;
	return $out;
}

sub query
{
	my ($self, $sql) = @_;
	$self->send($sql);
	return $self->wait;
}

sub close
{
	my ($self) = @_;
	$self->{in} .= "\\q\n";
	eval { $self->{proc}->finish; 1 } or $self->{proc}->kill_kill;
	return;
}

1;
