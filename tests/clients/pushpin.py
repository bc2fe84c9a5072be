"""The same conversation through Pushpin and through the gateway: what clients get and what the backend is
told is compared, but for what is known to differ.

    pushpin.py GATEWAY SERVERS     SERVERS has what scripts/install-servers unpacks: condure, zurl, pushpin-…
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import websockets

GATEWAY, SERVERS = sys.argv[1], Path(sys.argv[2])
FOLDER = tempfile.TemporaryDirectory()
KEY = "a-key-for-both-of-them-of-32-bytes"
recorded = []

# What only one of them sends, or what each sets for itself.
DIFFERS = {
    "Accept-Encoding", "Connection-Id", "Content-Length", "Forwarded", "Host", "Sec-Websocket-Key",
    "Sec-Websocket-Version", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port",
    "X-Forwarded-Proto", "X-Real-Ip", "X-Tidegate-Sequence",
}


def encode(kind, content=None):
    if content is None:
        return kind + b"\r\n"
    return kind + b" %x\r\n" % len(content) + content + b"\r\n"


def parse(body):
    while body:
        line, _, body = body.partition(b"\r\n")
        kind, _, length = line.partition(b" ")
        content = None
        if length:
            content, body = body[: int(length, 16)], body[int(length, 16) + 2 :]
        yield kind, content


def answer(events):
    """The reply of the backend to events, and its headers."""
    out, headers = b"", {}
    for kind, content in events:
        if kind == b"OPEN":
            headers = {"Sec-WebSocket-Extensions": "grip", "Set-Meta-User": "alice"}
            out += encode(b"OPEN")
            out += encode(b"TEXT", b'c:{"type": "subscribe", "channel": "room"}')
        elif content == b"plain":
            out += encode(b"TEXT", b"not for the client")
        elif content == b"ping":
            out += encode(b"PING", b"p1") + encode(b"TEXT", b"m:pinged")
        elif content == b"close":
            out += encode(b"CLOSE", b"\x0f\xa1bye")
        elif kind == b"TEXT":
            out += encode(b"TEXT", b"m:echo " + content)
        elif kind == b"BINARY":
            out += encode(b"BINARY", b"m:" + content)
        elif kind == b"PING":
            out += encode(b"PONG", content)
        elif kind == b"CLOSE":
            # Pushpin answers the client only then.
            out += encode(b"CLOSE", content)
    return out, headers


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        events = list(parse(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        headers = {name.title(): value for name, value in self.headers.items()}
        recorded.append((self.requestline, headers, events))
        out, headers = answer(events)
        self.send_response(200)
        self.send_header("Content-Type", "application/websocket-events")
        self.send_header("Content-Length", str(len(out)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(out)

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def wait_for(port):
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


def start_pushpin(backend):
    """Its four programs, as its own runner starts them, with their files in a folder of ours."""
    port, api, folder = free_port(), free_port(), FOLDER.name
    root = SERVERS / "pushpin.root"
    tables = {}
    for file in ["usr/lib/pushpin/internal.conf", "usr/share/pushpin/pushpin.conf.condure"]:
        for line in (root / file).read_text().splitlines():
            if line.startswith("["):
                table = tables.setdefault(line, [])
            elif line and not line.startswith(("#", "include=")):
                line = line.replace("/var/run/zurl/zurl-", f"{folder}/zurl-")
                table.append(line.replace("{rundir}", folder).replace("{ipc_prefix}", "own-"))
    text = "\n".join(name + "\n" + "\n".join(lines) for name, lines in tables.items())
    text = re.sub("push_in_http_port=.*", f"push_in_http_port={api}", text)
    text = re.sub("sig_key=.*", f"sig_key={KEY}", text)
    text = text.replace("routesfile=routes", f"routesfile={folder}/routes")
    text = text.replace("/var/run/pushpin", folder).replace("ipc_prefix=pushpin-", "ipc_prefix=own-")
    for name in ["push_in_spec", "push_in_sub_specs", "command_spec=tcp"]:
        name = name.partition("=")[0]
        text = re.sub(f"{name}=tcp.*", f"{name}=tcp://127.0.0.1:{free_port()}", text)
    Path(folder, "pushpin.conf").write_text(text + "\n")
    Path(folder, "routes").write_text(f"* 127.0.0.1:{backend},over_http\n")
    zurl = (root / "etc/zurl.conf").read_text().replace("/var/run/zurl/", f"{folder}/")
    Path(folder, "zurl.conf").write_text(zurl)
    commands = [
        ["condure", "--listen", f"127.0.0.1:{port},stream", "--zclient-stream", f"ipc://{folder}/own-condure"],
        ["zurl", f"--config={folder}/zurl.conf"],
        ["pushpin-proxy", f"--config={folder}/pushpin.conf"],
        ["pushpin-handler", f"--config={folder}/pushpin.conf"],
    ]
    started = []
    for name, *arguments in commands:
        log = open(Path(folder, f"{name}.log"), "w")
        started.append(subprocess.Popen([SERVERS / name, *arguments], stdout=log, stderr=log))
    wait_for(port)
    wait_for(api)
    asyncio.run(wait_until_served(port))
    return started, port, api


async def wait_until_served(port):
    """Its programs listen before they have found each other."""
    for _ in range(60):
        try:
            async with asyncio.timeout(2), connect(port, "/probe"):
                return
        except (OSError, TimeoutError, websockets.WebSocketException):
            pass
    raise SystemExit("Pushpin serves nothing")


def start_gateway(backend):
    Path(FOLDER.name, "tidegate.toml").write_text(
        f'loops = 1\n[admin]\naddress = "off"\n[api]\naddress = "127.0.0.1:0"\nkeys = "{KEY}"\n'
        f'[[listener]]\naddress = "127.0.0.1:0"\n[[upstream]]\nname = "app"\n'
        f'servers = ["127.0.0.1:{backend}"]\n[[route]]\npath = "/*"\nservice = "events"\n'
        f'upstream = "app"\ngrip_key = "{KEY}"\ngrip_iss = "pushpin"\npings = "pass"\n'
    )
    command = [GATEWAY, "--config", FOLDER.name + "/tidegate.toml"]
    gateway = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    places = {}
    for line in gateway.stderr:
        found = re.search(r"(listening on |api at http://)127\.0\.0\.1:(\d+)", line)
        if found:
            places[found[1]] = int(found[2])
        if len(places) == 2:
            break
    threading.Thread(target=gateway.stderr.read, daemon=True).start()
    return [gateway], places["listening on "], places["api at http://"]


def publish(api, **item):
    body = json.dumps({"items": [{"channel": "room", **item}]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"http://127.0.0.1:{api}/publish/", body, headers)
    assert urllib.request.urlopen(request).read() == b"Published\n"


def connect(port, path, **headers):
    return websockets.connect(
        f"ws://127.0.0.1:{port}{path}",
        additional_headers=headers,
        user_agent_header="tests/1",
        compression=None,
        ping_interval=None,
        proxy=None,
    )


async def converse(port, api):
    """What clients get."""
    got = []

    async def hear(own):
        got.append(await asyncio.wait_for(own.recv(), 30))

    forged = {"Cookie": "a=b", "X-Own": "1", "Meta-User": "root", "Grip-Sig": "forged"}
    async with connect(port, "/ws?x=1", **forged) as own:
        for message in ["hello", b"\x01\x02", "grüße"]:
            await own.send(message)
            await hear(own)
        await own.send("plain")
        for message in ["after", "ping"]:
            await own.send(message)
            await hear(own)
        await asyncio.wait_for(await own.ping(b"q"), 30)
        publish(api, formats={"ws-message": {"content": "all forms"}})
        await hear(own)
        publish(api, id="1", **{"ws-message": {"content-bin": "AQI="}})
        publish(api, id="1", **{"ws-message": {"content": "twice"}})
        publish(api, id="2", **{"prev-id": "1", "ws-message": {"content": "two"}})
        await hear(own)
        await hear(own)
        await own.send("close")
        try:
            await hear(own)
        except websockets.ConnectionClosed as error:
            got.append((error.rcvd.code, error.rcvd.reason))
    async with connect(port, "/ws") as own:
        await own.send("a")
        await hear(own)
        await own.close(4000, "done")
        got.append(own.close_code)
    own = await connect(port, "/ws")
    own.transport.abort()
    while not any(kind == b"DISCONNECT" for line, _, events in recorded if "/probe" not in line for kind, _ in events):
        await asyncio.sleep(0.05)
    return got


def told():
    """What the backend was told of each connection: the requests' lines and headers, and all events."""
    connections = {}
    for line, headers, events in recorded:
        if "/probe" in line:
            continue
        signature = headers.pop("Grip-Sig")
        claims = jwt.decode(signature, KEY, algorithms=["HS256"])
        assert claims["iss"] == "pushpin" and 3500 < claims["exp"] - time.time() <= 3601, claims
        features = set(headers.pop("Grip-Feature").split(", ")) - {"link:next"}
        own = connections.setdefault(headers["Connection-Id"], ([], []))
        kept = {name: value for name, value in headers.items() if name not in DIFFERS}
        described = (line, sorted(kept.items()), sorted(features))
        if described not in own[0]:
            own[0].append(described)
        own[1].extend(events)
    for _, events in connections.values():
        # Pushpin tells of the client's answer to a close of the backend as well.
        if (b"TEXT", b"close") in events:
            del events[events.index((b"TEXT", b"close")) + 1 :]
        # Which of them comes first depends on when the client answers.
        own = [event for event in events if event[0] in (b"PING", b"PONG")]
        events[:] = [event for event in events if event not in own] + sorted(own)
    return list(connections.values())


def run(start, backend):
    recorded.clear()
    started, port, api = start(backend)
    try:
        return asyncio.run(converse(port, api)), told()
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
threading.Thread(target=server.serve_forever, daemon=True).start()
theirs, ours = (run(start, server.server_port) for start in (start_pushpin, start_gateway))
assert ours[0] == theirs[0], f"clients get\n{ours[0]}\nand by Pushpin\n{theirs[0]}"
assert len(ours[1]) == len(theirs[1]) == 3
for own, other in zip(ours[1], theirs[1]):
    assert own == other, f"the backend is told\n{own}\nand by Pushpin\n{other}"
print("same")
