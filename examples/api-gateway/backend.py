"""A backend in the style of API Gateway: every event is a request of its own, and any script behind any
web server can answer it, as this one does by CGI's means: it reads an object and prints an answer.

    python3 examples/api-gateway/backend.py [PORT]

Behind examples/api-gateway/tidegate.toml.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def handle(event):
    """The status and the body for an event."""
    context = event["requestContext"]
    route = context["routeKey"]
    if route == "$connect":
        name = event.get("queryStringParameters", {}).get("name")
        return (200, "") if name else (403, "what is your name?")
    if route == "$disconnect":
        print(context["connectionId"], "has left:", context["disconnectStatusCode"], flush=True)
        return 200, ""
    if route == "who":
        return 200, json.dumps({"you": context["connectionId"], "from": context["identity"]["sourceIp"]})
    if route == "fail":
        return 500, ""
    return 200, "you said: " + event["body"]


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        status, body = handle(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9001
    server = ThreadingHTTPServer(("127.0.0.1", port), Backend)
    print("ready", server.server_port, flush=True)
    server.serve_forever()
