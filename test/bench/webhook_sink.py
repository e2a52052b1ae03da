#!/usr/bin/env python3
"""An HTTPS server that says 200 to everything, as fast as Python can.

webhook_sink.py DIR    with the certificate of webhook_server.py init; the port
                       goes to DIR/port. While DIR/record is there, bodies that
                       hold messages are kept in DIR/bodies.
"""
import asyncio
import os
import ssl
import sys

DIR = sys.argv[1]
count = 0


class Sink(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""

    def data_received(self, data):
        global count
        self.data += data
        while True:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15:].split(b"\r\n")[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + length:
                return
            body, self.data = self.data[end + 4:end + 4 + length], self.data[end + 4 + length:]
            if body.startswith(b'{"payload"') and os.path.exists(f"{DIR}/record"):
                with open(f"{DIR}/bodies/{count:08d}", "wb") as f:
                    f.write(body)
                count += 1
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{DIR}/server.pem", f"{DIR}/server.key")
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0, ssl=tls)
    with open(f"{DIR}/port.new", "w", encoding="ascii") as f:
        f.write(str(server.sockets[0].getsockname()[1]))
    os.rename(f"{DIR}/port.new", f"{DIR}/port")
    await server.serve_forever()

asyncio.run(main())
