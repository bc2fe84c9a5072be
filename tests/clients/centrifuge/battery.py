"""A client of channels by its own features: battery.py URL SECRET FORMAT, where the secret signs tokens (HS256),
and the format is json or protobuf."""

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time

from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    SubscriptionEventHandler,
)

URL, SECRET, FORMAT = sys.argv[1:4]
SPEAKS_PROTOBUF = FORMAT == "protobuf"
# For an answer, and between two pings: a busy machine needs longer than people wait.
UNHURRIED = {"timeout": 60.0, "max_server_ping_delay": 60.0}
CHANNEL = f"kept:python-{FORMAT}"


def pack(value):
    """What is published: of Protobuf the bytes of the same JSON."""
    return json.dumps(value).encode() if SPEAKS_PROTOBUF else value


def unpack(data):
    return json.loads(data) if SPEAKS_PROTOBUF else data


def encoded(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def token(**claims):
    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = head + b"." + encoded(json.dumps(claims).encode())
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + encoded(digest)).decode()


class Collector(SubscriptionEventHandler):
    def __init__(self):
        self.publications, self.subscribed = asyncio.Queue(), asyncio.Queue()

    async def on_publication(self, ctx):
        await self.publications.put(ctx.pub)

    async def on_subscribed(self, ctx):
        await self.subscribed.put(ctx)


class ServerSide(ClientEventHandler):
    def __init__(self):
        self.publications, self.subscribed = asyncio.Queue(), asyncio.Queue()

    async def on_publication(self, ctx):
        await self.publications.put(ctx)

    async def on_subscribed(self, ctx):
        await self.subscribed.put(ctx)


async def connected(user):
    async def get_token(_=None):
        return token(sub=user, exp=int(time.time()) + 600)

    client = Client(
        URL,
        events=ClientEventHandler(),
        get_token=get_token,
        use_protobuf=SPEAKS_PROTOBUF,
        **UNHURRIED,
    )
    await client.connect()
    await client.ready(timeout=60)
    return client


async def main():
    ann, bob = await connected("ann"), await connected("bob")
    collector = Collector()
    own = bob.new_subscription(CHANNEL, events=collector)
    await own.subscribe()
    await own.ready(timeout=60)
    for number in range(20):
        await ann.publish(CHANNEL, pack({"number": number}))
    got = [await asyncio.wait_for(collector.publications.get(), 60) for _ in range(20)]
    assert [unpack(one.data)["number"] for one in got] == list(range(20)), got
    assert [one.offset for one in got] == list(range(1, 21)), got
    assert got[0].info.user == "ann", got[0]

    # Ends the socket below the client, as a network does.
    await collector.subscribed.get()
    await bob._transport.close() if hasattr(bob, "_transport") else await bob._conn.close()
    for number in range(20, 30):
        await ann.publish(CHANNEL, pack({"number": number}))
    again = await asyncio.wait_for(collector.subscribed.get(), 60)
    assert again.recovered, again
    got = [await asyncio.wait_for(collector.publications.get(), 60) for _ in range(10)]
    assert [unpack(one.data)["number"] for one in got] == list(range(20, 30)), got

    history = await own.history(limit=5)
    assert [unpack(one.data)["number"] for one in history.publications] == list(range(5)), history
    told = ann.new_subscription(f"told:python-{FORMAT}")
    await told.subscribe()
    await told.ready(timeout=60)
    presence = await told.presence()
    assert [one.user for one in presence.clients.values()] == ["ann"], presence
    stats = await told.presence_stats()
    assert (stats.num_clients, stats.num_users) == (1, 1), stats
    try:
        await ann.publish("closed:x", pack(1))
        raise AssertionError("it may not publish there")
    except CentrifugeError as error:
        assert "103" in str(error) or getattr(error, "code", 103) == 103, error

    served = ServerSide()

    async def get_token(_=None):
        return token(sub="served", exp=int(time.time()) + 600, channels=["kept:served"])

    eve = Client(
        URL,
        events=served,
        get_token=get_token,
        use_protobuf=SPEAKS_PROTOBUF,
        **UNHURRIED,
    )
    await eve.connect()
    await eve.ready(timeout=60)
    context = await asyncio.wait_for(served.subscribed.get(), 60)
    assert (context.channel, context.recoverable) == ("kept:served", True), context
    await ann.publish("kept:served", pack({"number": 1}))
    got = await asyncio.wait_for(served.publications.get(), 60)
    assert (got.channel, unpack(got.pub.data)) == ("kept:served", {"number": 1}), got
    await asyncio.gather(ann.disconnect(), bob.disconnect(), eve.disconnect())
    print("ok")


asyncio.run(asyncio.wait_for(main(), 300))
