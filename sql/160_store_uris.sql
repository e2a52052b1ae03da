-- What the sinks of gs, azure and file-https say to URIs, without any server.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY terse
CREATE TABLE store_t (id int PRIMARY KEY);
CREATE FUNCTION store_uri(uri text) RETURNS bigint LANGUAGE sql AS $$SELECT changefeed_create('{store_t}', uri)$$;
CREATE FUNCTION gs(params text) RETURNS bigint LANGUAGE sql AS
$$SELECT changefeed_create('{store_t}', 'gs://bucket/p?GCS_ENDPOINT=http://127.0.0.1:1' || params)$$;
CREATE FUNCTION azure(params text) RETURNS bigint LANGUAGE sql AS
$$SELECT changefeed_create('{store_t}', 'azure://container/p?AZURE_ENDPOINT=http://127.0.0.1:1/a' || params)$$;
CREATE FUNCTION credentials(key text) RETURNS text LANGUAGE sql AS
$$SELECT '&CREDENTIALS=' || replace(replace(encode(key::bytea, 'base64'), E'\n', ''), '+', '%2B')$$;

-- gs: who we are
SELECT gs('');
SELECT gs('&AUTH=specified');
SELECT gs('&AUTH=default');
SELECT gs('&AUTH=implicit&BEARER_TOKEN=geheim');
SELECT gs('&BEARER_TOKEN=geheim&CREDENTIALS=Z2VoZWlt');
SELECT gs('&CREDENTIALS=geheim!');
SELECT gs('&CREDENTIALS=Z2VoZWlt');
SELECT gs(credentials('{"type": "service_account", "client_email": "a@b"}'));
SELECT gs(credentials('{"type": "service_account", "client_email": "a@b", "private_key": "geheim"}'));
SELECT gs(credentials('{"type": "service_account", "client_email": "a @b", "private_key": "geheim"}'));
SELECT gs(credentials('{"type": "service_account", "client_email": "a@b", "private_key": "geheim", "token_uri": "ftp://h"}'));
SELECT gs(credentials('{"type": "authorized_user", "client_id": "i", "client_secret": "geheim"}'));
SELECT gs(credentials('{"type": "external_account"}'));
SELECT gs('&BEARER_TOKEN=ge%0Aheim');
SELECT gs('&BEARER_TOKEN=geheim&ASSUME_ROLE=nobody');
SELECT gs('&BEARER_TOKEN=geheim&ASSUME_ROLE=a@b,&GCS_IAM_ENDPOINT=http://127.0.0.1:1');
-- gs: where to
SELECT store_uri('gs:///p?BEARER_TOKEN=geheim');
SELECT store_uri('gs://Bucket/p?BEARER_TOKEN=geheim');
SELECT store_uri('gs://user:geheim@bucket/p?BEARER_TOKEN=geheim');
SELECT store_uri('gs://bucket/a/../b?BEARER_TOKEN=geheim');
SELECT store_uri('gs://bucket/p?BEARER_TOKEN=geheim&GCS_ENDPOINT=ftp://h');
SELECT gs('&BEARER_TOKEN=geheim&GCS_IAM_ENDPOINT=http://h:x');
SELECT gs('&BEARER_TOKEN=geheim&CREDENTIAL=geheim');
SELECT gs('&BEARER_TOKEN=geheim&file_size=big');
SELECT gs('&BEARER_TOKEN=geheim&partition_format=yearly');
SELECT gs('&BEARER_TOKEN=geheim&ca_cert=geheim!');

-- azure: who we are
SELECT azure('');
SELECT azure('&AZURE_ACCOUNT_NAME=a');
SELECT azure('&AZURE_ACCOUNT_NAME=a/b&AZURE_ACCOUNT_KEY=Z2VoZWlt');
SELECT azure('&AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=geheim!!');
SELECT azure('&AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=Z2VoZWlt&AZURE_SAS_TOKEN=sig%3Dgeheim');
SELECT azure('&AZURE_ACCOUNT_NAME=a&AZURE_SAS_TOKEN=sv%3Dgeheim');
SELECT azure('&AZURE_ACCOUNT_NAME=a&AZURE_CLIENT_ID=i&AZURE_CLIENT_SECRET=geheim');
SELECT azure('&AZURE_ACCOUNT_NAME=a&AZURE_CLIENT_ID=i&AZURE_CLIENT_SECRET=geheim&AZURE_TENANT_ID=a/b');
SELECT azure('&AZURE_ACCOUNT_NAME=a&AUTH=implicit&AZURE_CLIENT_ID=i');
SELECT azure('&AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=Z2VoZWlt&AZURE_ENVIRONMENT=moon');
-- azure: where to
SELECT store_uri('azure:///p?AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=Z2VoZWlt');
SELECT store_uri('azure://No/p?AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=Z2VoZWlt');
SELECT azure('&AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=Z2VoZWlt&ACCOUNT_KEY=geheim');

-- files by HTTP
SELECT store_uri('file-https:///p');
SELECT store_uri('file-https://h1,h2/p');
SELECT store_uri('file-https://h/a//b');
SELECT store_uri('file-https://h/p?x=y');
-- under their old names
SELECT store_uri('http://127.0.0.1:1/p');
SELECT store_uri('experimental-https://127.0.0.1:1/p');
SELECT store_uri('experimental-gs://bucket/p?BEARER_TOKEN=geheim&GCS_ENDPOINT=http://127.0.0.1:1');

-- options of other sinks
SELECT changefeed_create('{store_t}', 'file-http://127.0.0.1:1/p', '{"kafka_sink_config": "{}"}');
SELECT changefeed_create('{store_t}', 'file-http://127.0.0.1:1/p', '{"compression": "lz4"}');

SELECT count(*) FROM changefeed_jobs WHERE sink_uri ~ '^(gs|azure|file-http)';
DROP FUNCTION store_uri, gs, azure, credentials;
DROP TABLE store_t;
