-- Exact text of messages.
CREATE EXTENSION cdc_encode_test;
\set ECHO all
\pset format unaligned
\pset tuples_only on
-- what workers pin
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
SET extra_float_digits = 1;
SET bytea_output = 'hex';

-- envelope: members, separators, order of columns by bytes
CREATE TABLE foo (b text, a int PRIMARY KEY, "B" int, "é" int, "a""b\c" int, aa int, "A" bool);
INSERT INTO foo VALUES ('x', 1, 2, 3, 4, 5, true), (NULL, 2, NULL, NULL, NULL, NULL, NULL);
SELECT upsert FROM encode_query('TABLE foo', '{a}');
SELECT key_text, upsert, delete FROM encode_query('SELECT a, b FROM foo', '{a}', true, 'to"pic', '1700000000000000000.0000000002');
SELECT key_text, upsert, delete FROM encode_query('SELECT a, b FROM foo LIMIT 1', '{b,a}', true);
SELECT key_text, upsert, delete FROM encode_query('SELECT a, b FROM foo LIMIT 1', '{}', true);
SELECT key_text, upsert, delete FROM encode_query('SELECT a, b FROM foo LIMIT 1', '{a}', false, NULL, '1.0000000000');
SELECT upsert, delete FROM encode_query('SELECT a FROM foo LIMIT 1', '{a}', false, 't');
SELECT key_text, upsert FROM encode_query('SELECT FROM foo LIMIT 1');
SELECT encode_resolved('1588774006244812000.0000000000');
-- names around the size of the blocks they are copied in
SELECT upsert FROM encode_query('SELECT 1 AS c234567890, 2 AS c2345678901, 3 AS c23456789012, 4 AS ' || repeat('n', 63));
-- dropped and generated columns
ALTER TABLE foo DROP COLUMN "B";
ALTER TABLE foo ADD COLUMN g int GENERATED ALWAYS AS (a * 10) STORED, ADD COLUMN late text DEFAULT 'added';
SELECT upsert FROM encode_query('TABLE foo', '{a}');
DROP TABLE foo;

-- numbers
SELECT encode_value(v) FROM unnest('{-32768,0,32767}'::int2[]) v;
SELECT encode_value(v) FROM unnest('{-2147483648,-1,2147483647}'::int4[]) v;
SELECT encode_value(v) FROM unnest('{-9223372036854775808,0,9223372036854775807}'::int8[]) v;
SELECT encode_value(v) FROM unnest('{0,4294967295}'::oid[]) v;
SELECT encode_value(v) FROM unnest('{0,-0,1,1.5,-0.25,100,1e20,1e-7,3.4028235e38,1e-45,NaN,Infinity,-Infinity}'::float4[]) v;
SELECT encode_value(v) FROM unnest('{0,-0,4.5,0.5032135844230652,0.1,1e15,1e16,1e-5,1e300,1.7976931348623157e308,5e-324,NaN,Infinity,-Infinity}'::float8[]) v;
SELECT encode_value(v) FROM unnest('{0,0.00,-0.001,1.50,53.00,10000,9999,100000000,0.0001,0.00001,1e20,1e-20,12345678901234567890.123456789,NaN}'::numeric[]) v;
SELECT encode_value(true), encode_value(false);

-- strings
SELECT encode_value(v) FROM unnest(ARRAY['', 'a', E'"\\/', E'\b\f\n\r\t\x01\x1f\x7f', 'é€😀', E'a\u2028b', repeat('x', 40) || '"' || repeat('y', 40) || E'\n']) v;
SELECT encode_value('a'::char(3)), encode_value('v'::varchar(5)), encode_value('n'::name), encode_value(''::name);
SELECT encode_value(v) FROM unnest(ARRAY['a', '"', '', (-1)::"char"]) v;
SELECT encode_value(v) FROM unnest(ARRAY['\x', '\x0102ff', 'foo']::bytea[]) v;
SELECT encode_value('27F4F4C9-e35a-45dd-9b79-5ff0f9b5fbb0'::uuid);

-- dates and times
SELECT encode_value(v) FROM unnest('{2019-01-02,2024-02-29,0001-01-01,0044-03-15 BC,4713-11-24 BC,9999-12-31,10000-01-01,5874897-12-31,infinity,-infinity}'::date[]) v;
SELECT encode_value(v) FROM unnest('{2019-01-02 03:04:05,2020-02-29 23:59:59.5,1999-12-31 23:59:59.999999,0001-12-31 23:59:59.01 BC,4713-11-24 00:00:00 BC,294276-12-31 23:59:59.999999,infinity,-infinity}'::timestamp[]) v;
SELECT encode_value(v) FROM unnest('{2019-01-02 03:04:05+02,2020-02-29 23:59:59.123456+00,1969-12-31 23:59:59.9+00,0044-03-15 12:00:00+00 BC,294276-12-31 23:59:59.999999+00,infinity,-infinity}'::timestamptz[]) v;
SELECT encode_value(v) FROM unnest('{00:00,15:04:05.123456,03:04:05.5,24:00:00}'::time[]) v;
SELECT encode_value('15:04:05.123456-05'::timetz), encode_value('1 year 2 mons 3 days 04:05:06'::interval), encode_value('1 day 02:03:04'::interval);

-- jsonb: keys by bytes, scalars, emptiness
SELECT encode_value(v) FROM unnest(ARRAY['{"b": 1, "l": [true, null, "x"]}', '"text"', '[]', '{}', 'null', 'true', '1.50', '-0.0', '1e5', '{"z": 1, "aa": 2, "a": {"é": [], "": {}}, "B": [[], {}, [1]]}', '[1, [2, [3, {"k\n\"": "v\t\\"}]]]', '{"key4567": 1, "key45678": 2, "key456789": 3, "key4": 4, "ke": 5, "key45": 6}']::jsonb[]) v;
-- json: one line, order and repetition kept
SELECT encode_value(E'\n{ "b" : 1 ,\t"a":[ ] , "b":{"x y":" : , [ \\" \\\\" ,"n":-1.50e+3}\n}\n'::json);
SELECT encode_value(v) FROM unnest(ARRAY['"a\\"', ' null ', '[ true , false ]', '""', '12']::json[]) v;

-- arrays
SELECT encode_value(v) FROM (VALUES ('{10,20,30}'::int[]), ('{42,NULL,42,43}'), ('{}'), ('{NULL}'), ('{{1,2},{3,NULL}}'), ('{{{1},{2}},{{3},{4}}}'), ('[5:6]={1,2}')) t(v);
SELECT encode_value(ARRAY['a', NULL, '"', '']), encode_value(ARRAY[1.50, 'NaN']), encode_value('{t,f}'::bool[]), encode_value('{2024-01-01}'::date[]);
SELECT encode_value(ARRAY['{"b": 1, "a": 2}', '[]']::jsonb[]), encode_value('1 2 3'::int2vector), encode_value('{a,b}'::name[]), encode_value('{x,y}'::"char"[]);
SELECT encode_value(ARRAY[repeat('x', 3), repeat('"', 5)]);

-- enums, domains, composites
CREATE TYPE mood AS ENUM ('sad', 'so "so"', 'happy');
CREATE DOMAIN posint AS int CHECK (value > 0);
CREATE DOMAIN posints AS posint[];
CREATE TYPE pair AS (y int, x text);
CREATE TYPE outer_pair AS (p pair, ps pair[], m mood, d posint);
CREATE DOMAIN dpair AS pair;
SELECT encode_value('so "so"'::mood), encode_value('{sad,happy}'::mood[]), encode_value(5::posint), encode_value('{1,2}'::posints);
SELECT encode_value('(1,a)'::pair), encode_value('(,)'::pair), encode_value('(1,"q""")'::dpair);
SELECT encode_value(ROW(ROW(1, 'a'), ARRAY[ROW(2, 'b'), NULL]::pair[], 'sad', 7)::outer_pair);
SELECT encode_value(ROW(1, 'two', ROW(3.0, ROW(NULL, true)))), encode_value(ARRAY[ROW(1, 'a'), ROW(2, 'b')]);
SELECT encode_value(ROW());
-- a row type that changes under the same encoder
CREATE TABLE holder (id int, p pair);
INSERT INTO holder VALUES (1, ROW(1, 'old'));
ALTER TYPE pair ADD ATTRIBUTE z bool, DROP ATTRIBUTE y;
INSERT INTO holder VALUES (2, ROW('new', true));
SELECT upsert FROM encode_query('TABLE holder');
CREATE FUNCTION alter_between() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR i IN 1..2 LOOP
		FOR r IN SELECT * FROM holder LOOP
			RETURN NEXT encode_value(r.p);
		END LOOP;
		IF i = 1 THEN
			ALTER TYPE pair ADD ATTRIBUTE a int;
		END IF;
	END LOOP;
END $$;
SELECT alter_between();

-- text forms
SELECT encode_value('10.0.0.0/8'::inet), encode_value('190.0.0.0'::inet), encode_value('10.0.0.0/8'::cidr), encode_value('::1'::inet), encode_value('08:00:2b:01:02:03'::macaddr);
SELECT encode_value(B'101'), encode_value(B'01'::varbit), encode_value('12.34'::money), encode_value('0/16B3748'::pg_lsn), encode_value('pg_class'::regclass), encode_value('a fat cat'::tsvector), encode_value('a & b'::tsquery);
SELECT encode_value('[1,5)'::int4range), encode_value('["2024-01-01 00:00","2024-01-02 00:00")'::tsrange), encode_value('(1,2)'::point), encode_value('<a>"x"</a>'::xml), encode_value('12'::xid), encode_value(ARRAY['[1,2)', 'empty']::int4range[]);

-- values that are compressed or out of line
CREATE TABLE big (id int PRIMARY KEY, t text, u text, n numeric, j jsonb, a int[], b bytea, p json);
ALTER TABLE big ALTER u SET STORAGE EXTERNAL;
INSERT INTO big SELECT 1, repeat('compress "me"', 10000), string_agg(md5(i::text), ''), (repeat('123456789', 1000) || '.' || repeat('5', 1000))::numeric,
	jsonb_object_agg(md5(i::text), i), array_agg(i), string_agg(sha256(i::text::bytea), ''), json_agg(i)
	FROM generate_series(1, 3000) i;
SELECT bool_and(pg_column_size(t) < 10000), count(*) FROM big;
SELECT (x->>'id')::int = id, x->>'t' = t, x->>'u' = u, (x->'n')::text = n::text, x->'j' = j, x->'a' = to_jsonb(a), (x->>'b')::bytea = b, x->'p' = p::jsonb
	FROM big, (SELECT (upsert::jsonb)->'after' AS x FROM encode_query('TABLE big', '{id}')) s;

-- depth costs no C stack
SELECT length(encode_value((repeat('[', 3000) || repeat(']', 3000))::jsonb));
SELECT length(encode_value((repeat('{"a":', 3000) || '1' || repeat('}', 3000))::jsonb));

DROP TABLE big, holder;
DROP FUNCTION alter_between;
DROP TYPE outer_pair;
DROP DOMAIN dpair, posints, posint;
DROP TYPE pair, mood;
