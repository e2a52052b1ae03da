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
-- each of them by its name, and each supported one with a value that is none
-- of its, or without the one it needs
CREATE FUNCTION pg_temp.told(option text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM changefeed_sql('CREATE CHANGEFEED FOR nowhere INTO ''null://'' WITH ' || option);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END
$$;
SELECT name || ': ' || pg_temp.told(name || CASE type WHEN 'flag' THEN '' WHEN 'duration' THEN ' = ''1s'''
	WHEN 'json' THEN ' = ''{}''' WHEN 'string' THEN ' = ''a''' ELSE ' = ' || split_part(type, ' | ', 1) END)
	FROM changefeed_options WHERE NOT supported ORDER BY name COLLATE "C";
SELECT name || ': ' || pg_temp.told(name || CASE type WHEN 'flag' THEN ' = ''no''' WHEN 'string' THEN ''
	ELSE ' = ''none of its''' END)
	FROM changefeed_options WHERE supported ORDER BY name COLLATE "C";
\pset format aligned
\pset tuples_only off

-- everybody may look
CREATE ROLE cdc_regress_reader;
SET ROLE cdc_regress_reader;
SELECT count(*) > 40 AS ok FROM changefeed_options;
RESET ROLE;
DROP ROLE cdc_regress_reader;
