-- What the S3 sink says to URIs, without any server.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY terse
CREATE TABLE s3_t (id int PRIMARY KEY);
CREATE FUNCTION s3_uri(path text, params text DEFAULT '') RETURNS bigint LANGUAGE sql AS
$$SELECT changefeed_create('{s3_t}', 's3://' || path || '?AWS_ENDPOINT=http://127.0.0.1:1' || params)$$;
-- credentials
SELECT s3_uri('bucket/p');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=');
SELECT s3_uri('bucket/p', '&AUTH=none');
SELECT s3_uri('bucket/p', '&AUTH=implicit&AWS_ACCESS_KEY_ID=k');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k%0A&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k/k&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT changefeed_create('{s3_t}', 's3://key:hidden@bucket/p');
-- bucket, path, parameters
SELECT s3_uri('', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT s3_uri('b', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT s3_uri('bad..bucket', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT s3_uri('bucket/a//b', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT s3_uri('bucket/a/../b', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT s3_uri('bucket/' || repeat('x', 800), '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&AWS_REGION=a/b');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&AWS_USE_PATH_STYLE=perhaps');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&AWS_SERVER_ENC_MODE=ROT13');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&AWS_SERVER_ENC_MODE=aws:kms');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&AWS_SERVER_KMS_ID=x');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&S3_STORAGE_CLASS=a%0Ab');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&file_size=big');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&partition_format=yearly');
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_KEY=hidden');
-- endpoints
SELECT changefeed_create('{s3_t}', 's3://bucket?AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&AWS_ENDPOINT=ftp://host');
SELECT changefeed_create('{s3_t}', 's3://bucket?AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&AWS_ENDPOINT=http://user:pw@host');
SELECT changefeed_create('{s3_t}', 's3://bucket?AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&AWS_ENDPOINT=http://host:port');
-- nobody is there
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT s3_uri('bucket/p', '&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123');
SELECT count(*) FROM changefeed_jobs WHERE sink_uri LIKE 's3:%';
DROP FUNCTION s3_uri;
DROP TABLE s3_t;
