"""A backend of channels, with the standard library alone: it says who clients are, what they may do, and answers
their calls.

    python3 examples/channels/backend.py [PORT]

The gateway in front of it: tidegate --config examples/channels/tidegate.toml
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Refused(Exception):
    """An error that the client gets: codes from 400 to 1999 are the application's."""

    def __init__(self, code, message):
        super().__init__(message)
        self.reply = {"error": {"code": code, "message": message}}


def connect(asked, cookie):
    # A real one looks a session up; here the cookie, or what the page sends, is the name itself.
    name = cookie or (asked.get("data") or {}).get("name")
    if not name:
        raise Refused(401, "who are you?")
    if name == "mallory":
        return {"disconnect": {"code": 4500, "reason": "banned"}}
    return {
        "user": name,
        "expire_at": int(time.time()) + 60,
        "info": {"name": name.title()},
        "data": {"greeting": f"hello, {name}"},
        "subs": {f"inbox:{name}": {"data": {"unread": 0}}},
        # Comes back with every further question about this connection.
        "meta": {"since": int(time.time())},
    }


def refresh(asked):
    return {"expire_at": int(time.time()) + 60}


def subscribe(asked):
    if asked["channel"] == "room:staff" and asked["user"] != "ann":
        raise Refused(403, "for staff only")
    return {"info": {"role": "guest"}, "data": {"topic": asked["channel"].upper()}}


def publish(asked):
    text = asked["data"]["text"]
    if "spam" in text:
        raise Refused(422, "no spam, please")
    return {"data": {"text": text.strip(), "by": asked["user"]}, "tags": {"checked": "yes"}}


def rpc(asked):
    if asked["method"] == "sum":
        return {"data": sum(asked["data"])}
    if asked["method"] == "whoami":
        return {"data": {"user": asked["user"], "known": "since" in asked["meta"]}}
    raise Refused(404, f"there is no {asked['method']}")


HANDLERS = {
    "refresh": refresh,
    "sub_refresh": refresh,
    "subscribe": subscribe,
    "publish": publish,
    "rpc": rpc,
}


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = self.path.rpartition("/")[2]
        try:
            if question == "connect":
                cookie = self.headers.get("Cookie", "").removeprefix("name=")
                reply = connect(asked, cookie)
            else:
                reply = HANDLERS[question](asked)
            if "disconnect" not in reply:
                reply = {"result": reply}
        except Refused as refused:
            reply = refused.reply
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1].rpartition(":")[2]) if len(sys.argv) > 1 else 9001
    server = ThreadingHTTPServer(("127.0.0.1", port), Backend)
    print("ready", server.server_port, flush=True)
    server.serve_forever()
