#!/usr/bin/env python3
"""HTTP storage and givers of tokens, for the tests.

store_server.py init DIR
    makes the key of a service account in DIR, and who it is in
    DIR/credentials.json
store_server.py run DIR PORT GCS_PORT
    serves on 127.0.0.1:PORT; appends one JSON line for each request to
    DIR/requests

What stands under which path:
    /dav/...     files of DIR/data: PUT, GET, DELETE; with DIR/users
                 ("name:password" in each line) only for those
    /blob/...    the same for who has a token of Azure's kind
    /gcs/...     goes on to the emulator on GCS_PORT for who has a token, but
                 for multipart uploads, which that one does not know and which
                 are put together here
    /token, /iam/..., /computeMetadata/..., /<tenant>/oauth2/..., /metadata/...
                 give out tokens as Google, its machines, Azure, and its
                 machines do.  JWTs are checked against the key.

DIR/plan, a JSON object, changes that: "life" of tokens in seconds,
"refuse_tokens": true, "revoke": true (once: no token holds any more),
"fail": {"match", "status", "body", "times", "after"}: so many requests whose
path holds "match" are answered so, "after": when they have been carried out.
"""
import base64
import hashlib
import html
import http.client
import http.server
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse


def init(folder):
    def openssl(*args):
        subprocess.run(("openssl",) + args, check=True, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "account.key")
    openssl("pkey", "-in", "account.key", "-pubout", "-out", "account.pub")
    env = dict(line.strip().split("=", 1) for line in open(os.path.join(folder, "env")))
    with open(os.path.join(folder, "account.key")) as key:
        credentials = {
            "type": "service_account", "client_email": "feed@project.example", "private_key_id": "key-1",
            "private_key": key.read(), "token_uri": "http://127.0.0.1:%s/token" % env["STORE_PORT"]}
    with open(os.path.join(folder, "credentials.json"), "w") as out:
        json.dump(credentials, out)


class Refused(Exception):
    def __init__(self, status, body):
        super().__init__(status)
        self.status = status
        self.body = body


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder, port, gcs_port):
        self.folder = folder
        self.port = port
        self.gcs_port = gcs_port
        self.lock = threading.Lock()
        self.tokens = {}
        self.uploads = {}
        self.plan = {}
        self.plan_stamp = None
        self.log = open(os.path.join(folder, "requests"), "a")
        super().__init__(("127.0.0.1", port), Handler)

    def look_at_plan(self):
        try:
            stamp = os.stat(os.path.join(self.folder, "plan")).st_mtime_ns
        except FileNotFoundError:
            return
        if stamp != self.plan_stamp:
            with open(os.path.join(self.folder, "plan")) as f:
                self.plan = json.load(f)
            self.plan_stamp = stamp
            if self.plan.get("revoke"):
                self.tokens.clear()

    def issue(self, kind):
        life = self.plan.get("life", 3600)
        token = "ya29." + secrets.token_urlsafe(60)
        self.tokens[token] = (kind, time.time() + life)
        return token, life

    def check_token(self, header, kind):
        token = (header or "").removeprefix("Bearer ")
        have = self.tokens.get(token)
        return have is not None and have[0] == kind and have[1] > time.time()


def b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "store"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", content_type="application/json", headers=()):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        if self.fail:
            status, body, content_type = self.fail["status"], self.fail.get("body", "").encode(), "text/plain"
        with self.server.lock:
            json.dump({"method": self.command, "path": self.path, "status": status,
                       "length": len(self.body)}, self.server.log)
            self.server.log.write("\n")
            self.server.log.flush()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        if len(self.body) < length:
            self.close_connection = True
            return
        path = urllib.parse.urlsplit(self.path).path
        with self.server.lock:
            self.server.look_at_plan()
            fail = self.server.plan.get("fail")
            if fail and fail["match"] in self.path and fail.get("times", 1) > 0:
                fail["times"] = fail.get("times", 1) - 1
            else:
                fail = None
        self.fail = fail if fail and fail.get("after") else None
        try:
            if fail and not fail.get("after"):
                raise Refused(fail["status"], fail.get("body", ""))
            if path.startswith("/dav/"):
                self.check_user()
                self.file(path[len("/dav/"):])
            elif path.startswith("/blob/"):
                if not self.server.check_token(self.headers["Authorization"], "azure"):
                    raise Refused(401, "<?xml version='1.0'?><Error><Code>InvalidAuthenticationInfo</Code>"
                                  "<Message>Server failed to authenticate the request.\nRequestId:1\nTime:2</Message></Error>")
                self.file(path[len("/blob/"):])
            elif path.startswith("/gcs/"):
                if not self.server.check_token(self.headers["Authorization"], "gcs"):
                    raise Refused(401, {"error": {"code": 401, "message": "Invalid Credentials",
                                                  "errors": [{"reason": "authError"}]}})
                bucket, _, name = path[len("/gcs/"):].partition("/")
                if bucket in ("storage", "upload"):
                    self.forward(self.path[len("/gcs"):])
                else:
                    self.multipart(bucket, name)
            else:
                self.token(path)
        except Refused as r:
            body = r.body if isinstance(r.body, dict) else r.body.encode()
            self.answer(r.status, body, "application/json" if isinstance(r.body, dict) else "text/plain")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    # ---- files --------------------------------------------------------------

    def check_user(self):
        try:
            with open(os.path.join(self.server.folder, "users")) as f:
                users = f.read().split("\n")
        except FileNotFoundError:
            return
        auth = self.headers.get("Authorization", "")
        user = base64.b64decode(auth[6:]).decode() if auth.startswith("Basic ") else ""
        if user == "" or user not in users:
            raise Refused(401, "who are you?")

    def file(self, path):
        root = os.path.join(self.server.folder, "data")
        name = os.path.normpath(os.path.join(root, urllib.parse.unquote(path)))
        if not name.startswith(root):
            raise Refused(403, "no")
        if self.command == "PUT":
            os.makedirs(os.path.dirname(name), exist_ok=True)
            fd, tmp = tempfile.mkstemp(dir=self.server.folder)
            with os.fdopen(fd, "wb") as f:
                f.write(self.body)
            os.rename(tmp, name)
            self.answer(201)
        elif self.command == "DELETE":
            if not os.path.isfile(name):
                raise Refused(404, "no such file")
            os.unlink(name)
            self.answer(204)
        elif os.path.isdir(name):
            found = [os.path.relpath(os.path.join(d, f), name) for d, _, files in os.walk(name) for f in files]
            self.answer(200, sorted(found))
        elif os.path.isfile(name):
            with open(name, "rb") as f:
                self.answer(200, f.read(), "application/octet-stream")
        else:
            raise Refused(404, "no such file")

    def ask_gcs(self, method, path, body):
        conn = http.client.HTTPConnection("127.0.0.1", self.server.gcs_port, timeout=30)
        conn.request(method, path, body, {"Content-Type": self.headers.get("Content-Type", "application/octet-stream")})
        got = conn.getresponse()
        result = got.status, got.read(), got.headers
        conn.close()
        return result

    def forward(self, path):
        status, body, headers = self.ask_gcs(self.command, path, self.body)
        self.answer(status, body, headers.get("Content-Type", ""))

    # two on a page, if somebody asks for pages
    def list_uploads(self, bucket, query):
        found = sorted((urllib.parse.unquote(name), key) for key, (b, name, _) in self.server.uploads.items() if b == bucket)
        found = [u for u in found if u[0].startswith(query.get("prefix", ""))
                 and u > (query.get("key-marker", ""), query.get("upload-id-marker", ""))]
        more = "max-uploads" in query and len(found) > 2
        if more:
            found = found[:2]
        text = "".join("<Upload><Key>%s</Key><UploadId>%s</UploadId></Upload>" % (html.escape(name), key) for name, key in found)
        if more:
            text += "<NextKeyMarker>%s</NextKeyMarker><NextUploadIdMarker>%s</NextUploadIdMarker>" % (
                html.escape(found[-1][0]), found[-1][1])
        return ("<?xml version='1.0'?><ListMultipartUploadsResult><IsTruncated>%s</IsTruncated>%s</ListMultipartUploadsResult>"
                % ("true" if more else "false", text)).encode()

    def multipart(self, bucket, name):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query, keep_blank_values=True))
        uploads = self.server.uploads

        def refuse(status, code):
            raise Refused(status, "<?xml version='1.0'?><Error><Code>%s</Code><Message>So it is.</Message></Error>" % code)

        if self.command == "POST" and "uploads" in query:
            key = secrets.token_urlsafe(40)
            uploads[key] = (bucket, name, {})
            self.answer(200, ("<?xml version='1.0'?><InitiateMultipartUploadResult><Bucket>%s</Bucket><UploadId>%s</UploadId>"
                              "</InitiateMultipartUploadResult>" % (bucket, key)).encode(), "application/xml")
            return
        if self.command == "HEAD":
            status, _, headers = self.ask_gcs("GET", "/download/storage/v1/b/%s/o/%s?alt=media" % (bucket, name.replace("/", "%2F")), b"")
            self.answer(status, _ if status == 200 else b"")
            return
        if self.command == "GET" and name == "" and "uploads" in query:
            self.answer(200, self.list_uploads(bucket, query), "application/xml")
            return
        upload = uploads.get(query.get("uploadId"))
        if upload is None or upload[:2] != (bucket, name):
            refuse(404, "NoSuchUpload")
        if self.command == "PUT":
            upload[2][int(query["partNumber"])] = self.body
            self.answer(200, headers=[("ETag", '"%s"' % hashlib.md5(self.body).hexdigest())])
        elif self.command == "DELETE":
            del uploads[query["uploadId"]]
            self.answer(204)
        else:
            parts = re.findall(r"<Part><PartNumber>(\d+)</PartNumber><ETag>&quot;(\w+)&quot;</ETag></Part>", self.body.decode())
            body = b""
            for n, (number, tag) in enumerate(parts):
                part = upload[2].get(int(number))
                if part is None or hashlib.md5(part).hexdigest() != tag:
                    refuse(400, "InvalidPart")
                if len(part) < 5 << 20 and n < len(parts) - 1:
                    refuse(400, "EntityTooSmall")
                body += part
            status, answer, _ = self.ask_gcs("POST", "/upload/storage/v1/b/%s/o?uploadType=media&name=%s"
                                             % (bucket, name.replace("/", "%2F")), body)
            if status != 200:
                refuse(status, "InternalError")
            del uploads[query["uploadId"]]
            self.answer(200, b"<?xml version='1.0'?><CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>",
                        "application/xml")

    # ---- tokens -------------------------------------------------------------

    def check_jwt(self, form):
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            raise Refused(400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"})
        head, claims, signature = form["assertion"].split(".")
        with tempfile.TemporaryDirectory() as d:
            with open(os.path.join(d, "s"), "wb") as f:
                f.write(b64url(signature))
            ok = subprocess.run(["openssl", "dgst", "-sha256", "-verify", os.path.join(self.server.folder, "account.pub"),
                                 "-signature", os.path.join(d, "s")], input=("%s.%s" % (head, claims)).encode(),
                                stdout=subprocess.DEVNULL).returncode == 0
        head, claims = json.loads(b64url(head)), json.loads(b64url(claims))
        if not ok:
            raise Refused(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        if (head != {"alg": "RS256", "typ": "JWT", "kid": "key-1"} or claims["iss"] != "feed@project.example"
                or claims["aud"] != "http://127.0.0.1:%d/token" % self.server.port
                or not claims["iat"] - 60 < time.time() < claims["exp"] <= claims["iat"] + 3600):
            raise Refused(400, {"error": "invalid_grant", "error_description": "Invalid JWT: " + json.dumps(claims)})
        return claims["scope"]

    def token(self, path):
        form = dict(urllib.parse.parse_qsl(self.body.decode()))
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        if self.server.plan.get("refuse_tokens"):
            raise Refused(503, {"error": "temporarily_unavailable", "error_description": "come back later"})
        if path == "/token":
            scope = self.check_jwt(form)
            if scope == "https://www.googleapis.com/auth/devstorage.read_write":
                kind = "gcs"
            elif scope == "https://www.googleapis.com/auth/iam":
                kind = "iam"
            else:
                raise Refused(400, {"error": "invalid_scope", "error_description": scope})
            token, life = self.server.issue(kind)
            self.answer(200, {"access_token": token, "expires_in": life, "token_type": "Bearer"})
        elif path.startswith("/iam/v1/projects/-/serviceAccounts/"):
            if not self.server.check_token(self.headers["Authorization"], "iam"):
                raise Refused(401, {"error": {"code": 401, "message": "no token", "status": "UNAUTHENTICATED"}})
            asked = json.loads(self.body)
            who = re.fullmatch(r"/iam/v1/projects/-/serviceAccounts/(.*):generateAccessToken", path)[1]
            if (who != "last@project.example" or asked["scope"] != ["https://www.googleapis.com/auth/devstorage.read_write"]
                    or asked["delegates"] != ["projects/-/serviceAccounts/between@project.example"]):
                raise Refused(403, {"error": {"code": 403, "status": "PERMISSION_DENIED",
                                              "message": "Permission 'iam.serviceAccounts.getAccessToken' denied"}})
            token, life = self.server.issue("gcs")
            self.answer(200, {"accessToken": token, "expireTime": "2099-01-01T00:00:00Z"})
        elif path == "/computeMetadata/v1/instance/service-accounts/default/token":
            if self.headers.get("Metadata-Flavor") != "Google":
                raise Refused(403, "no")
            token, life = self.server.issue("gcs")
            self.answer(200, {"access_token": token, "expires_in": life, "token_type": "Bearer"})
        elif path == "/my-tenant/oauth2/v2.0/token":
            if form != {"grant_type": "client_credentials", "client_id": "app-1", "client_secret": "s3cret/of+app",
                        "scope": "https://storage.azure.com/.default"}:
                raise Refused(401, {"error": "invalid_client",
                                    "error_description": "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1"})
            token, life = self.server.issue("azure")
            self.answer(200, {"token_type": "Bearer", "expires_in": life, "access_token": token})
        elif path == "/metadata/identity/oauth2/token":
            if self.headers.get("Metadata") != "true" or query.get("resource") != "https://storage.azure.com/":
                raise Refused(400, {"error": "invalid_request", "error_description": "Required metadata header not specified"})
            token, life = self.server.issue("azure")
            self.answer(200, {"access_token": token, "expires_in": str(life), "token_type": "Bearer"})
        else:
            raise Refused(404, "nothing here")


def main():
    if sys.argv[1] == "init":
        init(sys.argv[2])
    else:
        gcs = sys.argv[4]
        Server(sys.argv[2], int(sys.argv[3]), int(gcs) if gcs.isdigit() else 0).serve_forever()


if __name__ == "__main__":
    main()
