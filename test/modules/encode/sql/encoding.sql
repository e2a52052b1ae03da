-- Databases that are not in UTF-8: messages are, always.
\set ECHO all
\pset format unaligned
\pset tuples_only on
SELECT current_database() AS db \gset
CREATE DATABASE cdc_encode_latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE cdc_encode_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE cdc_encode_eucjp TEMPLATE template0 ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C';

\c cdc_encode_latin1
SET client_encoding = 'UTF8';
CREATE EXTENSION cdc_encode_test;
CREATE TABLE t ("é" text, j jsonb, js json, a text[], c "char");
INSERT INTO t VALUES ('aé"ÿ', '{"é": "ü", "z": 1}', '{"é" : "ü\u00e9"}', '{é}', (-23)::"char");
-- the bytes as they are, read as UTF-8
SELECT convert_to(upsert, 'LATIN1') = convert_to($${"after": {"a": ["é"], "c": "\\351", "j": {"z": 1, "é": "ü"}, "js": {"é": "ü\u00e9"}, "é": "aé\"ÿ"}, "topic": "ï"}$$, 'UTF8')
	FROM encode_query('TABLE t', '{}', false, 'ï');

\c cdc_encode_ascii
CREATE EXTENSION cdc_encode_test;
CREATE FUNCTION bytes(b bytea) RETURNS text LANGUAGE sql AS $$ SELECT convert_from(b, 'SQL_ASCII') $$;
-- valid UTF-8 stays; invalid, cut off, overlong and surrogate bytes are replaced
SELECT convert_to(encode_value(bytes(v)), 'SQL_ASCII') FROM unnest(ARRAY['abc', '\xc3a9', '\xe282ac', '\xf09f9880', '\xff22ff', '\x61e282', '\xc0af', '\xeda080', '\x80', '\xf5808080']::bytea[]) v;
SELECT convert_to(encode_value(to_jsonb(bytes('\x61ff62'))), 'SQL_ASCII');
SELECT convert_to(encode_value(('"' || bytes('\xff') || '"')::json), 'SQL_ASCII');

\c cdc_encode_eucjp
SET client_encoding = 'UTF8';
CREATE EXTENSION cdc_encode_test;
CREATE TABLE t AS SELECT '日本"語'::text AS v;
SET client_encoding = 'SQL_ASCII';	-- no conversion of the result
SELECT textsend(encode_value(v)) = '\x22e697a5e69cac5c22e8aa9e22' FROM t;

\c :db
DROP DATABASE cdc_encode_latin1;
DROP DATABASE cdc_encode_ascii;
DROP DATABASE cdc_encode_eucjp;
