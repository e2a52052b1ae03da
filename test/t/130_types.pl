# Every base, range and multirange type of pg_type, and contrib's citext, hstore
# and ltree, with its extremes: the initial scan and the stream write the same
# text, it is JSON, and PostgreSQL reads the same value out of it again. Numbers
# keep all their digits. A type that nobody has listed here fails the test.

use strict;
use warnings;

use CdcTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

# Literals of each type; [] for those of which a column can hold NULL only.
my $long = 'ab' x 5000;
my %values = (
	aclitem => [ '=r/postgres', 'postgres=arwdDxt/postgres' ],
	bit => [ '0', '1' ],
	'bit(70)' => [ '01' x 35 ],
	bool => [ 't', 'f' ],
	box => [ '(1,1),(0,0)', '(1e300,-1e-300),(-1.5,-2)', '(Infinity,NaN),(0,0)' ],
	bpchar => [ '', 'a', 'trail  ', "\x{fc}\x{20ac}\x{1f600}" ],
	'char(5)' => [ 'ab', '' ],
	bytea => [ '', '\x00', '\xdeadbeef', '\x' . 'ff00' x 5000 ],
	char => [ '', 'a', '"', '\\', '\377', '\001' ],
	cid => [ '0', '4294967295' ],
	cidr => [ '0.0.0.0/0', '10.0.0.0/8', '255.255.255.255/32', '::/0', '2001:db8::/32' ],
	circle => [ '<(0,0),0>', '<(1.5,-2),3e10>' ],
	date => [ '1970-01-01', '2024-02-29', '0001-01-01', '0001-12-31 BC', '4713-01-01 BC', '9999-12-31', '10000-01-01', '5874897-12-31', 'infinity', '-infinity' ],
	float4 => [ '0', '-0', '1', '0.1', '3.4028235e38', '-3.4028235e38', '1e-45', '1.1754944e-38', '16777216', '16777217', '123456.7', 'NaN', 'Infinity', '-Infinity' ],
	float8 => [ '0', '-0', '1', '0.1', '0.30000000000000004', '1.7976931348623157e308', '-1.7976931348623157e308', '5e-324', '2.2250738585072014e-308',
		'9007199254740993', '123456789012345680', '1e15', '1e16', '1e-5', '1e22', 'NaN', 'Infinity', '-Infinity' ],
	gtsvector => [],
	inet => [ '0.0.0.0', '192.168.0.1/24', '::', '2001:db8::1/64', '255.255.255.255' ],
	int2 => [ '0', '-32768', '32767' ],
	int2vector => [ '', '1', '-32768 32767' ],
	int4 => [ '0', '-2147483648', '2147483647' ],
	int8 => [ '0', '-9223372036854775808', '9223372036854775807', '9007199254740993' ],
	interval => [ '0', '1 year -2 mons 3 days -04:05:06.789012', '-178000000 years', '178000000 years', '00:00:00.000001', '-1 days', '2562047788:00:54.775807' ],
	json => [ '{}', '[]', 'null', 'true', '"a\u00e9\ud83d\ude00\\\\"', '{"b" : 1, "a": [1.50, {}], "b": 2}', '1e400', '-0', '12345678901234567890.123456789', "\"\x{fc}\"" ],
	jsonb => [ '{}', '[]', 'null', 'true', '"a\"\\\\b\n"', '{"b": 1, "a": [1.50, {"x": []}], "": null}', '1e100', '-12345678901234567890.1234567890', "\"\x{fc}\x{1f600}\"",
		'[' x 300 . ']' x 300 ],
	jsonpath => [ '$', '$.a[*] ? (@ > 1)', 'strict $."quoted key"' ],
	line => [ '{1,2,3}', '{-0.1,1e10,0}' ],
	lseg => [ '[(0,0),(1,1)]', '[(1e300,-1),(0.1,2)]' ],
	macaddr => [ '00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff' ],
	macaddr8 => [ '00:00:00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff:ff:ff' ],
	money => [ '0', '-92233720368547758.08', '92233720368547758.07', '-0.01' ],
	name => [ '', 'a', 'n' x 63, "\x{fc}\"\\" ],
	numeric => [ '0', '-0.00', '1', '1.50', '0.1', '-0.000000000000000000000000000001', '12345678901234567890.12345678901234567890', '1e100', '-1e-100',
		'9' x 1000, '0.' . '0' x 500 . '1', '1e131071', '0.' . '0' x 16382 . '1', '9999', '10000', '99990000', '0.00010000', 'NaN',
		'Infinity', '-Infinity' ],
	'numeric(5,2)' => [ '0', '999.99', '-999.99', '1.5', 'NaN' ],
	oid => [ '0', '4294967295' ],
	oidvector => [ '', '1', '0 4294967295' ],
	path => [ '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))' ],
	pg_brin_bloom_summary => [],
	pg_brin_minmax_multi_summary => [],
	pg_dependencies => [],
	pg_lsn => [ '0/0', 'FFFFFFFF/FFFFFFFF', '16/B374D848' ],
	pg_mcv_list => [],
	pg_ndistinct => [],
	pg_node_tree => [],
	pg_snapshot => [ '10:20:10,14,15', '1:1:' ],
	point => [ '(0,0)', '(-1.5,1e300)', '(NaN,Infinity)' ],
	polygon => [ '((0,0))', '((0,0),(1,1),(2,0))' ],
	refcursor => [ '', 'portal "x"' ],
	regclass => [ 'pg_class', '-', '4294967295' ],
	regcollation => [ '"C"', '-' ],
	regconfig => [ 'simple' ],
	regdatabase => [ 'postgres', '-' ],
	regdictionary => [ 'simple' ],
	regnamespace => [ 'pg_catalog', '-' ],
	regoper => [ 'pg_catalog.||/', '0' ],
	regoperator => [ '+(integer,integer)', '0' ],
	regproc => [ 'boolin', '-' ],
	regprocedure => [ 'abs(numeric)', '-' ],
	regrole => [ 'postgres', '-' ],
	regtype => [ 'integer', 'timestamp with time zone', '-' ],
	text => [ '', 'a', "quote \" back \\ slash / tab \t nl \n cr \r ctl \x01 del \x7f", "\x{fc}\x{20ac}\x{1f600}\x{2028}\x{feff}", $long, "\\u0041", '  ' ],
	tid => [ '(0,0)', '(4294967295,65535)' ],
	time => [ '00:00', '23:59:59.999999', '24:00:00', '12:34:56.7' ],
	'time(0)' => [ '12:34:56' ],
	timestamp => [ '1970-01-01 00:00', '2000-01-01 00:00', '1999-12-31 23:59:59.999999', '4713-01-01 00:00 BC', '0044-03-15 01:02:03.5 BC', '294276-12-31 23:59:59.999999', 'infinity', '-infinity' ],
	timestamptz => [ '1970-01-01 00:00+00', '2024-02-29 12:34:56.789012+14', '4713-01-01 00:00+00 BC', '294276-12-31 23:59:59.999999+00', 'infinity', '-infinity' ],
	'timestamptz(3)' => [ '2024-02-29 12:34:56.789+00' ],
	timetz => [ '00:00+00', '24:00:00-15:59:59', '23:59:59.999999+15:59', '12:34:56.7+05:45' ],
	tsquery => [ 'fat & (rat | !cat)', "'a b':* <-> c", '' ],
	tsvector => [ '', 'fat:2,4 cat:3A rat', "'it''s':1 '\\\\'" ],
	txid_snapshot => [ '10:20:10,14,15' ],
	uuid => [ '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff' ],
	varbit => [ '', '0', '10' x 100 ],
	varchar => [ '', 'a', "\x{fc}" ],
	xid => [ '0', '4294967295' ],
	xid8 => [ '0', '18446744073709551615' ],
	xml => [ '<a b="c">d &amp; e</a>', 'text', "<x>\x{fc}</x>" ],
	daterange => [ 'empty', '(,)', '[2020-01-01,2020-02-01)', '[0044-03-15 BC,infinity]' ],
	int4range => [ 'empty', '(,)', '[-2147483648,2147483647)' ],
	int8range => [ 'empty', '(,)', '[-9223372036854775808,9223372036854775807)' ],
	numrange => [ 'empty', '(,)', '[1.50,1e100]', '[-1,NaN)' ],
	tsrange => [ 'empty', '(,)', '[2020-01-01 00:00,infinity)' ],
	tstzrange => [ 'empty', '(,)', '[2020-01-01 00:00+00,2020-01-01 00:00:00.000001+00]' ],
	datemultirange => [ '{}', '{[2020-01-01,2020-02-01),[2021-01-01,)}' ],
	int4multirange => [ '{}', '{(,1),[5,7)}' ],
	int8multirange => [ '{}', '{[1,3),[5,9223372036854775807)}' ],
	nummultirange => [ '{}', '{[1.50,2),(3,)}' ],
	tsmultirange => [ '{}', '{[2020-01-01 00:00,2020-01-02 00:00]}' ],
	tstzmultirange => [ '{}', '{[2020-01-01 00:00+00,)}' ],
	citext => [ '', 'CiText', "\x{fc}\"" ],
	hstore => [ '', 'a=>1, "k \"q\""=>"v \\\\", n=>NULL' ],
	ltree => [ '', 'Top.Science_1.x' ],
	lquery => [ '*.a|b{1,2}' ],
	ltxtquery => [ 'a & !b@*' ],
	ltree_gist => [], ghstore => [],
);

# JSON arrays: their elements are compared, as text.
my %vector = (int2vector => 'int2[]', oidvector => 'oid[]');
# Settings of the server must not show in a message.
my $node = new_cluster('types', conf => "timezone = 'Asia/Kathmandu'\ndatestyle = 'German, DMY'\nintervalstyle = 'iso_8601'\nbytea_output = 'escape'\nlc_monetary = 'C'\n");

sub run { return $node->safe_psql('postgres', "SET datestyle = 'ISO'; SET timezone = 'UTC'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex'; $_[0]"); }

run("CREATE EXTENSION $_") for qw(citext hstore ltree);
my $version = run("SELECT current_setting('server_version_num')::int / 10000");

# ---- is every type listed? ----
my @types = split /\n/, run(q{
	SELECT typname FROM pg_type
	 WHERE typtype IN ('b', 'r', 'm') AND typcategory <> 'A' AND typname !~ '^_'
	   AND (typnamespace = 'pg_catalog'::regnamespace
	        OR oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_type'::regclass AND deptype = 'e'
	                   AND refobjid IN (SELECT oid FROM pg_extension WHERE extname IN ('citext', 'hstore', 'ltree'))))
	UNION SELECT typname FROM pg_type WHERE typname IN ('int2vector', 'oidvector') ORDER BY 1});
my @unlisted = grep { !exists $values{$_} } @types;
is_deeply(\@unlisted, [], 'all ' . @types . ' types are listed');

# with a modifier, too
push @types, grep { /\(/ } keys %values;

# ---- a table for each ----
# of bytes; literals above are characters
sub quote { my ($s) = @_; return "E'" . $s =~ s/'/''/gr =~ s/\\/\\\\/gr . "'"; }

sub literal { my ($s) = @_; utf8::encode($s); return quote($s); }

my (%table, @create, @fill);
my $n = 0;
for my $type (sort @types)
{
	my $t = 't' . $n++;
	my $name = $type =~ /^(\w+)$/ ? "\"$type\"" : $type;
	# quoted it is one byte, else a string
	$name = '"char"' if $type eq 'char';
	my $array = $vector{$type} || !@{ $values{$type} } ? 'int' : $name;
	$table{$t} = { type => $type, sql => $name };
	my @v = @{ $values{$type} };
	# older releases know no infinite numeric
	@v = grep { !/inf/i } @v if $version < 14 && $type eq 'numeric';
	push @create, "CREATE TABLE $t (id int PRIMARY KEY, v $name, a ${array}[]);";
	push @fill, "INSERT INTO $t VALUES (:base + 0, NULL, NULL), (:base + 1, NULL, '{}');";
	for my $i (0 .. $#v)
	{
		my $q = literal($v[$i]);
		my $list = $array eq 'int' ? 'NULL' : "ARRAY[$q, NULL, $q]::${name}[]";
		push @fill, "INSERT INTO $t VALUES (:base + " . ($i + 2) . ", $q, $list);";
	}
	$table{$t}{n} = @v + 2;
}
run(join "\n", @create);
my $scan = join("\n", @fill) =~ s/:base \+ /0 + /gr;
my $stream = join("\n", @fill) =~ s/:base \+ /1000 + /gr;
run($scan);

my ($dir, $uri) = file_dir($node);
my $job = create_feed($node, 'CREATE CHANGEFEED FOR TABLE ' . join(', ', sort keys %table) . " INTO '$uri' WITH updated");
wait_feed($node, $job);
run($stream);
wait_feed($node, $job);

# ---- the messages, as text ----
my %text;
for my $file (glob "$dir/*/*.ndjson")
{
	for my $line (split /\n/, slurp_file($file))
	{
		$line =~ /^\{"after": (\{.*\}), "key": \[(\d+)\], "updated": "[\d.]+"\}$/ or die "unexpected line: $line";
		my ($after, $id) = ($1, $2);
		my ($t) = $file =~ /-(t\d+)-[0-9a-f]+\.ndjson$/ or die $file;
		$after =~ s/"id": \d+/"id": 0/;
		$text{$t}{$id} = $after;
	}
}

# json reads any depth and any number; its text is then PostgreSQL's to judge
my (@other, @missing, @json, @checks);
for my $t (sort keys %table)
{
	for my $i (0 .. $table{$t}{n} - 1)
	{
		my ($a, $b) = ($text{$t}{$i}, $text{$t}{ 1000 + $i });
		push @missing, "$table{$t}{type} $i" unless defined $a && defined $b;
		push @other, "$table{$t}{type} $i: $a / $b" if defined $a && defined $b && $a ne $b;
		eval { JSON::PP->new->max_depth(10_000)->decode($a); 1 } or push @json, "$table{$t}{type} $i: $a" if defined $a;
	}
}
is_deeply(\@missing, [], 'all rows arrived, by the scan and by the stream');
is_deeply([ map { substr $_, 0, 500 } @other ], [], 'the scan and the stream write the same text');
is_deeply([ map { substr $_, 0, 500 } @json ], [], 'it is JSON');

# ---- read back by PostgreSQL ----
# What a consumer has is the JSON text of the member "v".
run('CREATE TABLE got (t text, id int, doc json)');
for my $t (sort keys %text)
{
	for my $id (sort { $a <=> $b } keys %{ $text{$t} })
	{
		next if $id >= 1000;
		push @checks, sprintf('(%s, %d, %s)', "'$t'", $id, quote($text{$t}{$id}));
	}
}
while (my @part = splice @checks, 0, 100) { run('INSERT INTO got VALUES ' . join(', ', @part)); }

my @wrong;
for my $t (sort keys %table)
{
	my ($type, $name) = @{ $table{$t} }{qw(type sql)};
	next unless @{ $values{$type} };
	my $same;
	if ($vector{$type})
	{
		$same = "(SELECT coalesce(array_agg(x::text), '{}') FROM json_array_elements_text(doc->'v') x) = (SELECT coalesce(array_agg(x::text), '{}') FROM unnest(v) x)";
	}
	elsif ($type =~ /^jsonb?$/)
	{
		$same = "(doc->'v')::jsonb = v::jsonb";
	}
	elsif ($type =~ /^(xml|reg\w+)$/)
	{
		$same = "doc->>'v' = v::text";
	}
	else
	{
		# text of numbers is the output function's, but for the floats' and
		# timestamps' own style, which reads back to the same bits
		$same = "(doc->>'v')::$name\::text = v::text";
		$same .= " AND (json_typeof(doc->'v') <> 'number' OR doc->>'v' = v::text)" if $type =~ /^(int\d|numeric.*)$/;
	}
	my $bad = run("SELECT string_agg(id || ': ' || left(doc->>'v', 100) || ' for ' || left(v::text, 100), '; ')
		FROM got JOIN $t USING (id) WHERE got.t = '$t' AND v IS NOT NULL AND ($same) IS NOT TRUE");
	push @wrong, "$type $bad" if $bad ne '';
	my $nulls = run("SELECT count(*) FROM got JOIN $t USING (id) WHERE got.t = '$t' AND (v IS NULL) <> (json_typeof(doc->'v') = 'null' AND v IS NULL)
		AND NOT (v IS NOT NULL)");
	push @wrong, "$type: NULL is not null" if $nulls ne '0';

	# each element of an array as it is alone
	next if $vector{$type};
	my $arrays = run("SELECT count(*) FROM got JOIN $t USING (id) WHERE got.t = '$t' AND v IS NOT NULL
		AND (doc->'a'->0)::text || (doc->'a'->1)::text || (doc->'a'->2)::text IS DISTINCT FROM (doc->'v')::text || 'null' || (doc->'v')::text");
	push @wrong, "$type: $arrays arrays" if $arrays ne '0';
}
is_deeply(\@wrong, [], 'PostgreSQL reads the same values out of it again');
diag(scalar(@types) . ' types, ' . run('SELECT count(*) FROM got') . ' rows');

run("SELECT changefeed_cancel($job)");
$node->stop('fast');
done_testing();
