#!/usr/bin/env python3
"""A small stand-in for what hands out credentials on AWS, for tests.

    aws_server.py DIR

serves on a free port of 127.0.0.1, which it writes to DIR/port, and

    POST /                                   STS: AssumeRole (its signature is
                                             checked), AssumeRoleWithWebIdentity
    PUT /latest/api/token, GET /latest/...   metadata of an instance (version 2)
    GET /container                           credentials of a container
    /BUCKET/...                              a store that knows these keys: checks
                                             the signature and passes the request
                                             on to the one of DIR/store.json
                                             {"endpoint", "key", "secret"}

Every answer hands out a key of DIR/keys.json: {"access_key": {"secret": ...,
"token": ...}}, which is read anew for each request, as is DIR/rules.json:

    "life": seconds that a key holds (3600)
    "store_key": name of the key that the last role, or who has none, gets
    "fail": [path or action, status, code, message]: refuse that
    "roles": {arn: {"by": access key that may, "external_id": ..., "gives": key}}
    "web_token", "container_token": what has to be shown

A line for each request goes to DIR/log.
"""
import hashlib
import hmac
import http.client
import http.server
import json
import os
import sys
import time
import urllib.parse

DIR = sys.argv[1]
INSTANCE_TOKEN = "instance-token-" + hashlib.sha256(os.urandom(8)).hexdigest()


def load(name):
    with open(os.path.join(DIR, name), encoding="utf-8") as f:
        return json.load(f)


def sign(secret, headers, signed, method, path, query, body_hash, scope, date):
    """The signature, from AWS's description of it."""
    canonical = "\n".join([
        method, path, query,
        "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in signed),
        ";".join(signed), body_hash])
    text = "\n".join(["AWS4-HMAC-SHA256", date, "/".join(scope),
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for piece in scope:
        key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Refused(Exception):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, fmt, *args):
        pass

    def answer(self, status, body, kind="text/xml"):
        with open(os.path.join(DIR, "log"), "a", encoding="utf-8") as f:
            f.write(f"{self.command} {self.path} {getattr(self, 'what', '')} {status}\n")
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, code, message):
        raise Refused(status, f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
                              f"<Message>{message}</Message></Error></ErrorResponse>")

    def key(self, name):
        key = load("keys.json")[name]
        until = time.time() + load("rules.json").get("life", 3600)
        return {"id": name, "secret": key["secret"], "token": key["token"],
                "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))}

    def json_key(self):
        key = self.key(load("rules.json")["store_key"])
        return json.dumps({"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key["id"],
                           "SecretAccessKey": key["secret"], "Token": key["token"],
                           "Expiration": key["expires"]})

    def caller(self, body, service):
        """Whose key has signed the request."""
        value = self.headers.get("authorization", "")
        if not value.startswith("AWS4-HMAC-SHA256 "):
            self.refuse(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
        fields = dict(part.strip().split("=", 1) for part in value.split(" ", 1)[1].split(","))
        name, *scope = fields["Credential"].split("/")
        date = self.headers["x-amz-date"]
        key = load("keys.json").get(name)
        if key is None:
            self.refuse(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        if key["token"] and self.headers.get("x-amz-security-token") != key["token"]:
            self.refuse(403, "InvalidClientTokenId", "The security token does not belong to the key.")
        if scope[0] != date[:8] or scope[2:] != [service, "aws4_request"]:
            self.refuse(403, "SignatureDoesNotMatch", f"Credential should be scoped to {service}.")
        headers = {k.lower(): v for k, v in self.headers.items()}
        signed = fields["SignedHeaders"].split(";")
        if "host" not in signed or "x-amz-date" not in signed or signed != sorted(signed):
            self.refuse(403, "SignatureDoesNotMatch", "Headers are not signed as they should be.")
        if any(name.startswith("x-amz-") and name not in signed for name in headers):
            self.refuse(403, "AccessDenied", "There were headers present in the request which were not signed.")
        path, _, query = self.path.partition("?")
        body_hash = hashlib.sha256(body).hexdigest()
        if service == "s3" and headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
            body_hash = "UNSIGNED-PAYLOAD"
        if sign(key["secret"], headers, signed, self.command, path, query, body_hash, scope, date) != fields["Signature"]:
            self.refuse(403, "SignatureDoesNotMatch",
                        "The request signature we calculated does not match the signature you provided.")
        return name

    def sts(self, body):
        fields = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        rules = load("rules.json")
        self.what = fields["Action"] + " " + fields.get("RoleArn", "")
        self.check_fail(rules, fields["Action"])
        if fields["Action"] == "AssumeRoleWithWebIdentity":
            if fields["WebIdentityToken"] != rules["web_token"]:
                self.refuse(400, "InvalidIdentityToken", "The web identity token is not valid.")
            key = self.key(rules["store_key"])
        else:
            role = rules["roles"].get(fields["RoleArn"])
            by = self.caller(body, "sts")
            if role is None or role["by"] != by or role.get("external_id") != fields.get("ExternalId"):
                self.refuse(403, "AccessDenied",
                            f"User {by} is not authorized to perform: sts:AssumeRole on resource: {fields['RoleArn']}")
            key = self.key(role["gives"])
        return (f"<{fields['Action']}Response><Result><Credentials><AccessKeyId>{key['id']}</AccessKeyId>"
                f"<SecretAccessKey>{key['secret']}</SecretAccessKey><SessionToken>{key['token']}</SessionToken>"
                f"<Expiration>{key['expires']}</Expiration></Credentials></Result></{fields['Action']}Response>")

    def pass_on(self, body):
        """To the real store, with its key."""
        if self.caller(body, "s3") != load("rules.json")["store_key"]:
            self.refuse(403, "AccessDenied", "Access Denied")
        store = load("store.json")
        host = store["endpoint"].split("//")[1]
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = [date[:8], "us-east-1", "s3", "aws4_request"]
        body_hash = hashlib.sha256(body).hexdigest()
        headers = {"host": host, "x-amz-date": date, "x-amz-content-sha256": body_hash}
        path, _, query = self.path.partition("?")
        signature = sign(store["secret"], headers, sorted(headers), self.command, path, query, body_hash, scope, date)
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={store['key']}/{'/'.join(scope)},"
                                    f"SignedHeaders={';'.join(sorted(headers))},Signature={signature}")
        conn = http.client.HTTPConnection(host, timeout=20)
        conn.request(self.command, self.path, body, headers)
        answer = conn.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name in ("ETag", "Content-Type"):
            if answer.getheader(name):
                self.send_header(name, answer.getheader(name))
        self.send_header("Content-Length", answer.getheader("Content-Length", "0")
                         if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        conn.close()

    def check_fail(self, rules, what):
        fail = rules.get("fail")
        if fail and fail[0] == what:
            self.refuse(*fail[1:])

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        rules = load("rules.json")
        try:
            if self.command == "POST" and self.path == "/":
                self.answer(200, self.sts(body))
                return
            self.check_fail(rules, self.path)
            if not self.path.startswith(("/container", "/latest")):
                self.pass_on(body)
            elif self.path == "/container":
                if self.headers.get("authorization") != rules["container_token"]:
                    self.refuse(401, "Unauthorized", "No such container.")
                self.answer(200, self.json_key(), "application/json")
            elif self.path == "/latest/api/token" and self.command == "PUT":
                if not self.headers.get("x-aws-ec2-metadata-token-ttl-seconds"):
                    self.refuse(400, "BadRequest", "No time to live.")
                self.answer(200, INSTANCE_TOKEN, "text/plain")
            elif self.path.startswith("/latest/meta-data/iam/security-credentials/"):
                if self.headers.get("x-aws-ec2-metadata-token") != INSTANCE_TOKEN:
                    self.refuse(401, "Unauthorized", "No token.")
                role = self.path.rsplit("/", 1)[1]
                if role == "":
                    self.answer(200, "my-role", "text/plain")
                elif role == "my-role":
                    self.answer(200, self.json_key(), "text/plain")
                else:
                    self.refuse(404, "NotFound", "No such role.")
            else:
                self.refuse(404, "NotFound", "There is nothing.")
        except Refused as e:
            self.answer(*e.args)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_request


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(os.path.join(DIR, "port.new"), "w", encoding="utf-8") as port_file:
    port_file.write(str(server.server_address[1]))
os.rename(os.path.join(DIR, "port.new"), os.path.join(DIR, "port"))
server.serve_forever()
