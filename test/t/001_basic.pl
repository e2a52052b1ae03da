# A changefeed into local files, from creation to cancel.

use strict;
use warnings;

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('basic');
my ($dir, $uri) = file_dir($node);

$node->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text, n numeric);
	INSERT INTO t SELECT i, 'old ' || i, i * 1.50 FROM generate_series(1, 10) i;
});

# creation and initial scan
my $job = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE t INTO '$uri' WITH updated, resolved='100ms'");
like($job, qr/^\d+$/, 'changefeed_sql returns the id of the job');
ok(wait_status($node, $job, 'running'), 'the feed runs');
wait_feed($node, $job);

my @rows = rows_of(file_messages($dir));
is(scalar(@rows), 10, 'the initial scan sends every row once');
is_deeply(
	[ sort map { key_text($_) } @rows ],
	[ sort map { "[\"$_\"]" } 1 .. 10 ],
	'keys of the scan');
my %stamps = map { $_->{updated} => 1 } @rows;
is(scalar(keys %stamps), 1, 'the rows of the scan share one updated');
my ($one) = grep { key_text($_) eq '["1"]' } @rows;
is_deeply($one->{after}, { id => '1', v => 'old 1', n => '1.50' },
	'a row with the text of its numbers');

# changes
$node->safe_psql('postgres', q{
	INSERT INTO t VALUES (11, 'new', NULL);
	UPDATE t SET v = 'changed' WHERE id = 2;
	DELETE FROM t WHERE id = 3;
	UPDATE t SET id = 40 WHERE id = 4;
});
wait_feed($node, $job);
my @msgs = file_messages($dir);
is(scalar(rows_of(@msgs)), 15,
	'insert, update, delete, and a changed key as two messages');
my ($gone) = grep { key_text($_) eq '["3"]' && !defined $_->{after} }
  rows_of(@msgs);
ok($gone, 'a delete has a null after');
check_fingerprint($node, 't', 'id', \@msgs, 'messages replayed give the table');

# resolved goes on without traffic
my $before = scalar(resolved_of(@msgs));
ok( poll_until(
		sub { resolved_of(file_messages($dir)) > $before + 2 },
		'resolved files'),
	'resolved timestamps appear on an idle database');

# pause and resume
$node->safe_psql('postgres', "SELECT changefeed_pause($job)");
ok(wait_status($node, $job, 'paused'), 'the feed pauses');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (12, 'while paused', 1)});
is(scalar(grep { key_text($_) eq '["12"]' } rows_of(file_messages($dir))),
	0, 'nothing is sent while paused');
is(slots($node), '1', 'the slot stays while paused');
$node->safe_psql('postgres', "SELECT changefeed_resume($job)");
ok(wait_status($node, $job, 'running'), 'the feed resumes');
wait_feed($node, $job);
@msgs = file_messages($dir);
is(scalar(grep { key_text($_) eq '["12"]' } rows_of(@msgs)),
	1, 'the row written meanwhile arrives');

# a second feed in the same lane, without a scan
my ($dir2, $uri2) = file_dir($node);
my $job2 = create_feed($node,
	"CREATE CHANGEFEED FOR TABLE t INTO '$uri2' WITH updated, initial_scan='no'"
);
$node->safe_psql('postgres', q{INSERT INTO t VALUES (13, 'for both', 1)});
wait_feed($node, $job);
wait_feed($node, $job2);
is_deeply([ map { key_text($_) } rows_of(file_messages($dir2)) ],
	['["13"]'], 'a write right behind the creation is the first message');
is(slots($node), '1', 'one slot serves both');

# restart
$node->restart;
$node->safe_psql('postgres', q{UPDATE t SET v = 'after restart' WHERE id = 1});
wait_feed($node, $job);
@msgs = file_messages($dir);
check_fingerprint($node, 't', 'id', \@msgs, 'the feed goes on after a restart');
check_guarantees(\@msgs, 'feed 1', max => 1);

# cancel
$node->safe_psql('postgres', "SELECT changefeed_cancel($_)") for $job, $job2;
ok(wait_status($node, $job, 'canceled'), 'the feed is canceled');
ok(wait_status($node, $job2, 'canceled'), 'and so is the second');
ok(poll_until(sub { slots($node) eq '0' }, 'no slot'),
	'the slot is gone with the last feed');
my ($rc, $out, $err) =
  $node->psql('postgres', "SELECT changefeed_resume($job)");
isnt($rc, 0, 'a canceled feed cannot be resumed');

$node->stop;
done_testing();
