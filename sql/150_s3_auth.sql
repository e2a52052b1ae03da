-- Roles, endpoints and authorities of S3 URIs, without any server.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cdc_sink;
RESET client_min_messages;
\set VERBOSITY terse
CREATE TABLE s3_auth_t (id int PRIMARY KEY);
CREATE FUNCTION s3_auth(params text) RETURNS bigint LANGUAGE sql AS
$$SELECT changefeed_create('{s3_auth_t}', 's3://bucket/p?AWS_ENDPOINT=http://127.0.0.1:1&AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123' || params)$$;
SELECT s3_auth('&ASSUME_ROLE=role');
SELECT s3_auth('&ASSUME_ROLE=arn:aws:iam::1:role/a,b');
SELECT s3_auth('&ASSUME_ROLE=arn:aws:iam::1:role/a;session=b');
SELECT s3_auth('&ASSUME_ROLE=arn:aws:iam::1:role/a;external_id=b');
SELECT s3_auth('&ASSUME_ROLE=arn:aws:iam::1:role/a;external_id=bb;external_id=cc');
SELECT s3_auth('&ASSUME_ROLE=arn:aws:iam::1:role/a%20b');
SELECT s3_auth('&ASSUME_ROLE=' || repeat('arn:1,', 9));
SELECT s3_auth('&ASSUME_ROLE=arn:' || repeat('x', 3000));
SELECT s3_auth('&AWS_STS_ENDPOINT=ftp://h');
SELECT s3_auth('&AWS_STS_ENDPOINT=https://h/path');
SELECT s3_auth('&AWS_STS_ENDPOINT=https://user@h');
SELECT s3_auth('&AWS_SESSION_TOKEN=' || repeat('x', 9000));
SELECT s3_auth('&ca_cert=!');
SELECT s3_auth('&ca_cert=YWJj');
-- who may have it
CREATE ROLE regress_s3_auth;
GRANT SELECT ON s3_auth_t TO regress_s3_auth;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_s3_auth;
SET ROLE regress_s3_auth;
SELECT s3_auth('');
SELECT changefeed_create('{s3_auth_t}', 's3://bucket/p?AUTH=implicit');
SELECT changefeed_create('{s3_auth_t}', 's3://bucket/p?AWS_ACCESS_KEY_ID=k&AWS_SECRET_ACCESS_KEY=geheim123&ASSUME_ROLE=arn:a&AWS_STS_ENDPOINT=http://127.0.0.1:1');
SET cdc_sink.allow_implicit_credentials = on;
RESET ROLE;
-- to use the server's credentials is not to have them told to one's own host
SET cdc_sink.allow_implicit_credentials = on;
CREATE FUNCTION s3_implicit(params text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	-- what goes wrong later, if it comes to that
	PERFORM changefeed_create('{s3_auth_t}', 's3://bucket/p?AUTH=implicit&AWS_ACCESS_KEY_ID=k&' || params);
EXCEPTION WHEN others THEN
	RETURN CASE WHEN SQLERRM LIKE '%to another endpoint' THEN 'refused' ELSE SQLERRM END;
END $$;
SET ROLE regress_s3_auth;
SELECT changefeed_create('{s3_auth_t}', 's3://bucket/p?AUTH=implicit&AWS_ENDPOINT=https://127.0.0.1:1');
SELECT changefeed_create('{s3_auth_t}', 's3://bucket/p?AUTH=implicit&ASSUME_ROLE=arn:a&AWS_STS_ENDPOINT=https://127.0.0.1:1');
SELECT p, s3_implicit(p) FROM unnest('{
	AWS_ENDPOINT=s3.us-east-1.amazonaws.com,
	AWS_ENDPOINT=https://abc.execute-api.us-east-1.amazonaws.com,
	AWS_ENDPOINT=https://s3.us-east-1.elb.amazonaws.com,
	AWS_ENDPOINT=https://s3.us-east-1.amazonaws.com.example.org,
	AWS_ENDPOINT=https://s3.us-east-1.amazonaws.com:8443,
	AWS_ENDPOINT=https://s3.us-east-1.amazonaws.org,
	AWS_ENDPOINT=https://s3.evil.org/.amazonaws.com,
	AWS_ENDPOINT=https://s3-object-lambda.us-east-1.amazonaws.com,
	AWS_ENDPOINT=https://sts.us-east-1.amazonaws.com,
	AWS_STS_ENDPOINT=https://s3.us-east-1.amazonaws.com,
	AWS_ENDPOINT=https://s3.amazonaws.com&AWS_STS_ENDPOINT=https://127.0.0.1:1,
	AWS_ENDPOINT=https://s3.amazonaws.com,
	AWS_ENDPOINT=HTTPS://S3.us-east-1.AmazonAWS.com/,
	AWS_ENDPOINT=https://s3-fips.dualstack.us-gov-west-1.amazonaws.com,
	AWS_ENDPOINT=https://s3.dualstack.cn-north-1.amazonaws.com.cn,
	AWS_STS_ENDPOINT=https://sts.eu-central-1.amazonaws.com}'::text[]) p;
SELECT changefeed_create('{s3_auth_t}', 'gs://bucket/p?AUTH=implicit&GCS_ENDPOINT=https://127.0.0.1:1');
SELECT changefeed_create('{s3_auth_t}', 'gs://bucket/p?AUTH=implicit&ASSUME_ROLE=a@b&GCS_IAM_ENDPOINT=https://127.0.0.1:1');
SELECT changefeed_create('{s3_auth_t}', 'azure://container/p?AUTH=implicit&AZURE_ACCOUNT_NAME=a&AZURE_ENDPOINT=https://127.0.0.1:1');
SELECT changefeed_create('{s3_auth_t}', 'azure://container/p?AUTH=implicit&AZURE_ACCOUNT_NAME=a&AZURE_AUTHORITY_HOST=https://127.0.0.1:1');
RESET ROLE;
-- but a superuser
SELECT s3_implicit('AWS_ENDPOINT=https://127.0.0.1:1');
RESET cdc_sink.allow_implicit_credentials;
DROP FUNCTION s3_implicit(text);
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM regress_s3_auth;
DROP FUNCTION s3_auth(text);
DROP TABLE s3_auth_t;
DROP ROLE regress_s3_auth;
