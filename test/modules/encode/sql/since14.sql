-- What PostgreSQL 13 does not have; the Makefile leaves this out there.
\set ECHO all
\pset format unaligned
\pset tuples_only on
SELECT encode_value(v) FROM unnest('{Infinity,-Infinity}'::numeric[]) v;
SELECT encode_value('{[1,2),[3,4)}'::int4multirange);
