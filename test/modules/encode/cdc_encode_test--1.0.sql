-- Encodes the rows of a query as they come from the executor, out-of-line
-- values included: the key, an insert or update, and a delete.
CREATE FUNCTION encode_query(query text, key text[] DEFAULT '{}',
	key_in_value bool DEFAULT false, topic text DEFAULT NULL,
	updated text DEFAULT NULL,
	OUT key_text text, OUT upsert text, OUT delete text)
	RETURNS SETOF record LANGUAGE c AS 'MODULE_PATHNAME';

-- One value of any type.
CREATE FUNCTION encode_value("any") RETURNS text LANGUAGE c STRICT
	AS 'MODULE_PATHNAME';

CREATE FUNCTION encode_resolved(text) RETURNS text LANGUAGE c STRICT
	AS 'MODULE_PATHNAME';

-- Encodes the rows of a query "loops" times: nanoseconds and bytes per row.
CREATE FUNCTION encode_bench(query text, key text[] DEFAULT '{}',
	loops int DEFAULT 100, OUT ns float8, OUT bytes float8)
	LANGUAGE c STRICT AS 'MODULE_PATHNAME';
