# Whoever updates the extension gets the catalog of a fresh one: each version
# that is installed beside the default is created, updated and compared.

use strict;
use warnings;

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('upgrade', extension => 0);

# all objects of the extension, with what they are made of, and its privileges
my $catalog = q{
SELECT pg_describe_object(d.classid, d.objid, 0) || coalesce(' ' || CASE d.classid
	WHEN 'pg_proc'::regclass THEN (SELECT concat_ws(' ', pg_get_functiondef(p.oid), p.proacl) FROM pg_proc p WHERE p.oid = d.objid)
	WHEN 'pg_class'::regclass THEN (SELECT concat_ws(' ', c.relkind, c.reloptions, c.relacl, c.relrowsecurity, pg_get_viewdef(c.oid),
		(SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			pg_get_expr(x.adbin, x.adrelid)), ', ' ORDER BY a.attnum)
		FROM pg_attribute a LEFT JOIN pg_attrdef x ON x.adrelid = a.attrelid AND x.adnum = a.attnum
		WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
		(SELECT string_agg(pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname) FROM pg_constraint k WHERE k.conrelid = c.oid),
		(SELECT string_agg(pg_get_indexdef(i.indexrelid), ', ' ORDER BY 1) FROM pg_index i WHERE i.indrelid = c.oid))
		FROM pg_class c WHERE c.oid = d.objid)
	WHEN 'pg_namespace'::regclass THEN (SELECT n.nspacl::text FROM pg_namespace n WHERE n.oid = d.objid)
	END, '') || coalesce(' ' || obj_description(d.objid, d.classid::regclass::name), '')
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'cdc_sink' AND d.deptype = 'e'
UNION ALL SELECT 'dumped ' || c::regclass::text FROM pg_extension, unnest(extconfig) c WHERE extname = 'cdc_sink'
ORDER BY 1};

sub catalog_of
{
	my ($db, @sql) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, $_) for @sql;
	return $node->safe_psql($db, $catalog);
}

my $fresh = catalog_of('fresh', 'CREATE EXTENSION cdc_sink');
like($fresh, qr/changefeed_create/, 'the catalog of a fresh extension');
isnt(catalog_of('changed', 'CREATE EXTENSION cdc_sink', 'ALTER TABLE cdc_sink.job ADD COLUMN more int'),
	$fresh, 'a difference is found');

my @old = split /\n/, $node->safe_psql('postgres', q{
	SELECT version FROM pg_available_extension_versions v JOIN pg_available_extensions e USING (name)
	WHERE name = 'cdc_sink' AND version <> default_version});
for my $version (@old)
{
	(my $db = "from_$version") =~ s/\W/_/g;
	is(catalog_of($db, "CREATE EXTENSION cdc_sink VERSION '$version'", 'ALTER EXTENSION cdc_sink UPDATE'),
		$fresh, "an update from $version");
}
diag(@old . ' older versions');

$node->stop;
done_testing();
