"""What the scripts that compare channels share: servers, clients that subscribe, and ratios."""

import contextlib
import http.server
import json
import os
import pathlib
import re
import select
import shutil
import socket
import statistics
import subprocess
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "target/peers/channels"
SERVERS = ROOT / "target/servers"
TIDEGATE = pathlib.Path(os.environ.get("TIDEGATE", ROOT / "target/release/tidegate"))
LOADTEST = ROOT / "target/release/loadtest"
KEY = "fedcba9876543210"
CHANNEL = "load"
# What is published: 126 characters, which are 128 bytes of JSON.
DATA = "x" * 126
# The characters that each publication has once.
MARK = DATA.encode()

TIDEGATE_CONFIG = """
loops = {threads}
[overload]
lag_ms = 0
[admin]
address = "off"
[[listener]]
address = "127.0.0.1:{port}"
[api]
address = "127.0.0.1:{api}"
keys = ["{key}"]
[[route]]
path = "/connection/websocket"
service = "channels"
[channels]
allow_anonymous = true
[[channels.namespace]]
history_size = 100
history_ttl_s = 3600
force_recovery = true
allow_subscribe_for_anonymous = true
allow_publish_for_anonymous = true
[[route]]
path = "/broadcast"
service = "broadcast"
"""

NCHAN_CONFIG = """
{modules} daemon off; worker_processes {threads}; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 15000; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1d;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /pub {{
            nchan_publisher; nchan_channel_id $arg_id;
            nchan_message_buffer_length 100; nchan_message_timeout 1h;
        }}
        location = /sub {{
            nchan_subscriber websocket; nchan_channel_id $arg_id; nchan_subscriber_first_message newest;
        }}
    }}
}}
"""


def free_port():
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def cpu_us(pids):
    """User and system time of processes, with all their threads."""
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 1e6 / os.sysconf("SC_CLK_TCK")


def anonymous_bytes(pids):
    """Memory that belongs to these processes alone, or that they share with each other but with no file."""
    text = "".join(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    found = re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * sum(map(int, found))


class Server:
    """A server that runs. `api` is the port for publications, `port` that for clients."""

    # Its pings, where they are messages, and what they are answered with.
    ping, pong = None, ""

    def __init__(self, stack, core):
        self.stack, self.core, self.processes = stack, core, []

    def start(self, command, ports):
        place = [] if self.core is None else ["taskset", "-c", str(self.core)]
        output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([*place, *map(str, command)], **output)
        self.stack.callback(process.wait)
        self.stack.callback(process.terminate)
        self.processes.append(process)
        for port in ports:
            self.until_open(port, process)

    def until_open(self, port, process):
        for _ in range(1000):
            try:
                return socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                if process.poll() is not None:
                    break
                time.sleep(0.01)
        raise SystemExit(f"{self.name} does not start: {process.args}")

    def pids(self):
        """Its processes, and those that they have started."""
        found = [process.pid for process in self.processes]
        for pid in found:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            found.extend(map(int, children.split()))
        return found

    def publish(self):
        path, headers, body = self.publication()
        url = f"http://127.0.0.1:{self.api}{path}"
        urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers)).read()


class Tidegate(Server):
    name = "tidegate"
    # What a client sends when it is connected, and what it then gets.
    path, greeting, welcome = "/connection/websocket", None, b'"subscribe"'
    ping, pong = b"\x81\x02{}", "{}"

    def __init__(self, stack, folder, threads=1, core=None):
        super().__init__(stack, core)
        self.port, self.api = free_port(), free_port()
        values = {"threads": threads, "port": self.port, "api": self.api, "key": KEY}
        (folder / "tidegate.toml").write_text(TIDEGATE_CONFIG.format(**values))
        self.greeting = (
            '{"id":1,"connect":{}}\n' + json.dumps({"id": 2, "subscribe": {"channel": CHANNEL}})
        )
        self.start([TIDEGATE, "--config", folder / "tidegate.toml"], [self.port, self.api])

    def publication(self):
        body = json.dumps({"channel": CHANNEL, "data": DATA}, separators=(",", ":"))
        return "/api/publish", {"X-API-Key": KEY}, body


class Nchan(Server):
    name = "nchan"
    path, greeting, welcome = f"/sub?id={CHANNEL}", None, None

    def __init__(self, stack, folder, threads=1, core=None):
        super().__init__(stack, core)
        root = PEERS / "libnginx-mod-nchan.root"
        module = "usr/lib/nginx/modules/ngx_nchan_module.so"
        module = next((own / module for own in (root, pathlib.Path("/")) if (own / module).exists()), None)
        nginx = root / "usr/sbin/nginx"
        nginx = nginx if nginx.exists() else shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if not module or not nginx:
            raise SystemExit("nchan is missing: scripts/install-channel-peers")
        self.port = self.api = free_port()
        values = {"folder": folder, "threads": threads, "port": self.port, "modules": f"load_module {module};"}
        (folder / "nginx.conf").write_text(NCHAN_CONFIG.format(**values))
        # As for the others: what this module needs is set, and the rest is Debian's.
        self.start([nginx, "-p", folder, "-c", folder / "nginx.conf"], [self.port])

    def publication(self):
        return f"/pub?id={CHANNEL}", {}, json.dumps(DATA)


class SocketIo(Server):
    name = "socket.io"
    path, greeting, welcome = "/socket.io/?EIO=4&transport=websocket", "40", b"40{"
    ping, pong = b"\x81\x012", "3"

    def __init__(self, stack, folder, threads=1, core=None):
        super().__init__(stack, core)
        place = PEERS / "socket.io"
        if not (place / "node_modules/socket.io").exists():
            raise SystemExit("socket.io is missing: scripts/install-channel-peers")
        (place / "server.mjs").write_bytes((ROOT / "loadtest/peers/socket.io/server.mjs").read_bytes())
        self.port = self.api = free_port()
        self.start(["node", place / "server.mjs", self.port], [self.port])

    def publication(self):
        return "/", {}, json.dumps(DATA)


class Backend(http.server.BaseHTTPRequestHandler):
    """What Pushpin asks: it has each connection subscribed."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        events = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        subscription = f'c:{{"type": "subscribe", "channel": "{CHANNEL}"}}'.encode()
        texts = (subscription, b"m:welcome")
        reply = b"OPEN\r\n" + b"".join(b"TEXT %x\r\n%s\r\n" % (len(text), text) for text in texts)
        reply = reply if b"OPEN" in events else b""
        self.send_response(200)
        self.send_header("Content-Type", "application/websocket-events")
        self.send_header("Sec-WebSocket-Extensions", 'grip; message-prefix="m:"')
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


class Pushpin(Server):
    """Its four programs, as its own runner starts them, with their files in a folder of ours."""

    name = "pushpin"
    path, greeting, welcome = "/", None, b"welcome"

    def __init__(self, stack, folder, threads=1, core=None):
        super().__init__(stack, core)
        if not (SERVERS / "pushpin-handler").exists():
            raise SystemExit("Pushpin is missing: scripts/install-servers")
        backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        backend.daemon_threads = True
        # Connections that have ended while it answers.
        backend.handle_error = lambda *_: None
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        stack.callback(backend.shutdown)
        self.port, self.api = free_port(), free_port()
        self.configure(folder, backend.server_port)
        condure = f"ipc://{folder}/own-condure"
        listen = f"127.0.0.1:{self.port},stream"
        limit = ["--stream-maxconn", "12000"]
        self.start([SERVERS / "condure", "--listen", listen, "--zclient-stream", condure, *limit], [self.port])
        self.start([SERVERS / "zurl", f"--config={folder}/zurl.conf"], [])
        self.start([SERVERS / "pushpin-proxy", f"--config={folder}/pushpin.conf"], [])
        self.start([SERVERS / "pushpin-handler", f"--config={folder}/pushpin.conf"], [self.api])
        self.until_served()

    def configure(self, folder, backend):
        root = SERVERS / "pushpin.root"
        tables = {}
        for file in ("usr/lib/pushpin/internal.conf", "usr/share/pushpin/pushpin.conf.condure"):
            for line in (root / file).read_text().splitlines():
                if line.startswith("["):
                    table = tables.setdefault(line, [])
                elif line and not line.startswith(("#", "include=")):
                    line = line.replace("/var/run/zurl/zurl-", f"{folder}/zurl-")
                    table.append(line.replace("{rundir}", str(folder)).replace("{ipc_prefix}", "own-"))
        text = "\n".join(name + "\n" + "\n".join(lines) for name, lines in tables.items())
        text = text.replace("routesfile=routes", f"routesfile={folder}/routes")
        text = text.replace("/var/run/pushpin", str(folder)).replace("ipc_prefix=pushpin-", "ipc_prefix=own-")
        text = re.sub("push_in_http_port=.*", f"push_in_http_port={self.api}", text)
        for name in ("push_in_spec", "push_in_sub_specs", "command_spec"):
            text = re.sub(f"{name}=tcp.*", f"{name}=tcp://127.0.0.1:{free_port()}", text)
        # Its own limit would hold publications back.
        text = re.sub("message_rate=.*", "message_rate=1000000", text)
        (folder / "pushpin.conf").write_text(text + "\n")
        (folder / "routes").write_text(f"* 127.0.0.1:{backend},over_http\n")
        zurl = (root / "etc/zurl.conf").read_text().replace("/var/run/zurl/", f"{folder}/")
        (folder / "zurl.conf").write_text(zurl)

    def until_served(self):
        """Its programs listen before they have found each other."""
        for _ in range(60):
            with contextlib.suppress(OSError):
                return subscribe(self, 2).close()
        raise SystemExit("Pushpin serves nothing")

    def publication(self):
        item = {"channel": CHANNEL, "formats": {"ws-message": {"content": DATA}}}
        return "/publish/", {"Content-Type": "application/json"}, json.dumps({"items": [item]})


def text_frame(text):
    """A text frame as a client sends it; its mask is of zeros."""
    payload = text.encode()
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + payload


def read_until(client, wanted, buffer=b""):
    while wanted not in buffer:
        part = client.recv(1 << 16)
        if not part:
            raise ConnectionResetError(f"closed after {buffer!r}")
        buffer += part
    return buffer


def subscribe(server, timeout=60):
    """A connection that is subscribed."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout)
    client.sendall(
        f"GET {server.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    rest = read_until(client, b"\r\n\r\n").partition(b"\r\n\r\n")[2]
    if server.greeting:
        client.sendall(text_frame(server.greeting))
    if server.welcome:
        read_until(client, server.welcome, rest)
    return client


def subscribe_many(server, count):
    """So many connections, one after the other."""
    return (subscribe(server) for _ in range(count))


class Members:
    """Connections that are subscribed, and what has come of the publications."""

    def __init__(self, server, clients):
        self.name, self.all, self.ends = server.name, {}, {}
        # Pings that are text, which must be answered.
        self.ping, self.pong = server.ping, text_frame(server.pong)
        self.poll = select.epoll()
        for client in clients:
            client.setblocking(False)
            self.all[client.fileno()], self.ends[client.fileno()] = client, b""
            self.poll.register(client.fileno(), select.EPOLLIN)
            self.receive(0)

    def receive(self, timeout):
        """How many publications have come."""
        found = 0
        for descriptor, _ in self.poll.poll(timeout, 4096):
            part = self.all[descriptor].recv(1 << 16)
            if not part:
                raise SystemExit(f"{self.name} has closed a member")
            if self.ping and self.ping in part:
                self.all[descriptor].sendall(self.pong)
            part = self.ends[descriptor] + part
            # A publication ends with its last characters, which may come in parts.
            found += part.count(MARK)
            self.ends[descriptor] = part.rpartition(MARK)[2][1 - len(MARK) :]
        return found

    def serve(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.receive(1)

    def await_all(self, count):
        until = time.monotonic() + 60
        while count > 0:
            count -= self.receive(1)
            if time.monotonic() > until:
                raise SystemExit(f"{self.name}: {count} publications have not come")
        if count < 0:
            raise SystemExit(f"{self.name}: more has come than was published")

    def close(self):
        self.poll.close()
        for client in self.all.values():
            client.close()


def quartiles(values):
    # One has none, and stands for all.
    values = values * 2 if len(values) == 1 else values
    return statistics.quantiles(values, n=4, method="inclusive")


def ratios(results, first):
    for name, values in results.items():
        text = ""
        if name != first:
            own = [value / other for value, other in zip(values, results[first])]
            low, middle, high = quartiles(own)
            text = f"   {middle:.2f} ({low:.2f}–{high:.2f}) of that of {first}"
        yield name, statistics.median(values), text


def run_loadtest(*command):
    """Its report."""
    ended = subprocess.run([LOADTEST, *map(str, command), "--json"], capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{ended.stdout}\n{ended.stderr}")
    return json.loads(ended.stdout)
