"""Runs the tlslite-ng client against the gateway whose host and port the arguments name.

Exits with 0 if every check holds: in TLS 1.3 and 1.2 a handshake, echoes of every size, and each way
to end; in 1.3 new keys of both sides as well. /echo must be a route without compression.
"""

import socket
import struct
import sys

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import AlertDescription, ContentType, KeyUpdateMessageType
from tlslite.errors import TLSRemoteAlert
from tlslite.messages import Alert

SIZES = [0, 1, 125, 126, 16_383, 16_384, 16_385, 40_000]
# Without a byte from the gateway. The checks may take as long as they need.
PATIENCE_S = 60
VERSIONS = {"1.3": (3, 4), "1.2": (3, 3)}
UPGRADE = (b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


def frame(payload, mask=None):
    """A binary message, from a client if it has a mask; of zeros, which changes no byte."""
    bit = 0 if mask is None else 0x80
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x82, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x82, bit | 126, size)
    else:
        head = struct.pack("!BBQ", 0x82, bit | 127, size)
    return head + (mask or b"") + payload


class Client:
    """A connection to /echo."""

    def __init__(self, version):
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = VERSIONS[version]
        self.socket = socket.create_connection(GATEWAY, PATIENCE_S)
        self.tls = TLSConnection(self.socket)
        self.tls.closeSocket = False
        self.tls.handshakeClientCert(settings=settings, serverName="localhost", alpn=[b"http/1.1"])
        assert self.tls.version == VERSIONS[version], self.tls.version
        assert bytes(self.tls.session.appProto) == b"http/1.1", self.tls.session.appProto
        self.tls.write(UPGRADE)
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            head += self.tls.read(max=1, min=1)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def echoes(self, size):
        payload = bytes(i * 7 % 251 for i in range(size))
        self.tls.write(frame(payload, bytes(4)))
        expected = frame(payload)
        assert self.tls.read(max=len(expected), min=len(expected)) == expected, size

    def expects_notice(self):
        """The gateway announces its end: what is read is the end, and no connection cut off."""
        assert self.tls.read(max=1, min=1) in (b"", None)
        assert self.socket.recv(1) == b"", "nothing follows the notice"
        self.socket.close()


def echoes(version):
    client = Client(version)
    for size in SIZES:
        client.echoes(size)
    client.tls.close()
    client.socket.close()


def renews_keys(version):
    if version != "1.3":
        return
    client = Client(version)
    client.echoes(100)
    # Its own keys, and then those of the gateway too, whose new ones the next echo is sealed with.
    for kind in (KeyUpdateMessageType.update_not_requested, KeyUpdateMessageType.update_requested):
        for _ in range(3):
            for _ in client.tls.send_keyupdate_request(kind):
                pass
            client.echoes(100)
            client.echoes(20_000)
    client.tls.close()
    client.socket.close()


def ends_with_a_notice(version):
    client = Client(version)
    client.echoes(100)
    notice = Alert().create(AlertDescription.close_notify, 1)
    for _ in client.tls._sendMsg(notice):
        pass
    client.expects_notice()


def ends_with_half_a_connection(version):
    """Its own half closed without a notice: truncated, and still answered with one."""
    client = Client(version)
    client.echoes(100)
    client.socket.shutdown(socket.SHUT_WR)
    client.expects_notice()


def answers_a_close_frame(version):
    client = Client(version)
    client.tls.write(b"\x88\x82" + bytes(4) + b"\x03\xe8")
    assert client.tls.read(max=4, min=4) == b"\x88\x02\x03\xe8"
    client.expects_notice()


def refuses_what_is_damaged(version):
    client = Client(version)
    client.echoes(100)
    client.socket.sendall(bytes([ContentType.application_data, 3, 3, 0, 64]) + bytes(64))
    try:
        client.tls.read(max=1, min=1)
    except TLSRemoteAlert as alert:
        assert alert.description == AlertDescription.bad_record_mac, alert
    else:
        raise AssertionError("a damaged record was taken")
    client.socket.close()


GATEWAY = (sys.argv[1], int(sys.argv[2]))
for version in VERSIONS:
    for check in (echoes, renews_keys, ends_with_a_notice, ends_with_half_a_connection,
                  answers_a_close_frame, refuses_what_is_damaged):
        print(version, check.__name__, flush=True)
        check(version)
