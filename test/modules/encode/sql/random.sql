-- The encoder's own writers against core's output functions; all counts of
-- differences must be 0.
-- (Strings hold no backspace and form feed: core has short forms for them.)
\set ECHO all
\pset format unaligned
\pset tuples_only on
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET extra_float_digits = 1;
SELECT setseed(0.5);

-- bits of a random 64-bit number
CREATE FUNCTION r64() RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT (floor(random() * 4294967296)::bigint << 32) | floor(random() * 4294967296)::bigint $$;
-- a number between 0 and 2^bits with all sizes alike
CREATE FUNCTION rsize(bits int) RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT r64() >> (64 - bits + floor(random() * bits)::int) $$;
CREATE FUNCTION digits(n int) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg(CASE WHEN random() < 0.3 THEN '0' ELSE floor(random() * 10)::int::text END, '') FROM generate_series(1, n) $$;

SELECT count(*) FROM (SELECT rsize(64) AS v FROM generate_series(1, 100000)) t WHERE encode_value(v) <> v::text;
SELECT count(*) FROM (SELECT rsize(32)::int4 AS v FROM generate_series(1, 100000)) t WHERE encode_value(v) <> v::text;
SELECT count(*) FROM (SELECT v::int2 AS v FROM generate_series(-32768, 32767) v) t WHERE encode_value(v) <> v::text;

SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> v::text) FROM (
	SELECT (CASE WHEN random() < 0.5 THEN '-' ELSE '' END || digits(1 + (random() * 30)::int) || CASE WHEN random() < 0.7 THEN '.' || digits(1 + (random() * 30)::int) ELSE '' END
		|| CASE WHEN random() < 0.3 THEN 'e' || (random() * 60 - 30)::int ELSE '' END)::numeric AS v
	FROM generate_series(1, 150000)) t;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> v::text) FROM (
	SELECT (digits(1 + (random() * 5)::int) || 'e' || (random() * 8000 - 4000)::int)::numeric AS v FROM generate_series(1, 3000)) t;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> v::text) FROM (
	SELECT round((random() * 10 ^ (random() * 12))::numeric, (random() * 12)::int - 4) AS v FROM generate_series(1, 100000)) t;
SELECT encode_value(v) = v::text, length(v::text) FROM (VALUES (('1e131071')::numeric), ('-1e-16383'), ('1e131071'::numeric + '1e-16383'::numeric)) t(v);

SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> v::text) FROM (
	SELECT ((random() - 0.5) * 10.0 ^ (random() * 600 - 300))::float8 AS v FROM generate_series(1, 100000)) t;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> v::text) FROM (
	SELECT (rsize(60)::float8 / (10 ^ (random() * 10)::int)) AS v FROM generate_series(1, 100000)) t;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> v::text) FROM (
	SELECT ((random() - 0.5) * 10.0 ^ (random() * 70 - 35))::float4 AS v FROM generate_series(1, 100000)) t;

SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> to_json(v)::text) FROM (
	SELECT date '4713-11-24 BC' + (random() * 2147483493)::int AS v FROM generate_series(1, 100000)
	UNION ALL SELECT date '0300-01-01 BC' + i FROM generate_series(1, 1000000, 9) i) t;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> to_json(v)::text),
	count(*) FILTER (WHERE encode_value(v AT TIME ZONE 'UTC') <> replace(to_json(v AT TIME ZONE 'UTC')::text, '+00:00', 'Z')) FROM (
	SELECT timestamp '4713-11-24 00:00:00 BC' + (random() * 109203000)::int * interval '1 day' + abs(rsize(37)) * interval '1 us' AS v FROM generate_series(1, 150000)) t;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> to_json(v)::text),
	count(*) FILTER (WHERE encode_value(v::timestamptz) <> replace(to_json(v::timestamptz)::text, '+00:00', 'Z')) FROM (
	SELECT timestamp '1999-06-01' + round(random() * 1e9)::bigint % (10 ^ (1 + i % 9))::bigint * interval '1 us' + i * interval '1 hour' AS v FROM generate_series(1, 100000) i) t;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> '"' || v || '"') FROM (
	SELECT time '00:00' + (rsize(37) % 86400000000) * interval '1 us' AS v FROM generate_series(1, 100000)) t;
SELECT count(*) FILTER (WHERE encode_value(v) <> '"' || v || '"') FROM (SELECT gen_random_uuid() AS v FROM generate_series(1, 100000)) t;
SELECT count(*) FILTER (WHERE encode_value(v) <> to_json(v::text)::text) FROM (SELECT substr(sha512(i::text::bytea), 1, i % 65) AS v FROM generate_series(1, 20000) i) t;

-- strings of all lengths, with special characters at all places
CREATE FUNCTION rtext(len int) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(string_agg(CASE WHEN random() < 0.95 THEN chr(97 + (random() * 25)::int) ELSE chr((ARRAY[34, 92, 10, 13, 9, 1, 31, 32, 33, 35, 91, 93, 127, 233, 8364, 128512])[1 + floor(random() * 16)::int]) END, ''), '') FROM generate_series(1, len) $$;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> to_json(v)::text) FROM (SELECT rtext(i % 70) AS v FROM generate_series(1, 30000) i) t;
SELECT count(*) FILTER (WHERE encode_value(v) <> to_json(v)::text) FROM (
	SELECT overlay(repeat('é', len) PLACING c FROM pos FOR 1) AS v FROM generate_series(1, 60) len, generate_series(1, len) pos, unnest(ARRAY['"', E'\\', E'\n', E'\x1f', ' ']) c) t;

-- jsonb against a slow writer of our style
CREATE FUNCTION styled(j jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT CASE jsonb_typeof(j)
		WHEN 'object' THEN '{' || coalesce((SELECT string_agg(to_json(key)::text || ': ' || styled(value), ', ' ORDER BY key COLLATE "C") FROM jsonb_each(j)), '') || '}'
		WHEN 'array' THEN '[' || coalesce((SELECT string_agg(styled(value), ', ' ORDER BY n) FROM jsonb_array_elements(j) WITH ORDINALITY a(value, n)), '') || ']'
		ELSE j::text END $$;
CREATE FUNCTION rjson(depth int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	k float8 := random();
	result jsonb;
	n int := CASE WHEN random() < 0.03 THEN 100 ELSE (random() * 6)::int END;
BEGIN
	IF depth > 0 AND k < 0.4 THEN
		SELECT coalesce(jsonb_object_agg(rtext((random() * 12)::int), rjson(depth - 1)), '{}') INTO result FROM generate_series(1, n);
	ELSIF depth > 0 AND k < 0.6 THEN
		SELECT coalesce(jsonb_agg(rjson(depth - 1)), '[]') INTO result FROM generate_series(1, n);
	ELSIF k < 0.8 THEN
		result := to_jsonb(rtext((random() * 30)::int));
	ELSIF k < 0.9 THEN
		result := to_jsonb(round((random() * 1e6)::numeric, (random() * 8)::int - 2));
	ELSE
		result := (ARRAY['true', 'false', 'null']::jsonb[])[1 + floor(random() * 3)::int];
	END IF;
	RETURN result;
END $$;
CREATE TABLE j AS SELECT CASE WHEN i % 2 = 0 THEN jsonb_build_object('k', rjson(3), 'long', rjson(2)) ELSE rjson(3) END AS v FROM generate_series(1, 4000) i;
SELECT count(*), count(*) FILTER (WHERE encode_value(v) <> styled(v)) FROM j;
SELECT count(*) FROM encode_query('SELECT v FROM j') e LEFT JOIN j ON (e.upsert::jsonb)->'after'->'v' = j.v WHERE j.v IS NULL;
-- json: the meaning and one line
SELECT count(*) FILTER (WHERE encode_value(jsonb_pretty(v)::json)::jsonb <> v), count(*) FILTER (WHERE encode_value(jsonb_pretty(v)::json) ~ E'\n') FROM j;
-- and our style, as jsonb's text has it
SELECT count(*) FILTER (WHERE encode_value(jsonb_pretty(v)::json) <> v::text) FROM j;
DROP TABLE j;

-- arrays
SELECT count(*), count(*) FILTER (WHERE encode_value(v)::jsonb <> to_jsonb(v)) FROM (
	SELECT (SELECT array_agg(CASE WHEN random() < 0.2 THEN NULL ELSE rsize(30)::int END) FROM generate_series(1, i % 40)) AS v FROM generate_series(1, 4000) i) t;
SELECT count(*), count(*) FILTER (WHERE encode_value(v)::jsonb <> to_jsonb(v)) FROM (
	SELECT (SELECT array_agg(CASE WHEN random() < 0.2 THEN NULL ELSE rtext((random() * 9)::int) END) FROM generate_series(1, i % 40)) AS v FROM generate_series(1, 2000) i) t;
SELECT count(*) FILTER (WHERE encode_value(v)::jsonb <> to_jsonb(v)) FROM (SELECT array_fill(i::int2, ARRAY[1 + i % 3, 1 + i % 4, 1 + i % 2, 1 + i % 5]) AS v FROM generate_series(1, 60) i) t;

DROP FUNCTION rjson, styled, rtext, digits, rsize, r64;
