-- Tables of the scripted workload and the rows that are there when a reader
-- of the changes starts. workload.sql follows.
SET TimeZone = 'UTC';
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE EXTENSION ltree;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE DOMAIN price AS numeric(8, 2);
CREATE DOMAIN shorttext AS varchar(10);
CREATE SCHEMA inv;

-- operations, by identity
CREATE TABLE ops (id int PRIMARY KEY, name text, n bigint);
CREATE TABLE ops_full (id int PRIMARY KEY, name text, n bigint);
ALTER TABLE ops_full REPLICA IDENTITY FULL;
CREATE TABLE ops_index (id int NOT NULL, code varchar(8) NOT NULL, name text);
CREATE UNIQUE INDEX ops_index_code ON ops_index (code);
ALTER TABLE ops_index REPLICA IDENTITY USING INDEX ops_index_code;
CREATE TABLE ops_two (a int, b text, v text, PRIMARY KEY (b, a));
CREATE TABLE ops_nokey (id int, name text);
ALTER TABLE ops_nokey REPLICA IDENTITY FULL;
CREATE TABLE inv.orders (id serial PRIMARY KEY, item text NOT NULL DEFAULT 'none', qty int DEFAULT 1);
CREATE TABLE "Odd Name" ("Id" int PRIMARY KEY, "a b" text, "ü" int);
CREATE TABLE trunc (id int PRIMARY KEY, v text);
CREATE TABLE trunc2 (id int PRIMARY KEY, v text);

-- large values
CREATE TABLE toast (id int PRIMARY KEY, small int, big text, bin bytea, js jsonb, arr text[], nums int[]);
ALTER TABLE toast ALTER big SET STORAGE EXTERNAL, ALTER bin SET STORAGE EXTERNAL, ALTER js SET STORAGE EXTERNAL,
	ALTER arr SET STORAGE EXTERNAL, ALTER nums SET STORAGE EXTERNAL;
CREATE TABLE toast_full (LIKE toast INCLUDING ALL);
ALTER TABLE toast_full REPLICA IDENTITY FULL;

CREATE TABLE toast_types (id int PRIMARY KEY, small int, n numeric, hs hstore, tsv tsvector, x xml, u uuid[], f float8[], d date[],
	b bool[], n52 numeric(5, 2)[], vb varbit, j json, ci citext, i8 int8[], ba bytea[], tz timestamptz[], nn text NOT NULL);
DO $$
DECLARE c text;
BEGIN
	FOREACH c IN ARRAY '{n,hs,tsv,x,u,f,d,b,n52,vb,j,ci,i8,ba,tz,nn}'::text[] LOOP
		EXECUTE format('ALTER TABLE toast_types ALTER %I SET STORAGE EXTERNAL', c);
	END LOOP;
END $$;

-- types
CREATE TABLE t_num (id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, o oid,
	n numeric, n5 numeric(5), n52 numeric(5, 2), n30 numeric(30, 10), n00 numeric(3, 3), m money);
CREATE TABLE t_text (id int PRIMARY KEY, t text, v varchar, v10 varchar(10), c1 char, c5 char(5), nm name, ch "char",
	ci citext, lt ltree, x xml, j json, jb jsonb, u uuid, e mood, tsv tsvector, jp jsonpath);
CREATE TABLE t_time (id int PRIMARY KEY, d date, t time, t0 time(0), t3 time(3), tz timetz, tz3 timetz(3),
	ts timestamp, ts0 timestamp(0), ts3 timestamp(3), ts6 timestamp(6), tstz timestamptz, tstz0 timestamptz(0),
	tstz3 timestamptz(3), iv interval);
CREATE TABLE t_bin (id int PRIMARY KEY, ba bytea, bit1 bit, bit5 bit(5), bit64 bit(64), bit70 bit(70), vb varbit, vb8 varbit(8));
CREATE TABLE t_net (id int PRIMARY KEY, ip inet, net cidr, mac macaddr, mac8 macaddr8);
CREATE TABLE t_range (id int PRIMARY KEY, r4 int4range, r8 int8range, rn numrange, rd daterange, rts tsrange, rtz tstzrange);
CREATE TABLE t_mrange (id int PRIMARY KEY, m4 int4multirange, mn nummultirange);
CREATE TABLE t_geo (id int PRIMARY KEY, p point, l line, s lseg, bx box, pa path, po polygon, ci circle);
CREATE TABLE t_array (id int PRIMARY KEY, ab bool[], ai2 int2[], ai4 int4[], ai8 int8[], af4 float4[], af8 float8[],
	an numeric[], an52 numeric(5, 2)[], at text[], av varchar(5)[], ac char(3)[], au uuid[], ad date[], atm time[],
	ats timestamp[], atz timestamptz[], aj json[], ajb jsonb[], ae mood[], aip inet[], aba bytea[], aci citext[],
	ao oid[], ar int4range[], amac macaddr[]);
CREATE TABLE t_array2 (id int PRIMARY KEY, m int[], aiv interval[], atz timetz[], am money[], abit bit(3)[], avb varbit[],
	ahs hstore[], alt ltree[], ap point[], ax xml[], anm name[]);
CREATE TABLE t_domain (id int PRIMARY KEY, p posint, pr price, s shorttext, ap posint[]);
CREATE TABLE t_hstore (id int PRIMARY KEY, h hstore);
CREATE TABLE t_other (id int PRIMARY KEY, pr pair, ls pg_lsn, ti tid, xi xid, x8 xid8, ci cid, sn txid_snapshot,
	rc regclass, rt regtype, tq tsquery, ov oidvector, iv2 int2vector, apr pair[]);
CREATE TABLE t_default (id int PRIMARY KEY, a int DEFAULT 42, b text DEFAULT 'it''s', c varchar(10) NOT NULL DEFAULT 'x',
	d numeric(6, 2) DEFAULT 1.5, e bool DEFAULT true, f date DEFAULT '2020-01-02', g timestamp DEFAULT '2020-01-02 03:04:05.678901',
	h timestamptz DEFAULT now(), i float8 DEFAULT 2.5, j int8 DEFAULT -7, k jsonb DEFAULT '{"a": 1}', l text DEFAULT upper('q'),
	m uuid DEFAULT '11111111-2222-3333-4444-555555555555', n mood DEFAULT 'ok', o interval DEFAULT '1 day', p time DEFAULT '10:11:12',
	q bytea DEFAULT '\x0102', r int[] DEFAULT '{1,2}', s timestamptz DEFAULT '2020-01-02 03:04:05+00', t text NOT NULL DEFAULT '',
	u numeric DEFAULT 3.25, v int2 DEFAULT 3, w float4 DEFAULT 0.5, x text DEFAULT NULL, y bit(3) DEFAULT B'101', z char(3) DEFAULT 'ab',
	n0 int NOT NULL, g1 int GENERATED ALWAYS AS (a + 1) STORED, i1 int GENERATED BY DEFAULT AS IDENTITY);
CREATE TABLE t_notnull (id int PRIMARY KEY, a bool NOT NULL, b int2 NOT NULL, c int8 NOT NULL, d float8 NOT NULL, e numeric NOT NULL,
	f numeric(5, 2) NOT NULL, g text NOT NULL, h bytea NOT NULL, i date NOT NULL, j time NOT NULL, k timestamp NOT NULL,
	l timestamptz NOT NULL, m uuid NOT NULL, n jsonb NOT NULL, o int[] NOT NULL, p interval NOT NULL, q mood NOT NULL,
	r bit(3) NOT NULL, s hstore NOT NULL, t point NOT NULL, u timetz NOT NULL, v money NOT NULL, w text NOT NULL DEFAULT 'w',
	x oid NOT NULL, y bit NOT NULL, z float4 NOT NULL, aa int4range NOT NULL, ab inet NOT NULL, ac timestamp(3) NOT NULL,
	ad time(3) NOT NULL, ae xml NOT NULL, af tsvector NOT NULL, ag ltree NOT NULL, ah citext NOT NULL, ai char(3) NOT NULL);
CREATE TABLE t_extreme (id int PRIMARY KEY, d date, ts timestamp, tz timestamptz, f4 float4, f8 float8, adt date[], ats timestamp[], atz timestamptz[]);
CREATE TABLE t_nan (id int PRIMARY KEY, n numeric, n52 numeric(5, 2), an numeric[]);
CREATE TABLE t_key (u uuid, ts timestamptz, n numeric(6, 2), d date, t text, b bytea, PRIMARY KEY (u, ts, n, d, t, b));
CREATE TABLE marker (id int PRIMARY KEY);

-- rows that are there already
INSERT INTO ops VALUES (1, 'one', 1), (2, 'two', 2), (3, NULL, NULL);
INSERT INTO ops_full VALUES (1, 'one', 1);
INSERT INTO ops_two VALUES (1, 'b', 'v');
INSERT INTO ops_nokey VALUES (1, 'a');
INSERT INTO inv.orders (item) VALUES ('pen');
INSERT INTO toast VALUES (1, 1, repeat('x', 10000), decode(repeat('ab', 10000), 'hex'), jsonb_build_object('a', repeat('y', 10000)),
	ARRAY[repeat('z', 10000)], (SELECT array_agg(i) FROM generate_series(1, 3000) i));
INSERT INTO toast_full SELECT * FROM toast;
INSERT INTO toast_types SELECT 1, 1, (repeat('1234567890', 900) || '.5')::numeric, hstore('k', repeat('v', 9000)),
	to_tsvector('simple', (SELECT string_agg('w' || i, ' ') FROM generate_series(1, 2000) i)), ('<a>' || repeat('x', 9000) || '</a>')::xml,
	(SELECT array_agg('12345678-1234-5678-9abc-def012345678'::uuid) FROM generate_series(1, 600)),
	(SELECT array_agg(i::float8) FROM generate_series(1, 1200) i), (SELECT array_agg('2020-01-01'::date + i) FROM generate_series(1, 2400) i),
	(SELECT array_agg(true) FROM generate_series(1, 9000)), (SELECT array_agg(1.5::numeric(5, 2)) FROM generate_series(1, 1000)),
	repeat('10', 40000)::varbit, to_json(repeat('j', 9000)), repeat('c', 9000), (SELECT array_agg(i::int8) FROM generate_series(1, 1200) i),
	ARRAY[decode(repeat('ab', 9000), 'hex')], (SELECT array_agg('2020-01-01+00'::timestamptz) FROM generate_series(1, 1200)), repeat('n', 9000);
INSERT INTO trunc VALUES (1, 'a');
INSERT INTO trunc2 VALUES (1, 'a');
\ir types.sql
