"""Runs the `websockets` client against the gateway whose /echo the argument names.

Exits with 0 if every check holds. The route must prefer `v2.echo` over `v1.echo`, and /takeover
beside it take over contexts with windows of 11 bits.
"""

import asyncio
import itertools
import sys

import websockets
from websockets.asyncio import client as asyncio_client
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

SIZES = [0, 1, 125, 126, 65_535, 65_536, 1 << 20]
# Without a single message, pong, handshake or close. The checks may take as long as they need.
PATIENCE_S = 60

steps = 0


def progress():
    global steps
    steps += 1


class Client(asyncio_client.ClientConnection):
    """Counts all that the gateway sends as progress."""

    def process_event(self, event):
        progress()
        super().process_event(event)

    def connection_lost(self, error):
        progress()
        super().connection_lost(error)


def connect(url, **options):
    progress()
    return asyncio_client.connect(url, create_connection=Client, **options)


async def with_patience(check):
    """Runs `check` to its end, or cancels it when nothing has happened for PATIENCE_S."""
    task = asyncio.ensure_future(check)
    seen = None
    while not task.done():
        if seen == steps:
            task.cancel()
            raise TimeoutError(f"no progress within {PATIENCE_S} s, after {steps} steps")
        seen = steps
        await asyncio.wait([task], timeout=PATIENCE_S)
    await task


def text(size):
    """`size` bytes of UTF-8 in characters of one to four bytes."""
    characters = "tü張😀" * (size // 10)
    return characters + "x" * (size - len(characters.encode()))


async def echoes(url):
    # websockets offers permessage-deflate by default and compresses messages of any length.
    for compression in ("deflate", None):
        async with connect(url, compression=compression) as client:
            assert bool(client.protocol.extensions) == bool(compression)
            for size in SIZES:
                for message in (bytes(i % 251 for i in range(size)), text(size)):
                    await client.send(message)
                    assert await client.recv() == message, size


async def echoes_by_any_window(url):
    for server_bits in (None, 9, 12, 15):
        for client_bits in (True, 9, 15):
            for takeover in (False, True):
                offer = ClientPerMessageDeflateFactory(
                    server_no_context_takeover=not takeover,
                    client_no_context_takeover=not takeover,
                    server_max_window_bits=server_bits,
                    client_max_window_bits=client_bits,
                )
                async with connect(url, compression=None, extensions=[offer]) as client:
                    (agreed,) = client.protocol.extensions
                    assert agreed.remote_no_context_takeover, agreed
                    assert agreed.local_no_context_takeover, agreed
                    # Without an agreed window it is the largest (RFC 7692 §7.1.2.1).
                    assert agreed.remote_max_window_bits == (server_bits or 15), agreed
                    for message in (text(70_000), "twice " * 500, "twice " * 500, b"", "short"):
                        await client.send(message)
                        assert await client.recv() == message
                    # Repeats at a distance beyond a small window.
                    far = bytes(i * i % 251 for i in range(9_000)) * 5
                    await client.send([far[:100], far[100:20_000], far[20_000:]])
                    assert await client.recv() == far


async def takes_over_contexts(url):
    url = url.replace("/echo", "/takeover")
    bits = 11
    for server_bits, client_bits, server_no, client_no in itertools.product(
            (None, 9, 15), (None, True, 9, 15), (False, True), (False, True)):
        offer = ClientPerMessageDeflateFactory(
            server_no_context_takeover=server_no,
            client_no_context_takeover=client_no,
            server_max_window_bits=server_bits,
            client_max_window_bits=client_bits,
        )
        async with connect(url, compression=None, extensions=[offer]) as client:
            (agreed,) = client.protocol.extensions
            assert agreed.remote_no_context_takeover == server_no, agreed
            # A window that cannot be bounded is not taken over.
            no_bound = client_bits is None
            assert agreed.local_no_context_takeover == (client_no or no_bound), agreed
            window = min(server_bits or 15, 15 if server_no else bits)
            assert agreed.remote_max_window_bits == window, agreed
            if not agreed.local_no_context_takeover:
                own = 15 if client_bits is True else client_bits
                assert agreed.local_max_window_bits == min(bits, own), agreed
            noise = bytes(i * i % 251 for i in range(5_000))
            for number in range(60):
                tick = f'{{"type":"tick","symbol":"EURUSD","serial":{number}}}'
                for message in (tick, tick * (number % 5 * 20), noise[number:], ""):
                    await client.send(message)
                    assert await client.recv() == message, number
                await client.send([tick[:9], "", tick[9:]])
                assert await client.recv() == tick, number
    # With the default options of websockets.
    async with connect(url) as client:
        (agreed,) = client.protocol.extensions
        assert not agreed.local_no_context_takeover, agreed
        assert not agreed.remote_no_context_takeover, agreed
        for number in range(1_000):
            await client.send(f"message {number}")
        for number in range(1_000):
            assert await client.recv() == f"message {number}"


async def echoes_fragments(url):
    async with connect(url) as client:
        pieces = ["gr", "ü", "", "ße ", "張" * 30_000]
        await client.send(pieces)
        assert await client.recv() == "".join(pieces)


async def answers_pings(url):
    async with connect(url) as client:
        for payload in (b"", b"ping", bytes(125)):
            answered = await client.ping(payload)
            await answered


async def echoes_many_at_once(url):
    async with connect(url) as client:
        for number in range(1_000):
            await client.send(f"message {number}")
        for number in range(1_000):
            assert await client.recv() == f"message {number}"


async def answers_close_codes(url):
    for code in (1000, 1001, 3456, 4999):
        client = await connect(url)
        await client.close(code, "bye")
        assert client.close_code == code, client.close_code


async def refuses_too_much_with_1009(url):
    async with connect(url, max_size=None) as client:
        await client.send(bytes((1 << 20) + 1))
        try:
            await client.recv()
        except websockets.ConnectionClosedError as closed:
            assert closed.rcvd.code == 1009, closed
        else:
            raise AssertionError("a message over the limit came back")


async def chooses_subprotocols(url):
    for offered, chosen in ((["v1.echo"], "v1.echo"), (["v1.echo", "v2.echo"], "v2.echo"),
                            (["other"], None), (None, None)):
        async with connect(url, subprotocols=offered) as client:
            assert client.subprotocol == chosen, (offered, client.subprotocol)


async def refuses_foreign_origins(url):
    try:
        await connect(url, origin="http://stranger.example")
    except websockets.InvalidStatus as refusal:
        assert refusal.response.status_code == 403, refusal
        assert b"`origins`" in refusal.response.body, refusal.response.body
    else:
        raise AssertionError("a foreign origin was accepted")


async def main(url):
    for check in (echoes, echoes_by_any_window, takes_over_contexts, echoes_fragments, answers_pings, echoes_many_at_once,
                  answers_close_codes, refuses_too_much_with_1009, chooses_subprotocols,
                  refuses_foreign_origins):
        print(check.__name__, flush=True)
        await with_patience(check(url))


asyncio.run(main(sys.argv[1]))
