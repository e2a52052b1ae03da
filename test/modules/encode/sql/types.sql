-- Every type of the server gives valid JSON that means the value.
\set ECHO all
\pset format unaligned
\pset tuples_only on
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET extra_float_digits = 1;

-- Tries literals until the type takes one.
CREATE FUNCTION sample(type text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	literal text;
	result text;
BEGIN
	FOREACH literal IN ARRAY ARRAY['{"a": [1, "b"]}', '1', 'a', '2024-02-29 12:34:56.5', '12:00', '10.1.0.0/16', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '(1,2)', '((1,2),(3,4))', '{1,2,3}', '<(1,2),3>', '[1,3)', 'empty', '{}', 't', '0/1', 'int4', 'pg_class', 'pg_catalog', '1:1:', 'now()', '+', '+(int4,int4)', 'simple', 'postgres', '(0,1)', '20240229', '27f4f4c9-e35a-45dd-9b79-5ff0f9b5fbb0', '1 day', 'C', '\x01', 'postgres=r/postgres'] LOOP
		BEGIN
			EXECUTE format('SELECT encode_value(%L::%s)', literal, type) INTO result;
		EXCEPTION WHEN OTHERS THEN
			CONTINUE;
		END;
		PERFORM result::jsonb;	-- valid
		RETURN result;
	END LOOP;
	RETURN NULL;
END $$;

-- types without any literal: none, but for those that take no input
SELECT format_type(oid, NULL) FROM pg_type
	WHERE typtype IN ('b', 'd', 'e', 'r', 'm') AND typname !~ '^(_|gtsvector|pg_(brin|dep|mcv|ndis|node))' AND sample(format_type(oid, NULL)) IS NULL
	AND typnamespace = 'pg_catalog'::regnamespace ORDER BY 1;
-- each type's array
SELECT format_type(oid, NULL) FROM pg_type t
	WHERE typtype = 'b' AND typname ~ '^_' AND typcategory = 'A'
	AND (sample(format_type(typelem, NULL)) IS NOT NULL AND sample(format_type(oid, NULL)) IS NULL)
	AND typnamespace = 'pg_catalog'::regnamespace ORDER BY 1;

-- rows of all kinds: the catalogs, with nested rows made of them
CREATE FUNCTION check_rows(rel regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n int;
	m int;
	bad int;
	-- the catalogs' since 14
	has_array bool := typarray <> 0 FROM pg_type WHERE typrelid = rel;
BEGIN
	EXECUTE format('SELECT count(*) FROM %s', rel) INTO n;
	SELECT count(*), count(*) FILTER (WHERE upsert::jsonb->'after' IS NULL OR delete::jsonb->'after' <> 'null')
		INTO m, bad FROM encode_query(format('SELECT * FROM %s', rel));
	IF m < n - 5 OR bad > 0 THEN
		RETURN format('%s: %s of %s, %s bad', rel, m, n, bad);
	END IF;
	SELECT count(*) FILTER (WHERE upsert::jsonb->'after'->'r' IS NULL) INTO bad
		FROM encode_query(format('SELECT r, %s AS a, row(r, 1) AS o FROM %s r LIMIT 100',
			CASE WHEN has_array THEN 'ARRAY[r]' ELSE 'NULL' END, rel));
	IF bad > 0 THEN
		RETURN format('%s: %s bad nested rows', rel, bad);
	END IF;
	RETURN NULL;
END $$;
SELECT check_rows(oid) FROM pg_class
	WHERE relkind = 'r' AND relnamespace = 'pg_catalog'::regnamespace AND check_rows(oid) IS NOT NULL;

-- the meaning is to_jsonb's, where the form is meant to be the same
CREATE TABLE alike (id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, b bool, t text, v varchar(20), c char(4), na name,
	d date, ti time, ts timestamp, u uuid, by bytea, j jsonb, js json, ia int[], ta text[], na2 numeric[], iv interval, ip inet, r int4range, bi bit(3));
INSERT INTO alike SELECT i, i, -i, i * 1234567890123, i * 0.1, i / 7.0, i * 1.10, i % 2 = 0, repeat(chr(33 + i), i), 'v' || i, 'c', 'n' || i,
	date '2000-01-01' + i * 100, time '00:00' + i * interval '1.1 s', timestamp '1900-01-01' + i * interval '100 days 1.01 s', md5(i::text)::uuid, sha256(i::text::bytea),
	jsonb_build_object('a', i, 'bb', jsonb_build_array(i, NULL, 'x')), json_build_object('z', i, 'a', i), ARRAY[i, NULL, -i], ARRAY['a', chr(34), NULL], ARRAY[i / 3.0],
	i * interval '1 day 1.5 s', '10.0.0.1', int4range(i, i + 5), B'101'
	FROM generate_series(1, 90) i;
INSERT INTO alike (id) VALUES (0);
SELECT count(*), count(*) FILTER (WHERE e.upsert::jsonb->'after' <> to_jsonb(a))
	FROM alike a JOIN encode_query('TABLE alike', '{id}') e ON e.key_text = '[' || a.id || ']';
DROP TABLE alike;
DROP FUNCTION check_rows, sample;
