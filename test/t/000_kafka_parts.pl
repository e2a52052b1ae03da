# The tests' own parts: broker, its listeners, the consumer, the validators.

use strict;
use warnings;

use CdcTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $k = start_kafka(secure => 1);

sub produce
{
	my ($text, @args) = @_;
	my ($out, $err) = ('', '');
	return IPC::Run::run(
		[ 'kcat', '-P', '-t', 'parts', '-K', ':', '-Z', '-X', 'message.timeout.ms=8000', @args ],
		'<', \$text, '>', \$out, '2>', \$err);
}
my $e = $k->env;
my @ca = ('-X', "ssl.ca.location=$e->{KAFKA_CA}");
ok(produce("[1]:{\"after\": {\"n\": 1.50}, \"updated\": \"1700000000000000000.0000000001\"}\n", '-b', $k->addr), 'plaintext');
ok(produce("[2]:\n", '-b', $e->{KAFKA_TLS}, '-X', 'security.protocol=ssl', @ca), 'TLS');
ok( produce(
		"[3]:{}\n", '-b', $e->{KAFKA_MTLS}, '-X', 'security.protocol=ssl', @ca,
		'-X', "ssl.certificate.location=$e->{KAFKA_CLIENT_CERT}",
		'-X', "ssl.key.location=$e->{KAFKA_CLIENT_KEY}"),
	'mutual TLS');
for my $mech (qw(PLAIN SCRAM-SHA-256 SCRAM-SHA-512))
{
	my @sasl = (
		'-b', $e->{KAFKA_SASL}, '-X', 'security.protocol=sasl_ssl', @ca,
		'-X', "sasl.mechanism=$mech",
		'-X', "sasl.username=$e->{KAFKA_USER}");
	ok(produce("[4]:{}\n", @sasl, '-X', "sasl.password=$e->{KAFKA_PASSWORD}"),
		"SASL_SSL with $mech");
}
ok(!produce("[5]:{}\n", '-b', $e->{KAFKA_MTLS}, '-X', 'security.protocol=ssl', @ca,
		'-X', 'message.timeout.ms=3000'),
	'mutual TLS without a certificate is refused');

$k->kill9;
$k->start;
my @m = $k->consume('parts');
is(scalar(@m), 6, 'messages survive kill -9 of the broker');
my ($one) = grep { $_->{key} eq '[1]' } @m;
is($one->{after}{n}, '1.50', 'the text of a number is kept');
my ($two) = grep { $_->{key} eq '[2]' } @m;
ok(!defined $two->{value}, 'a null value is undef');

# validators, on made-up messages
sub row
{
	my ($key, $n, $stamp) = @_;
	return CdcTest::message('t', 0, 0, "[$key]",
		"{\"after\": {\"n\": $n}, \"updated\": \"$stamp.0000000000\"}");
}
my ($r1, $r2, $r3) = (row(1, 1, 10), row(2, 1, 11), row(1, 2, 12));
my $r11 = CdcTest::message('t', 0, 0, undef, '{"resolved":"11.0000000000"}');
is(scalar(check_order($r1, $r2, $r3, $r1, $r2, $r3)), 0, 'replay keeps the order');
is(scalar(check_order($r3, $r1)), 1, 'an unseen older version is found');
is(scalar(check_resolved($r1, $r2, $r11, $r3, $r1)), 0, 'resolved: repeats may come');
is(scalar(check_resolved($r1, $r11, $r2)), 1, 'resolved: an unseen row may not');
is(scalar(check_replay([ $r1, $r2, $r3, $r2, $r3, row(3, 1, 13) ])), 0, 'a whole suffix repeats');
is(scalar(check_replay([ $r1, $r2, $r3, $r2, row(3, 1, 13) ])), 1, 'a gap in a replay is found');
is(scalar(check_replay([ $r1, $r1, $r2, $r2 ], max => 1)), 1, 'replays are counted');
is(scalar(check_stamps($r1, row(1, 1, 11))), 1, 'another stamp on replay is found');
cmp_ok(hlc_cmp('9.0000000002', '10.0000000001'), '<', 0, 'stamps compare as numbers');

done_testing();
