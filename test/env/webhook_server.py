#!/usr/bin/env python3
"""An HTTPS server that takes webhooks, for the tests.

webhook_server.py init DIR
    makes an authority, a server's and a client's certificate in DIR
webhook_server.py run DIR PORT [tls|http|mutual]
    serves on 127.0.0.1:PORT; appends one JSON line for each request to
    DIR/requests and says how it answered

What it answers is planned by a file DIR/plan, which replaces all plans so
far: a JSON list of {"status", "headers", "body", "delay", "reset", "hang",
"match", "always"}.  A request takes the first entry whose "match" its body
holds; entries without "always" are good for one request.
"""
import gzip
import http.server
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time


def init(folder):
    def openssl(*args):
        subprocess.run(("openssl",) + args, check=True, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=cdc test authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name, ext in (("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
                      ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=cdc test " + name,
                "-keyout", name + ".key", "-out", name + ".csr")
        with open(os.path.join(folder, name + ".ext"), "w") as f:
            f.write(ext + "\n")
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", name + ".ext", "-out", name + ".pem")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder, port, mode):
        self.folder = folder
        self.lock = threading.Lock()
        self.plan = []
        self.running = 0
        self.log = open(os.path.join(folder, "requests"), "a")
        self.tls = None
        if mode != "http":
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
            if mode == "mutual":
                self.tls.load_verify_locations(os.path.join(folder, "ca.pem"))
                self.tls.verify_mode = ssl.CERT_REQUIRED
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request, address):
        pass

    def answer(self, body):
        """The plan for a request; under the lock."""
        path = os.path.join(self.folder, "plan")
        if os.path.exists(path):
            with open(path) as f:
                self.plan = json.load(f)
            os.unlink(path)
        for i, entry in enumerate(self.plan):
            if entry.get("match", "") in body:
                return entry if entry.get("always") else self.plan.pop(i)
        return {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def setup(self):
        # here and not in accept(): a slow handshake holds up nobody
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def log_message(self, *args):
        pass

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        encoding = self.headers.get("Content-Encoding", "")
        if encoding == "gzip":
            raw = gzip.decompress(raw)
        elif encoding == "zstd":
            raw = subprocess.run(["zstd", "-dcq"], input=raw, stdout=subprocess.PIPE, check=True).stdout
        body = raw.decode("utf-8", "replace")
        server = self.server
        with server.lock:
            entry = server.answer(body)
            server.running += 1
            status = 0 if entry.get("reset") or entry.get("hang") else entry.get("status", 200)
            server.log.write(json.dumps({
                "at": time.time(), "path": self.path, "status": status,
                "parallel": server.running,
                "headers": {k.lower(): v for k, v in self.headers.items()},
                "body": body}) + "\n")
            server.log.flush()
        try:
            time.sleep(entry.get("delay", 0))
            if entry.get("hang"):
                time.sleep(3600)
        finally:
            with server.lock:
                server.running -= 1
        if entry.get("reset"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            os.close(self.connection.detach())
            return
        text = entry.get("body", "").encode()
        self.send_response(status)
        for name, value in entry.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    if sys.argv[1] == "init":
        init(sys.argv[2])
    else:
        Server(sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "tls").serve_forever()
