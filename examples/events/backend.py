"""A backend of plain HTTP, with the standard library alone: it lets everyone in, greets them, and sends
every message back.

    python3 examples/events/backend.py [PORT]

The gateway in front of it: tidegate --config examples/events/tidegate.toml
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EVENTS = "application/websocket-events"


def parse(body):
    """The events of a body, each with its content or None."""
    while body:
        line, body = body.split(b"\r\n", 1)
        kind, _, length = line.partition(b" ")
        if not length:
            yield kind, None
            continue
        end = int(length, 16)
        yield kind, body[:end]
        body = body[end + 2 :]


def encode(kind, content=None):
    if content is None:
        return kind + b"\r\n"
    return kind + b" %x\r\n" % len(content) + content + b"\r\n"


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.headers.get("Meta-Name", "")
        out = b""
        meta = None
        for kind, content in parse(body):
            if kind == b"OPEN":
                meta = self.path.rpartition("/")[2]
                out += encode(b"OPEN") + encode(b"TEXT", b"welcome, " + meta.encode())
            elif kind in (b"TEXT", b"BINARY"):
                out += encode(kind, content)
            elif kind in (b"CLOSE", b"DISCONNECT"):
                print(name, "has left", flush=True)
        self.send_response(200)
        self.send_header("Content-Type", EVENTS)
        self.send_header("Content-Length", str(len(out)))
        if meta is not None:
            # Comes back as Meta-Name with every further request about this connection.
            self.send_header("Set-Meta-Name", meta)
        self.end_headers()
        self.wfile.write(out)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1].rpartition(":")[2]) if len(sys.argv) > 1 else 9001
    server = ThreadingHTTPServer(("127.0.0.1", port), Backend)
    print("ready", server.server_port, flush=True)
    server.serve_forever()
