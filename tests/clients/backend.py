"""A backend for the tests: who clients are, by their session cookie, and keys of tokens.

    backend.py DIRECTORY        writes the port into DIRECTORY/port, and tokens into DIRECTORY/tokens.json

The session names what becomes of the client: a user, or one of the words below. `DIRECTORY/rotate`, once
it is there, lets the keys rotate.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER = Path(sys.argv[1])
KEYS = {kid: Ed25519PrivateKey.generate() for kid in ("old", "new", "other")}


def published(kid):
    own = jwt.get_algorithm_by_name("EdDSA").to_jwk(KEYS[kid].public_key(), as_dict=True)
    return own | {"kid": kid, "use": "sig", "alg": "EdDSA"}


def token(kid, **claims):
    claims = {"sub": "ann", "aud": "edge", "exp": int(time.time()) + 3600} | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, KEYS[kid], "EdDSA", headers={"kid": kid})


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, body, **headers):
        body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/keys":
            kids = ["new"] if (FOLDER / "rotate").exists() else ["old"]
            return self.reply(200, {"keys": [published(kid) for kid in kids]})
        session = self.headers.get("Cookie", "").removeprefix("session=")
        if session == "hang":
            threading.Event().wait()
        elif session == "none":
            self.reply(401, "log in first", WWW_Authenticate='Cookie realm="app"')
        elif session == "banned":
            self.reply(403, "banned")
        elif session == "lost":
            self.reply(404, {"user": "ann"})
        elif session == "moved":
            self.reply(302, "", Location="/login")
        elif session == "html":
            self.reply(200, "<html>hello</html>")
        elif session == "header":
            self.reply(200, {"user": "ann", "headers": {"Sec-WebSocket-Protocol": "x"}})
        else:
            told = {name: self.headers.get(name) for name in ("X-Forwarded-For", "X-Forwarded-Uri")}
            headers = {"Set-Cookie": "seen=1; HttpOnly", "X-Told": json.dumps(told)}
            self.reply(200, {"user": session, "headers": headers})

    def log_message(self, *_):
        pass


def main():
    tokens = {
        "good": token("old"),
        "next": token("new"),
        "forged": token("other"),
        "expired": token("old", exp=1),
        "early": token("old", nbf=int(time.time()) + 3600),
        "other_audience": token("old", aud="elsewhere"),
        "endless": token("old", exp=None),
        "nameless": token("old", sub=None),
    }
    tokens["unsigned"] = jwt.encode({"sub": "ann", "aud": "edge"}, None, "none")
    tokens["confused"] = jwt.api_jws.encode(
        json.dumps({"sub": "ann", "aud": "edge", "exp": 1 << 40}).encode(),
        published("old")["x"],
        "HS256",
        headers={"kid": "old"},
    )
    (FOLDER / "tokens.json").write_text(json.dumps(tokens))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.daemon_threads = True
    (FOLDER / "port.new").write_text(str(server.server_port))
    (FOLDER / "port.new").rename(FOLDER / "port")
    server.serve_forever()


main()
