-- The options as the view shows them. The lines of the first query are those
-- of the README's table: `make readme` takes them from the expected output.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
SELECT '| option | value | default | meaning |'
UNION ALL SELECT '| --- | --- | --- | --- |'
UNION ALL (SELECT format('| `%s` | %s | %s | %s |', name,
	CASE WHEN type LIKE '''%' THEN '`' || replace(type, ' | ', '`, `') || '`' ELSE type END,
	coalesce('`' || default_value || '`', ''), description)
	FROM changefeed_options WHERE supported);
-- known, and refused
SELECT string_agg(name, ', ' ORDER BY name COLLATE "C") FROM changefeed_options WHERE NOT supported;
\pset format aligned
\pset tuples_only off

-- everybody may look
CREATE ROLE cdc_regress_reader;
SET ROLE cdc_regress_reader;
SELECT count(*) > 40 AS ok FROM changefeed_options;
RESET ROLE;
DROP ROLE cdc_regress_reader;
