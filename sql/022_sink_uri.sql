-- What a sink's URI is refused for. Nothing here is sent anywhere.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY default
CREATE SCHEMA uri;
SET search_path = uri, public;
CREATE TABLE foo (a int PRIMARY KEY);

-- scheme
SELECT changefeed_create('{foo}', 'foo');
SELECT changefeed_create('{foo}', 'kafka:/h');
SELECT changefeed_create('{foo}', 'kafka%3A%2F%2Fnope%0A');
SELECT changefeed_create('{foo}', 'user:geheim@host');

-- form
SELECT changefeed_create('{foo}', E'null://\n');
SELECT changefeed_create('{foo}', 'null://#x');
SELECT changefeed_create('{foo}', 'null://?a=%');
SELECT changefeed_create('{foo}', 'null://?a=%00');
SELECT changefeed_create('{foo}', 'null://?a=%zz');
SELECT changefeed_create('{foo}', 'kafka://u:ge/heim@h');
SELECT changefeed_create('{foo}', 'kafka://[::1');

-- parameters
\set VERBOSITY terse
SELECT changefeed_create('{foo}', 'ftp://nope/');
SELECT changefeed_create('{foo}', 'null://?nope=x&a%20b=y');
SELECT changefeed_create('{foo}', 'kafka://nope/?kafka_topic_prefix=foo');
SELECT changefeed_create('{foo}', 'kafka://nope/?tls_enabled=foo');
SELECT changefeed_create('{foo}', 'kafka://nope/?topic_prefix=a&topic_prefix=b');
SELECT changefeed_create('{foo}', 'kafka://nope/?sasl_password=ge&heim');

SET client_min_messages = warning;
SELECT count(*) FROM changefeed_jobs;
DROP SCHEMA uri CASCADE;
